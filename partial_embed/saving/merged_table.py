"""One table of several deltas: which row of which of them stands where, and writing it."""

import functools

import numpy as np

from partial_embed.files.finite import expect_finite
from partial_embed.files.growth import DELTA_ROWS, read_generations
from partial_embed.files.hashes import fingerprint_of, kind_of
from partial_embed.files.one_piece import OnePiece
from partial_embed.files.runs import as_range
from partial_embed.files.stored_bytes import StoredBytes
from partial_embed.files.tensors import can_slice, dtype_of, slice_spec, write_part
from partial_embed.saving.same_base import compare_base
from partial_embed.saving.source import (
    BaseTable,
    slot_or_start,
    stored,
)
from partial_embed.table.optimizer_state import name_in, renamed
from partial_embed.table.plan import RowPlan, offset_of, take_rows, with_rows

# Of smaller ones a session for each piece costs more than to read and write all of them.
_SMALL_BYTES = 1 << 22


class MergedTable:
    """How the rows of one table, and of its slots, come about.

    Attributes:
        name: str.
        base_name: what the base calls it.
        plan: `RowPlan` of the result; its trainable rows are the deltas'.
        generations: what the growth record says.
        keys: dict of new row to its key, or None.
        slots: dict of slot name to the number it starts at, or None.
    """

    def __init__(self, name, base, deltas, policy):
        self.name = name
        self._base, self._policy = base, policy
        self._deltas = [delta for delta in deltas if name in delta.tables]
        first = self._deltas[0]
        self.base_name = self._same("the name in the base", lambda d: d.tables[name]["base_name"])
        self._axis = self._same("the axis that grows", lambda d: d.tables[name].get("axis", 0))
        self._same("shape and dtype", lambda delta: self._row_type(delta, name))
        slots = sorted({slot for delta in self._deltas for slot in delta.tables[name]["slots"]})
        self.slots = {}
        for slot in slots:
            having = [delta for delta in self._deltas if slot in delta.tables[name]["slots"]]
            kind = f"the slot {slot}, its shape and dtype"
            self._same(kind, lambda delta: self._row_type(delta, slot), having)  # noqa: B023
            starts = [delta.tables[name]["slots"][slot] for delta in having]
            self.slots[slot] = policy.one(
                f"the initial value of {slot}", [d.prefix for d in having], starts
            )
        if len(self._deltas) == 1:
            self.plan = first.plan(name)
            entry = first.tables[name]
            everything = np.arange(len(self.plan.trainable_rows))
            self._picks = [(everything, everything)]
            known = ("rows", "axis", "vocabulary", "generations")
            self.generations = {key: entry[key] for key in known if key in entry}
            self.keys = entry["keys"] and dict(
                zip(self.plan.trainable_rows.tolist(), entry["keys"])
            )
        else:
            self._join()
        if base.index_checksum:
            self.generations["grew_from"] = base.index_checksum
        self._source = BaseTable(base, self.base_name, self.plan, name)

    def _same(self, what, of, deltas=None):
        """Returns what all deltas say of the table; raises ValueError if they differ."""
        deltas = deltas or self._deltas
        found = [of(delta) for delta in deltas]
        for delta, value in zip(deltas, found):
            if value != found[0]:
                raise ValueError(
                    f"{deltas[0].prefix} and {delta.prefix} cannot be merged: {what} of "
                    f"{self.name} is {found[0]} in the one, {value} in the other. Merge one."
                )
        return found[0]

    def _join(self):
        """Decides which row of which delta stands where."""
        base_rows = self._base.shapes[self.base_name][self._axis]
        identities, owners, named, adding = [], {}, True, {}
        for delta in self._deltas:
            entry, plan = delta.tables[self.name], delta.plan(self.name)
            if plan.source is not None or entry["checkpoint_rows"] != base_rows:
                raise ValueError(
                    f"{delta.prefix} dropped or moved rows of {self.name}. Merge it alone, before "
                    "others."
                )
            named = named and bool(entry["keys"])
            if len(plan.trainable_rows) and plan.trainable_rows[-1] >= base_rows:
                adding.setdefault(bool(entry["keys"]), delta.prefix)
            rows = plan.trainable_rows.tolist()
            keys = entry["keys"] or rows
            identities.append([row if row < base_rows else key for row, key in zip(rows, keys)])
            for key in identities[-1]:
                owners.setdefault(key, []).append(delta.prefix)
        if len(adding) > 1:
            raise ValueError(
                f"{adding[True]} knows the keys of its new rows of {self.name}, and "
                f"{adding[False]} does not: which of them are the same cannot be told. Merge one, "
                "or grow both by vocabularies."
            )
        twice = [key for key, prefixes in owners.items() if len(prefixes) > 1]
        if twice and not self._policy:
            raise ValueError(
                f"{len(twice)} {'keys are' if named else 'rows are'} of {self.name} in more than "
                f"one delta: {twice[0] if named else f'row {twice[0]}'} is in "
                f"{' and '.join(owners[twice[0]])}. {self._policy.remedy}"
            )
        old = sorted(key for key in owners if isinstance(key, int) and key < base_rows)
        new = [key for key in owners if not (isinstance(key, int) and key < base_rows)]
        places = {key: place for place, key in enumerate(old + new)}
        rows = base_rows + len(new)
        self._picks = self._policy.picks(identities, places)
        known = read_generations(self._base).get(self.base_name, {})
        runs = known.get("generations", [[[0, base_rows]]]) + ([[[base_rows, rows]]] if new else [])
        self.generations = {"rows": rows, "generations": runs}
        trainable = np.array(old + list(range(base_rows, rows)), np.int64)
        if self._axis:
            self.generations["axis"] = self._axis
        self.plan = RowPlan(rows, base_rows, trainable, axis=self._axis)
        self.keys = dict(zip(range(base_rows, rows), new)) if named else None

    def write(self, together, allow_nonfinite):
        """Writes the table, then its slots, by a `Together`: one of them in memory at a time."""
        self._write_table(together, allow_nonfinite)
        for slot in self.slots:
            self._write_slot(together, slot, allow_nonfinite)

    def _write_table(self, together, allow_nonfinite):
        held, frozen = stored(self._base, self.base_name), self.plan.frozen_rows()
        old_bytes, new = held.bytes, self._combined(lambda d: self._new_rows(d, self.name))
        stays = self.plan.contiguous and held.shape[self._axis] == len(frozen)
        is_copied = stays and self._may_copy(old_bytes, new)
        # Bytes are copied while rows are looked at; a stage that is not published leaves nothing.
        if is_copied:
            self._write(together, self.name, held, old_bytes, len(frozen), new)
        base = held.read()
        old_bytes.note_read()
        if not is_copied:
            old = self._rows_first(base)
            old = old if stays else old[self.plan.source_of(frozen)]
            self._write(together, self.name, self._rows_back(old), None, len(frozen), new)
        self._check(base, new, allow_nonfinite)

    def _check(self, base, new, allow_nonfinite):
        """Raises ValueError for rows that deltas were not trained beside, or that are no numbers.

        Args:
            base: array, the table as the base holds it.
            new: array, the rows that train.
            allow_nonfinite: bool.
        """
        self._check_frozen(base)
        if not allow_nonfinite:
            expect_finite(self.name, self._rows_first(base), "base")
            expect_finite(self.name, new, "delta")

    def _check_frozen(self, rows):
        """Raises ValueError unless every delta was trained beside rows of this array."""
        known, whole = {}, stored(self._base, self.base_name)
        for delta in self._deltas:
            plan, entry = delta.plan(self.name), delta.tables[self.name]
            which = as_range(plan.source_of(plan.frozen_rows()))
            # Those that grew at the end, which are most, froze the same rows.
            of = which if isinstance(which, range) else delta.prefix, kind_of(entry["frozen"])
            if of not in known:
                known[of] = fingerprint_of(take_rows(rows, which, self._axis), self._axis, of[1])
            compare_base(delta.prefix, entry, self.name, known[of], whole)

    def _write_slot(self, together, slot, allow_nonfinite):
        initial, which = self.slots[slot], self.plan.frozen_rows()
        having = (d for d in self._deltas if slot in d.tables[self.name]["slots"])
        shape, dtype = self._type(next(having, self._deltas[0]), slot)

        def rows_of(delta):
            own = self.name + DELTA_ROWS
            if slot in delta.tables[self.name]["slots"] or own not in delta:
                return self._new_rows(delta, slot)
            # Trained there by another optimizer: where this one would have started.
            part = with_rows(shape, self._axis, delta.shapes[own][self._axis])
            return slot_or_start(None, stored(delta, own), initial, dtype, part).read()

        new = self._combined(rows_of)
        if not allow_nonfinite:  # as for who restores a delta
            expect_finite(slot, new, "delta")
        if not len(which):
            together.write(slot, "", self._rows_back(new))
            return
        part = with_rows(shape, self._axis, len(which))
        found = self._source.slot_rows(slot, which)
        old = slot_or_start(found, self._source.rows(which), initial, dtype, part)
        old_bytes = getattr(old, "bytes", None)
        old_bytes = old_bytes if self._may_copy(old_bytes, new) else None
        self._write(together, slot, old, old_bytes, len(which), new)

    def _combined(self, rows_of):
        """Returns the rows that train, from each delta's, along the first axis."""
        arrays = [self._rows_first(rows_of(delta)) for delta in self._deltas]
        return self._policy.combined(self.name, arrays, self._picks, len(self.plan.trainable_rows))

    def _may_copy(self, old_bytes, new):
        """Whether what old rows are stored as, `StoredBytes` or None, is more than a few bytes."""
        return bool(old_bytes and old_bytes.pieces) and not self._is_joined(new)

    def _is_joined(self, new):
        """Whether old rows and new ones are put together in memory."""
        dtype, rows = dtype_of(new), self.plan.num_rows
        size = rows * int(np.prod(new.shape[1:], dtype=np.int64)) * dtype.size
        return size <= _SMALL_BYTES or not (self.plan.contiguous and can_slice(dtype))

    def _write(self, together, name, old, old_bytes, count, new):
        """Writes a table or slot, in one piece unless the base has it in others.

        Args:
            old: the rows that did not train, an array or not read yet, as `Stored`.
            old_bytes: the same as `StoredBytes`, if they may be copied, or None.
            count: int, how many.
            new: array of those that did, from `_combined`.
        """
        plan, is_joined, new = self.plan, self._is_joined(new), self._rows_back(new)
        shape, stage = with_rows(new.shape, self._axis, plan.num_rows), together.stage
        if is_joined:
            old = old if isinstance(old, np.ndarray) else old.read()
            together.write(name, "", plan.joined(old, new))
            return
        starts = old_bytes.first_rows if old_bytes else {0}  # None of slices of columns
        if not self._axis and starts and self._begin_generations(starts):
            write = functools.partial(_write_in_one_piece, stage.part(), name, shape, new)
            if old_bytes:
                together.copy(old_bytes, lambda: write(old_bytes), lambda: write(old))
            else:
                write(old)
            return
        for rows, start, stop in ((old, 0, count), (new, count, plan.num_rows)):
            if start == stop:
                continue
            part_shape = with_rows(shape, self._axis, stop - start)
            spec = slice_spec(shape, offset_of(shape, self._axis, start), part_shape)
            if rows is old and old_bytes:
                part = stage.part()
                copy = functools.partial(old_bytes.copy, part, name, spec, shape)
                write = functools.partial(_write_slice, part, name, spec, old)
                together.copy(old_bytes, copy, write)
            else:
                together.write(name, spec, rows)

    def _begin_generations(self, rows):
        """Whether the base's record has a generation begin with each of a set of rows.

        Else it has them in parts of another kind, perhaps because no machine holds all.
        """
        known = read_generations(self._base).get(self.base_name, {}).get("generations", [])
        return rows <= {0, *(run[0] for runs in known for run in runs)}

    def _rows_first(self, array):
        return np.moveaxis(array, self._axis, 0)

    def _rows_back(self, array):
        return np.moveaxis(array, 0, self._axis)

    def _new_rows(self, delta, name):
        """Returns the rows that a delta has of the table or a slot, perhaps none."""
        if name + DELTA_ROWS in delta:
            return delta.read(name + DELTA_ROWS)
        shape, dtype = self._type(delta, name)
        return np.zeros(shape, dtype.as_numpy_dtype)

    def _type(self, delta, name):
        """Returns (shape, with no rows, and dtype) of the table or a slot."""
        holder, there = delta, name + DELTA_ROWS
        if there not in delta:
            holder, there = self._base, renamed(name, self.name, self.base_name)
            there = self.base_name if name == self.name else name_in(holder, there, self.base_name)
            there = there if there in holder else self.base_name  # It starts as in other tables.
        return with_rows(holder.shapes[there], self._axis, 0), holder.dtypes[there]

    def _row_type(self, delta, name):
        shape, dtype = self._type(delta, name)
        return shape, dtype.name


def _write_in_one_piece(part, name, shape, new, old):
    """Writes a tensor of old rows, `StoredBytes` or what `_write` is given, and of new ones.

    Returns:
        Whether that was done: not if old rows are `StoredBytes` that cannot be copied.
    """
    with OnePiece(part, name, shape, dtype_of(new)) as piece:
        if isinstance(old, StoredBytes):
            if not piece.copy(old):
                return False
        else:
            piece.append(old if isinstance(old, np.ndarray) else old.read())
        piece.append(new)
    return True


def _write_slice(part, name, spec, old):
    write_part(part, [(name, spec, old.read())])
