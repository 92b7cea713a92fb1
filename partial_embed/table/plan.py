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
        in_order: bool, whether the frozen rows come first.
        contiguous: bool, whether the frozen rows come first and are loaded in
            order, so that both variables are slices of the table.
    """

    def __init__(self, num_rows, checkpoint_rows, trainable_rows, source=None):
        self.num_rows = num_rows
        self.checkpoint_rows = checkpoint_rows
        self.trainable_rows = trainable_rows
        self.source = source
        self.num_frozen_rows = num_rows - len(trainable_rows)
        last = np.arange(self.num_frozen_rows, num_rows)
        self.in_order = np.array_equal(trainable_rows, last)
        self.contiguous = self.in_order and source is None

    def frozen_rows(self):
        """Returns the rows that do not train, ascending, int64."""
        keep = np.ones(self.num_rows, bool)
        keep[self.trainable_rows] = False
        return np.flatnonzero(keep)

    def source_of(self, rows):
        """Returns the checkpoint's row for each of `rows`, -1 where there is none."""
        if self.source is not None:
            return self.source[rows]
        return np.where(rows < self.checkpoint_rows, rows, -1)


def plan_rows(
    name, num_rows, checkpoint_rows=0, num_frozen_rows=None, trainable_rows=None, source=None
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
        source: see `RowPlan`.

    Returns:
        A `RowPlan`.

    Raises:
        ValueError: if ids are outside the table or given twice.
    """
    if source is not None:
        new_rows = np.flatnonzero(source < 0)
    elif checkpoint_rows or num_frozen_rows is not None or trainable_rows is None:
        first_new = checkpoint_rows if num_frozen_rows is None else num_frozen_rows
        new_rows = np.arange(first_new, num_rows)
    else:
        new_rows = np.arange(0)
    if trainable_rows is None:
        return RowPlan(num_rows, checkpoint_rows, new_rows.astype(np.int64), source)
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
    return RowPlan(num_rows, checkpoint_rows, np.union1d(rows, new_rows).astype(np.int64), source)
