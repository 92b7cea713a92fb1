"""Finding checkpoints, saying what is wrong with them, and reading every format there is."""

import os
import shutil

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe
from partial_embed.files import checkpoint as checkpoint_module
from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.locate import resolve
from partial_embed.files.tensors import restore, slice_spec

# Directory of the checkpoint, its step, and the arrays it must load as; see data/README.md.
FIXTURES = [
    ("v2_adam", 50, "adam"),
    ("v1_adam", 50, "adam"),
    ("v2_sliced_adam", 50, "adam"),
    ("v2_resource", 50, "adam"),
    ("v1_sliced", 5, "sliced"),
    ("v2_float16", 10, "float16"),
    ("v1_float16", 10, "float16"),
    ("v2_float64", 10, "float64"),
]
each_fixture = pytest.mark.parametrize("directory, step, arrays", FIXTURES)


@pytest.fixture(scope="session")
def truth(data):
    """Returns `truth(arrays)`: dict of tensor name to what the live session had."""

    def load(arrays):
        with np.load(data(arrays + ".npz")) as stored:
            return {name: stored[name] for name in stored.files if name != "losses"}

    return load


# --- every format of genuine TensorFlow 1.15.5 ----------------------------------------


@each_fixture
def test_names_shapes_and_dtypes(data, truth, directory, step, arrays):
    checkpoint = Checkpoint(data(directory))
    assert checkpoint.prefix == data(directory, f"model.ckpt-{step}")
    expected = truth(arrays)
    assert {n: list(v.shape) for n, v in expected.items()} == dict(checkpoint.shapes)
    assert {n: v.dtype for n, v in expected.items()} == {
        name: np.dtype(dtype.as_numpy_dtype) for name, dtype in checkpoint.dtypes.items()
    }


@each_fixture
def test_read(data, truth, same_bits, directory, step, arrays):
    checkpoint = Checkpoint(data(directory, f"model.ckpt-{step}"))
    for name, expected in truth(arrays).items():
        found = checkpoint.read(name)
        assert same_bits(found, expected), name


@each_fixture
def test_slices_are_read_across_those_on_disk(data, truth, same_bits, directory, step, arrays):
    checkpoint = Checkpoint(data(directory))
    expected = truth(arrays)["embedding"][240:510]  # The slices on disk begin at 250 and 500.
    spec = slice_spec([1000, 16], [240, 0], [270, 16])
    assert spec == "1000 16 240,270:0,16"
    with tf.Session() as session:
        dtype = checkpoint.dtypes["embedding"]
        assert same_bits(
            session.run(restore(checkpoint.prefix, "embedding", dtype, spec)), expected
        )


@each_fixture
def test_a_table_grows_from_it(data, truth, same_bits, start, directory, step, arrays):
    del step
    expected = truth(arrays)
    with pe.growing(data(directory)):
        dtype = tf.as_dtype(expected["embedding"].dtype)
        # In three parts, whose borders are not those on disk.
        table = tf.get_variable(
            "embedding", [1003, 16], dtype, partitioner=tf.fixed_size_partitioner(3)
        )
        weight = tf.get_variable("weight", [16, 2], dtype)
    session = start()
    assert same_bits(session.run(tf.concat(list(table.frozen), 0)), expected["embedding"])
    assert same_bits(session.run(weight), expected["weight"])
    assert table.num_frozen_rows == 1000


# --- finding one ------------------------------------------------------------------


def test_a_prefix_a_directory_and_a_state_file_mean_the_same(write_checkpoint, tmp_path):
    prefix = write_checkpoint({"embedding": np.zeros([2, 2])})
    assert resolve(prefix) == resolve(str(tmp_path)) == prefix
    assert resolve(os.path.join(str(tmp_path), "checkpoint")) == prefix
    assert resolve(tmp_path / "model.ckpt") == prefix  # A pathlib.Path.


def test_a_relative_path_outlives_a_change_of_directory(write_checkpoint, tmp_path, monkeypatch):
    prefix = write_checkpoint({"embedding": np.zeros([2, 2])})
    monkeypatch.chdir(tmp_path)
    assert resolve("model.ckpt") == resolve(".") == resolve("checkpoint") == prefix


def test_the_newest_that_is_there_is_taken(write_checkpoint, tmp_path):
    older = write_checkpoint({"embedding": np.zeros([2, 2])}, name="model.ckpt-1")
    newer = write_checkpoint({"embedding": np.zeros([2, 2])}, name="model.ckpt-2")
    tf.train.update_checkpoint_state(str(tmp_path), newer, [older, newer])
    assert resolve(str(tmp_path)) == newer
    os.remove(newer + ".index")  # What a crash leaves behind.
    assert resolve(str(tmp_path)) == older


def test_a_copied_directory_whose_state_file_is_stale(write_checkpoint, tmp_path):
    prefix = write_checkpoint({"embedding": np.zeros([2, 2])})
    tf.train.update_checkpoint_state(str(tmp_path), prefix)
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    for name in os.listdir(str(tmp_path)):
        if os.path.isfile(str(tmp_path / name)):
            shutil.move(str(tmp_path / name), str(copy / name))
    assert tf.train.latest_checkpoint(str(copy)) is None  # TensorFlow does not find it.
    assert resolve(str(copy)) == str(copy / "model.ckpt")


@pytest.mark.parametrize("version", [tf.train.SaverDef.V1, tf.train.SaverDef.V2])
@pytest.mark.parametrize("sharded", [False, True])
def test_formats_and_shards(write_checkpoint, same_bits, version, sharded):
    values = np.arange(6, dtype=np.float32).reshape([3, 2])
    prefix = write_checkpoint({"embedding": values}, write_version=version, sharded=sharded)
    # A sharded V1 saver calls it model.ckpt-?????-of-00001.
    for name in (prefix, prefix.split("-?")[0], os.path.dirname(prefix)):
        checkpoint = Checkpoint(name)
        assert checkpoint.prefix == prefix
        assert same_bits(checkpoint.read("embedding"), values)


def test_no_checkpoint(tmp_path):
    with pytest.raises(ValueError) as error:
        resolve(str(tmp_path / "model.ckpt"))
    assert "No checkpoint at {}".format(tmp_path / "model.ckpt") in str(error.value)
    assert "Expected a checkpoint prefix (like model.ckpt-50), or a directory" in str(error.value)
    assert f"found in {tmp_path}: no checkpoint." in str(error.value)
    for number in range(30):
        (tmp_path / f"model.ckpt-{number}.index").write_text("")
        (tmp_path / f"notes-{number}.txt").write_text("")
    with pytest.raises(ValueError) as error:
        resolve(str(tmp_path / "model.cpkt-7"))
    listed = str(error.value).split(f"found in {tmp_path}: ")[1]
    assert listed.startswith("model.ckpt-7, ") and listed.endswith(" and 20 more.")
    assert listed.count("model.ckpt-") == 10 and "notes" not in listed
    with pytest.raises(ValueError, match="found no directory .*nowhere"):
        resolve(str(tmp_path / "nowhere" / "model.ckpt"))


@pytest.mark.parametrize("ending", [".index", ".data-00000-of-00001"])
def test_one_file_of_a_checkpoint(write_checkpoint, ending):
    prefix = write_checkpoint({"embedding": np.zeros([2, 2])})
    with pytest.raises(ValueError) as error:
        resolve(prefix + ending)
    assert "one file of a checkpoint. Give the prefix its files share: " + prefix in str(
        error.value
    )


def test_a_damaged_one(write_checkpoint):
    prefix = write_checkpoint({"embedding": np.zeros([2, 2])})
    with open(prefix + ".index", "wb") as index:
        index.write(b"not an index at all, but long enough to be taken for one" * 4)
    with pytest.raises(ValueError, match="cannot be read: (.|\n)*damaged or incomplete"):
        Checkpoint(prefix)


# --- before any session exists: what does not fit -----------------------------------


@pytest.fixture
def prefix(write_checkpoint):
    return write_checkpoint(
        {"entity/embedding": np.ones([4, 3], np.float32), "relation": np.ones([2, 3], np.float32)}
    )


def message(name, shape, dtype=tf.float32, **arguments):
    with tf.Graph().as_default() as graph, pytest.raises(ValueError) as error:
        pe.get_embedding(name, shape, dtype, **arguments)
    assert not graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)  # Nothing half made.
    return str(error.value)


def test_a_name_that_is_not_there(prefix):
    text = message("embedding", [6, 3], checkpoint=prefix)
    assert "holds no tensor 'embedding'" in text
    assert "Perhaps you meant 'entity/embedding'?" in text
    assert "It holds: entity/embedding [4, 3] float32; relation [2, 3] float32" in text
    assert "tensor_name=" in text
    assert prefix in text
    assert "Perhaps" not in message("xyz", [6, 3], checkpoint=prefix)


@pytest.mark.parametrize(
    "shape, problem",
    [
        ([6], "it must have as many dimensions"),
        ([6, 3, 1], "it must have as many dimensions"),
        ([6, 4], "a table grows along one axis, and here axis 1 and axis 0 differ"),
        ([6, 1], "a table can gain rows, not lose them"),
        ([2, 1], "a table can gain rows, not lose them"),
    ],
)
def test_a_rank_or_a_dimension_that_differs(prefix, shape, problem):
    text = message("relation", shape, checkpoint=prefix)
    assert f"The table relation {shape} float32 does not fit" in text
    assert "holds relation [2, 3] float32" in text
    assert problem in text


def test_fewer_rows_than_the_checkpoint(prefix):
    text = message("mine", [3, 3], checkpoint=prefix, tensor_name="entity/embedding")
    assert "[3, 3] float32 does not fit" in text
    assert "holds entity/embedding [4, 3] float32" in text
    assert "a table can gain rows, not lose them" in text


@pytest.mark.parametrize("dtype", [tf.float64, tf.float16, tf.int32])
def test_another_dtype(prefix, dtype):
    text = message("relation", [4, 3], dtype, checkpoint=prefix)
    assert f"relation [4, 3] {dtype.name} does not fit" in text
    assert "the dtype must be equal; ask for dtype=tf.float32" in text


@pytest.mark.parametrize(
    "shape, dtype, problem",
    [
        ([3, 3], tf.float32, "can gain rows, not lose them"),
        ([6, 5], tf.float32, "a table grows along one axis, .*skip="),
        ([4, 3], tf.float64, "ask for dtype=tf.float32"),
    ],
)
def test_growing_checks_the_same(prefix, shape, dtype, problem):
    with pytest.raises(ValueError, match=problem), pe.growing(prefix):
        tf.get_variable("entity/embedding", shape, dtype)
    with pytest.raises(ValueError, match="No checkpoint at"):
        pe.growing(prefix + "-1")


def test_tensor_name_loads_a_table_of_another_name(prefix, start):
    table = pe.get_embedding("mine", [6, 3], checkpoint=prefix, tensor_name="relation")
    assert table.tensor_name == "relation"
    assert table.num_frozen_rows == 2
    assert start().run(table)[:2].tolist() == np.ones([2, 3]).tolist()


def test_an_open_checkpoint_is_taken_as_it_is(prefix):
    checkpoint = Checkpoint(prefix)
    assert "relation" in checkpoint
    table = pe.get_embedding("relation", [5, 3], checkpoint=checkpoint)
    assert table.source.prefix == prefix
    with pytest.raises(ValueError, match="holds no tensor 'embedding'"):
        checkpoint.read("embedding")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_are_named(write_checkpoint, start, value):
    values = np.ones([5, 3], np.float32)
    values[3, 1] = value
    prefix = write_checkpoint({"embedding": values, "other": values})
    pe.get_embedding("embedding", [6, 3], checkpoint=prefix)
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        start()
    text = error.value.message
    assert "embedding of " + prefix in text
    assert "rows with NaN or Inf" in text
    assert "[3]" in text
    assert "allow_nonfinite=True" in text
    with tf.Graph().as_default(), tf.Session() as session:
        with pe.growing(prefix, allow_nonfinite=True):
            tables = [tf.get_variable("embedding", [6, 3]), tf.get_variable("other", [5, 3])]
        session.run(tf.global_variables_initializer())
        for found in session.run(tables):
            np.testing.assert_array_equal(found[:5], values)


def test_a_prefix_that_is_a_directory_too(write_checkpoint, tmp_path):
    prefix = write_checkpoint({"mine": np.zeros([2, 2])}, name="m")
    (tmp_path / "m").mkdir()
    inside = write_checkpoint({"other": np.zeros([2, 2])}, name=os.path.join("m", "n"))
    assert sorted(Checkpoint(prefix).shapes) == ["mine"]
    assert sorted(Checkpoint(prefix + os.sep).shapes) == ["other"]
    os.remove(prefix + ".index")
    assert Checkpoint(prefix).prefix == inside


def test_the_index_of_one_checkpoint_is_read_once(write_checkpoint, monkeypatch):
    read = []
    monkeypatch.setattr(checkpoint_module, "cut_tensors", lambda prefix: read.append(prefix) or [])
    prefix = write_checkpoint({"embedding": np.ones([5, 3], np.float32)})
    first = Checkpoint(prefix)
    first.shapes["mine"] = [1]
    assert list(Checkpoint(prefix).shapes) == ["embedding"]
    assert read == [prefix]
    assert write_checkpoint({"embedding": np.ones([7, 3], np.float32)}) == prefix
    assert Checkpoint(prefix).shapes == {"embedding": [7, 3]}
    assert read == [prefix] * 2


def test_few_ops_load_a_table(write_checkpoint):
    prefix = write_checkpoint({"embedding": np.ones([5, 3], np.float32)})
    pe.get_embedding("embedding", [7, 3], checkpoint=prefix, initializer=tf.zeros_initializer())
    kinds = [op.type for op in tf.get_default_graph().get_operations()]
    assert len(kinds) <= 30
    assert not {"If", "StatelessIf", "Switch"}.intersection(kinds)  # tf.Assert would add one


def test_an_index_in_place_of_its_prefix_is_no_checkpoint(write_checkpoint, tmp_path):
    prefix = write_checkpoint({"ent": np.ones([2, 2], "f")})
    (tmp_path / "checkpoint").write_text(f'model_checkpoint_path: "{prefix}.index"')
    with pytest.raises(ValueError, match="holds no tensor.*without .index"):
        Checkpoint(str(tmp_path))
