"""row_hashes and fingerprint: one number a row, the same for ever."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hypothesis import given
from hypothesis import strategies as st

from partial_embed.files.hashes import can_hash, fingerprint, hash_rows, row_hashes

# What deltas that are out there hold of rows like `values_of` makes them.
RECORDED = [
    ("bool", 3, "ef615132063abaa425402bad7cee66af"),
    ("int8", 1, "e1021e7176b562f2af4d818983533698"),
    ("int8", 5, "f6fd12e04dcadec0cd392cd9323b68e8"),
    ("int8", 8, "6317a5ff5c07b1233305f3e90b3b3cf5"),
    ("uint8", 7, "0e0fbfdf59d6e7236bb6a1335a1bf7c3"),
    ("int16", 3, "6adcd2cc5cf73eba5e8dc30c4484e0dc"),
    ("float16", 2, "b8cc5d49f8a316299f943960822afc72"),
    ("float16", 3, "9d886bc3d0364013e7404de526382213"),
    ("int32", 1, "acf132b16f74e51f3a566decdf540077"),
    ("float32", 1, "0442438a7a98f75c812c6d7e75c0e521"),
    ("float32", 300, "b88c13b4970a761d6c29ef4954fa51d5"),
    ("float64", 1, "a932cd882e636a59858612e71587da95"),
    ("int64", 5, "100d2ff461897bde3226b8db240338f5"),
    ("complex64", 2, "b5040f7296a7f43eef23876214754ed1"),
    ("complex128", 1, "27dbdd94410375012d88e1bdec007bd5"),
]


def values_of(dtype, width):
    values = (np.arange(7 * width) % 113 - 20).reshape([7, width])
    if dtype == "bool":
        return values % 2 == 0
    return (values * (1 + 2j) if dtype.startswith("complex") else values).astype(dtype)


@given(
    st.integers(1, 7),
    st.sampled_from([np.float16, np.float32, np.float64, np.int8, np.int64]),
    st.data(),
)
def test_one_changed_bit_changes_the_hash_of_its_row(width, dtype, data):
    values = np.random.RandomState(width).randint(0, 100, [5, width]).astype(dtype)
    bit = data.draw(st.integers(0, values.nbytes * 8 - 1))
    changed = np.frombuffer(values.tobytes(), np.uint8).copy()
    changed[bit // 8] ^= 1 << (bit % 8)
    changed = changed.view(dtype).reshape(values.shape)
    row = bit // 8 // (values.nbytes // 5)
    differ = row_hashes(values) != row_hashes(changed)
    assert np.flatnonzero(differ).tolist() == [row]


def test_hashes_are_stored_so_they_may_not_change():
    values = np.arange(6, dtype=np.float32).reshape([3, 2])
    assert row_hashes(values).tolist() == row_hashes(values.copy(order="F")).tolist()
    assert row_hashes(values).tolist() == [
        8518774832949624832,
        8277418608355704832,
        17859352398248542208,
    ]
    assert fingerprint(row_hashes(values)) == "9650c91b01d5375d07a633392af94394"
    assert row_hashes(np.zeros([3, 2], np.float32)).tolist() == [0, 0, 0]
    assert row_hashes(np.zeros([0, 2])).tolist() == []
    assert row_hashes(np.zeros([3, 0])).tolist() == [0, 0, 0]
    # -0 equals 0, but its bits are others.
    assert row_hashes(np.array([0.0, -0.0])).tolist() != [0, 0]
    assert fingerprint(row_hashes(values)) != fingerprint(row_hashes(values[::-1]))


@pytest.mark.parametrize("dtype, width, recorded", RECORDED)
def test_stored_fingerprints_of_every_dtype_and_width_stay_valid(dtype, width, recorded):
    assert fingerprint(row_hashes(values_of(dtype, width))) == recorded


def test_rows_of_more_axes_and_of_more_than_one_chunk(monkeypatch):
    values = np.arange(24, dtype=np.float32).reshape([2, 3, 2, 2])
    assert fingerprint(row_hashes(values)) == "d46fc6d22527a7c09d8e2db979af92b2"
    values = np.random.RandomState(0).randn(100, 3)
    at_once = row_hashes(values)
    monkeypatch.setattr("partial_embed.files.hashes._CHUNK_BYTES", 7 * 3 * 8)
    assert (row_hashes(values) == at_once).all()


def test_strings_are_hashed_by_what_they_say():
    """Not by where they lie: TensorFlow hands strings over as an array of objects."""
    rows = [[b"Paris", b""], [b"", b"Paris"], [b"Par", b"is"], [b"Paris", b""]]
    hashes = row_hashes(np.array(rows, object))
    copies = [[bytes(bytearray(text)) for text in row] for row in rows]
    assert row_hashes(np.array(copies, object)).tolist() == hashes.tolist()
    assert row_hashes(np.array(rows)).tolist() == hashes.tolist()
    assert row_hashes(np.array(rows).astype(str)).tolist() == hashes.tolist()
    assert len(set(hashes.tolist())) == 3
    assert hashes[0] == hashes[3]
    assert fingerprint(hashes) == "a10f5a26159d272afad29f5f1a0aad31"


@pytest.mark.parametrize("block_bytes", [1, 24, 1 << 22])
def test_ops_hash_as_arrays_are_hashed(start, monkeypatch, block_bytes):
    """Every dtype, width and axis, in blocks of a row, of some, and all at once."""
    monkeypatch.setattr("partial_embed.files.hashes._BLOCK_BYTES", block_bytes)
    wanted, feeds, ops = [], {}, []
    for dtype in sorted({dtype for dtype, _, _ in RECORDED}) + ["bfloat16", "uint16", "uint64"]:
        numpy_dtype = tf.as_dtype(dtype).as_numpy_dtype
        for shape, axis in (
            ([7, 3], 0),
            ([7, 4], 0),
            ([5, 3, 2], 1),
            ([3, 9], 1),
            ([4], 0),
            ([], 0),
        ):
            array = np.asarray(np.arange(np.prod(shape)) * 37 - 50).reshape(shape)
            array = (array % 2 == 0 if dtype == "bool" else array).astype(numpy_dtype)
            rows = np.moveaxis(array, axis, 0) if shape else array.reshape([1])
            wanted.append(row_hashes(rows))
            feed = tf.placeholder(tf.as_dtype(dtype), shape)
            assert can_hash(feed.dtype)
            feeds[feed] = array
            ops.append(hash_rows(feed, axis))
    for hashes, found in zip(wanted, start().run(ops, feeds)):
        np.testing.assert_array_equal(hashes, found.view(np.uint64))
    assert not can_hash(tf.string)
