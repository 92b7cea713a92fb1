"""SavedModels, by TensorFlow's own loader in another process: ids and keys give their rows."""

import os
import subprocess

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe
from partial_embed._tensorflow import SavedModel

KEYS = ["ent/é", "b b", "名", "d", "e"]


@pytest.fixture
def rows(random):
    return random.randn(5, 3).astype("f")


@pytest.fixture
def prefix(write_checkpoint, rows):
    return write_checkpoint({"model/ent": rows})


def look_up(native, path, signature, inputs):
    answer = native("look_up", path, signature=signature, inputs=inputs)
    assert "error" not in answer, answer
    return np.array(answer["rows"], answer["dtype"])


def error_of(native, path, signature, inputs):
    return native("look_up", path, signature=signature, inputs=inputs)["error"]


def test_ids_and_keys_give_their_rows(native, prefix, rows, folder):
    written = pe.export(prefix, folder("served"), "saved_model", vocabularies=KEYS)
    assert written.tables == {"model/ent": "[5, 3] float32, 5 keys"}
    path = written.output
    names = native("signatures", path)["names"]
    assert names == ["ids", "keys", "serving_default"]
    assert look_up(native, path, "ids", [4, 0, 4]).tolist() == rows[[4, 0, 4]].tolist()
    assert look_up(native, path, "ids", [[4], [1]]).tolist() == rows[[4, 1], None].tolist()
    assert look_up(native, path, "ids", []).size == 0
    for signature in ("keys", "serving_default"):
        found = look_up(native, path, signature, KEYS[::-1])
        assert found.tolist() == rows[::-1].tolist()
    assert look_up(native, path, "keys", [[KEYS[2]]]).tolist() == [[rows[2].tolist()]]
    for ids in ([5], [0, -1], [1 << 40]):
        assert "Ids of model/ent are 0 to 4" in error_of(native, path, "ids", ids)
    for key in ("", "B B", "b", "no such key"):
        assert "not in the vocabulary of model/ent" in error_of(native, path, "keys", ["d", key])


def test_without_a_vocabulary_there_are_ids_alone(native, prefix, rows, folder):
    path = pe.export(prefix, folder("served"), "saved_model").output
    assert native("signatures", path)["names"] == ["ids", "serving_default"]
    assert look_up(native, path, "serving_default", [3]).tolist() == rows[3:4].tolist()


def test_unknown_keys_of_zeros(native, prefix, rows, folder):
    path = folder("served")
    pe.export(prefix, path, "saved_model", vocabularies=KEYS, unknown_keys="zeros")
    found = look_up(native, path, "keys", [["x", "d"], ["e", ""]])
    assert found.tolist() == [[[0] * 3, rows[3].tolist()], [rows[4].tolist(), [0] * 3]]


def test_zeros_of_an_unknown_key_although_the_first_row_is_not_finite(
    native, folder, write_checkpoint
):
    prefix = write_checkpoint({"e": np.array([[np.nan], [2]], "f")})
    path = folder("served")
    arguments = dict(vocabularies=["a", "b"], unknown_keys="zeros", allow_nonfinite=True)
    pe.export(prefix, path, "saved_model", **arguments)
    assert look_up(native, path, "keys", ["x", "b"]).tolist() == [[0], [2]]


def test_buckets_are_those_of_the_training_script(native, prefix, rows, folder, start):
    path = folder("served")
    pe.export(prefix, path, "saved_model", vocabularies={"*ent": (KEYS[:3], 2)})
    asked = KEYS[:3] + [f"unknown {n}" for n in range(20)]
    text = folder("keys.txt")
    with open(text, "w", encoding="utf-8") as stream:
        stream.write("\n".join(KEYS[:3]))
    table = tf.lookup.StaticVocabularyTable(
        tf.lookup.TextFileInitializer(
            text,
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        ),
        2,
    )
    ids = table.lookup(tf.constant(asked))
    with tf.Session() as session:
        session.run(tf.tables_initializer())
        expected = rows[session.run(ids)]
    assert set(map(tuple, expected[3:].tolist())) == set(map(tuple, rows[3:].tolist()))
    assert look_up(native, path, "keys", asked).tolist() == expected.tolist()


def test_several_tables_have_signatures_of_their_own(native, folder, write_checkpoint, random):
    users, items = random.randn(3, 2).astype("f"), random.randn(1, 1)
    prefix = write_checkpoint({"m/user": users, "item": items, "bias": np.zeros(3, "f")})
    path = folder("served")
    keys = {"m/*": ["a", "b", "c"], "item": ["only"]}
    pe.export(prefix, path, "saved_model", vocabularies=keys, names={"item": "the item"})
    names = native("signatures", path)["names"]
    assert names == ["ids/m/user", "ids/the item", "keys/m/user", "keys/the item"]
    assert look_up(native, path, "keys/m/user", ["c"]).tolist() == users[2:].tolist()
    found = look_up(native, path, "keys/the item", ["only"])
    assert (found.dtype, found.tolist()) == (np.float64, items.tolist())


def test_the_vocabulary_inside_is_all_that_is_needed(native, folder, write_checkpoint):
    prefix = write_checkpoint({"e": np.ones([2, 2], "f")})
    keys = folder("keys.txt")
    with open(keys, "w") as stream:
        stream.write("a\nb\n")
    pe.export(prefix, folder("served"), "saved_model", vocabularies=keys)
    os.unlink(keys)
    os.rename(folder("served"), folder("moved"))
    assert look_up(native, folder("moved"), "keys", ["b"]).tolist() == [[1, 1]]


@pytest.mark.parametrize("dtype", ["float16", "int32", "int64"])
def test_other_dtypes(native, folder, write_checkpoint, dtype):
    rows = np.arange(6).reshape([3, 2]).astype(dtype)
    prefix = write_checkpoint({"e": rows})
    pe.export(prefix, folder("served"), "saved_model", tables="e")
    found = look_up(native, folder("served"), "ids", [2, 0])
    assert (found.dtype, found.tolist()) == (dtype, rows[[2, 0]].tolist())


def test_rows_of_more_axes_and_of_none(native, folder, write_checkpoint):
    prefix = write_checkpoint({"cube": np.arange(8.0).reshape([2, 2, 2]), "bias": np.arange(3.0)})
    pe.export(prefix, folder("served"), "saved_model", tables=["cube", "bias"])
    assert look_up(native, folder("served"), "ids/cube", [1]).tolist() == [[[4, 5], [6, 7]]]
    assert look_up(native, folder("served"), "ids/bias", [2, 2]).tolist() == [2, 2]


def test_nothing_in_it_is_newer_than_1_15(prefix, folder):
    pe.export(prefix, folder("served"), "saved_model", vocabularies=KEYS)
    model = SavedModel()
    with open(folder("served", "saved_model.pb"), "rb") as stream:
        model.ParseFromString(stream.read())
    nodes = model.meta_graphs[0].graph_def.node
    variables = [node for node in nodes if node.op == "VarHandleOp"]
    assert len(variables) == 1 and "debug_name" not in variables[0].attr


def test_what_one_tensorflow_writes_the_other_serves(native, other_python, prefix, rows, folder):
    vocabulary = folder("keys.txt")
    with open(vocabulary, "w", encoding="utf-8") as stream:
        stream.write("\n".join(KEYS))
    script = (
        "import sys, tensorflow.compat.v1 as tf; tf.disable_v2_behavior(); import partial_embed;"
        "partial_embed.export(*sys.argv[1:3], 'saved_model', vocabularies=sys.argv[3])"
    )
    house = os.path.dirname(os.path.dirname(pe.__file__))
    subprocess.run(
        [other_python, "-W", "ignore", "-c", script, prefix, folder("served"), vocabulary],
        check=True,
        env=dict(os.environ, PYTHONPATH=house),
        stderr=subprocess.DEVNULL,
        timeout=120,
    )
    assert look_up(native, folder("served"), "ids", [4, 0]).tolist() == rows[[4, 0]].tolist()
    assert look_up(native, folder("served"), "keys", KEYS).tolist() == rows.tolist()
    assert "Ids of model/ent" in error_of(native, folder("served"), "ids", [5])
