"""Bytes copied from checkpoint to checkpoint: TensorFlow reads in the copy what it wrote."""

import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import BundleEntryProto
from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.index import _entries, index_of, slice_key, stored_entries, stored_tensors
from partial_embed.files.publish import publish, staging
from partial_embed.files.stored_bytes import StoredBytes
from partial_embed.files.tensors import merge_parts, slice_spec, write_part

DTYPES = ["bfloat16", "bool", "complex64", "float64", "int8", "uint8"]


@pytest.fixture
def stored(tmp_path):
    """Returns `stored(array, cuts, axis)`: the `StoredBytes` of a tensor written in slices."""

    def stored(array, cuts=(), axis=0, spec=""):
        prefix, parts = str(tmp_path / "base"), []
        edges = [0, *cuts, array.shape[axis]]
        for first, last in zip(edges, edges[1:]):
            piece = array.take(range(first, last), axis)
            start = [first if at == axis else 0 for at in range(array.ndim)]
            text = slice_spec(list(array.shape), start, list(piece.shape)) if cuts else ""
            parts.append(str(tmp_path / f"part{first}"))
            other = ("another", "", np.arange(first, last))
            write_part(parts[-1], [other] * (not first) + [("t/x", text, piece)])
        merge_parts(parts, prefix)
        return StoredBytes(Checkpoint(prefix), "t/x", spec)

    return stored


def numbered(shape, dtype="float32"):
    dtype = tf.as_dtype(dtype).as_numpy_dtype
    return (np.arange(np.prod(shape)) % 100).reshape(shape).astype(dtype)


def read(prefix, name):
    return Checkpoint(prefix).read(name)


@pytest.mark.parametrize("dtype", ["float32", *DTYPES])
@pytest.mark.parametrize("cuts, axis", [((), 0), ((2,), 0), ((1, 4), 0), ((1,), 1)])
def test_a_whole_tensor(stored, tmp_path, cuts, axis, dtype):
    values, copy = numbered([6, 3], dtype), str(tmp_path / "copy")
    assert stored(values, cuts, axis).copy(copy, "other/name", "", [6, 3])
    assert read(copy, "other/name").tobytes() == values.tobytes()
    assert len(stored_tensors(copy)["other/name"][2]) == (len(cuts) + 1 if cuts else 0)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("cuts", [(), (2,)])
def test_it_becomes_a_slice_of_a_larger_one(stored, tmp_path, cuts, axis):
    values, more = numbered([6, 5, 4]), numbered([7, 7, 7])
    shape = list(values.shape)
    shape[axis] += 7
    added = more[tuple(slice(n if at != axis else 7) for at, n in enumerate(values.shape))]
    start = [n if at == axis else 0 for at, n in enumerate(values.shape)]
    prefix = str(tmp_path / "saved")
    with staging(prefix) as stage:
        spec = slice_spec(shape, [0, 0, 0], list(values.shape))
        assert stored(values, cuts).copy(stage.part(), "t/x", spec, shape)
        spec = slice_spec(shape, start, list(added.shape))
        write_part(stage.part(), [("t/x", spec, added)])
        publish(stage)
    assert (read(prefix, "t/x") == np.concatenate([values, added], axis)).all()


def test_a_slice_that_stands_alone(stored, tmp_path):
    values, copy = numbered([9, 3]), str(tmp_path / "copy")
    spec = slice_spec([9, 3], [2, 0], [5, 3])
    there = slice_spec([20, 3], [10, 0], [5, 3])
    assert stored(values, (2, 4, 7), spec=spec).copy(copy, "t/x", there, [20, 3])
    assert [s[0] for s in sorted(stored_tensors(copy)["t/x"][2])] == [(10, 2), (12, 3)]
    assert not stored(values, (3, 7), spec=spec).copy(copy, "t/x", there, [20, 3])
    assert not stored(values, (), spec=spec).copy(copy, "t/x", there, [20, 3])


def test_many_pieces_are_not_copied(stored, tmp_path):
    assert stored(numbered([16, 2]), range(1, 16)).copy(str(tmp_path / "a"), "t/x", "", [16, 2])
    many = stored(numbered([17, 2]), range(1, 17))
    assert not many.copy(str(tmp_path / "b"), "t/x", "", [17, 2])


def test_what_is_damaged_is_found_beside_its_copy(stored, tmp_path):
    values, copy = numbered([6, 3]), str(tmp_path / "copy")
    found = stored(values)
    (data,) = [path for path in tmp_path.iterdir() if path.name.startswith("base.data")]
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)
    assert not found.copy(copy, "t/x", "", [6, 3])  # another file than it was
    assert not os.path.exists(copy + ".index")
    with pytest.raises(ValueError, match="base cannot be read: .* It is damaged or incomplete"):
        found.verify()
    again = StoredBytes(found._checkpoint, "t/x")
    assert again.copy(copy, "t/x", "", [6, 3])
    with pytest.raises(ValueError, match="base cannot be read"):
        again.verify()
    with pytest.raises(ValueError, match="copy cannot be read"):  # nor does it pass for whole
        read(copy, "t/x")


def test_what_was_replaced_is_not_copied(stored, tmp_path):
    copy, old = str(tmp_path / "copy"), stored(numbered([6, 3]))
    new = stored(numbered([6, 3]) + 1)
    assert not old.copy(copy, "t/x", "", [6, 3])
    assert not StoredBytes(old._checkpoint, "t/x").copy(copy, "t/x", "", [6, 3])
    assert new.copy(copy, "t/x", "", [6, 3])
    assert (read(copy, "t/x") == numbered([6, 3]) + 1).all()


def test_it_is_read_once(stored, tmp_path, monkeypatch):
    reads, plain = [], StoredBytes.expect_readable
    watched = lambda self: (reads.append(self), plain(self))  # noqa: E731
    monkeypatch.setattr(StoredBytes, "expect_readable", watched)
    first = stored(numbered([6, 3]), (2,))
    for name in ("a", "b"):  # and the copy of a copy not at all, if that is noted
        assert first.copy(str(tmp_path / name), "t/x", "", [6, 3]) and first.verify()
        first = StoredBytes(Checkpoint(str(tmp_path / name)), "t/x")
        first.note_read()
    assert len(reads) == 1
    (tmp_path / "b.data-00000-of-00001").touch()
    assert StoredBytes(first._checkpoint, "t/x").verify()
    assert len(reads) == 2
    noted = stored(numbered([5, 3]))
    noted.note_read()
    assert noted.verify()
    assert len(reads) == 2


def test_what_changes_before_it_is_verified(stored, tmp_path):
    """It is readable, and yet who copied it before did not copy that."""
    old = stored(numbered([6, 3]))
    assert old.copy(str(tmp_path / "copy"), "t/x", "", [6, 3])
    stored(numbered([6, 3]) + 1)
    assert not old.verify()
    old.note_read()
    assert not old.verify()


def test_keys_of_slices_are_those_of_tensorflow(tmp_path):
    prefix, numbers = str(tmp_path / "written"), [1, 62, 63, 64, 65, 8190, 8191, 8192, 1 << 20]
    with tf.Graph().as_default(), tf.Session() as session:
        for name in ("ent", "größe/\u2028"):
            for start in [0, *numbers, (1 << 34) + 5, 1 << 61]:
                text = slice_spec([(1 << 61) + 9000, 2], [start, 1], [start % 8191 or 7, 1])
                value = tf.zeros([start % 8191 or 7, 1])
                arguments = dict(prefix=prefix, tensor_names=[name], tensors=[value])
                session.run(tf.raw_ops.SaveV2(shape_and_slices=[text], **arguments))
                (found,) = stored_entries(prefix)[1][name]  # which asks for the key
                assert found[0] == [start, 1]
    assert slice_key("t", [(0, -1)]) < slice_key("t", [(0, 1)]) < slice_key("t", [(1, 0)])


def test_an_index_of_many_entries(stored, tmp_path):
    stored(numbered([300, 2]), range(1, 300))
    prefix = str(tmp_path / "base")
    shards, _ = stored_entries(prefix)
    entries = {key: value for key, value in _entries(prefix + ".index") if key}
    (tmp_path / "base.index").write_bytes(index_of(entries, shards))
    assert (read(prefix, "t/x") == numbered([300, 2])).all()
    assert dict(_entries(prefix + ".index"))[b"another"] == entries[b"another"]


def test_what_is_no_file_is_not_opened(stored, tmp_path):
    checkpoint = stored(numbered([6, 3]))._checkpoint
    (data,) = [path for path in tmp_path.iterdir() if path.name.startswith("base.data")]
    data.unlink()
    assert not StoredBytes(checkpoint, "t/x").copy(str(tmp_path / "copy"), "t/x", "", [6, 3])
    os.mkfifo(str(data))
    with pytest.raises(ValueError, match="a pipe or a device; expected a file"):
        StoredBytes(checkpoint, "t/x")


def test_damage_that_keeps_the_time_of_a_file(stored, tmp_path):
    found = stored(numbered([6, 3]))
    assert found.verify()
    (data,) = [path for path in tmp_path.iterdir() if path.name.startswith("base.data")]
    status = os.stat(str(data))
    with open(str(data), "r+b") as stream:
        stream.seek(-2, os.SEEK_END)
        stream.write(b"\xff")
    os.utime(str(data), ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(ValueError, match="base cannot be read"):
        StoredBytes(found._checkpoint, "t/x").verify()


def test_another_index_over_the_same_file(stored, tmp_path):
    assert stored(numbered([6, 3])).verify()
    entries = {key: value for key, value in _entries(str(tmp_path / "base.index")) if key}
    entry = BundleEntryProto.FromString(entries[b"t/x"])
    entry.crc32c ^= 1
    shards, _ = stored_entries(str(tmp_path / "base"))
    index = index_of({**entries, b"t/x": entry.SerializeToString()}, shards)
    (tmp_path / "base.index").write_bytes(index)
    with pytest.raises(ValueError, match="base cannot be read"):
        StoredBytes(Checkpoint(str(tmp_path / "base")), "t/x").verify()


def test_an_index_that_lacks_a_slice(stored, tmp_path):
    stored(numbered([6, 3]), (2,))
    prefix = str(tmp_path / "base")
    shards, _ = stored_entries(prefix)
    entries = {key: value for key, value in _entries(prefix + ".index") if key}
    del entries[max(key for key in entries if key[:1] == b"\0")]
    (tmp_path / "base.index").write_bytes(index_of(entries, shards))
    found = StoredBytes(Checkpoint(prefix), "t/x")
    assert not found.copy(str(tmp_path / "copy"), "t/x", "", [6, 3])
