"""Variables whose own initializers read a checkpoint: what is loaded, and how."""

import re

import numpy as np
import tensorflow.compat.v1 as tf
from absl import logging

from partial_embed.files.finite import refuse_nonfinite
from partial_embed.files.growth import read_generations
from partial_embed.files.runs import as_range, to_runs
from partial_embed.files.tensors import restore, slice_spec
from partial_embed.table.embedding import FROZEN_VARIABLES, frozen_variables_in
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


def loading_initializer(checkpoint, name, shape, allow_nonfinite):
    """Returns an initializer that loads a variable of `shape`, or a partition of it."""

    def initialize(part, dtype=None, partition_info=None):
        del dtype  # the checkpoint's
        offset = [0] * len(shape) if partition_info is None else partition_info.var_offset
        return load_slice(checkpoint, name, offset, part, allow_nonfinite)

    return initialize


def load_unchanged(
    getter, name, checkpoint, allow_nonfinite, trains, shape, dtype, trainable=None, **arguments
):
    """Makes a variable of the checkpoint's shape: loaded, and frozen unless it `trains`.

    Args:
        trains: bool, whether it goes on training if the script would have it train.
        getter, shape, dtype, trainable, **arguments: what a custom getter is given.

    Returns:
        (the variable, what was done to it, in words).
    """
    checkpoint.check(name, dtype, shape)
    arguments["initializer"] = loading_initializer(checkpoint, name, shape, allow_nonfinite)
    trainable_here = trainable if trains else False
    variable = getter(name, shape=shape, dtype=dtype, trainable=trainable_here, **arguments)
    if trainable is False:  # a step counter, a moving average: the script's own, and may change
        return variable, "loaded"
    if trains:
        return variable, "loaded, trains"
    if not any(variable is frozen for frozen, _ in frozen_variables_in()):
        tf.add_to_collection(FROZEN_VARIABLES, (variable, checkpoint))
    grown = read_generations(checkpoint).get(name)
    if grown and len(grown["generations"]) > 1:
        logging.warning(
            "%s has grown in %s already, and gains no row now: none of its rows trains. If "
            "that is where an interrupted run of yours saved, grow from the base it grew from, "
            "and restore this with partial_embed.Saver.",
            name,
            checkpoint.prefix,
        )
    return variable, "loaded, frozen"


def is_optimizer_state(name, trainable, variable_names):
    """Returns whether `name` is a slot of one of some variables, or a power of Adam.

    A new optimizer starts afresh, for all of its state or for none of it: it
    may be made outside, where nothing is loaded.
    """
    if trainable is not False:
        return False
    if re.search(r"(^|/)beta[12]_power(_\d+)?$", name):
        return True
    parts = name.split("/")
    owners = {"/".join(parts[start:stop]) for stop in range(1, len(parts)) for start in range(stop)}
    return not owners.isdisjoint(variable_names)
