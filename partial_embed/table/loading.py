"""Variables whose own initializers read a checkpoint: what is loaded, and how."""

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed.files.finite import refuse_nonfinite
from partial_embed.files.runs import as_range, count_runs, to_runs
from partial_embed.files.tensors import restore, slice_spec
from partial_embed.table.embedding import (
    FROZEN_VARIABLES,
    FrozenVariable,
    frozen_variables_in,
)
from partial_embed.table.plan import offset_of, with_rows


def load_slice(checkpoint, name, offset, shape, allow_nonfinite, axis=0):
    """Returns a slice of a checkpoint's tensor, read when it runs.

    Args:
        checkpoint: `Checkpoint`.
        name: str, the tensor's name there.
        offset, shape: lists of ints: where the slice begins, and its shape.
        allow_nonfinite: bool; otherwise it fails if a row of it holds NaN or Inf.
        axis: int, along which rows are counted.
    """
    full, dtype = list(checkpoint.shapes[name]), checkpoint.dtypes[name]
    spec = "" if list(shape) == full else slice_spec(full, offset, shape)
    value = restore(checkpoint.prefix, name, dtype, spec, shape)
    what = f"{name} of {checkpoint.prefix}"
    return value if allow_nonfinite else refuse_nonfinite(value, what, axis)


def load_rows(checkpoint, name, rows, allow_nonfinite=True, axis=0):
    """Returns rows of a checkpoint's tensor, a range or int64 array of them; see `load_slice`."""
    full, rows = list(checkpoint.shapes[name]), as_range(rows)
    if isinstance(rows, range):  # and no others are read
        offset, part = offset_of(full, axis, rows.start), with_rows(full, axis, len(rows))
        return load_slice(checkpoint, name, offset, part, allow_nonfinite, axis)
    value = restore(checkpoint.prefix, name, checkpoint.dtypes[name], shape=full)
    value = tf.gather(value, row_indices(rows), axis=axis)
    what = f"{name} of {checkpoint.prefix}"
    return value if allow_nonfinite else refuse_nonfinite(value, what, axis)


def row_indices(rows):
    """Returns `rows`, a range or int64 array, as a tensor that adds little to the graph.

    A few runs of consecutive rows are kept as their ends; only a table whose
    order is thoroughly changed is handed over from Python.
    """
    if count_runs(rows) > 100000:
        indices = tf.py_func(lambda: rows, [], tf.int64, stateful=False)
        indices.set_shape([len(rows)])
        return indices
    starts, stops = np.asarray(to_runs(rows), np.int64).reshape([-1, 2]).T
    lengths = stops - starts
    begins = np.cumsum(lengths) - lengths
    indices = tf.repeat(tf.constant(starts - begins), tf.constant(lengths)) + tf.range(
        tf.constant(len(rows), tf.int64)
    )
    indices.set_shape([len(rows)])  # not inferred by 1.15 for a single row
    return indices


def loading_initializer(checkpoint, name, shape, allow_nonfinite):
    """Returns an initializer that loads a variable of `shape`, or a partition of it."""

    def initialize(part, dtype=None, partition_info=None):
        del dtype  # the checkpoint's
        offset = [0] * len(shape) if partition_info is None else partition_info.var_offset
        return load_slice(checkpoint, name, offset, part, allow_nonfinite)

    return initialize


def load_unchanged(
    getter,
    name,
    checkpoint,
    allow_nonfinite,
    trains,
    tensor_name,
    shape,
    dtype,
    trainable=None,
    collections=None,
    **arguments,
):
    """Makes a variable of the checkpoint's shape: loaded, and frozen unless it `trains`.

    Args:
        trains: bool, whether it goes on training if the script would have it train.
        tensor_name: str, its name in the checkpoint.
        getter, shape, dtype, trainable, collections, **arguments: what a custom getter is given.

    Returns:
        The variable.
    """
    checkpoint.check(tensor_name, dtype, shape, table=name)
    arguments["initializer"] = loading_initializer(checkpoint, tensor_name, shape, allow_nonfinite)
    frozen = trainable is not False and not trains
    if frozen:  # whatever collections the script puts it in
        trainable, train_key = False, tf.GraphKeys.TRAINABLE_VARIABLES
        collections = collections and [key for key in collections if key != train_key]
    arguments.update(trainable=trainable, collections=collections)
    variable = getter(name, shape=shape, dtype=dtype, **arguments)
    if not frozen:
        return variable
    if not any(variable is known for known, _, _ in frozen_variables_in()):
        tf.add_to_collection(FROZEN_VARIABLES, FrozenVariable(variable, checkpoint, tensor_name))
    return variable
