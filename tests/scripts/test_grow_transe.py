"""The script that shows a growth: its marks are honest, and it keeps its promises."""

import inspect
import os
import re
import subprocess
import sys

import forks
import grow_transe


def start(scripts, *arguments):
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    return subprocess.run(
        [sys.executable, os.path.join(scripts, "grow_transe.py"), *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )


def run(scripts, *arguments):
    return forks.run(os.path.join(scripts, "grow_transe.py"), *arguments)


def test_the_marked_lines_are_those_that_changed():
    before, after = (
        inspect.getsource(function).splitlines()[1:]
        for function in (grow_transe.script, grow_transe.grown_script)
    )
    assert len(before) == len(after)
    changed = [line for old, line in zip(before, after) if old != line]
    assert len(changed) == 2
    assert changed == [line for line in after if line.endswith("# changed")]


def test_it_needs_nothing_and_proves_what_it_says(scripts, tmp_path, read_checkpoint, same_bits):
    directory = tmp_path / "town"
    found = start(scripts, f"--directory={directory}", "--epochs=20")
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    assert lines[0].startswith("script: 48 corners trained")
    assert lines[1].startswith("grown_script: 6 more")
    assert lines[2:] == [
        "old rows unchanged, to the last bit: 48 of 48",
        "new rows trained: 6 of 6",
        "rows that script, by tf.train.Saver, restored: 54 of 54",
    ]
    assert "model/entity: [48 -> 54, " in found.stderr
    base, grown = (read_checkpoint(str(directory / name)) for name in ("base.ckpt", "grown.ckpt"))
    assert sorted(base) == sorted(grown)
    assert same_bits(grown["model/entity"][:48], base["model/entity"])
    assert same_bits(grown["model/relation"], base["model/relation"])
    again = run(scripts, f"--directory={directory}")
    assert again.returncode == 1
    assert "holds a base.ckpt; name another" in again.stdout + again.stderr


def test_a_broken_promise_is_the_exit_status(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(grow_transe, "grown_script", lambda *given: grow_transe.script(*given[:-1]))
    assert not grow_transe.run(str(tmp_path), epochs=1)
    assert "48 of 48" not in capsys.readouterr().out


def test_help_teaches(scripts):
    found = run(scripts, "--help")
    assert "python scripts/grow_transe.py" in found.stdout
    assert "but for the lines marked `# changed`" in found.stdout
    assert found.stderr == ""


def test_new_facts_are_learned(tmp_path, capsys):
    assert grow_transe.run(str(tmp_path), epochs=100)
    before, after = map(float, re.findall(r"([\d.]+) (?:before|after)", capsys.readouterr().out))
    assert after < 3 < before
