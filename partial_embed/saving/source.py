"""A source of rows: a checkpoint seen as whole tables, with two questions.

`rows(which)` and `slot_rows(slot, which)` say where rows of one table, and of a slot, are stored:

    whole   row i of the table is row i of the tensor
    base    what the table grew from: rows may stand elsewhere, new ones are not there
    delta   new rows are the delta's, the others those of the base it was trained on

Restoring is source -> variables, completing a slot is source -> part of a file,
merging is source -> file.
"""

from collections import namedtuple

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed.files.growth import DELTA_ROWS, read_generations
from partial_embed.files.runs import as_range, describe_runs, to_runs
from partial_embed.files.stored_bytes import StoredBytes
from partial_embed.files.tensors import can_slice, read_tensors, restore, slice_of, slice_spec
from partial_embed.saving.same_base import which_holds_frozen_rows
from partial_embed.table.optimizer_state import name_in, renamed
from partial_embed.table.plan import offset_of, with_rows


class Stored(namedtuple("Stored", ["checkpoint", "name", "spec", "rows", "shape", "axis"])):
    """Values in a checkpoint, not read yet.

    Attributes:
        checkpoint: `Checkpoint`.
        name: name of the tensor there.
        spec: text of the slice of it, "" for all of it.
        rows: int64 array of row numbers to take of that, or None.
        shape: list of ints, the shape of the values.
        axis: int, along which rows are counted.
    """

    dtype = property(lambda self: self.checkpoint.dtypes[self.name])
    key = property(lambda self: (self.name, self.spec, self.dtype))
    # What is fed to the placeholders of `restore_fed`.
    place = property(lambda self: (self.checkpoint.prefix, [self.name], [self.spec]))

    @property
    def is_one_slice(self):
        """Whether one op of TensorFlow reads the values wherever it runs."""
        return self.rows is None and can_slice(self.dtype)

    @property
    def bytes(self):
        """The `StoredBytes`, if no rows are to be taken of them; else None."""
        return StoredBytes(self.checkpoint, self.name, self.spec) if self.rows is None else None

    def tensor(self):
        """Returns an op's output that reads the values, in the default graph."""
        value = restore(self.checkpoint.prefix, *[self.key[i] for i in (0, 2, 1)])
        return value if self.rows is None else tf.gather(value, self.rows, axis=self.axis)

    def read(self):
        """Returns the values as an array."""
        return next(read_all([self]))


class Filled(namedtuple("Filled", ["number", "dtype", "shape"])):
    """One number, as often as it takes: where an optimizer starts a slot."""

    def tensor(self):
        """Returns the values as a tensor of the default graph."""
        return tf.fill(self.shape, tf.constant(self.number, self.dtype))

    def read(self):
        """Returns the values as an array."""
        return np.full(self.shape, self.number, self.dtype.as_numpy_dtype)


def stored(checkpoint, name, which=None, spec="", axis=0):
    """Returns `Stored` rows of a tensor, as a slice where TensorFlow can read that.

    Args:
        checkpoint: `Checkpoint`.
        name: name of a tensor that it holds.
        which: range or int64 array of its rows; None for all that `spec` says.
        spec: slice text.
        axis: int, along which rows are counted.
    """
    shape = list(checkpoint.shapes[name])
    if which is None:
        if spec:
            shape = slice_of(spec)[1]
        return Stored(checkpoint, name, spec, None, shape, axis)
    part = with_rows(shape, axis, len(which))
    if isinstance(which, range) and which == range(shape[axis]):
        return Stored(checkpoint, name, "", None, shape, axis)
    # A slice of no rows is none.
    if isinstance(which, range) and len(which) and can_slice(checkpoint.dtypes[name]):
        spec = slice_spec(shape, offset_of(shape, axis, which.start), part)
        return Stored(checkpoint, name, spec, None, part, axis)
    return Stored(checkpoint, name, "", np.asarray(which, np.int64), part, axis)


def read_all(values):
    """Yields the arrays of `Stored` values, each slice of a file read once, all before the first.

    Raises:
        ValueError: if the files are damaged; names the checkpoint.
    """
    wanted, found = {}, {}
    for value in values:
        wanted.setdefault(value.checkpoint.prefix, {})[value.key] = None
    for prefix, keys in wanted.items():
        found[prefix] = dict(zip(keys, read_tensors(prefix, list(keys))))
    for value in values:
        array = found[value.checkpoint.prefix][value.key]
        yield array if value.rows is None else np.take(array, value.rows, value.axis)


class WholeTable:
    """A table in a checkpoint that holds all of its rows."""

    is_complete = True

    def __init__(self, checkpoint, name, axis):
        self.checkpoint = checkpoint
        self.name = name
        self._axis = axis

    @property
    def grew_from(self):
        """The checksum of the index of what it grew from, None if nothing says."""
        return read_generations(self.checkpoint).get(self.name, {}).get("grew_from")

    def rows(self, which):
        """Returns `Stored` rows of the table.

        Args:
            which: range or int64 array, rows of the table as it is now.
        """
        return stored(self.checkpoint, self.name, which, axis=self._axis)

    def slot_rows(self, slot, which):
        """Returns `Stored` rows of a slot, None where the checkpoint has none; see `rows`."""
        return _slot_rows(self.checkpoint, self.name, slot, which, self._axis)


class BaseTable:
    """The table that one grew from.

    Args:
        checkpoint: `Checkpoint`.
        name: the table's name there.
        plan: the `RowPlan` it was grown by.
        name_here: its name in the graph, by which its slots are named.
    """

    is_complete = False

    def __init__(self, checkpoint, name, plan, name_here):
        self.checkpoint = checkpoint
        self.name = name
        self._plan = plan
        self._name_here = name_here

    @property
    def grew_from(self):
        """The checksum of its index, for it is that itself."""
        return self.checkpoint.index_checksum

    def rows(self, which):
        """Returns `Stored` rows of the table, None if one of them is new; see `WholeTable`."""
        which, axis = self._held(which), self._plan.axis
        return None if which is None else stored(self.checkpoint, self.name, which, axis=axis)

    def slot_rows(self, slot, which):
        """Returns `Stored` rows of a slot, None where the base has none, or not all."""
        which, slot = self._held(which), renamed(slot, self._name_here, self.name)
        place = (self.checkpoint, self.name, name_in(self.checkpoint, slot, self.name))
        return None if which is None else _slot_rows(*place, which, self._plan.axis)

    def _held(self, which):
        """The rows of the base that rows of the table were; None if one was not there."""
        plan = self._plan
        if plan.source is None:
            return which if not len(which) or which[-1] < plan.grown_from else None
        rows = plan.source_of(which)
        if (rows < 0).any():
            return None
        return as_range(rows)


class DeltaTable:
    """A table of which the new rows stand in a delta.

    Args:
        delta: the `Checkpoint` of the delta.
        name: the table's name there.
        plan: the `RowPlan` it was grown by.
        base: `WholeTable` or `BaseTable` for the other rows.
    """

    is_complete = True
    grew_from = None  # its manifest says more

    def __init__(self, delta, name, plan, base):
        self.base = base
        self._delta = delta
        self._name = name
        self._plan = plan

    def rows(self, which):
        """Returns `Stored` rows of the table, all of them new or none; see `WholeTable`."""
        places = self._places(which)
        if places is None:
            return self.base.rows(which)
        return stored(self._delta, self._name + DELTA_ROWS, places, axis=self._plan.axis)

    def slot_rows(self, slot, which):
        """Returns `Stored` rows of a slot, None where there are none; see `rows`."""
        places = self._places(which)
        if places is None:
            return self.base.slot_rows(slot, which)
        self._delta.expect(slot + DELTA_ROWS)
        return stored(self._delta, slot + DELTA_ROWS, places, axis=self._plan.axis)

    def _places(self, which):
        new = self._plan.trainable_rows
        place = np.searchsorted(new, which[0]) if len(which) else len(new)
        if place < len(new) and new[place] == which[0]:
            return as_range(np.searchsorted(new, np.asarray(which)))
        return None


def _slot_rows(checkpoint, table, slot, which, axis):
    if slot not in checkpoint:
        return None
    checkpoint.expect_whole([slot])
    if checkpoint.shapes[slot][axis : axis + 1] != checkpoint.shapes[table][axis : axis + 1]:
        raise ValueError(
            f"The checkpoint {checkpoint.prefix} holds {checkpoint.describe(slot)}, and "
            f"{checkpoint.describe(table)}; expected as many rows."
        )
    return stored(checkpoint, slot, which, axis=axis)


def slot_or_start(slot_rows, rows, initial, dtype, shape):
    """Returns the rows of a slot for rows that did not train.

    That is what the source has of the slot, else the number at which the
    optimizer starts it, else, for a moving average, the rows themselves.

    Args:
        slot_rows: `Stored`, or None if the source has none.
        rows: `Stored` rows of the table or variable the slot belongs to.
        initial: the number, or None for a slot that starts as the rows.
        dtype: `tf.DType` of the slot.
        shape: list of ints, shape of these rows of the slot.
    """
    if slot_rows and (slot_rows.dtype, list(slot_rows.shape)) == (dtype, shape):
        return slot_rows
    return rows if initial is None else Filled(initial, dtype, shape)


def base_rows(embedding, source=None):
    """How many rows the table has that this one grew from, those it dropped included.

    Of one that grew from no checkpoint, rows of the source that its frozen ones have by now.
    """
    if embedding.source is None:
        held = source and source.checkpoint.shapes[source.name]
        return held[embedding.plan.axis] if held else embedding.plan.grown_from
    return embedding.source.shapes[embedding.tensor_name][embedding.plan.axis]


def _is_base(embedding, checkpoint):
    """Returns whether a checkpoint is what a table grew from, a copy of it, or in its place."""
    source = embedding.source
    if source is None or checkpoint.is_same(source):
        return source is not None
    # In its place may be what grew from it, which its growth record says.
    grew = embedding.tensor_name in read_generations(checkpoint)
    return checkpoint.prefix == source.prefix and not grew


def open_table(table, checkpoint):
    """Returns a table of a whole checkpoint or a base, as a source.

    Args:
        table: `Table` of a Saver.
        checkpoint: `Checkpoint` that is no delta.

    Raises:
        ValueError: if it holds neither as many rows as the table, nor as many
            as that grew from.
    """
    embedding, plan = table.embedding, table.embedding.plan
    # What it grew from may hold another table of its name here.
    grew_from_this = embedding.source is not None and checkpoint.is_same(embedding.source)
    own_name = table.name in checkpoint and not grew_from_this
    name = table.name if own_name else embedding.tensor_name
    checkpoint.expect(name)
    shape, axis = list(checkpoint.shapes[name]), plan.axis
    rows = shape[axis] if axis < len(shape) else 0
    is_base = _is_base(embedding, checkpoint)
    grew_from_it = is_base and rows == base_rows(embedding)
    drops = plan.source is not None or grew_from_it
    limit = max(rows, plan.num_rows) if drops else plan.num_rows
    most = with_rows(embedding.shape.as_list(), axis, limit)
    checkpoint.check(name, embedding.dtype, most, axis)
    whole = WholeTable(checkpoint, name, axis)
    base, moves = BaseTable(checkpoint, name, plan, embedding.table_name), plan.source is not None
    as_many = moves and not is_base and rows == plan.num_rows == base_rows(embedding)
    if as_many and name not in read_generations(checkpoint):
        place = embedding.source, embedding.tensor_name, plan, embedding.table_name
        return which_holds_frozen_rows(embedding, [whole, base], BaseTable(*place))
    if rows == plan.num_rows and not (is_base and moves):
        return whole
    if rows == plan.grown_from or grew_from_it:
        return base
    raise ValueError(
        f"The checkpoint {checkpoint.prefix} holds {rows} rows of {name}. Expected "
        f"{plan.grown_from}, the rows it grew from, or {plan.num_rows}, the whole table. No "
        "variable was changed."
    )


def open_delta(table, delta, entry, base):
    """Returns a table of a delta, as a source.

    Args:
        table: `Table` of a Saver.
        delta: the `Checkpoint` of the delta.
        entry: what its manifest says of the table.
        base: source of the frozen rows.

    Raises:
        ValueError: if other rows train here.
    """
    plan = table.embedding.plan
    here = (plan.num_rows, to_runs(plan.trainable_rows))
    if here != (entry["rows"], entry["trainable"]):
        raise ValueError(
            f"The delta {delta.prefix} holds rows {describe_runs(entry['trainable'])} of a table "
            f"{table.name} of {entry['rows']} rows; here rows {describe_runs(here[1])} of "
            f"{here[0]} train. Build the graph it was saved from, or merge it with its base first."
        )
    if plan.axis != entry.get("axis", 0):
        raise ValueError(
            f"The table {table.name} of the delta {delta.prefix} grew along axis "
            f"{entry.get('axis', 0)}; here it grows along axis {plan.axis}."
        )
    return DeltaTable(delta, table.name, plan, base)
