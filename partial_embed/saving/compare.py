"""Two checkpoints compared, tensor by tensor and row by row."""

import typing

import numpy as np

from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.runs import to_runs
from partial_embed.saving.inventory import Inventory
from partial_embed.table.patterns import Patterns
from partial_embed.table.vocabulary import as_vocabulary

_BLOCK_BYTES = 1 << 24


class Difference(typing.NamedTuple):
    """How one tensor of a checkpoint A is in another, B.

    Attributes:
        name: str.
        slot_of: str, the variable whose optimizer slot it is, or None.
        shapes: tuple of two lists of ints; None where it is not there.
        dtypes: tuple of two strs; None where it is not there.
        axis: int, along which rows were counted: where B is longer, or keys are; else 0.
        compared: int, rows that both hold; None if they cannot be compared.
        dropped: int, rows of A that B does not hold.
        rows: runs [[start, stop], ...] of the rows of A that differ in B.
        columns: of a tensor of two axes, runs of what differs along the other one; else None.
        values: int, how many numbers differ, by their bits.
        farthest: float, the greatest absolute difference, nan where one is no number; None for
            texts.
    """

    name: str
    slot_of: typing.Optional[str]
    shapes: tuple
    dtypes: tuple
    axis: int = 0
    compared: typing.Optional[int] = None
    dropped: int = 0
    rows: typing.Optional[list] = None
    columns: typing.Optional[list] = None
    values: int = 0
    farthest: typing.Optional[float] = 0.0

    @property
    def same(self):
        """Whether B holds all that A holds of it, to the last bit."""
        return self.compared is not None and not self.values and not self.dropped


def compare_checkpoints(a, b, vocabularies=None, tensors=None, progress=None):
    """Yields a `Difference` for each tensor of two checkpoints, in the order of their names.

    A tensor that is longer or shorter in B along one axis is compared as far as both go, or by
    the keys of its rows. One tensor of each is in memory at a time.

    Args:
        a, b: prefix, directory or `Checkpoint`.
        vocabularies: as those of `growing`: rows are the same that have the same key.
        tensors: pattern, or list of them, of the tensors to compare; all if None.
        progress: function of (bytes compared, bytes in all), or None.

    Raises:
        ValueError: if a checkpoint is not there or damaged, or a pattern matches nothing.
    """
    a, b = Checkpoint(a), Checkpoint(b)
    keyed = Patterns({p: as_vocabulary(v) for p, v in (vocabularies or {}).items()})
    chosen = Patterns(tensors or "*")
    inventories = Inventory(a), Inventory(b)
    names = [name for name in sorted({*a.shapes, *b.shapes}) if chosen.get(name)]
    if tensors and chosen.unmatched:
        raise ValueError(
            f"The patterns {sorted(chosen.unmatched)} match no tensor of {a.prefix} or {b.prefix}."
        )
    sizes = {name: a.num_bytes(name) for name in names if name in a and name in b}
    for name in sizes:
        keyed.find(name, lambda _, its, n=name: bool(its.axes(a.shapes[n], b.shapes[n])))
    if keyed.unmatched:
        raise ValueError(
            f"No tensor has one entry for each old key in {a.prefix}, and for each new one in "
            f"{b.prefix}. If rows at the end are of no key, say num_oov_buckets."
        )
    done, total = 0, sum(sizes.values())
    for name in names:
        owner = inventories[name in b].owner(name)
        shapes = tuple(list(c.shapes[name]) if name in c else None for c in (a, b))
        dtypes = tuple(c.dtypes[name].name if name in c else None for c in (a, b))
        found = Difference(name, owner, shapes, dtypes)
        if name in sizes and dtypes[0] == dtypes[1]:
            found = _compare(a, b, found, keyed)
        yield found
        done += sizes.get(name, 0)
        if progress is not None:
            progress(done, total)


def _compare(a, b, found, keyed):
    """Returns a `Difference` of a tensor that both hold, in the same dtype."""
    name, (one, other) = found.name, found.shapes
    if not one and not other:
        values = (np.asarray(checkpoint.read(name))[None] for checkpoint in (a, b))
        differ, found = _add(found._replace(compared=1), *values)
        return found._replace(rows=to_runs(np.flatnonzero(differ)))
    differ = [axis for axis, (x, y) in enumerate(zip(one, other)) if x != y]
    _, vocabulary = keyed.find(name, lambda _, vocabulary: bool(vocabulary.axes(one, other)))
    axis = (vocabulary.axes(one, other) if vocabulary else differ or [0])[0]
    if len(one) != len(other) or set(differ) - {axis}:
        return found
    here = there = range(min(one[axis], other[axis]))
    if vocabulary is not None and vocabulary.source is not None:
        there = np.flatnonzero(vocabulary.source >= 0)
        there = there[np.argsort(vocabulary.source[there])]
        here = vocabulary.source[there]
    dropped = one[axis] - len(here)
    found = found._replace(axis=axis, compared=len(here), dropped=dropped)
    # Whole: of a tensor that is stored whole TensorFlow reads all for any part of it.
    arrays = [np.moveaxis(checkpoint.read(name), axis, 0) for checkpoint in (a, b)]
    row_bytes = max(1, a.num_bytes(name) // max(1, one[axis]))
    step = max(1, _BLOCK_BYTES // row_bytes)
    different, columns = [np.zeros(0, np.int64)], 0
    for start in range(0, len(here), step):
        parts = [
            array[_as_index(rows[start : start + step])]
            for array, rows in zip(arrays, (here, there))
        ]
        differ, found = _add(found, *parts)
        different.append(np.asarray(here[start : start + step])[differ.any(1)])
        columns |= differ.any(0)
    if len(one) == 2:
        found = found._replace(columns=to_runs(np.flatnonzero(columns)))
    return found._replace(rows=to_runs(np.concatenate(different)))


def _as_index(rows):
    """A range as a slice, which copies nothing."""
    return slice(rows.start, rows.stop) if isinstance(rows, range) else rows


def _add(found, one, other):
    """Returns (what differs, [rows, numbers of a row], a `Difference` with two arrays added)."""
    one, other = (np.ascontiguousarray(part) for part in (one, other))
    if one.dtype.kind in "OSU":
        differ, farthest = one != other, None
    else:
        # By their bits: -0.0 is another number than 0.0, and NaN the same as NaN.
        size = min(one.itemsize, 8)
        per_value = max(1, one.itemsize // 8)
        bits = [part.view(f"u{size}").reshape([*part.shape, per_value]) for part in (one, other)]
        differ = np.not_equal(*bits).any(-1)
        far = np.abs(_numbers(one[differ]) - _numbers(other[differ]))
        farthest = float(np.maximum(found.farthest, far.max())) if far.size else found.farthest
    found = found._replace(values=found.values + int(differ.sum()), farthest=farthest)
    return differ.reshape([len(differ), -1]), found


def _numbers(array):
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
