"""What the index of a checkpoint says: tensors, slices, data files."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from partial_embed.files.index import cut_tensors, num_shards, slice_counts, stored_tensors


@pytest.mark.parametrize("partitions", [1, 3])
def test_what_is_stored(write_checkpoint, partitions):
    values = np.zeros([7, 2], np.float64)
    prefix = write_checkpoint(
        {"ent": values, "scalar": np.float32(1), "deep/name": np.zeros([3], np.int64)},
        partitions=partitions,
    )
    stored = stored_tensors(prefix)
    assert sorted(stored) == ["deep/name", "ent", "scalar"]
    shape, dtype, slices = stored["ent"]
    assert (shape, dtype) == ([7, 2], tf.float64)
    if partitions == 1:
        assert slices == []
    else:
        assert sorted(slices) == [[(0, 3), (0, 2)], [(3, 2), (0, 2)], [(5, 2), (0, 2)]]
    assert stored["scalar"] == ([], tf.float32, [])
    assert slice_counts(prefix)["ent"] == (0 if partitions == 1 else 3)
    assert num_shards(prefix) == 1


@pytest.mark.parametrize("version", [tf.train.SaverDef.V1, tf.train.SaverDef.V2])
@pytest.mark.parametrize("partitions", [1, 3])
def test_slices_that_are_missing(start, tmp_path, version, partitions):
    partitioner = tf.fixed_size_partitioner(partitions) if partitions > 1 else None
    for name in ("a", "b"):
        tf.get_variable(name, [7, 2], partitioner=partitioner)
    tf.get_variable("scalar", [])
    session, variables = start(), tf.global_variables()
    for count, cut in ((len(variables), []), (partitions + 1, ["b"] if partitions > 1 else [])):
        saver = tf.train.Saver(variables[:count], write_version=version)
        prefix = saver.save(session, str(tmp_path / str(count)))
        assert cut_tensors(prefix) == cut
        assert slice_counts(prefix)["a"] == (0 if partitions == 1 else 3)
        assert stored_tensors(prefix)["a"][:2] == ([7, 2], tf.float32)


def test_many_tensors_are_many_blocks(write_checkpoint):
    # Long names, so that the table has more blocks than one.
    names = ["{:04d}{}".format(number, "x" * 900) for number in range(400)]
    prefix = write_checkpoint({name: np.float32(0) for name in names})
    assert sorted(stored_tensors(prefix)) == names
    assert num_shards(prefix) == 1


def test_no_checkpoint(tmp_path):
    assert num_shards(str(tmp_path / "nowhere")) == 0
    assert slice_counts(str(tmp_path / "nowhere")) == {}


def test_damaged_ones(write_checkpoint):
    prefix = write_checkpoint({"ent": np.zeros([7, 2], np.float32), "b": np.float32(1)})
    with open(prefix + ".index", "rb") as stream:
        content = stream.read()
    expected = stored_tensors(prefix)
    for at in range(len(content)):
        for changed in (content[:at], content[:at] + b"\xff" + content[at + 1 :]):
            with open(prefix + ".index", "wb") as stream:
                stream.write(changed)
            try:
                stored_tensors(prefix)
            except ValueError as error:
                assert prefix in str(error)
            num_shards(prefix)  # Never an error: a save may take its place.
    with open(prefix + ".index", "wb") as stream:
        stream.write(content)
    assert stored_tensors(prefix) == expected
