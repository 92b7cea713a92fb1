"""Rows that hold NaN or Inf: found in arrays, refused in graphs."""

import functools

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed.files.tensors import a_function, fail_unless


def refuse_nonfinite(value, what, axis=0):
    """Returns `value`, after an op that fails if a row of it holds NaN or Inf.

    Args:
        value: tensor [rows, ...] of known shape.
        what: str that names the table and its checkpoint, for the error.
        axis: int, along which rows are counted.
    """
    factors = _factors(value, axis)
    if factors is None:
        return value
    message = (
        f"{what}: rows with NaN or Inf (all of them, up to 20). Repair the checkpoint, or pass "
        "allow_nonfinite=True to load it as it is:"
    )
    found = _finding_function(value.dtype.base_dtype)(*factors)
    with tf.control_dependencies([fail_unless(message, *found)]):
        return tf.identity(value)


def marks_of(value, axis=0):
    """Returns a number for each row of a tensor: 0, or NaN if it holds NaN or Inf.

    Args:
        value: tensor [rows, ...] of known shape.
        axis: int, along which rows are counted.

    Returns:
        Tensor [rows, 1] of its dtype; None if that has no NaN, or no rows.
    """
    factors = _factors(value, axis)
    return factors and tf.matmul(*factors)


def _factors(value, axis):
    """Returns rows [rows, n] and zeros [n, 1], of which the product is a number for each row.

    That is NaN exactly for rows that hold NaN or Inf, and needs one number a row where
    `is_finite` needs one a value.
    """
    numbers = value.dtype.is_floating or value.dtype.is_complex
    if not numbers or value.shape.rank == 0:
        return None
    shape = value.shape.as_list()
    before, after = int(np.prod(shape[:axis])), int(np.prod(shape[axis + 1 :]))
    if axis:
        value = tf.matmul(tf.zeros([1, before], value.dtype), tf.reshape(value, [before, -1]))
    if axis or value.shape.rank != 2:
        value = tf.reshape(value, [-1, after])
    return value, tf.zeros([after, 1], value.dtype)


@functools.lru_cache(maxsize=None)
def _finding_function(dtype):
    """One function of (rows, zeros) that says whether all is finite, and which rows are not."""

    def find(rows, zeros):
        marks = tf.squeeze(tf.matmul(rows, zeros), 1)
        bad = tf.squeeze(tf.where_v2(tf.not_equal(marks, marks)), 1)
        return tf.equal(tf.size(bad), 0), bad

    arguments = [tf.TensorSpec([None, None], dtype), tf.TensorSpec([None, 1], dtype)]
    return a_function(find, arguments, f"find_nonfinite_{dtype.name}")


def nonfinite_rows(values):
    """Returns the numbers of the rows of an array that hold NaN or Inf."""
    if values.dtype.kind in "iubOSU" or not values.size:
        return np.zeros(0, int)
    found = []
    width = values[0].size
    step = max(1, (1 << 20) // width)
    for start in range(0, len(values), step):
        chunk = values[start : start + step].reshape([-1, width])
        if chunk.dtype.itemsize < 4:  # half types: a float type of numpy's own
            chunk = chunk.astype(np.float32)
        # A sum is no number if a value is none. It may be too large as well, so rows are looked at.
        with np.errstate(all="ignore"):
            rows = np.flatnonzero(~np.isfinite(np.dot(chunk, np.ones(width, chunk.dtype))))
        found.append(start + rows[~np.isfinite(chunk[rows]).all(1)])
    return np.concatenate(found)


def expect_finite(name, values, what):
    """Raises ValueError if rows of an array hold NaN or Inf.

    Args:
        name: of the tensor.
        values: array of any rank.
        what: str, "base" or "delta", that holds them.
    """
    bad = nonfinite_rows(np.atleast_1d(values))
    if len(bad):
        raise ValueError(
            f"{name}: rows {bad[:20].tolist()} of the {what} hold NaN or Inf. Repair it, or pass "
            "allow_nonfinite=True."
        )
