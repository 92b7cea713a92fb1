"""Every form of checkpoint that TensorFlow 1 had: read, grown from, and saved whole.

`make tf1-fixtures` writes the files again; see tests/legacy/make_tf1_fixtures.py.
"""

import hashlib
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe
from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.index import slice_counts

HERE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data", "tf1")
with open(os.path.join(HERE, "files.txt")) as listing:
    FILES = [line.split() for line in listing]
CASES = sorted({path.split("/")[0] for _, path in FILES if "/" in path})


@pytest.fixture(scope="module")
def true():
    """Returns `true(case)`: {tensor name: array} as the session had them."""
    with np.load(os.path.join(HERE, "true.npz")) as stored:
        arrays = {name: stored[name] for name in stored.files}
    return lambda case: {
        name.split("|")[1]: array for name, array in arrays.items() if name.split("|")[0] == case
    }


def prefix_of(case):
    """A V1 checkpoint in shards is named by the directory's only way: all of its files."""
    return os.path.join(HERE, case, "model.ckpt")


def same(found, expected):
    """Whether bits are the same; bfloat16 is stored as float32."""
    if found.dtype.kind == "V" or found.dtype.name == "bfloat16":
        found = found.astype(np.float32)
    return (found.dtype, found.shape, found.tobytes()) == (
        expected.dtype,
        expected.shape,
        expected.tobytes(),
    )


def test_no_file_is_missing_or_changed():
    assert len(CASES) == 29
    for digest, path in FILES:
        with open(os.path.join(HERE, path), "rb") as stream:
            assert hashlib.sha256(stream.read()).hexdigest() == digest, path


def test_nothing_else_lies_about(true):
    found = {
        os.path.relpath(os.path.join(folder, name), HERE)
        for folder, _, files in os.walk(HERE)
        for name in files
    }
    assert found == {path for _, path in FILES} | {"files.txt"}
    assert all(true(case) for case in CASES)


@pytest.mark.parametrize("case", CASES)
def test_it_is_read(case, true):
    checkpoint, expected = Checkpoint(prefix_of(case)), true(case)
    assert sorted(checkpoint.shapes) == sorted(expected)
    for name, array in expected.items():
        assert list(checkpoint.shapes[name]) == list(array.shape)
        assert same(checkpoint.read(name), array), name


@pytest.mark.parametrize("case", CASES)
def test_a_table_grows_from_it_and_is_saved_whole(case, true, tmp_path, start):
    checkpoint, expected = Checkpoint(prefix_of(case)), true(case)
    name = next(name for name in expected if name.split("/")[-1] == "ent")
    dtype, held = checkpoint.dtypes[name], list(expected[name].shape)
    shape = [held[0] + 2] + held[1:]
    with tf.variable_scope(os.path.dirname(name)) if "/" in name else tf.name_scope(""):
        table = pe.get_embedding(os.path.basename(name), shape, dtype, checkpoint=checkpoint.prefix)
        tf.train.AdagradOptimizer(0.1).minimize(tf.reduce_sum(table.lookup([0, held[0]])))
    session = start()
    before = session.run(table)
    assert same(before[: held[0]], expected[name])
    saver = pe.Saver()
    saver.restore(session, checkpoint.prefix)
    assert same(session.run(table)[: held[0]], expected[name])
    saved = saver.save(session, str(tmp_path / "grown.ckpt"))
    with tf.Graph().as_default(), tf.Session() as plain:
        variable = tf.get_variable(name, shape, dtype)
        tf.train.Saver().restore(plain, saved)
        found = plain.run(variable)
    assert same(found[: held[0]], expected[name])
    assert found.tobytes() == before.tobytes()
    delta = pe.Saver(delta=True).save(session, str(tmp_path / "delta.ckpt"))
    merged = pe.merge_checkpoint(checkpoint.prefix, delta, str(tmp_path / "merged.ckpt"))
    for tensor in Checkpoint(saved).shapes:
        whole, joined = Checkpoint(saved).read(tensor), Checkpoint(merged).read(tensor)
        assert whole.tobytes() == joined.tobytes(), tensor


@pytest.mark.parametrize("optimizer", ["momentum", "adagrad", "adam", "ftrl", "adadelta"])
def test_slots_are_taken_over(optimizer, true, tmp_path, start):
    optimizers = {
        "momentum": lambda: tf.train.MomentumOptimizer(0.1, 0.9),
        "adagrad": lambda: tf.train.AdagradOptimizer(0.1),
        "adam": lambda: tf.train.AdamOptimizer(0.1),
        "ftrl": lambda: tf.train.FtrlOptimizer(0.1),
        "adadelta": lambda: tf.train.AdadeltaOptimizer(0.1),
    }
    expected = true("v2_" + optimizer)
    with tf.variable_scope("model"), tf.variable_scope("deep"):
        table = pe.get_embedding("ent", [14, 3], checkpoint=prefix_of("v2_" + optimizer))
        optimizers[optimizer]().minimize(tf.reduce_sum(table.lookup([0, 12])))
    checkpoint = Checkpoint(pe.Saver().save(start(), str(tmp_path / "grown.ckpt")))
    slots = [name for name in expected if "/ent/" in name]
    assert slots
    for name in slots:
        assert checkpoint.read(name)[:11].tobytes() == expected[name].tobytes(), name


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_slices_are_counted(version):
    counts = {"equal": 4, "uneven": 4, "columns": 2}
    for kind, count in counts.items():
        prefix = prefix_of(f"{version}_sliced_{kind}")
        assert slice_counts(prefix)["ent"] == count
    assert slice_counts(prefix_of(version + "_float32"))["ent"] == 0
