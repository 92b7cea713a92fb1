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


def test_what_it_names_exists():
    text = README.read_text(encoding="utf-8")
    for name in re.findall(r"`pe\.(\w+)", text):
        assert hasattr(pe, name), name
    for path in re.findall(r"\]\(([^)#]+)\)", text):
        assert (README.parent / path).exists(), path


def test_files_import_only_from_those_above_them():
    text = (README.parent / "docs" / "design.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    order = [name for row in rows for name in re.findall(r"`(\w+)\.py`", row)]
    package = README.parent / "partial_embed"
    assert sorted(order + ["__init__"]) == sorted(path.stem for path in package.glob("*.py"))
    for number, name in enumerate(order):
        code = (package / (name + ".py")).read_text(encoding="utf-8")
        imported = set(re.findall(r"^from partial_embed\.(\w+) import", code, re.MULTILINE))
        assert imported <= set(order[:number]), name
