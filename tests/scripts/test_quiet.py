"""What scripts print is theirs: no notes of TensorFlow, and errors in one line."""

import ast
import os
import pathlib
import subprocess
import sys

import pytest
import quiet
import tensorflow.compat.v1 as tf


@pytest.fixture
def start(scripts):
    """Returns `start(script, *arguments)`: an environment that asks TensorFlow for no silence."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    for name in ("TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS"):
        environment.pop(name, None)

    def start(script, *arguments):
        return subprocess.run(
            [sys.executable, os.path.join(scripts, script), *arguments],
            check=False,
            capture_output=True,
            text=True,
            env=environment,
        )

    return start


def test_only_what_a_script_has_to_say(start):
    found = start("reproduce_qa.py", "--no_such_flag")
    assert found.returncode == 1
    assert "Unknown command line flag 'no_such_flag'" in found.stderr
    assert "oneDNN" not in found.stderr


def test_a_command_tells_what_went_wrong(capsys):
    def run(main, *words):
        status = quiet.command(main)(["some/script.py", *words])
        return status, capsys.readouterr().err

    def main(path):
        if path == "stop":
            raise KeyboardInterrupt
        if path == "graph":
            raise tf.errors.NotFoundError(None, None, "no\n such file")
        if path == "bug":
            raise KeyError(path)
        raise OSError(path)

    assert run(lambda: 3) == (3, "")
    assert run(main, "of\nyours") == (1, "script: of yours\n")
    assert run(main, "graph") == (1, "script: no such file\n")
    assert run(main, "stop") == (130, "script: stopped.\n")
    assert run(main) == (1, "script: expected PATH, found nothing; --help says more.\n")
    assert run(main, "a", "b") == (1, "script: expected PATH, found a b; --help says more.\n")
    assert run(lambda: 0, "a") == (1, "script: expected flags alone, found a; --help says more.\n")
    with pytest.raises(KeyError):
        run(main, "bug")


def test_every_script_teaches_how_it_is_called(scripts):
    """absl's --help shows the docstring, then the flags."""
    for path in pathlib.Path(scripts).glob("*.py"):
        code = path.read_text(encoding="utf-8")
        if "__main__" in code:
            text = ast.get_docstring(ast.parse(code))
            assert f"python scripts/{path.name}" in text, path.name
            assert text.count("\n") > 4, path.name
            assert "app.run(main)" in code or "print(__doc__)" in code


def test_every_script_that_uses_tensorflow_is_quiet(scripts):
    for path in pathlib.Path(scripts).glob("*.py"):
        code = path.read_text(encoding="utf-8")
        if "import tensorflow" in code and path.name not in ("quiet.py", "plain_restore.py"):
            assert code.index("\nimport quiet") < code.index("import tensorflow"), path.name
