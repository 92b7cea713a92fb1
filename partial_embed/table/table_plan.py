"""The plan of one table's variables: what it is called, its rows, and where their values come from.

A plan is made once, and all that can be checked is checked then; `make_table` follows it.
"""

import typing

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.growth import (
    expect_base,
    expect_keys,
    read_generations,
    rows_of_generation,
    untrained_rows,
)
from partial_embed.files.hashes import keys_fingerprint
from partial_embed.table.loading import load_rows, row_indices
from partial_embed.table.plan import RowPlan, offset_of, plan_rows, with_rows
from partial_embed.table.row_init import RowInit, as_row_init, move_rows
from partial_embed.table.vocabulary import as_vocabulary, check_vocabulary


class TablePlan(typing.NamedTuple):
    """What the variables of one table are made from.

    Attributes:
        name: str, the table's full name, in the graph and on disk.
        shape: list of ints, of the whole table.
        dtype: `tf.DType`.
        rows: `RowPlan`.
        initializer: `RowInit` of rows that are not loaded.
        checkpoint: `Checkpoint` that the others are loaded from, or None.
        tensor_name: str, the table's name there.
        keys: list of str, the vocabulary's key of each row; or None.
        allow_nonfinite: bool, whether to load rows that hold NaN or Inf.
        partitioner: divides the frozen variable where the script asks for none; or None.
    """

    name: str
    shape: list
    dtype: tf.DType
    rows: RowPlan
    initializer: RowInit
    checkpoint: typing.Optional[Checkpoint]
    tensor_name: str
    keys: typing.Optional[list]
    allow_nonfinite: bool
    partitioner: typing.Optional[typing.Callable]

    # Where a part of the rows is a part of the table: the one place that says along which axis.

    def part_shape(self, num_rows):
        """Returns the shape of so many of its rows, a list of ints."""
        return with_rows(self.shape, self.rows.axis, num_rows)

    def part_offset(self, row):
        """Returns where a part begins that begins with a row, a list of ints."""
        return offset_of(self.shape, self.rows.axis, row)

    def initial_values(self, rows):
        """Returns an initializer for a variable of some rows: old ones are loaded, others drawn.

        Args:
            rows: range or int64 array, row numbers of the table.
        """

        def initialize(shape, dtype=None, partition_info=None):
            del dtype
            axis, shape = self.rows.axis, tf.TensorShape(shape).as_list()
            if shape != self.part_shape(shape[axis]):
                raise ValueError(
                    f"The partitioner of {self.name} divides {self.shape} along another axis than "
                    f"its rows. Partition axis {axis}."
                )
            start = partition_info.var_offset[axis] if partition_info is not None else 0
            return self._values(rows[start : start + shape[axis]])

        return initialize

    def _values(self, rows):
        if self.checkpoint is None:
            return self._drawn(rows)
        sources, axis = self.rows.source_of(rows), self.rows.axis
        if isinstance(sources, range):
            return self._loaded(sources)
        old, new = np.flatnonzero(sources >= 0), np.flatnonzero(sources < 0)
        if not len(old):
            return self._drawn(rows)
        if not len(new):
            return self._loaded(sources)
        values = tf.concat([self._loaded(sources[old]), self._drawn(rows[new])], axis)
        order = np.argsort(np.concatenate([old, new]))
        return tf.gather(values, row_indices(order), axis=axis)

    def _loaded(self, sources):
        place = (self.checkpoint, self.tensor_name, sources)
        return load_rows(*place, self.allow_nonfinite, self.rows.axis)

    def _drawn(self, rows):
        axis = self.rows.axis
        row_shape = self.shape[:axis] + self.shape[axis + 1 :]
        values = self.initializer.new_rows(self, rows, row_shape, self.dtype)
        values = move_rows(tf.convert_to_tensor(values, self.dtype), 0, axis)
        values.set_shape(self.part_shape(len(rows)))
        return values


def plan_table(
    name,
    shape,
    dtype,
    initializer=None,
    checkpoint=None,
    tensor_name=None,
    num_frozen_rows=None,
    trainable_rows=None,
    vocabulary=None,
    generation=None,
    axis=None,
    allow_nonfinite=False,
    partitioner=None,
):
    """Returns a `TablePlan`; for the arguments and the errors see `get_embedding`."""
    if not shape.is_fully_defined() or not shape.rank or 0 in shape.as_list():
        raise ValueError(
            f"The table {name} needs a shape [rows, ...] of known numbers above 0, got {shape}."
        )
    shape, tensor_name = shape.as_list(), tensor_name or name
    vocabulary = as_vocabulary(vocabulary)
    if axis is not None and not 0 <= axis < len(shape):
        raise ValueError(f"axis of {name} must be from 0 to {len(shape) - 1}, got {axis}.")
    checkpoint_rows, source, untrained = 0, None, ()
    if checkpoint is not None:
        if num_frozen_rows is not None:
            raise ValueError(
                f"{name}: give checkpoint= or num_frozen_rows=, not both; the checkpoint says how "
                "many rows are old."
            )
        checkpoint = Checkpoint(checkpoint)
        expect_base(checkpoint)
        if axis is None:
            axis = longer_axis(shape, checkpoint.shapes.get(tensor_name, shape))
            if axis is None:
                axis = read_generations(checkpoint).get(tensor_name, {}).get("axis", 0)
        checkpoint_rows, source, untrained = _old_rows(
            name, shape, dtype, checkpoint, tensor_name, vocabulary, generation, axis
        )
    elif vocabulary is not None or generation is not None:
        raise ValueError(f"{name}: vocabulary= and generation= need checkpoint=.")
    elif num_frozen_rows is None and trainable_rows is None:
        raise ValueError(
            f"{name}: nothing says which rows are frozen. Give checkpoint=, num_frozen_rows= or "
            "trainable_rows=."
        )
    axis = axis or 0
    if num_frozen_rows is not None and (
        int(num_frozen_rows) != num_frozen_rows or not 0 <= num_frozen_rows <= shape[axis]
    ):
        raise ValueError(
            f"{name}: num_frozen_rows must be from 0 to {shape[axis]}, the rows of the table; got "
            f"{num_frozen_rows}."
        )
    rows = plan_rows(
        name,
        shape[axis],
        checkpoint_rows,
        num_frozen_rows,
        trainable_rows,
        source,
        axis,
        untrained,
    )
    if initializer is None:
        floating = dtype.is_floating
        initializer = tf.glorot_uniform_initializer() if floating else tf.zeros_initializer()
    plan = TablePlan(
        name,
        shape,
        dtype,
        rows,
        as_row_init(initializer),
        checkpoint,
        tensor_name,
        vocabulary and vocabulary.all_keys("new_keys"),
        allow_nonfinite,
        # Such functions divide rows; of a kernel [d, vocabulary] each part would have some of each.
        None if axis else partitioner,
    )
    if not callable(initializer):
        _check_values(plan, initializer)
    return plan


def longer_axis(shape, held):
    """Returns the axis along which a table is longer than it was; None, if none is."""
    if len(shape) != len(held):
        return 0  # refused later
    axes = [axis for axis in range(len(shape)) if shape[axis] > held[axis]]
    return axes[0] if axes else None


def _check_values(plan, values):
    """Raises ValueError unless an array of initial values has a value for all that need one."""
    given = list(np.shape(values) or tf.convert_to_tensor(values).shape.as_list())
    wanted = {"the whole table": plan.shape}
    if plan.checkpoint is not None or not plan.rows.num_frozen_rows:
        part = plan.part_shape(len(plan.rows.trainable_rows))
        wanted = {"the rows that train": part, **wanted}
    if given not in wanted.values():
        texts = [f"{what}, {shape}" for what, shape in wanted.items()]
        raise ValueError(
            f"The initial values of {plan.name} have shape {given}; expected {', or '.join(texts)}."
        )


def _old_rows(name, shape, dtype, checkpoint, tensor_name, vocabulary, generation, axis):
    """Returns (rows taken from the checkpoint, see `RowPlan.source`, those to train), checked.

    Rows that grow_checkpoint added and nobody has trained are taken as well, to train.
    """
    checkpoint.expect(tensor_name)
    rows, there = shape[axis], list(checkpoint.shapes[tensor_name])
    held = checkpoint_rows = there[axis] if axis < len(there) else 0
    kept, untrained = None, untrained_rows(checkpoint, tensor_name, generation)
    if generation is not None:
        kept = rows_of_generation(checkpoint, tensor_name, generation)
        kept = np.union1d(kept, untrained)
        checkpoint_rows = len(kept)
        if np.array_equal(kept, np.arange(len(kept))):
            kept = None
    # Rows may be dropped by a vocabulary or a generation, and not otherwise.
    drops = vocabulary is not None or generation is not None
    most = with_rows(shape, axis, max(rows, held) if drops else rows)
    checkpoint.check(tensor_name, dtype, most, axis, name)
    if vocabulary is not None:
        check_vocabulary(vocabulary, name, rows, checkpoint_rows)
        entry = read_generations(checkpoint).get(tensor_name, {})
        if checkpoint_rows == held and "vocabulary" in entry:
            old_keys = keys_fingerprint(vocabulary.all_keys("old_keys"))
            expect_keys(checkpoint.prefix, tensor_name, entry, old_keys)
        source = vocabulary.source
    elif checkpoint_rows > rows:
        raise ValueError(
            f"The table {name} has {rows} rows, generation {generation} of {tensor_name} in "
            f"{checkpoint.prefix} has {checkpoint_rows}. Ask for as many or more."
        )
    else:
        source = None
    if kept is not None:
        if source is None:
            source = np.where(np.arange(rows) < checkpoint_rows, np.arange(rows), -1)
        source, checkpoint_rows = np.where(source >= 0, kept[np.maximum(source, 0)], -1), held
    if len(untrained):
        untrained = untrained if source is None else np.flatnonzero(np.isin(source, untrained))
    return checkpoint_rows, source, untrained
