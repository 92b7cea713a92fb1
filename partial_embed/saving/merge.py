"""`merge_checkpoint`: base + deltas = one plain checkpoint."""

import itertools
import os

import numpy as np
from absl import logging

from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.finite import expect_finite
from partial_embed.files.growth import DELTA_KEY, DELTA_ROWS, expect_keys, read_delta
from partial_embed.files.hashes import keys_fingerprint, keys_text
from partial_embed.files.locate import is_same_place
from partial_embed.files.nearest import nearest
from partial_embed.files.publish import publish, staging
from partial_embed.files.runs import from_runs
from partial_embed.files.together import Together
from partial_embed.saving.inventory import Inventory, kind_of_slot
from partial_embed.saving.merged_table import MergedTable
from partial_embed.saving.policy import Policy
from partial_embed.saving.same_base import check_base
from partial_embed.saving.source import (
    slot_or_start,
    stored,
)
from partial_embed.table.optimizer_state import name_in, renamed
from partial_embed.table.plan import RowPlan
from partial_embed.table.vocabulary import read_vocabulary


def merge_checkpoint(base, deltas, output, policy=None, vocabulary=None, allow_nonfinite=False):
    """Writes the whole checkpoint that a base and its delta(s) stand for.

    With one delta the result is, bit for bit, what `Saver.save` would have
    written in the session that wrote the delta. Of several it is the union of
    what they hold. Those that were grown from one base apart from each other add
    their new rows one after the other, in the order given; their keys (from the
    vocabularies they were grown with, else the row numbers) must differ, or
    `policy` says whose row counts. What one delta trained and another left as it
    was is the first's. What two trained, other than tables, must be equal, or
    `policy` decides as for rows; scalars (step counters, the powers of Adam) are
    the last delta's without one.

    Args:
        base: prefix, directory or `checkpoint` file of what the deltas grew from. It is known
            by its frozen rows; their optimizer slots are taken as it has them.
        deltas: a delta, or a list of them.
        output: prefix to write to. May be that of the base.
        policy: None, "first", "last" or "mean".
        vocabulary: path of the base's vocabulary file. If given, and the deltas
            know their keys, `<output>.vocabulary.txt` is written.
        allow_nonfinite: merge what holds NaN or Inf, instead of failing.

    Returns:
        `output`.

    Raises:
        TypeError: if `deltas` are none.
        ValueError: if a delta belongs to another base, is none, deltas disagree,
            or a file is damaged. Nothing is written then.
        OSError: if it cannot be written.

    Example:
        >>> pe.merge_checkpoint("base.ckpt", "delta.ckpt", "merged.ckpt")
        'merged.ckpt'
        >>> tf.train.load_checkpoint("merged.ckpt").get_tensor("embedding").shape
        (7, 4)
    """
    policy = Policy(policy)
    deltas = [deltas] if isinstance(deltas, (str, bytes, os.PathLike)) else deltas or ()
    if not np.iterable(deltas):
        raise TypeError(f"deltas must be a prefix, or a list of them, got {deltas!r}.")
    deltas = list(deltas)
    output = os.fsdecode(output)
    if not deltas:
        raise ValueError("There is nothing to merge: name one delta at least.")
    base = Checkpoint(base)
    if DELTA_KEY in base:
        raise ValueError(f"{base.prefix} is a delta. Give the base first, then deltas.")
    base.expect_whole(base.shapes)
    deltas = [_Delta(path, base) for path in deltas]
    for one, other in itertools.combinations(deltas, 2):
        if is_same_place(one.prefix, other.prefix):
            raise ValueError(f"The delta {one.prefix} was given more than once. Name it once.")
    names = sorted({name for delta in deltas for name in delta.tables})
    tables = [MergedTable(name, base, deltas, policy) for name in names]
    inventory = Inventory(base)
    trained = [(t.base_name, t.name, list(t.slots)) for t in tables if len(t.plan.trainable_rows)]
    alike = {kind_of_slot(slot): start for t in tables for slot, start in t.slots.items()}
    # What has the name and shape of a slot may be a variable.
    variables = {name for delta in deltas for name in (*delta.tables, *delta.unchanged)}
    variables.update(name for delta in deltas for name in delta.variables())
    kept = {}

    def keep(there, here, covered=tuple(alike)):
        its = inventory.kept_slots(there, here, trained, covered)
        kept.update(its)
        return its

    for table in tables:
        if not len(table.plan.trainable_rows):
            for slot in keep(table.base_name, table.name, ()):
                if slot not in variables:
                    table.slots[slot] = alike.get(kind_of_slot(slot))
    variables = _merged_variables(base, deltas, tables, policy, keep, allow_nonfinite)
    powers = inventory.kept_powers({name for name, _ in variables})
    variables += [(name, base.read(name)) for name in powers if any(kept.values())]
    keys = None if vocabulary is None else _merged_keys(vocabulary, tables, base, deltas)
    with staging(output) as stage:
        with Together(stage) as together:
            for table in tables:
                table.write(together, allow_nonfinite)
            for name, value in variables:
                together.write(name, "", value)
        for checkpoint in [base, *deltas]:
            checkpoint.expect_unchanged()
        text = keys and keys_text(keys)
        for table in tables if keys else ():
            table.generations.setdefault("vocabulary", keys_fingerprint(keys))
        publish(stage, {table.name: table.generations for table in tables}, text)
    forgotten = [t.name for t in tables if t.keys and len(deltas) > 1 and not keys]
    if forgotten:
        logging.warning(
            "%s does not know whose keys the rows of %s are, for deltas were merged without "
            "vocabulary=: who grows it by wrong keys will not be told.",
            output,
            ", ".join(forgotten),
        )
    logging.info("Merged %d delta(s) into %s.", len(deltas), output)
    if is_same_place(output, base.prefix):
        logging.warning(
            "%s was the base, and is replaced: no other delta that stands on it can be merged any "
            "more. Merge into another name.",
            output,
        )
    return output


class _Delta(Checkpoint):
    """A delta, what it says of itself, and the base it is put on."""

    def __init__(self, path, base):
        super().__init__(path)
        if DELTA_KEY not in self:
            raise ValueError(
                f"{self.prefix} is no delta: it holds {nearest(DELTA_KEY, self.shapes)}. Deltas "
                "are what Saver(delta=True) writes."
            )
        manifest = read_delta(self)
        self.tables, self.unchanged = manifest["tables"], manifest["unchanged"]
        for name, entry in self.tables.items():
            if entry["base_name"] not in base:
                raise ValueError(
                    f"{base.prefix} holds no tensor {entry['base_name']!r}, which the delta "
                    f"{self.prefix} was trained beside. Give the base it was trained on, "
                    f"{entry['base']}."
                )
            held, axis = base.shapes[entry["base_name"]], entry.get("axis", 0)
            if held[axis : axis + 1] != [entry["base_rows"]]:
                raise ValueError(
                    f"The delta {self.prefix} was trained on the base {entry['base']} of "
                    f"{entry['base_rows']} rows of {name}; {base.prefix} holds "
                    f"{base.describe(entry['base_name'])}. Give the base it was trained on."
                )

    def plan(self, name):
        """Returns the `RowPlan` that one of its tables was grown by."""
        entry = self.tables[name]
        source = None if entry["source"] is None else np.asarray(from_runs(entry["source"]))
        rows, held, trainable = entry["rows"], entry["checkpoint_rows"], entry["trainable"]
        return RowPlan(rows, held, from_runs(trainable), source, entry.get("axis", 0))

    def expect_base_keys(self, name, old_keys):
        """Raises ValueError if the rows of one of its tables are not of the base's keys as given.

        Args:
            name: of a table that it may hold.
            old_keys: list of str, in the order of the base's rows.
        """
        entry = self.tables.get(name)
        if entry and entry["keys"]:
            plan = self.plan(name)
            own = dict(zip(plan.trainable_rows.tolist(), entry["keys"]))
            keys = keys_fingerprint(_keys_of(plan, old_keys, own))
            expect_keys(self.prefix, name, entry, keys)

    def variables(self):
        """Returns the names of what it holds beside tables and their slots."""
        return [n for n in self.shapes if n != DELTA_KEY and not n.endswith(DELTA_ROWS)]


def _merged_variables(base, deltas, tables, policy, keep, allow_nonfinite):
    """Returns [(name, value), ...] of what is no table: arrays, or values not read yet."""
    of_tables = {name for table in tables for name in (table.name, *table.slots)}
    trained = sorted({name for delta in deltas for name in delta.variables()})
    merged = {}
    for name in trained:
        having = [delta for delta in deltas if name in delta.variables()]
        if name in of_tables:
            raise ValueError(
                f"{name} grew in one delta and was trained whole in another, {having[0].prefix}. "
                "Merge one of them, and grow from the result."
            )
        prefixes = [delta.prefix for delta in having]
        merged[name] = policy.value(name, prefixes, [delta.read(name) for delta in having])
        if not allow_nonfinite:
            expect_finite(name, merged[name], "delta")
    for name in sorted({name for delta in deltas for name in delta.unchanged}):
        having = [delta for delta in deltas if name in delta.unchanged]
        for delta in having:
            entry = delta.unchanged[name]
            base.expect(entry["base_name"])
            check_base(delta.prefix, entry, name, stored(base, entry["base_name"]))
        entry = having[0].unchanged[name]
        value = stored(base, entry["base_name"])
        if name not in of_tables:
            merged.setdefault(name, value)
        starts = {}
        for delta in having:
            for slot, initial in delta.unchanged[name]["slots"].items():
                starts.setdefault(slot, []).append((delta.prefix, initial))
        for slot, found in starts.items():
            if slot in merged or slot in of_tables:
                continue
            initial = policy.one(f"the initial value of {slot}", *zip(*found))
            there = renamed(slot, name, entry["base_name"])
            there = name_in(base, there, entry["base_name"])
            held = stored(base, there) if there in base else None
            shape = list((held or value).shape)  # one number a row, perhaps
            merged[slot] = slot_or_start(held, value, initial, (held or value).dtype, shape)
        for slot, there in keep(entry["base_name"], name).items():
            if slot not in of_tables:
                merged.setdefault(slot, stored(base, there))
    return sorted(merged.items())


def _merged_keys(path, tables, base, deltas):
    """Returns the keys of the merged rows, in their order."""
    old_keys, found = read_vocabulary(path), None
    for table in tables:
        if not table.keys:
            raise ValueError(
                f"The deltas do not know the keys of {table.name}; grow with vocabularies, or "
                "merge without vocabulary=."
            )
        rows = base.shapes[table.base_name][table.plan.axis]
        if len(old_keys) != rows:
            raise ValueError(
                f"The vocabulary {path} has {len(old_keys)} keys, {table.name} of {base.prefix} "
                f"has {rows} rows. Give the vocabulary of the base."
            )
        for delta in deltas:
            delta.expect_base_keys(table.name, old_keys)
        keys = _keys_of(table.plan, old_keys, table.keys)
        if found not in (None, keys):
            names = ", ".join(table.name for table in tables)
            raise ValueError(
                f"The tables {names} have different keys, and one vocabulary was asked for. Merge "
                "without vocabulary=."
            )
        found = keys
    return found


def _keys_of(plan, old_keys, new_keys):
    """Returns the key of each row of a `RowPlan`, of which old rows have keys, and new ones."""
    sources = plan.source_of(np.arange(plan.num_rows)).tolist()
    return [old_keys[old] if old >= 0 else new_keys[row] for row, old in enumerate(sources)]
