"""A hash a row, by which rows are known again."""

import hashlib

import numpy as np
import tensorflow.compat.v1 as tf

_CHUNK_BYTES = 1 << 20  # stays in the cache
_BLOCK_BYTES = 1 << 22  # what an op works on at once, with all processors


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
    """Returns `row_hashes` of a tensor, computed block by block by whoever holds it.

    Args:
        value: tensor of known shape, of a dtype that `can_hash`.
        axis: int, along which rows are counted.

    Returns:
        int64 tensor [rows], of which the bits are those of the unsigned numbers.
    """
    if not value.shape.rank:
        value = tf.reshape(value, [1])
    if value.dtype.is_bool:
        value = tf.cast(value, tf.uint8)
    shape = value.shape.as_list()
    count, size = shape[axis], value.dtype.size
    row_bytes = int(np.prod(shape)) // max(count, 1) * size
    if not count * row_bytes:
        return tf.zeros([count], tf.int64)
    numbers = tf.int32 if row_bytes % 4 == 0 else tf.uint8
    width = row_bytes // numbers.size
    weights = tf.constant(_weights(width).view(np.int64))
    # As many values side by side as make one number.
    per_number = numbers.size // size
    grouped = [-1, width, per_number] if per_number > 1 else [-1, row_bytes // size]
    step = max(1, _BLOCK_BYTES // row_bytes)
    front = [axis] + [other for other in range(len(shape)) if other != axis]

    def block(start):
        rows = value[(slice(None),) * axis + (slice(start, start + step),)]
        rows = tf.transpose(rows, front) if axis else rows
        rows = tf.bitcast(tf.reshape(rows, grouped), numbers)
        bits = tf.cast(tf.reshape(rows, [-1, width]), tf.int64)
        bits = tf.bitwise.bitwise_and(bits, (1 << 8 * numbers.size) - 1)
        return tf.reduce_sum(bits * weights, 1)

    if count <= step:
        return block(tf.constant(0, tf.int64))
    blocks = -(-count // step)
    found = tf.TensorArray(tf.int64, blocks, infer_shape=False)
    _, found = tf.while_loop(
        lambda number, _: number < blocks,
        lambda number, array: (
            number + 1,
            array.write(number, block(tf.cast(number, tf.int64) * step)),
        ),
        [0, found],
        parallel_iterations=1,
    )
    found = found.concat()
    found.set_shape([count])
    return found


def _hash_of_strings(row):
    """Returns a number of 64 bits that stands for the strings, each with its length."""
    digest = hashlib.blake2b(digest_size=8)
    for text in row:
        data = text.encode() if isinstance(text, str) else text
        digest.update(b"%d:" % len(data) + data)
    return int.from_bytes(digest.digest(), "little")


def fingerprint(hashes):
    """Returns a short hex text that stands for rows with these hashes, in this order."""
    return hashlib.blake2b(hashes.view(np.uint8), digest_size=16).hexdigest()


def keys_fingerprint(keys):
    """Returns a short hex text that stands for keys (texts), in this order."""
    text = "".join(key + "\n" for key in keys)
    return hashlib.blake2b(text.encode("utf-8"), digest_size=16).hexdigest()
