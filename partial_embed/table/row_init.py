"""Where new rows start: initializers that know the old rows.

For the `initializer=` of `get_embedding` and the `initializers=` of `growing`.
Values are computed when the variable is initialized, never put into the graph.
"""

import os

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed.files.runs import row_indices
from partial_embed.files.tensors import restore

# Rows from which mean and covariance are estimated, spread over larger tables.
_SAMPLE_ROWS = 1 << 17


class OldRows:
    """The rows a new row may look at: those of the table that the checkpoint holds."""

    def __init__(self, name, plan, checkpoint, tensor_name, keys):
        self.name = name
        self._plan = plan
        self._checkpoint = checkpoint
        self._tensor_name = tensor_name
        self._keys = keys

    def read(self, rows=None):
        """Returns rows of the table (all old ones by default) as a tensor."""
        if self._checkpoint is None:
            raise ValueError(
                f"The new rows of {self.name} shall start from old ones, but there is no "
                "checkpoint. Give "
                "checkpoint=."
            )
        checkpoint = self._checkpoint
        value = restore(
            checkpoint.prefix,
            self._tensor_name,
            checkpoint.dtypes[self._tensor_name],
            shape=checkpoint.shapes[self._tensor_name],
        )
        if rows is None:
            source = self._plan.source_of(np.arange(self._plan.num_rows))
            source = source[source >= 0]
            source = source[:: max(1, len(source) // _SAMPLE_ROWS)]
            return tf.gather(value, row_indices(source))
        return tf.gather(value, row_indices(self._plan.source_of(rows)))

    def number(self, row):
        """Returns the row number of a row named by number or key; checks it."""
        if isinstance(row, str):
            if not self._keys:
                raise ValueError(
                    f"{self.name} has no vocabulary, so {row!r} names no row. Give vocabulary=, or "
                    "row "
                    "numbers."
                )
            if row not in self._keys:
                raise ValueError(f"{row!r} is no key of {self.name}.")
            row = self._keys.index(row)
        row = int(row)
        if not 0 <= row < self._plan.num_rows or self._plan.source_of(np.array([row]))[0] < 0:
            raise ValueError(
                f"Row {row} of {self.name} cannot be copied: it is not among the "
                f"{self._plan.checkpoint_rows} rows of the "
                "checkpoint."
            )
        return row


class RowInit:
    """An initializer of new rows; subclasses compute `new_rows`."""

    def __call__(self, shape, dtype=None, partition_info=None):
        raise ValueError(
            "This initializer starts new rows from old ones, and the table has none. Use it under "
            "growing, or in get_embedding with checkpoint=."
        )

    def new_rows(self, old, rows, row_shape, dtype):
        """Returns the values of new rows.

        Args:
            old: `OldRows`.
            rows: int64 array, the row numbers to fill.
            row_shape: list of ints, shape of a row.
            dtype: `tf.DType` of the table.

        Returns:
            Tensor [len(rows)] + row_shape.
        """
        raise NotImplementedError


class _Normal(RowInit):
    def __init__(self, scale, seed):
        self._scale, self._seed = scale, seed

    def new_rows(self, old, rows, row_shape, dtype):
        size = int(np.prod(row_shape))
        sample = tf.cast(tf.reshape(old.read(), [-1, size]), tf.float64)
        mean = tf.reduce_mean(sample, 0)
        centered = sample - mean
        count = tf.cast(tf.shape(sample)[0], tf.float64)
        covariance = tf.matmul(centered, centered, transpose_a=True) / count
        # Eigenvectors, where Cholesky would ask for more rows than columns.
        values, vectors = tf.self_adjoint_eig(covariance)
        noise = tf.random_normal([len(rows), size], dtype=tf.float64, seed=self._seed)
        noise *= tf.sqrt(tf.maximum(values, 0.0)) * self._scale
        drawn = mean + tf.matmul(noise, vectors, transpose_b=True)
        return tf.cast(tf.reshape(drawn, [len(rows)] + row_shape), dtype)


def normal_like_old_rows(scale=1.0, seed=None):
    """New rows from `N(m, scale**2 * C)`: mean and covariance of the old rows.

    Args:
        scale: float. 1 draws rows that look like trained ones; with 1e-9, as
            some libraries have it, all new rows start at the mean and alike.
        seed: int or None.

    Returns:
        An initializer for `get_embedding` and `growing`.

    Raises:
        ValueError: if scale is negative.

    Source: Hewitt (2021), "Initializing new word embeddings for pretrained
    language models".
    """
    if scale < 0:
        raise ValueError(f"scale must be 0 or more, got {scale}.")
    return _Normal(scale, seed)


class _Mean(RowInit):
    def __init__(self, neighbours):
        self._neighbours = [np.ravel(np.asarray(row)).tolist() for row in neighbours]

    def new_rows(self, old, rows, row_shape, dtype):
        if len(self._neighbours) != len(rows):
            raise ValueError(
                f"{old.name} has {len(rows)} new rows; expected one list of old rows for each, got "
                f"{len(self._neighbours)}."
            )
        lengths = np.array([len(near) for near in self._neighbours])
        if not lengths.all():
            raise ValueError(
                f"The list of old rows for new row {rows[np.argmin(lengths)]} of {old.name} is "
                "empty."
            )
        near = np.array([old.number(row) for group in self._neighbours for row in group])
        values = old.read(near)
        if (lengths == 1).all():
            return values
        groups = np.repeat(np.arange(len(rows)), lengths)
        mean = tf.segment_mean(tf.cast(values, tf.float64), tf.constant(groups, tf.int32))
        return tf.cast(mean, dtype)


def mean_of_rows(neighbours):
    """New rows that start as means (of one row: as copies) of old rows.

    Args:
        neighbours: for each new row, in the order of rows, an old row or a list
            of them: row numbers of the table, or keys where it has a vocabulary.

    Returns:
        An initializer for `get_embedding` and `growing`.

    Raises:
        ValueError: when the table is made, if there are more or fewer lists than
            new rows, one is empty, or names a row that is not old.
    """
    return _Mean(neighbours)


class _Values(RowInit):
    def __init__(self, values):
        self._values = values

    def new_rows(self, old, rows, row_shape, dtype):
        values = self._values
        if isinstance(values, (str, os.PathLike)):
            values = np.load(os.fspath(values), mmap_mode="r")
        expected = [len(rows)] + row_shape
        if list(values.shape) != expected:
            raise ValueError(
                f"The new rows of {old.name} need values of shape {expected}, got "
                f"{list(values.shape)}."
            )
        kind = dtype.as_numpy_dtype
        return tf.py_func(lambda: np.asarray(values, kind), [], dtype, stateful=False)


def values_from(values):
    """New rows that start at given values, which do not become part of the graph.

    Args:
        values: array [new rows, ...], or the path of a .npy file of one.

    Returns:
        An initializer for `get_embedding` and `growing`.

    Raises:
        ValueError: when the table is made, if the shape is another.
    """
    return _Values(values if isinstance(values, (str, os.PathLike)) else np.asarray(values))
