"""Hashes of rows, by which rows are known again.

By `hash_rows` and `digest_of`, ops that run where rows are. `row_hashes` and
`fingerprint` are of arrays: of texts, and of what deltas were known by before.
"""

import functools
import hashlib

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed.files.tensors import a_function, cpu_only, dtype_of, placeholder_of

_DIGEST = "farm-sum-of-groups:"  # before a digest that is written down
_DIGEST_BY_ROW = "farm-sum:"  # before one of rows that were hashed one by one
_GROUP_BYTES = 1 << 10  # of rows that have one hash
_CHUNK_BYTES = 1 << 20  # stays in the cache
_BLOCK_BYTES = 1 << 22  # are worth an op of their own
_MOST_BYTES = 1 << 31  # of an op, which may count in 32 bits


def row_hashes(values):
    """Returns `sum_j weight[j] * bits(values[i, j]) mod 2**64`, one number for each row i.

    The weights are odd, so a row in which one element changed, by whatever bit,
    always gets another hash; the weights are fixed, so hashes can be stored.
    Rows of strings are hashed by BLAKE2b, which takes the place of the sum.

    Args:
        values: array [rows, ...] of any dtype; strings as bytes or str.

    Returns:
        uint64 array [rows].
    """
    values = np.ascontiguousarray(values)
    count = values.shape[0]
    if not values.size:
        return np.zeros(count, np.uint64)
    values = values.reshape([count, -1])
    if values.dtype.kind in "OSU":
        return np.array([_hash_of_strings(row) for row in values.tolist()], np.uint64)
    raw = values.view(np.uint8)
    raw = raw.view(np.uint32 if raw.shape[1] % 4 == 0 else np.uint8)
    width = raw.shape[1]
    weights = _weights(width)
    hashes = np.empty(count, np.uint64)
    step = max(1, _CHUNK_BYTES // (8 * width))
    for start in range(0, count, step):
        chunk = raw[start : start + step].astype(np.uint64)
        np.matmul(chunk, weights, out=hashes[start : start + step])
    return hashes


def _weights(width):
    weights = np.random.RandomState(0).randint(0, 2**63, size=width, dtype=np.uint64)
    return weights * np.uint64(2) + np.uint64(1)


def can_hash(dtype):
    """Returns whether `hash_rows` knows the bits of a `tf.DType`."""
    return dtype.is_floating or dtype.is_integer or dtype.is_complex or dtype.is_bool


def hash_rows(value, axis=0):
    """Returns (FarmHash of its bytes, sum of its numbers' bits) for each row of a tensor.

    The sum, modulo what its numbers can be, is another wherever one number changed,
    by whatever bits; FarmHash is another for all but one of 2**64 changes. Both are
    the same for ever, and made block by block on the processor beside the tensor.

    Args:
        value: tensor of known shape, of a dtype that `can_hash`.
        axis: int, along which rows are counted.

    Returns:
        int32 tensor [rows, 3], of numbers of 8 bytes and more [rows, 4].
    """
    value = _hashable(value)
    return _hashed(value, axis, 0, value.shape.as_list()[axis], 1, True)


def _hashable(value):
    """Returns a tensor as one that has rows, and no numbers that ops do not know the bits of."""
    with _beside(value):
        value = value if value.shape.rank else tf.reshape(value, [1])
        return tf.cast(value, tf.uint8) if value.dtype.is_bool else value


def _beside(value):
    """The processor beside a tensor, as a device scope."""
    device = tf.DeviceSpec.from_string(value.device)
    return tf.device(device.replace(device_type="CPU", device_index=0))


def _hashed(value, axis, start, stop, group, with_sums):
    """Returns what `hash_rows` does of rows from `start` to `stop`, so many to a hash.

    Args:
        value: tensor that is `_hashable`.
        axis: int, along which rows are counted.
        start, stop: ints.
        group: int, of which their number is a multiple.
        with_sums: bool, whether there are sums behind FarmHashes.
    """
    count, width = stop - start, _width(value, axis)
    words = (4 if value.dtype.size >= 8 else 3) if with_sums else 2
    with _beside(value):
        size = count * width * value.dtype.size
        if not size:
            return tf.zeros([count // group, words], tf.int32)
        most, least_bytes = (64, 16 * _BLOCK_BYTES) if axis else (4, _BLOCK_BYTES)
        blocks = min(count, max(min(most, -(-size // least_bytes)), -(-size // _MOST_BYTES)))
        unit = max(64, group) if count >= max(64, group) * blocks else group
        blocks = min(blocks, count // unit)
        kind = value.dtype.base_dtype, value.shape.rank
        width *= max(value.dtype.size // 8, 1)  # of 16 bytes two numbers are made
        sizes = [tf.constant(number, tf.int64) for number in (start, count, width)]
        found = _hashing_function(*kind, axis, blocks, unit, group, with_sums)(value, *sizes)
    found.set_shape([count // group, words])
    return found


@functools.lru_cache(maxsize=None)
def _hashing_function(dtype, rank, axis, blocks, unit, group, with_sums):
    """One function of all ops that hash rows, so that a graph has one op for them.

    In a few blocks beside each other; many where rows are no slices of memory, for
    then a block is copied. None is empty: of no rows TensorFlow 1 divides by zero.

    Args:
        dtype, rank, axis: of the tensor.
        blocks: int.
        unit: int, of a multiple of which each begins.
        group, with_sums: see `_hashed`.
    """
    # No copy; and what transposes and sums knows these types on every TensorFlow.
    bits = {1: tf.uint8, 2: tf.int16, 4: tf.int32}.get(dtype.size, tf.int64)
    held = rank + dtype.size // 16
    front = [axis] + [other for other in range(held) if other != axis]

    # Told its shape: of what is asked for that TensorFlow makes what waits for it, fed or not.
    def hash_all(value, start, count, width):
        value = tf.bitcast(value, bits)
        # TensorFlow need not copy a block that begins at a multiple of 64.
        starts = [start + count * number // blocks // unit * unit for number in range(blocks)]

        def block(start, stop):
            rows = value[(slice(None),) * axis + (slice(start, stop),)]
            rows = tf.transpose(rows, front) if axis else rows
            rows = tf.reshape(rows, [-1, group * width])
            farm = _farm_hashes(rows)
            if not with_sums:
                return farm
            sums = tf.reduce_sum(rows, 1, keepdims=bits.size < 8)
            return tf.concat([farm, _as_int32(sums)], 1)

        ends = starts[1:] + [start + count]
        return tf.concat([block(*its) for its in zip(starts, ends)], 0)

    name = f"hash_{dtype.name}_{rank}_{axis}_{blocks}_{unit}_{group}_{with_sums:d}"
    number = tf.TensorSpec([], tf.int64)
    return a_function(hash_all, [tf.TensorSpec([None] * rank, dtype), *[number] * 3], name)


def _as_int32(numbers):
    return tf.cast(numbers, tf.int32) if numbers.dtype.size < 4 else tf.bitcast(numbers, tf.int32)


def _farm_hashes(rows):
    """Returns the FarmHash of each row of a matrix, int32 [rows, 2]."""
    farm = tf.raw_ops.Fingerprint(data=rows, method="farmhash64")
    return tf.bitcast(tf.reshape(farm, [-1, 2, 4]), tf.int32)


def digest_of(parts, axis=0, by_row=False):
    """Returns a short int32 tensor that stands for rows, in this order, however they are divided.

    That is the FarmHash and the sum of the FarmHashes of groups of rows, of a kilobyte or a
    little less, and how many numbers a row has. Of short rows one by one FarmHash takes most of
    its time to begin.

    Args:
        parts: list of tensors as `hash_rows` takes them, one table in the order of its rows.
        axis: int, along which rows are counted.
        by_row: bool, whether to make it of `hash_rows`, as deltas were known by before.

    Returns:
        int32 tensor [5]; by row the same, of numbers of 8 bytes and more [6].
    """
    parts = [_hashable(part) for part in parts]
    width = _width(parts[0], axis)
    size = width * parts[0].dtype.size
    group = 1 if by_row else 1 << max(_GROUP_BYTES // max(size, 1), 1).bit_length() - 1
    hashes = [_hashed(*piece, by_row) for piece in _in_groups(parts, axis, group)]
    with tf.device("/cpu:0"):
        hashes = hashes[0] if len(hashes) == 1 else tf.concat(hashes, 0)
        digest = _digest_function()(hashes)
        digest.set_shape([2 + hashes.shape.as_list()[1]])
        return digest if by_row else tf.concat([digest, [width]], 0)


def _in_groups(parts, axis, group):
    """Returns the first arguments of `_hashed` by which parts are hashed as one."""
    found, begun, held = [], [], 0  # pieces of a group that an earlier part began, their rows

    def end_group():
        (part, first, last), *more = begun
        if more:
            first, last = 0, held
            part = tf.concat([_rows_of(*piece, axis) for piece in begun], axis)
        found.append((part, axis, first, last, held))
        begun.clear()

    for part in parts:
        count = part.shape.as_list()[axis]
        first = min(count, -held % group)
        if first:
            begun.append((part, 0, first))
            held += first
        if held == group:
            end_group()
            held = 0
        last = count - (count - first) % group
        if first < last:
            found.append((part, axis, first, last, group))
        if last < count:
            begun.append((part, last, count))
            held = count - last
    if begun:
        end_group()
    return found or [(parts[0], axis, 0, 0, 1)]


def _rows_of(value, first, last, axis):
    with _beside(value):
        return value[(slice(None),) * axis + (slice(first, last),)]


def _width(value, axis):
    """How many numbers a row has."""
    shape = value.shape.as_list()
    return int(np.prod(shape[:axis] + shape[axis + 1 :], dtype=np.int64))


@functools.lru_cache(maxsize=None)
def _digest_function():
    def digest(hashes):
        farm = _farm_hashes(tf.reshape(hashes, [1, -1]))
        return tf.concat([tf.reshape(farm, [-1]), tf.reduce_sum(hashes, 0)], 0)

    return a_function(digest, [tf.TensorSpec([None, None], tf.int32)], "digest")


def digest_text(digest, by_row=False):
    """Returns a digest as a text, which says by what it begins how it came about."""
    how = _DIGEST_BY_ROW if by_row else _DIGEST
    return how + np.asarray(digest).astype("<i4").tobytes().hex()


def read_digest(text):
    """Returns the digest that a text says, an int32 array; None if it says none, or one by row."""
    if not text.startswith(_DIGEST):
        return None
    try:
        return np.frombuffer(bytes.fromhex(text[len(_DIGEST) :]), "<i4")
    except ValueError:
        return None


def kind_of(text):
    """Returns how a text that stands for rows came about, for `fingerprint_of`."""
    kinds = (_DIGEST, _DIGEST_BY_ROW)
    return next((kind for kind in kinds if text.startswith(kind)), "")


def _hash_of_strings(row):
    """Returns a number of 64 bits that stands for the strings, each with its length."""
    digest = hashlib.blake2b(digest_size=8)
    for text in row:
        data = text.encode() if isinstance(text, str) else text
        digest.update(b"%d:" % len(data) + data)
    return int.from_bytes(digest.digest(), "little")


def fingerprint(hashes):
    """Returns a short hex text that stands for rows with these `row_hashes`, in this order."""
    return hashlib.blake2b(hashes.view(np.uint8), digest_size=16).hexdigest()


def fingerprint_of(values, axis=0, kind=_DIGEST):
    """Returns a text that stands for the rows of an array.

    Args:
        values: array of any dtype.
        axis: int, along which rows are counted.
        kind: of text: `kind_of` one that it is compared with. Of what is no number there is one.
    """
    if kind and can_hash(dtype_of(values)):
        by_row = kind == _DIGEST_BY_ROW
        with tf.Graph().as_default(), tf.device("/cpu:0"), tf.Session(config=cpu_only()) as session:
            fed = placeholder_of(values)
            return digest_text(session.run(digest_of([fed], axis, by_row), {fed: values}), by_row)
    values = np.moveaxis(values, axis, 0) if values.shape else values.reshape([1])
    return fingerprint(row_hashes(values))


def keys_fingerprint(keys):
    """Returns a short hex text that stands for keys (texts), in this order."""
    return hashlib.blake2b(keys_text(keys).encode("utf-8"), digest_size=16).hexdigest()


def keys_text(keys):
    """Returns what a vocabulary file of keys (texts) says: one a line."""
    return "\n".join(keys) + "\n" if keys else ""
