"""The README's snippet runs as it stands, and what it refers to exists."""

import pathlib
import re
import subprocess
import sys

import partial_embed as pe

README = pathlib.Path(__file__).resolve().parent.parent / "README.md"


def test_the_snippet_runs_as_it_stands(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    script = tmp_path / "snippet.py"
    script.write_text(code.replace("/tmp/partial_embed_readme", str(tmp_path)), encoding="utf-8")
    run = subprocess.run([sys.executable, str(script)], capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()
    assert run.stdout.decode().splitlines()[-2:] == [
        "old rows unchanged: True",
        "restored by a plain Saver: True",
    ]
    (shown,) = re.findall(r"```text\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert shown.replace("/tmp/partial_embed_readme", str(tmp_path)) in run.stderr.decode()


def test_it_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 170


def test_what_it_names_exists():
    text = README.read_text(encoding="utf-8")
    for name in re.findall(r"`pe\.(\w+)", text):
        assert hasattr(pe, name), name
    for path in re.findall(r"\]\(([^)#]+)\)", text):
        assert (README.parent / path).exists(), path


def test_the_design_names_every_file_in_its_room():
    text = (README.parent / "docs" / "design.md").read_text(encoding="utf-8")
    package = README.parent / "partial_embed"
    for room in ("files", "table", "training", "saving", "exporting"):
        (row,) = re.findall(rf"^\| `{room}/` \| (.*)$", text, re.MULTILINE)
        named = set(re.findall(r"`(\w+)`", row))
        there = {path.stem for path in (package / room).glob("*.py")} - {"__init__"}
        assert named == there, room
    for path in package.glob("*.py"):
        assert f"`{path.name}`" in text, path
