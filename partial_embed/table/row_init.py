"""Where new rows start: initializers that know the old rows.

For the `initializer=` of `get_embedding` and the `initializers=` of `growing`.
Values are computed when the variable is initialized, never put into the graph.

Example:
    >>> start = pe.row_init.mean_of_rows([[1, 3], [4]])
    >>> table = pe.get_embedding("embedding", [7, 4], checkpoint="base.ckpt", initializer=start)
    >>> session = tf.Session()
    >>> session.run(tf.global_variables_initializer())
    >>> session.run(table.trainable)[:, 0].tolist()
    [2.0, 4.0]
"""

import os

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed.files.regular import expect_file
from partial_embed.table.initializers import for_rows
from partial_embed.table.loading import load_rows, row_indices

__all__ = ["RowInit", "mean_of_rows", "normal_like_old_rows", "values_from"]
# Rows from which mean and covariance are estimated, spread over larger tables.
_SAMPLE_ROWS = 1 << 17


class RowInit:
    """An initializer of new rows of a table that grows.

    Attributes:
        new_rows: function of (table, rows, row_shape, dtype): a `TablePlan`, the row
            numbers to fill (an int64 array, or a range), the shape of a row as a list of
            ints, and a `tf.DType`; returns a tensor [len(rows)] + row_shape, whatever
            axis the table counts its rows along.

    Args:
        new_rows: that function.

    Example:
        >>> start = pe.row_init.RowInit(
        ...     lambda table, rows, row_shape, dtype: tf.ones([len(rows)] + row_shape, dtype)
        ... )
        >>> with pe.growing("base.ckpt", initializers={"embedding": start}, show=None):
        ...     table = tf.get_variable("embedding", [7, 4])
    """

    def __init__(self, new_rows):
        self.new_rows = new_rows

    def __call__(self, shape, dtype=None, partition_info=None):
        raise ValueError(
            "This initializer starts new rows from old ones, and the table has none. Use it under "
            "growing, or in get_embedding with checkpoint=."
        )


def move_rows(values, axis, to):
    """Returns values whose rows are counted along another axis."""
    if axis == to:
        return values
    order = list(range(len(values.shape)))
    order.insert(to, order.pop(axis))
    return tf.transpose(values, order)


def old_rows(table, rows=None):
    """Returns rows of a `TablePlan` as the checkpoint holds them; by default a sample of all."""
    if table.checkpoint is None:
        raise ValueError(
            f"The new rows of {table.name} shall start from old ones, but there is no checkpoint. "
            "Give checkpoint=."
        )
    if rows is None:
        held = table.rows.loaded_rows()
        source = np.asarray(held[:: max(1, len(held) // _SAMPLE_ROWS)], np.int64)
    else:
        source = table.rows.source_of(rows)
    axis = table.rows.axis
    return move_rows(load_rows(table.checkpoint, table.tensor_name, source, axis=axis), axis, 0)


def old_row(table, row):
    """Returns the number of a row that the checkpoint holds, named by its number or key."""
    if isinstance(row, str):
        if not table.keys:
            raise ValueError(
                f"{table.name} has no vocabulary, so {row!r} names no row. Give vocabulary=, or "
                "row numbers."
            )
        if row not in table.keys:
            raise ValueError(f"{row!r} is no key of {table.name}.")
        row = table.keys.index(row)
    row = int(row)
    if not 0 <= row < table.rows.num_rows or table.rows.source_of(np.array([row]))[0] < 0:
        raise ValueError(
            f"Row {row} of {table.name} cannot be copied: it is not among the "
            f"{table.rows.checkpoint_rows} rows of the checkpoint."
        )
    return row


def as_row_init(initializer):
    """Returns a TensorFlow initializer, or an array of values, as a `RowInit`.

    What is drawn is drawn as rows of the whole table. An array, that of a
    `tf.constant_initializer` too, is of all rows of the table, or of those that train.
    """

    def drawn(table, rows, row_shape, dtype):
        values = getattr(initializer, "value", None)
        if values is not None and np.size(values) == np.prod(table.shape) > 1:
            return rows_of(np.reshape(values, table.shape), table, rows, dtype)
        offset = table.part_offset(int(rows[0]) if len(rows) else 0)
        draw = for_rows(initializer, table.shape, offset)
        return move_rows(draw(table.part_shape(len(rows)), dtype), table.rows.axis, 0)

    def given(table, rows, row_shape, dtype):
        return rows_of(initializer, table, rows, dtype)

    def rows_of(values, table, rows, dtype):
        values = tf.convert_to_tensor(values, dtype)
        if values.shape.as_list() != table.shape:
            rows = np.searchsorted(table.rows.trainable_rows, rows)
        return tf.gather(move_rows(values, table.rows.axis, 0), row_indices(rows))

    if isinstance(initializer, RowInit):
        return initializer
    return RowInit(drawn if callable(initializer) else given)


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

    Example:
        >>> start = pe.row_init.normal_like_old_rows(scale=1e-9)
        >>> table = pe.get_embedding("embedding", [7, 4], checkpoint="base.ckpt", initializer=start)
        >>> session = tf.Session()
        >>> session.run(tf.global_variables_initializer())
        >>> session.run(table.trainable).round(3)[:, 0].tolist()
        [2.0, 2.0]

    Source: Hewitt (2021), "Initializing new word embeddings for pretrained
    language models".
    """
    if scale < 0:
        raise ValueError(f"scale must be 0 or more, got {scale}.")

    def new_rows(table, rows, row_shape, dtype):
        size = int(np.prod(row_shape))
        sample = tf.cast(tf.reshape(old_rows(table), [-1, size]), tf.float64)
        mean = tf.reduce_mean(sample, 0)
        centered = sample - mean
        count = tf.cast(tf.shape(sample)[0], tf.float64)
        covariance = tf.matmul(centered, centered, transpose_a=True) / count
        # Eigenvectors, where Cholesky would ask for more rows than columns.
        values, vectors = tf.self_adjoint_eig(covariance)
        noise = tf.random_normal([len(rows), size], dtype=tf.float64, seed=seed)
        noise *= tf.sqrt(tf.maximum(values, 0.0)) * scale
        drawn = mean + tf.matmul(noise, vectors, transpose_b=True)
        return tf.cast(tf.reshape(drawn, [len(rows)] + row_shape), dtype)

    return RowInit(new_rows)


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

    Example:
        >>> start = pe.row_init.mean_of_rows([["ann", "eve"]])
        >>> keys = ["ann", "bob", "eve", "joe", "sue"]
        >>> table = pe.get_embedding("embedding", [6, 4], checkpoint="base.ckpt",
        ...                          vocabulary=(keys, keys + ["dan"]), initializer=start)
        >>> session = tf.Session()
        >>> session.run(tf.global_variables_initializer())
        >>> session.run(table.trainable).tolist()
        [[1.0, 1.0, 1.0, 1.0]]
    """
    neighbours = [np.ravel(np.asarray(row)).tolist() for row in neighbours]
    lengths = np.array([len(near) for near in neighbours])

    def new_rows(table, rows, row_shape, dtype):
        del row_shape  # the old rows'
        if len(neighbours) != len(rows):
            raise ValueError(
                f"{table.name} has {len(rows)} new rows; expected one list of old rows for each, "
                f"got {len(neighbours)}."
            )
        if not lengths.all():
            raise ValueError(
                f"The list of old rows for new row {rows[np.argmin(lengths)]} of {table.name} is "
                "empty."
            )
        near = [old_row(table, row) for group in neighbours for row in group]
        values = old_rows(table, np.array(near))
        if (lengths == 1).all():
            return values
        groups = np.repeat(np.arange(len(rows)), lengths)
        mean = tf.segment_mean(tf.cast(values, tf.float64), tf.constant(groups, tf.int32))
        return tf.cast(mean, dtype)

    return RowInit(new_rows)


def values_from(values):
    """New rows that start at given values, which do not become part of the graph.

    Args:
        values: array [new rows, ...], or the path of a .npy file of one.

    Returns:
        An initializer for `get_embedding` and `growing`.

    Raises:
        ValueError: when the table is made, if the shape is another.

    Example:
        >>> start = pe.row_init.values_from(np.full([2, 4], 9.0))
        >>> table = pe.get_embedding("embedding", [7, 4], checkpoint="base.ckpt", initializer=start)
        >>> session = tf.Session()
        >>> session.run(tf.global_variables_initializer())
        >>> session.run(table.trainable)[:, 0].tolist()
        [9.0, 9.0]
    """
    is_path = isinstance(values, (str, os.PathLike))

    def new_rows(table, rows, row_shape, dtype):
        if is_path:
            expect_file(values)
        array = np.load(os.fspath(values), mmap_mode="r") if is_path else np.asarray(values)
        expected = [len(rows)] + row_shape
        if list(array.shape) != expected:
            raise ValueError(
                f"The new rows of {table.name} need values of shape {expected}, got "
                f"{list(array.shape)}."
            )
        kind = dtype.as_numpy_dtype
        found = tf.py_func(lambda: np.asarray(array, kind), [], dtype, stateful=False)
        return tf.ensure_shape(found, expected)

    return RowInit(new_rows)
