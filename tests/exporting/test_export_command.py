"""`partial-embed export`: what it takes, and the one line that it prints."""

import argparse
import os

import numpy as np
import pytest

from partial_embed.command import export as command
from partial_embed.exporting.export import FORMATS


@pytest.fixture
def run(capsys):
    """Returns `run(words...)`: what the command prints."""

    def run(*words):
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        assert command.run(parser.parse_args([str(word) for word in words])) is None
        return capsys.readouterr().out

    return run


def test_it_knows_every_format():
    assert tuple(FORMATS) == command.FORMATS


def test_one_line_of_what_was_written(run, write_checkpoint, folder, random):
    rows = random.randn(3, 2).astype("f")
    prefix = write_checkpoint({"model/ent": rows, "W": np.ones([2, 2], "f")})
    output = folder("e.npy")
    printed = run(prefix, output, "--table", "model/ent")
    assert printed == f"Wrote {output} (npy): model/ent [3, 2] float32.\n"
    assert np.load(output).tolist() == rows.tolist()
    printed = run(prefix, folder("all"), "--format", "object", "--name", "W=weight")
    assert printed.endswith("weight [2, 2] float32, model/ent [3, 2] float32.\n")


def test_vocabularies(run, write_checkpoint, folder):
    prefix = write_checkpoint({"a": np.ones([3, 2], "f"), "b": np.ones([2, 2], "f")})
    paths = folder("keys.txt"), folder("with=in.txt")
    for path in paths:
        with open(path, "w") as stream:
            stream.write("x\ny\n")
    output = folder("served")
    for number, path in enumerate(paths):
        printed = run(prefix, output + str(number), "--format=saved_model", "--vocabulary", path)
        assert printed.endswith("a [3, 2] float32, b [2, 2] float32, 2 keys.\n")
    buckets = ["--vocabulary", f"a={paths[0]}", "--num_oov_buckets", "1", "--table", "a"]
    printed = run(prefix, output, "--format=saved_model", *buckets)
    assert printed.endswith("a [3, 2] float32, 2 keys and 1 rows for others.\n")
    printed = run(prefix, folder("b.npy"), "--vocabulary", paths[0], "--table=b")
    assert printed.endswith("b [2, 2] float32, without its 2 keys.\n")
    with pytest.raises(ValueError, match="give that by --vocabulary"):
        run(prefix, folder("e.npy"), "--num_oov_buckets", 1)
    with pytest.raises(ValueError, match="no tensor 'c'"):
        run(prefix, folder("e.npy"), "--table", "c")
    for wrong in (["--vocabulary", "a="], ["--name", "a"]):
        with pytest.raises(ValueError, match="expected two parts with = between them"):
            run(prefix, folder("e.npy"), *wrong)
    assert not os.path.exists(folder("e.npy"))


def test_rows_that_are_not_finite(run, write_checkpoint, folder):
    prefix = write_checkpoint({"e": np.array([[np.inf]], "f")})
    with pytest.raises(ValueError, match="NaN or Inf"):
        run(prefix, folder("e.npy"))
    assert run(prefix, folder("e.npy"), "--allow_nonfinite")
