"""Which rows of a table are frozen, which train, and where each one is loaded from."""

import numpy as np


class RowPlan:
    """The rows of one table, divided in two.

    For a checkpoint of 4 rows, a table of 6 and `trainable_rows=[1]`:

        row        0   1   2   3   4   5
        source     0   1   2   3   -   -     row of the checkpoint
                   |   |   |   |   |   |
        frozen     0   .   1   2   .   .     row of the frozen variable
        trainable  .   0   .   .   1   2     row of the trainable variable

    Attributes:
        num_rows: int, rows of the table.
        trainable_rows: int64 array, ascending: the rows that train.
        source: None where row i is row i of the checkpoint as far as that
            goes, else int64 array [num_rows], -1 for a row that is not there.
        checkpoint_rows: int, rows of the table in the checkpoint; 0 without one.
        num_frozen_rows: int.
        grown_from: int, rows of what a base is here: the checkpoint's, else those that are old.
        in_order: bool, whether the frozen rows come first.
        contiguous: bool, whether the frozen rows come first and are loaded in
            order, so that both variables are slices of the table.
        axis: int, along which rows are counted: 1 for a kernel [d, vocabulary],
            whose rows are columns.
    """

    def __init__(
        self, num_rows, checkpoint_rows, trainable_rows, source=None, axis=0, grown_from=None
    ):
        self.axis = axis
        self.num_rows = num_rows
        self.checkpoint_rows = checkpoint_rows
        self.trainable_rows = trainable_rows
        self.source = source
        self.num_frozen_rows = num_rows - len(trainable_rows)
        self.grown_from = checkpoint_rows if grown_from is None else grown_from
        last = np.arange(self.num_frozen_rows, num_rows)
        self.in_order = np.array_equal(trainable_rows, last)
        self.contiguous = self.in_order and source is None

    def frozen_rows(self):
        """Returns the rows that do not train, ascending: a range if they come first, else int64.

        A table can have billions of them, and a list of those is larger than most memories.
        """
        if self.in_order:
            return range(self.num_frozen_rows)
        keep = np.ones(self.num_rows, bool)
        keep[self.trainable_rows] = False
        return np.flatnonzero(keep)

    def joined(self, frozen, trainable):
        """Returns the array of all rows, given arrays of those that do not train and that do."""
        shape = with_rows(trainable.shape, self.axis, self.num_rows)
        whole = np.empty(shape, trainable.dtype)
        rows_first = np.moveaxis(whole, self.axis, 0)
        rows_first[self.frozen_rows()] = np.moveaxis(frozen, self.axis, 0)
        rows_first[self.trainable_rows] = np.moveaxis(trainable, self.axis, 0)
        return whole

    def loaded_rows(self):
        """Returns the checkpoint's rows that the table has, in its order: a range or int64."""
        return range(self.checkpoint_rows) if self.source is None else self.source[self.source >= 0]

    def source_of(self, rows):
        """Returns the checkpoint's row for each of `rows`, -1 where there is none.

        Args:
            rows: int64 array, or a range; of one that is loaded as it stands the result is it.
        """
        if self.source is None and isinstance(rows, range) and rows.stop <= self.checkpoint_rows:
            return rows
        rows = np.asarray(rows, np.int64)
        if self.source is not None:
            return self.source[rows]
        return np.where(rows < self.checkpoint_rows, rows, -1)

    def is_old(self, rows):
        """Returns for each of some rows, int64, whether it is in what the table grew from."""
        return rows < self.grown_from if self.source is None else self.source[rows] >= 0

    def moved_rows(self):
        """Returns the rows that stood elsewhere in the checkpoint, as int64."""
        if self.source is None:
            return np.zeros(0, np.int64)
        return np.flatnonzero((self.source >= 0) & (self.source != np.arange(self.num_rows)))


def plan_rows(
    name,
    num_rows,
    checkpoint_rows=0,
    num_frozen_rows=None,
    trainable_rows=None,
    source=None,
    axis=0,
    untrained=(),
):
    """Divides the rows of a table.

    Rows that the checkpoint does not hold always train; `trainable_rows` adds
    rows that it does hold.

    Args:
        name: name of the table, for errors.
        num_rows: int, rows of the table in the graph.
        checkpoint_rows: int, rows the checkpoint holds, 0 without a checkpoint.
        num_frozen_rows: int, instead of a checkpoint: the first rows, frozen.
        trainable_rows: ids of rows to train, any order, no duplicates.
        source, axis: see `RowPlan`.
        untrained: rows that the checkpoint holds, and that never trained.

    Returns:
        A `RowPlan`.

    Raises:
        TypeError: if `trainable_rows` are no list of ids.
        ValueError: if ids are outside the table or given twice.
    """
    grown_from = checkpoint_rows if num_frozen_rows is None else num_frozen_rows
    if source is not None:
        new_rows = np.flatnonzero(source < 0)
    else:
        if not grown_from and num_frozen_rows is None and trainable_rows is not None:
            grown_from = num_rows  # and some of them train
        new_rows = np.arange(grown_from, num_rows)
    kind = source, axis, grown_from
    new_rows = np.union1d(new_rows, untrained).astype(np.int64) if len(untrained) else new_rows
    if trainable_rows is None:
        return RowPlan(num_rows, checkpoint_rows, new_rows.astype(np.int64), *kind)
    if isinstance(trainable_rows, str) or not np.iterable(trainable_rows):
        raise TypeError(f"trainable_rows of {name} must be a list of ids, got {trainable_rows!r}.")
    asked = np.asarray(list(trainable_rows))
    if asked.size and not np.issubdtype(asked.dtype, np.integer):
        raise ValueError(f"trainable_rows of {name} must be row numbers, got {asked.dtype}.")
    asked = asked.reshape(-1).astype(np.int64)
    outside = asked[(asked < 0) | (asked >= num_rows)]
    if outside.size:
        raise ValueError(
            f"trainable_rows of {name} must be from 0 to {num_rows - 1}, the last of its "
            f"{num_rows} rows; found {outside[:10].tolist()}."
        )
    rows, counts = np.unique(asked, return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"trainable_rows of {name} names rows more than once: "
            f"{rows[counts > 1][:10].tolist()}. Name each row once."
        )
    rows = np.union1d(rows, new_rows).astype(np.int64)
    return RowPlan(num_rows, checkpoint_rows, rows, *kind)


def with_rows(shape, axis, num_rows):
    """Returns the shape of so many rows of a table of some shape, a list of ints."""
    shape = list(shape)
    return shape[:axis] + [num_rows] + shape[axis + 1 :]


def offset_of(shape, axis, row):
    """Returns where a part of a table begins that begins with a row, a list of ints."""
    return with_rows([0] * len(shape), axis, row)


def rows_of(variable, axis):
    """Returns how many rows a variable, or an array, has."""
    return int(variable.shape[axis])


def take_rows(array, rows, axis):
    """Returns rows of an array, a range or int64 array of them; of a range a view."""
    if isinstance(rows, range):
        return array[(slice(None),) * axis + (slice(rows.start, rows.stop),)]
    return np.take(array, rows, axis)
