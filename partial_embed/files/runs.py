"""Row numbers as runs of consecutive ones."""

import numpy as np


def to_runs(rows):
    """Returns [[start, stop], ...] of the runs of consecutive numbers in `rows`."""
    if isinstance(rows, range) and rows.step == 1:
        return [[rows.start, rows.stop]] if len(rows) else []
    rows = np.asarray(rows, np.int64)
    if not rows.size:
        return []
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    starts = rows[np.concatenate([[0], breaks])]
    stops = rows[np.concatenate([breaks - 1, [rows.size - 1]])] + 1
    return np.stack([starts, stops], 1).tolist()


def count_runs(rows):
    """Returns how many runs `to_runs` finds in rows, without making them."""
    if isinstance(rows, range) and rows.step == 1:
        return 1 if len(rows) else 0
    return int(np.count_nonzero(np.diff(rows) != 1)) + 1 if len(rows) else 0


def from_runs(runs):
    """Inverse of `to_runs`: an int64 array of the numbers."""
    if not len(runs):
        return np.zeros(0, np.int64)
    return np.concatenate([np.arange(start, stop, dtype=np.int64) for start, stop in runs])


def as_range(rows):
    """Returns an int64 array of rows as a range, if that is what it is; a range as it is."""
    if isinstance(rows, range):
        return rows
    return range(int(rows[0]), int(rows[-1]) + 1) if count_runs(rows) == 1 else rows


def describe_runs(runs, most=10):
    """Returns `100-109, 120` for [[100, 110], [120, 121]], at most so many of them."""
    texts = [str(a) if b == a + 1 else f"{a}-{b - 1}" for a, b in runs[:most]]
    return (", ".join(texts) + (", ..." if len(runs) > most else "")) or "none"
