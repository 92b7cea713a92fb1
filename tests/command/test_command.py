"""`partial-embed`: help, exit status, what each subcommand prints."""

import io
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from forks import without_notes
from small_model import NEW, OLD, Model, train_base

import partial_embed as pe
from partial_embed.command.main import COMMANDS
from partial_embed.command.progress import Progress


@pytest.fixture(name="base")
def trained(folder):
    """(prefix, values) of a trained base."""
    return train_base(folder("base.ckpt"))


@pytest.fixture
def grown(base, folder):
    """Prefixes of a whole checkpoint and of a delta, both of the same grown model."""
    with tf.Graph().as_default(), tf.Session() as session:
        model = Model(NEW, checkpoint=base[0])
        saver, delta = pe.Saver(), pe.Saver(delta=True)
        session.run(tf.global_variables_initializer())
        model.train(session, ids=(OLD, NEW - 1))
        whole = saver.save(session, folder("whole.ckpt"))
        return whole, delta.save(session, folder("delta.ckpt"))


def start(*words):
    """The command as a process of its own, where nothing asks TensorFlow for silence."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    for name in ("TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS"):
        environment.pop(name, None)
    found = subprocess.run(
        [sys.executable, "-m", "partial_embed", *words],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )
    found.stderr = without_notes(found.stderr)
    return found


def test_a_process_prints_what_is_its_own(grown):
    found = start("inspect", grown[0], "--rows=1")
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith(grown[0] + "\nstep 3\n\ntensor ")
    found = start("diff", grown[0], grown[0] + "-none")
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr.startswith("partial-embed diff: No checkpoint at ")
    assert found.stderr.count("\n") == 1


def test_help_needs_no_tensorflow():
    code = (
        "import sys, partial_embed.command.main as m; m.parser().format_help();"
        "import partial_embed; dir(partial_embed); print('tensorflow' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path))),
    )
    assert found.stdout == "False\n"


def test_every_help_has_an_example(command):
    found = command("--help")
    assert found.status == 0
    for name in COMMANDS:
        assert name in found.output
        its = command(name, "--help")
        assert its.status == 0
        assert f"\n  partial-embed {name} " in its.output
    found = command("no-such")
    assert found.status == 2
    assert command().status == 2


def test_every_public_name_is_there():
    assert set(pe.__all__) <= set(dir(pe))
    for name in pe.__all__:
        assert getattr(pe, name) is not None
    assert pe.growing.__name__ == "growing"
    with pytest.raises(AttributeError, match="no attribute 'grow'"):
        pe.grow  # noqa: B018


def test_merge(grown, base, folder, command, read_checkpoint, same_bits):
    whole, delta = grown
    found = command("merge", base[0], delta, "--output", folder("merged.ckpt"))
    assert found == (0, f"Wrote {folder('merged.ckpt')} from {base[0]} and {delta}.\n", "")
    merged, expected = read_checkpoint(folder("merged.ckpt")), read_checkpoint(whole)
    assert merged.keys() == expected.keys()
    assert all(same_bits(merged[name], expected[name]) for name in expected)
    found = command("merge", whole, delta, "--output", folder("x"))
    assert (found.status, found.output) == (1, "")
    start = f"partial-embed merge: The delta {delta} was trained on the base"
    assert found.errors.startswith(start)
    assert found.errors.count("\n") == 1
    assert not os.path.exists(folder("x.index"))


def test_grow(base, folder, command, read_checkpoint):
    grown = folder("grown.ckpt")
    found = command("grow", base[0], grown, "--rows", "model/ent=9", "--init", "mean")
    assert (found.status, found.errors) == (0, "")
    lines = found.output.splitlines()
    assert lines[1] == "  grew  model/ent: [6 -> 9, 4]; new rows 6-8 start at mean"
    assert lines[2] == "  slot  model/ent/Adam: [6 -> 9, 4]; new rows 6-8 start at 0.0"
    assert lines[-1] == f"Wrote {grown}."
    assert read_checkpoint(grown)["model/ent"].shape == (NEW, 4)
    text = command("inspect", grown).output
    assert "generation 1: rows 6-8, not trained yet" in text
    assert command("diff", base[0], grown).status == 0


def test_grow_by_keys(write_checkpoint, tmp_path, command, read_checkpoint):
    arrays = {"ent": np.arange(6.0).reshape([3, 2]), "bias": np.ones(3), "other/b": np.ones(3)}
    base = write_checkpoint(arrays)
    files = {"old": "a\nb\nc\n", "new": "c\nx\na\nb\ny\n", "near": "y\ta\tb\nx\tc\n"}
    paths = {name: str(tmp_path / name) for name in files}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    keys = ["--vocabulary", paths["old"], paths["new"], "--skip", "other/*"]
    near = ["--init", "ent=neighbours", "--init", "zeros", "--neighbours", paths["near"]]
    found = command("grow", base, tmp_path / "grown", *keys, *near, "--json")
    assert found.status == 0, found.errors
    content = json.loads(found.output)
    assert content["same"] == ["other/b"]
    assert [its["name"] for its in content["grown"]] == ["bias", "ent"]
    held = read_checkpoint(str(tmp_path / "grown"))
    assert held["ent"].tolist() == [[4, 5], [4, 5], [0, 1], [2, 3], [1, 2]]
    assert held["bias"].tolist() == [1, 0, 1, 1, 0]
    # What is written down in a wrong way is said in a line.
    for words, message in (
        (["--rows", "ent"], "expected NAME=VALUE"),
        (["--rows", "ent=many"], "expected a number of rows"),
        (["--rows", "ent=9", "--slot", "x=y"], "starts at a number"),
        ([*keys, "--init", "neighbours"], "needs --vocabulary, and --neighbours"),
        ([*keys, "--init", "neighbours", "--neighbours", paths["old"]], "line 1: expected a new"),
        ([*keys, "--init", "neighbours", "--neighbours", str(tmp_path / "no")], "no file"),
    ):
        found = command("grow", base, tmp_path / "more", *words)
        assert (found.status, found.output) == (1, "")
        assert message in found.errors
        assert found.errors.count("\n") == 1
    assert not (tmp_path / "more.index").exists()


def test_inspect(grown, base, command):
    whole, delta = grown
    status, output, _ = command("inspect", whole, "--rows=0:2")
    assert status == 0
    lines = output.split("\n")
    assert lines[:2] == [whole, "step 3"]
    assert lines[3].split() == ["tensor", "shape", "dtype", "slices", "slot", "of"]
    cells = {line.split()[0]: line.split() for line in lines[4:] if line}
    assert cells["model/ent"][1:] == ["[9,", "4]", "float32", "2"]
    assert cells["model/ent/Adam"][1:] == ["[9,", "4]", "float32", "2", "model/ent"]
    assert "model/ent: 9 rows\n  generation 0: rows 0-5\n  generation 1: rows 6-8\n" in output
    rows = output.split("model/ent[0:2]\n")[1].split("\n")
    assert [row.split()[0] for row in rows[:2]] == ["0", "1"]
    assert "{:.4f}".format(base[1]["model/ent"][0, 0])[:5] in rows[0]
    assert "model/ent/Adam[" not in output  # Slots are printed when they are asked for.
    text = command("inspect", delta).output
    assert text.startswith(delta + ", a delta")
    assert "model/ent: rows 6-8 of 9, grown from " + base[0] in text
    assert "fingerprint of the frozen rows: " in text
    assert "can grow" not in text


def test_inspect_says_what_can_grow(write_checkpoint, tmp_path, command):
    arrays = {
        "ent": np.zeros([6, 4]),
        "ent/Adam": np.zeros([6, 4]),
        "out": np.zeros([4, 6]),
        "bias": np.zeros([6]),
        "hidden": np.zeros([4, 3]),
        "relation": np.zeros([3, 4]),
        "global_step": np.int64(3),
    }
    prefix = write_checkpoint(arrays)
    (tmp_path / "keys.txt").write_text("a\nb\nc\nd\ne\nf")
    (tmp_path / "relations.txt").write_text("of\nto\nby\n")
    (tmp_path / "other.txt").write_text("a\n")
    found = json.loads(command("inspect", prefix, "--json").output)
    assert found["growable"] == [
        {
            "entries": 6,
            "variables": {"bias": [0], "ent": [0], "out": [1]},
            "slots": ["Adam"],
            "vocabularies": ["keys.txt"],
        },
        {
            "entries": 4,
            "variables": {"ent": [1], "hidden": [0], "out": [0], "relation": [1]},
            "slots": ["Adam"],
            "vocabularies": [],
        },
        {
            "entries": 3,
            "variables": {"hidden": [1], "relation": [0]},
            "slots": [],
            "vocabularies": ["relations.txt"],
        },
    ]
    text = command("inspect", prefix).output
    assert "\n6        bias (rows), ent (rows), out (columns)" in text
    assert "keys.txt" in text
    assert "other.txt" not in text


def test_inspecting_every_format(data, command):
    for directory in ("v1_adam", "v2_adam", "v2_sliced_adam", "v2_resource"):
        text = command("inspect", data(directory), "--rows", "998:").output
        assert "step 50" in text
        assert "embedding/Adam_1" in text
        assert "embedding[998:]\n     998  [" in text
    assert "[1000, 16]  float32  4" in command("inspect", data("v2_sliced_adam")).output
    assert "[1000, 16]  float32  4" in command("inspect", data("v1_sliced")).output
    found = command("inspect", data("v1_float16"), "--tensor", "embedding", "--rows", "3")
    assert "float16" in found.output


@pytest.mark.parametrize("rows", ["a", "1:2:3", "", "1:b"])
def test_rows_that_mean_nothing(data, command, rows):
    found = command("inspect", data("v2_adam"), f"--rows={rows}")
    assert found.status == 1
    assert "expected START:STOP" in found.errors


def test_rows_that_are_not_there(data, command):
    found = command("inspect", data("v2_adam"), "--rows=9:2", "--tensor=weight")
    assert found.status == 0
    assert "weight[9:2]: none of its 16 rows" in found.output


def test_diff(grown, base, command):
    whole, _ = grown
    status, output, _ = command("diff", base[0], whole, "--tensor=model/ent")
    assert status == 0
    assert output.split("\n")[1].split() == (
        ["model/ent", "[6,", "4]", "[9,", "4]", "3", "rows", "are", "new"]
    )
    assert "1 of 1 tensors of A are in B, to the last bit." in output
    status, output, _ = command("diff", whole, base[0], "--tensor=model/ent")
    assert status == 1
    assert "3 rows of A are gone" in output
    assert command("diff", whole, whole).status == 0
    status, output, _ = command("diff", base[0], whole)
    assert status == 1
    assert "global_step" in output
    found = command("diff", whole, whole, "--tensor=none*")
    assert found.status == 1
    assert "match no tensor" in found.errors


def test_diff_of_rows_that_follow_keys(write_checkpoint, command, tmp_path):
    base = write_checkpoint({"e": np.float32([[1], [2]]), "same": np.ones(2)})
    keys = [tmp_path / "old", tmp_path / "new"]
    keys[0].write_text("a\nb\n")
    keys[1].write_text("b\na\nc\n")
    grown = str(tmp_path / "grown")
    pe.grow_checkpoint(base, grown, vocabularies={"e": keys}, show=None)
    hint = "Rows of e follow keys in B: compare by --vocabulary OLD NEW."
    status, output, _ = command("diff", base, grown)
    assert (status, output.splitlines()[-1]) == (1, hint)
    status, output, _ = command("diff", base, grown, "--vocabulary", *map(str, keys))
    assert status == 0 and hint not in output


def test_diff_says_where_and_how_far(write_checkpoint, command):
    old = np.zeros([5, 3], np.float32)
    new = old.copy()
    new[1, 2], new[3, 2] = 0.5, -0.25
    one = write_checkpoint({"a": old, "gone": old, "kind": old, "shape": old, "zero": old})
    arrays = {"a": new, "added": old, "kind": old.astype(np.float64), "shape": old[:, 0]}
    other = write_checkpoint(dict(arrays, zero=-old), name="other.ckpt")
    lines = command("diff", one, other).output.split("\n")
    told = {line.split()[0]: line for line in lines[1:7]}
    where = "2 of 5 rows (1, 3), 1 of 3 columns (2), 2 values, by 0.5 at most"
    assert told["a"].endswith(where)
    assert told["added"].endswith("only in B")
    assert told["gone"].endswith("only in A")
    assert told["kind"].endswith("float32 in A, float64 in B")
    assert told["shape"].endswith("another shape")
    assert told["zero"].endswith("all rows, 15 values, by 0 at most")
    found = json.loads(command("diff", one, other, "--json", "--tensor=a").output)
    assert (found[0]["rows"], found[0]["columns"]) == ([[1, 2], [3, 4]], [[2, 3]])
    assert (found[0]["values"], found[0]["farthest"], found[0]["same"]) == (2, 0.5, False)


def test_diff_by_keys(write_checkpoint, tmp_path, command):
    old = np.arange(8.0, dtype=np.float32).reshape([4, 2])
    one = write_checkpoint({"ent": old, "out": old.T.copy()})
    new = np.stack([old[2], old[1] + 9, old[0], old[3] + 1])
    other = write_checkpoint({"ent": new, "out": new.T.copy()}, name="other.ckpt")
    for name, keys in (("old.txt", "abcd"), ("new.txt", "cxad")):
        (tmp_path / name).write_text("\n".join(keys))
    files = [str(tmp_path / name) for name in ("old.txt", "new.txt")]
    found = json.loads(command("diff", one, other, "--json", "--vocabulary", *files).output)
    for its, axis in zip(found, (0, 1)):
        assert (its["axis"], its["compared"], its["dropped"]) == (axis, 3, 1)
        assert its["rows"] == [[3, 4]]
        assert its["farthest"] == 1.0


def test_progress_is_for_terminals(capsys, monkeypatch):
    monkeypatch.setattr("partial_embed.command.progress._PATIENCE", 0.001)
    monkeypatch.setattr("partial_embed.command.progress._EVERY", 0.001)
    with Progress("work") as progress:
        progress(1, 2)
    assert capsys.readouterr().err == ""
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", terminal)
    with Progress("work") as progress:
        wait_for(lambda: "work: 0 s" in terminal.getvalue())
        progress(5e6, 1e7)
        wait_for(lambda: "work:  50%, 5 MB, " in terminal.getvalue())
    assert terminal.getvalue().endswith("\r\033[K")  # and the line is gone


def wait_for(condition):
    last = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < last
        time.sleep(0.001)


def test_diff_of_what_is_no_table_of_numbers(write_checkpoint, tmp_path, command, grown):
    arrays = {"empty": np.zeros([5, 0]), "c": np.ones([2, 2], np.complex128), "n": np.zeros(3)}
    one = write_checkpoint(arrays)
    arrays["n"] = np.array([0, np.nan, 0])
    other = write_checkpoint(arrays, name="other.ckpt")
    found = command("diff", one, other, "--json")
    assert found.status == 1
    told = {its["name"]: its for its in json.loads(found.output, parse_constant=pytest.fail)}
    assert told["empty"]["same"] and told["c"]["same"]
    assert (told["n"]["rows"], told["n"]["farthest"]) == ([[1, 2]], "nan")
    assert command("diff", grown[1], grown[1]).status == 0  # a delta holds a text
    for name in ("old.txt", "new.txt"):
        (tmp_path / name).write_text("a\nb\n")
    keys = ["--vocabulary", tmp_path / "old.txt", tmp_path / "new.txt"]
    found = command("diff", one, other, *keys, "--tensor=n")
    assert found.status == 1
    assert "No tensor has one entry for each old key" in found.errors


def test_inspect_of_a_step_that_is_none(write_checkpoint, command):
    found = command("inspect", write_checkpoint({"global_step": np.arange(2)}))
    assert (found.status, found.errors) == (0, "")


def test_options_that_would_be_of_no_use(base, folder, command):
    for words, message in (
        (["--rows=model/ent=9", "--match=x"], "give --vocabulary"),
        (["--rows=model/ent=9", "--neighbours=x"], "say --init neighbours"),
        (["--rows=model/ent=9", "--rows=model/ent=8"], "is named twice"),
        (["--rows=model/ent=\u00b2"], "expected a number of rows"),
        (["--rows=model/ent=4000000000"], "expected a number above 6"),
    ):
        found = command("grow", base[0], folder("g"), *words)
        assert (found.status, found.output) == (1, "")
        assert message in found.errors


def test_errors_name_options_and_no_arguments(write_checkpoint, folder, command):
    tables = {name: np.ones([3, 2], "f") for name in ("a", "b", "a/Odd")}
    prefix, nan = write_checkpoint(tables), {"a": np.full([3, 2], np.nan, "f")}
    broken, output = write_checkpoint(nan, name="broken"), folder("out")
    for words, remedy in (
        (["export", prefix, output + ".npy"], "Name the one that is meant with --table."),
        (["export", prefix, output + ".npy", "--table=a", "--name=b=c"], ": --name has b, which"),
        (["export", broken, output + ".npy"], "or pass --allow_nonfinite to export"),
        (["grow", prefix, output, "--rows=a=4"], "Say --slot '*/Odd'=0.0, or"),
        (["grow", prefix, output], "give --rows, --columns or --vocabulary."),
        (["inspect", prefix, "--rows=x"], ": --rows=x: expected"),
    ):
        found = command(*words)
        assert found.status == 1
        assert remedy in found.errors
