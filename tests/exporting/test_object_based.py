"""Object-based checkpoints, which plain TensorFlow restores as objects; and the way back."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe


def restored(native, path, tables):
    """What tf.train.Checkpoint restores, after assert_consumed."""
    shapes = {name: [list(its.shape), its.dtype.name] for name, its in tables.items()}
    answer = native("restore", path, tables=shapes)
    assert "error" not in answer, answer
    return answer


def test_tensorflow_restores_tables_as_objects(native, write_checkpoint, folder, random):
    tables = {
        "embedding": random.randn(5, 3).astype("f"),
        "model/ent.x": random.randn(1, 1),
        "half": random.randn(3, 2).astype(np.float16),
    }
    prefix = write_checkpoint(dict(tables, bias=np.ones(3, "f")))
    path = pe.export(prefix, folder("objects"), "object").output
    found = restored(native, path, tables)
    assert found == {name: table.astype(float).tolist() for name, table in tables.items()}
    answer = native("restore", path, tables={"embedding": [[5, 3], "float32"]})
    assert "error" in answer  # assert_consumed: the others are not asked for


def test_there_and_back_again(read_checkpoint, write_checkpoint, folder, random, same_bits):
    tables = {
        "embedding": random.randn(5, 3).astype("f"),
        "model/ent.x/y": random.randn(1, 1),
        "half": random.randn(3, 2).astype(np.float16),
        "ids": np.arange(4).reshape(2, 2),
        "bias": random.randn(3).astype("f"),
        "number": np.float32(7),
    }
    tables["embedding"][0, 0] = -0.0
    prefix = write_checkpoint(tables)
    pe.export(prefix, folder("objects"), "object", tables=list(tables))
    back = pe.export(folder("objects"), folder("back"), "checkpoint").output
    found = read_checkpoint(back)
    assert sorted(found) == sorted(tables)
    assert all(same_bits(found[name], table) for name, table in tables.items())


def test_bfloat16_there_and_back_again(read_checkpoint, write_checkpoint, folder, same_bits):
    dtype = tf.bfloat16.as_numpy_dtype
    values = np.arange(6).reshape(3, 2).astype(dtype)
    prefix = write_checkpoint({"e": values})
    pe.export(prefix, folder("objects"), "object")
    pe.export(folder("objects"), folder("back"), "checkpoint")
    assert same_bits(read_checkpoint(folder("back"))["e"].view(np.uint16), values.view(np.uint16))


def test_a_checkpoint_of_objects_comes_back_for_a_plain_saver(plain_restore, folder, random):
    """One that tf.train.Checkpoint wrote, of an optimizer too, whose state stays behind."""
    rows = random.randn(4, 2).astype("f")
    with tf.Graph().as_default(), tf.Session() as session:
        table = tf.get_variable("anything", initializer=rows, use_resource=True)
        optimizer = tf.train.MomentumOptimizer(0.0, 0.9)
        step = optimizer.minimize(tf.reduce_sum(table))
        session.run(tf.global_variables_initializer())
        session.run(step)
        objects = tf.train.Checkpoint(words=table, optimizer=optimizer)
        prefix = objects.save(folder("objects"), session=session)
    written = pe.export(prefix, folder("back"), "checkpoint", names={"words": "model/words"})
    assert list(written.tables) == ["model/words"]
    found = plain_restore(written.output, {"model/words": [4, 2]})
    assert found["model/words"].tolist() == rows.tolist()
    with tf.Graph().as_default(), tf.Session() as session:
        with pe.growing(written.output, show=None):
            table = tf.get_variable("model/words", [6, 2])
        session.run(tf.global_variables_initializer())
        assert session.run(table)[:4].tolist() == rows.tolist()


def test_keys_and_generations_go_along(write_checkpoint, folder):
    prefix = write_checkpoint({"e": np.ones([2, 2], "f")})
    with tf.Graph().as_default(), tf.Session() as session:
        pe.get_embedding("e", [3, 2], checkpoint=prefix, vocabulary=(["a", "b"], ["a", "b", "c"]))
        session.run(tf.global_variables_initializer())
        grown = pe.Saver().save(session, folder("grown"))
    pe.export(grown, folder("objects"), "object", vocabularies=["a", "b", "c"])
    with open(folder("objects.vocabulary.txt")) as stream:
        assert stream.read() == "a\nb\nc\n"
    pe.export(grown, folder("copy"), "checkpoint", names={"e": "f"})
    with tf.Graph().as_default(), tf.Session() as session:
        first = pe.get_embedding("f", [2, 2], checkpoint=folder("copy"), generation=0)
        session.run(tf.global_variables_initializer())
        assert session.run(first).tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("name", ["restore", "save_counter", "_x"])
def test_names_that_objects_keep_to_themselves(write_checkpoint, folder, native, name):
    prefix = write_checkpoint({"e": np.ones([2, 2], "f")})
    with pytest.raises(ValueError, match="keeps the name .* Give the tensor another by names="):
        pe.export(prefix, folder("objects"), "object", names={"e": name})


def test_over_an_older_one(native, write_checkpoint, folder):
    for number in range(3):
        table = np.full([2, 2], number, "f")
        prefix = write_checkpoint({"e": table}, f"model-{number}")
        pe.export(prefix, folder("objects"), "object")
        assert restored(native, folder("objects"), {"e": table}) == {"e": table.tolist()}
