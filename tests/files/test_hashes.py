"""row_hashes and fingerprint: one number a row, the same for ever."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hypothesis import given
from hypothesis import strategies as st

from partial_embed.files.hashes import (
    can_hash,
    digest_of,
    digest_text,
    fingerprint,
    fingerprint_of,
    hash_rows,
    kind_of,
    read_digest,
    row_hashes,
)

# What deltas hold of rows like `values_of` makes them: before there were digests, and since.
RECORDED = [
    ("bool", 3, "ef615132063abaa425402bad7cee66af", "53af790f54efc15ed7e136660b97f5720b000000"),
    ("int8", 1, "e1021e7176b562f2af4d818983533698", "48f8f0e0da91683d214c0028164a25c389060000"),
    ("int8", 5, "f6fd12e04dcadec0cd392cd9323b68e8", "4919959f000e3ea6240f788814086ef997030000"),
    ("int8", 8, "6317a5ff5c07b1233305f3e90b3b3cf5", "b74e8ddce4c152a26ce4a6c7647b8bbda4040000"),
    ("uint8", 7, "0e0fbfdf59d6e7236bb6a1335a1bf7c3", "e0cdf379a9af1b0e7e38c5330bdaf085c4030000"),
    ("int16", 3, "6adcd2cc5cf73eba5e8dc30c4484e0dc", "15a9617fa3b384fe2c06c5f40e4cfe4d2effffff"),
    ("float16", 2, "b8cc5d49f8a316299f943960822afc72", "46a9c96b2387ddf6c079741719344ea28013fdff"),
    ("float16", 3, "9d886bc3d0364013e7404de526382213", "422d139e12e285fa497035a5f2e0016080a00200"),
    ("int32", 1, "acf132b16f74e51f3a566decdf540077", "aaea11efcc14dee74b5cbaf3bc47fe8189ffffff"),
    ("float32", 1, "0442438a7a98f75c812c6d7e75c0e521", "54f37ddb726f46985388387db1d310170000a04a"),
    (
        "float32",
        300,
        "b88c13b4970a761d6c29ef4954fa51d5",
        "83a68c97e1cf4fac5f412177d41e06f500003430",
    ),
    (
        "float64",
        1,
        "a932cd882e636a59858612e71587da95",
        "5d21d3cda115bd9a4b418373239d20ee0000000000005441",
    ),
    (
        "int64",
        5,
        "100d2ff461897bde3226b8db240338f5",
        "b176f6f7cc244ed4169a708f229543ed97fffffffcffffff",
    ),
    (
        "complex64",
        2,
        "b5040f7296a7f43eef23876214754ed1",
        "be626628db4602f8ac1aa69f1ed672ab0000709207007099",
    ),
    (
        "complex128",
        1,
        "27dbdd94410375012d88e1bdec007bd5",
        "e75c0eea6a48a1a8d21fec0267a358c20000000000001883",
    ),
]

# And since rows are hashed in groups.
GROUPS = {
    ("bool", 3): "4196b276c18dff1f75a09f7dc89c2e3503000000",
    ("int8", 1): "f408eccd507b61d8863aedf446ee484201000000",
    ("int8", 5): "516191f55b78019e43ec88f1c143c23b05000000",
    ("int8", 8): "d5d370cf89821581f9333c508969923108000000",
    ("uint8", 7): "fdeef3b2aba49dde8941116e6228a27707000000",
    ("int16", 3): "871145151a9b632416b569150279d2ee03000000",
    ("float16", 2): "22bb478f20449839bc2fa1591263a89102000000",
    ("float16", 3): "c334c7d1ae6e45f61cb7ba683ee9d3b603000000",
    ("int32", 1): "3712a86710507f730732ff3edb63ac4d01000000",
    ("float32", 1): "634c620857a728a4195b5bd66fe80c0a01000000",
    ("float32", 300): "2d1f29ab25f36c9f5f412177d41e06f52c010000",
    ("float64", 1): "37b21a0a020530333a4531c758886cdd01000000",
    ("int64", 5): "db549bf7f7f2cb6900f7f8c7550f243405000000",
    ("complex64", 2): "6f7d34650aa86632ce0e597022355e9f02000000",
    ("complex128", 1): "2999c0f9ed27b8c0b24b3acd3c50ef2501000000",
}


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


@pytest.mark.parametrize("dtype, width, before, digest", RECORDED)
def test_stored_fingerprints_of_every_dtype_and_width_stay_valid(dtype, width, before, digest):
    values = values_of(dtype, width)
    assert fingerprint_of(values, kind=kind_of(before)) == before
    assert fingerprint_of(values, kind=kind_of("farm-sum:" + digest)) == "farm-sum:" + digest
    assert fingerprint_of(values) == "farm-sum-of-groups:" + GROUPS[dtype, width]


def test_texts_of_digests():
    digest = np.array([1, -2, 3], np.int32)
    assert read_digest(digest_text(digest)).tolist() == [1, -2, 3]
    by_row = digest_text(digest, by_row=True)
    for text in ("", "farm-sum-of-groups:x", "farm-sum-of-groups:0", RECORDED[0][2], by_row):
        assert read_digest(text) is None
    assert kind_of(fingerprint_of(np.array([b"text"], object))) == ""


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


ARRAYS = [([7, 3], 0), ([7, 4], 0), ([5, 3, 2], 1), ([3, 9], 1), ([4], 0), ([], 0), ([0, 3], 0)]


@pytest.mark.parametrize("block_bytes", [1, 24, 1 << 22])
def test_ops_hash_whatever_the_blocks_and_the_axis(start, monkeypatch, block_bytes):
    """Every dtype, width and axis, in blocks of a row, of some, and all at once."""
    wanted, feeds, ops = [], {}, []
    for dtype in sorted({dtype for dtype, *_ in RECORDED}) + ["bfloat16", "uint16", "uint64"]:
        numpy_dtype = tf.as_dtype(dtype).as_numpy_dtype
        for shape, axis in ARRAYS:
            array = np.asarray(np.arange(np.prod(shape)) * 37 - 50).reshape(shape)
            array = (array % 2 == 0 if dtype == "bool" else array).astype(numpy_dtype)
            rows = np.moveaxis(array, axis, 0) if shape else array.reshape([1])
            feed = tf.placeholder(tf.as_dtype(dtype), shape)
            assert can_hash(feed.dtype)
            ops.append(hash_rows(feed, axis))
            # All rows at once, and one after the other in their parts.
            monkeypatch.setattr("partial_embed.files.hashes._BLOCK_BYTES", 1 << 22)
            other = tf.placeholder(feed.dtype, rows.shape)
            wanted.append(hash_rows(other))
            monkeypatch.setattr("partial_embed.files.hashes._BLOCK_BYTES", block_bytes)
            feeds.update({feed: array, other: np.ascontiguousarray(rows)})
    found, wanted = start().run([ops, wanted], feeds)
    for one, other in zip(found, wanted):
        np.testing.assert_array_equal(one, other)
    assert not can_hash(tf.string)


@given(st.integers(1, 20), st.sampled_from([d for d, *_ in RECORDED if d != "bool"]), st.data())
def test_one_changed_number_changes_the_hash_of_its_row_and_the_digest(width, dtype, data):
    """The former by its sum alone, whatever FarmHash makes of it."""
    values = np.random.RandomState(width).randint(0, 100, [5, width]).astype(dtype)
    row, column = (data.draw(st.integers(0, size - 1)) for size in values.shape)
    flipped = data.draw(st.binary(min_size=values.itemsize, max_size=values.itemsize))
    changed = values.copy()
    number = changed[row, column : column + 1].view(np.uint8)
    number ^= np.frombuffer(flipped, np.uint8)
    with tf.Graph().as_default(), tf.Session() as session:
        feed = tf.placeholder(values.dtype, values.shape)
        parts = [feed[:2], feed[2:]]
        ops = hash_rows(feed), digest_of(parts), digest_of(parts, by_row=True)
        before, after = (session.run(ops, {feed: array}) for array in (values, changed))
    differ = np.unique(np.nonzero(before[0][:, 2:] != after[0][:, 2:])[0])
    assert differ.tolist() == ([row] if any(flipped) else [])
    assert (before[1] != after[1]).any() == any(flipped)
    assert (before[2][2:] != after[2][2:]).any() == any(flipped)


DIVIDED = [("float32", [301, 3], 0), ("float64", [3, 301], 1), ("int8", [3000], 0)]
DIVIDED += [("complex128", [40, 5], 0), ("bool", [2, 700, 2], 1), ("float32", [9, 600], 0)]


@pytest.mark.parametrize("dtype, shape, axis", DIVIDED)
def test_a_digest_is_the_same_however_rows_are_divided(start, dtype, shape, axis):
    """A group of rows may end in the next part, or in the one after that."""
    numbers = np.random.RandomState(1)
    array = numbers.randint(0, 100, shape)
    array = array % 2 == 0 if dtype == "bool" else array.astype(dtype)
    feed, digests = tf.placeholder(dtype, shape), []
    for _ in range(12):
        cuts = sorted(numbers.randint(0, shape[axis] + 1, numbers.randint(0, 6)).tolist())
        cuts = [0, *cuts, *numbers.permutation(cuts)[:1], shape[axis]]  # an empty one as well
        cuts = sorted(cuts)
        digests.append(digest_of(tf.split(feed, np.diff(cuts).tolist(), axis), axis))
    found = start().run(digests, {feed: array})
    text = fingerprint_of(array, axis)
    assert {digest_text(digest) for digest in found} == {text}
    assert fingerprint_of(np.flip(array, axis), axis) != text


def test_other_orders_are_other_rows():
    values = np.arange(12, dtype=np.float32).reshape([3, 4])
    for other in (values[::-1], values[:, ::-1], values.reshape([4, 3])):
        assert fingerprint_of(other) != fingerprint_of(values)


def test_functions_of_other_tensors_have_other_names():
    """TensorFlow takes one of an imported MetaGraph for another of its name and number."""
    graph = tf.get_default_graph()
    for value, axis in ((tf.zeros([3, 2]), 0), (tf.zeros([3, 2]), 1), (tf.zeros([3]), 0)):
        hash_rows(value, axis)
    names = [its.signature.name for its in graph.as_graph_def().library.function]
    kinds = {name.rstrip("0123456789") for name in names if "partial_embed_hash" in name}
    assert len(kinds) == 3
