"""`partial-embed check`: what it prints, and its exit status."""

import argparse
import json
import os
import subprocess
import sys

import pytest

from partial_embed.command import check

SCRIPT = """import tensorflow as tf
e = tf.get_variable("embedding", [n_e, 10])
rows = tf.nn.embedding_lookup(e, ids)
"""
PYTHON_2 = 'import tensorflow as tf\nprint "loss", loss\n'


def run(*words):
    parser = argparse.ArgumentParser()
    check.add_arguments(parser)
    return check.run(parser.parse_args([str(word) for word in words]))


def test_what_is_printed(tmp_path, capsys):
    (tmp_path / "a.py").write_text(SCRIPT)
    assert run(tmp_path / "a.py") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(tmp_path / "a.py")
    assert lines[1] == "     1  gone    tf.get_variable"
    assert '     2  table   e = tf.get_variable("embedding", [n_e, 10])' in lines
    assert any(line.startswith(" " * 16 + "n_e rows") for line in lines)
    assert lines[-1] == (
        "1 script: 1 table, 1 gone, 0 traps. In brackets: the heading in docs/migration.md."
    )
    assert max(map(len, lines[1:])) <= 112


def test_directories_and_json(tmp_path, capsys):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "b.py").write_text(SCRIPT)
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / ".git").mkdir()
    for hidden in (".git/c.py", "._a.py"):
        (tmp_path / hidden).write_bytes(b"\x00")
    assert run("--json", tmp_path) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(its["path"], its["line"], its["kind"]) for its in found] == [
        (str(tmp_path / "models" / "b.py"), 1, "gone"),
        (str(tmp_path / "models" / "b.py"), 2, "table"),
    ]
    assert set(found[0]) == {"path", "line", "kind", "seen", "remedy", "heading"}


def test_a_script_in_python_2(tmp_path, capsys):
    (tmp_path / "old.py").write_text(PYTHON_2)
    (tmp_path / "other.py").write_text(SCRIPT)
    assert run(tmp_path) == 1
    output = capsys.readouterr().out
    assert "     2  syntax" in output and "2to3" in output and "[Scripts in Python 2]" in output
    assert "2 scripts: 1 table, 1 gone, 0 traps; 1 script not read." in output


def test_tabs_among_spaces_are_what_2to3_does_not_mend(tmp_path, capsys):
    script = b"if x:\n        y = 1\n\tprint y\n"
    (tmp_path / "old.py").write_bytes(script)
    assert run(tmp_path) == 1
    output = capsys.readouterr().out
    assert "`expand -i" in output and "2to3" not in output
    (tmp_path / "old.py").write_bytes(script.expandtabs())
    assert run(tmp_path) == 1
    assert "2to3" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content",
    [b"x = '\xff\xfe'\n", b"x = 1\x00\n", b"x = " + b"(" * 9999, b"if x:\n        y\n\tz\n"],
    ids=["encoding", "zero", "nested", "tabs"],
)
def test_what_is_no_script_is_a_finding(tmp_path, content, capsys):
    (tmp_path / "x.py").write_bytes(content)
    assert run(tmp_path / "x.py") == 1
    assert "syntax" in capsys.readouterr().out


def test_coding_is_what_the_script_says(tmp_path, capsys):
    (tmp_path / "x.py").write_bytes(b"# -*- coding: latin-1 -*-\nx = '\xe4'\n")
    assert run(tmp_path / "x.py") == 0
    assert capsys.readouterr().out.startswith("1 script: 0 tables, 0 gone, 0 traps.")


def test_what_is_not_there(tmp_path):
    with pytest.raises(OSError, match="nothing.py"):
        run(tmp_path / "nothing.py")
    with pytest.raises(ValueError, match=r"directory of \.py files, found none"):
        run(tmp_path)


def test_nothing_is_run(tmp_path, capsys):
    (tmp_path / "x.py").write_text(f"open({str(tmp_path / 'made')!r}, 'w')\n")
    assert run(tmp_path / "x.py") == 0
    assert not (tmp_path / "made").exists()


def test_the_rules_need_no_tensorflow(tmp_path):
    """As the command does it: the package itself imports nothing before it is asked to."""
    (tmp_path / "a.py").write_text(SCRIPT)
    house = os.path.dirname(os.path.dirname(os.path.abspath(check.__file__)))
    script = (
        "import sys, types\n"
        "package = types.ModuleType('partial_embed')\n"
        f"package.__path__ = [{house!r}]\n"
        "sys.modules['partial_embed'] = package\n"
        "from partial_embed.migration.check import check_script\n"
        f"print(len(check_script(open({str(tmp_path / 'a.py')!r}).read(), 'a.py')))\n"
        "assert not {'tensorflow', 'numpy', 'absl'} & set(sys.modules)\n"
    )
    assert subprocess.check_output([sys.executable, "-c", script]).strip() == b"2"
