"""Row numbers as runs of consecutive ones, and as tensors."""

import numpy as np
import tensorflow.compat.v1 as tf


def to_runs(rows):
    """Returns [[start, stop], ...] of the runs of consecutive numbers in `rows`."""
    rows = np.asarray(rows, np.int64)
    if not rows.size:
        return []
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    starts = rows[np.concatenate([[0], breaks])]
    stops = rows[np.concatenate([breaks - 1, [rows.size - 1]])] + 1
    return np.stack([starts, stops], 1).tolist()


def from_runs(runs):
    """Inverse of `to_runs`: an int64 array of the numbers."""
    if not len(runs):
        return np.zeros(0, np.int64)
    return np.concatenate([np.arange(start, stop, dtype=np.int64) for start, stop in runs])


def describe_runs(runs, most=10):
    """Returns `100-109, 120` for [[100, 110], [120, 121]], at most so many of them."""
    texts = [str(a) if b == a + 1 else f"{a}-{b - 1}" for a, b in runs[:most]]
    return (", ".join(texts) + (", ..." if len(runs) > most else "")) or "none"


def row_indices(rows):
    """Returns `rows` as an int64 tensor that adds little to the graph.

    A few runs of consecutive rows are kept as their ends; only a table whose
    order is thoroughly changed is handed over from Python.
    """
    runs = to_runs(rows)
    if len(runs) > 100000:
        indices = tf.py_func(lambda: rows, [], tf.int64, stateful=False)
        indices.set_shape([len(rows)])
        return indices
    starts, stops = np.asarray(runs, np.int64).reshape([-1, 2]).T
    lengths = stops - starts
    begins = np.cumsum(lengths) - lengths
    indices = tf.repeat(tf.constant(starts - begins), tf.constant(lengths)) + tf.range(
        tf.constant(len(rows), tf.int64)
    )
    indices.set_shape([len(rows)])  # not inferred by 1.15 for a single row
    return indices
