"""A tensor in one piece, of bytes of other checkpoints and of arrays: TensorFlow reads it whole."""

import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hypothesis import given
from hypothesis import strategies as st

from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.crc32c import crc32c, joined, masked, unmasked
from partial_embed.files.index import stored_entries, stored_tensors
from partial_embed.files.one_piece import OnePiece
from partial_embed.files.stored_bytes import StoredBytes
from partial_embed.files.tensors import merge_parts, slice_spec, write_part


@given(st.binary(max_size=40), st.binary(max_size=300))
def test_checksums_of_what_is_put_together(first, second):
    assert joined(crc32c(first), crc32c(second), len(second)) == crc32c(first + second)
    assert unmasked(masked(crc32c(first))) == crc32c(first)
    assert crc32c(b"123456789") == 0xE3069283  # as everywhere


@pytest.fixture
def base(tmp_path):
    """Returns `base(array, cuts)`: the `StoredBytes` of a tensor, written in slices of rows."""

    def base(array, cuts=()):
        parts, edges = [], [0, *cuts, len(array)]
        for first, last in zip(edges, edges[1:]):
            start = [first] + [0] * (array.ndim - 1)
            piece = array[first:last]
            spec = slice_spec(list(array.shape), start, list(piece.shape)) if cuts else ""
            parts.append(str(tmp_path / f"part{first}"))
            write_part(parts[-1], [("ent", spec, piece)])
        merge_parts(parts, str(tmp_path / "base"))
        return StoredBytes(Checkpoint(str(tmp_path / "base")), "ent")

    return base


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "complex128", "bool"])
@pytest.mark.parametrize("cuts", [(), (2,), (1, 4)])
@pytest.mark.parametrize("shape", [[6, 3], [6], [6, 2, 2]])
def test_rows_of_a_file_and_arrays(base, tmp_path, dtype, cuts, shape):
    dtype, size = tf.as_dtype(dtype), int(np.prod(shape[1:]))
    values = np.arange(11 * size) % 2 if dtype.is_bool else np.arange(11 * size) % 97 - 40
    values = values.reshape([11, *shape[1:]]).astype(dtype.as_numpy_dtype)
    prefix = str(tmp_path / "made")
    with OnePiece(prefix, "other", [11, *shape[1:]], dtype) as piece:
        assert piece.copy(base(values[:6], cuts))
        for start, stop in ((6, 7), (7, 7), (7, 11)):
            piece.append(values[start:stop])
    made = Checkpoint(prefix)
    assert made.read("other").tobytes() == values.tobytes()  # and TensorFlow sums what it reads
    assert stored_tensors(prefix)["other"] == ([11, *shape[1:]], dtype, [])
    ((_, entry),) = stored_entries(prefix)[1]["other"]
    with open(prefix + ".data-00000-of-00001", "rb") as stream:
        content = stream.read()
    assert entry.crc32c == masked(crc32c(content))
    assert content == values.tobytes()
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".part")]


def test_a_changed_byte_is_found(base, tmp_path):
    values, prefix = np.arange(40, dtype=np.float32).reshape([20, 2]), str(tmp_path / "made")
    with OnePiece(prefix, "ent", [20, 2], tf.float32) as piece:
        assert piece.copy(base(values[:15]))
        piece.append(values[15:])
    for at in (0, 119, 120, 159):
        with open(prefix + ".data-00000-of-00001", "r+b") as stream:
            stream.seek(at)
            byte = stream.read(1)[0]
            stream.seek(at)
            stream.write(bytes([byte ^ 1]))
        with pytest.raises(ValueError, match="made cannot be read"):
            Checkpoint(prefix).read("ent")
        with open(prefix + ".data-00000-of-00001", "r+b") as stream:
            stream.seek(at)
            stream.write(bytes([byte]))
    assert Checkpoint(prefix).read("ent").tobytes() == values.tobytes()


@pytest.mark.parametrize("how", ["replaced", "cut short"])
def test_what_cannot_be_copied_can_be_appended(base, tmp_path, how):
    """Of bytes that were copied, and turn out to be others, nothing is left."""
    values, prefix = np.arange(40, dtype=np.float32).reshape([20, 2]), str(tmp_path / "made")
    old = base(values[:15])
    if how == "replaced":
        base(values[:15] + 1)
    else:
        os.truncate(old.pieces[0].path, 100)
    with OnePiece(prefix, "ent", [20, 2], tf.float32) as piece:
        piece.append(values[:3])
        assert not piece.copy(old)
        piece.append(values[3:])
    assert Checkpoint(prefix).read("ent").tobytes() == values.tobytes()


def test_pieces_that_are_no_rows(tmp_path):
    values, parts = np.arange(12, dtype=np.float32).reshape([3, 4]), []
    for start in (0, 2):
        parts.append(str(tmp_path / f"part{start}"))
        spec = slice_spec([3, 4], [0, start], [3, 2])
        write_part(parts[-1], [("ent", spec, values[:, start : start + 2])])
    merge_parts(parts, str(tmp_path / "base"))
    found = StoredBytes(Checkpoint(str(tmp_path / "base")), "ent")
    assert len(found.pieces) == 2
    assert found.first_rows is None
