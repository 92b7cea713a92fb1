"""Which tensors of a checkpoint grow, and along which axis: decided before one is read."""

import fnmatch
import os
import re
import zlib
from collections import namedtuple

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed.files.growth import VOCABULARY_SUFFIX, follows_keys
from partial_embed.files.nearest import nearest
from partial_embed.files.runs import describe_runs, to_runs
from partial_embed.saving.inventory import Inventory
from partial_embed.saving.slot_starts import SlotStarts
from partial_embed.table import row_init
from partial_embed.table.patterns import Patterns
from partial_embed.table.plan import with_rows
from partial_embed.table.table_plan import plan_table
from partial_embed.table.vocabulary import as_vocabulary, compare_with_keys

# By a seed: the same each time for one growth of one table, and another for any other.
_NAMED = {
    "normal": lambda seed: row_init.normal_like_old_rows(seed=seed),
    "mean": lambda seed: row_init.normal_like_old_rows(scale=0.0, seed=seed),
    "zeros": lambda seed: tf.zeros_initializer(),
}

# What Keras 3 calls the state of an optimizer in an object-based checkpoint.
_KERAS_STATE = re.compile(r"(^|/)_?optimizer/_variables/\d+(/|$)")


class GrownTable(namedtuple("GrownTable", ["name", "plan", "slots", "vocabulary", "start"])):
    """A variable that grows.

    Attributes:
        name: str.
        plan: `TablePlan` of its larger shape.
        slots: dict of a slot's name to the number it starts at, or "rows".
        vocabulary: `Vocabulary` that its rows follow, or None.
        start: str, where new rows start.
    """

    def new_rows(self):
        """Returns the rows that the base does not hold, an int64 array."""
        rows = self.plan.rows
        if rows.source is None:
            return np.arange(rows.checkpoint_rows, rows.num_rows)
        return np.flatnonzero(rows.source < 0)

    def described(self):
        """Returns a list of dicts, of itself and of each of its slots; see `Growth.described`."""
        rows = self.plan.rows
        held = rows.checkpoint_rows
        dropped = 0 if rows.source is None else held - int((rows.source >= 0).sum())
        its = {"axis": rows.axis, "old": held, "new": rows.num_rows, "dropped": dropped}
        return [
            dict(its, name=self.name, start=self.start, slot_of=None),
            *(dict(its, name=n, start=s, slot_of=self.name) for n, s in self.slots.items()),
        ]


class Growth(namedtuple("Growth", ["prefix", "tables", "copied", "warnings", "starts"])):
    """What becomes of the tensors of a checkpoint.

    Attributes:
        prefix: str, of the base.
        tables: list of `GrownTable`.
        copied: sorted list of the names of variables that stay as they are.
        warnings: list of str.
        starts: `SlotStarts`.
    """

    def described(self):
        """Returns a list of dicts, one for each tensor that grows: name, axis, sizes, start."""
        return [its for table in self.tables for its in table.described()]

    def text(self):
        """Returns a table: what grew and where its new rows start, what was copied."""
        lines = [f"partial_embed: growing {self.prefix}"]
        each = [(table, its) for table in self.tables for its in table.described()]
        for table, its in each:
            shape = list(map(str, table.plan.shape))
            shape[its["axis"]] = f"{its['old']} -> {its['new']}"
            indent = "  slot  " if its["slot_of"] else "  grew  "
            dropped = f", {its['dropped']} dropped" if its["dropped"] else ""
            runs = describe_runs(to_runs(table.new_rows()))
            unit = {0: "row", 1: "column"}.get(its["axis"], f"slice of axis {its['axis']}")
            lines.append(
                f"{indent}{its['name']}: [{', '.join(shape)}]{dropped}; new {unit}s {runs} start "
                f"at {its['start']}"
            )
        if self.copied:
            lines.append(f"  same  {', '.join(self.copied)}")
        return "\n".join(lines + [f"  warning: {warning}" for warning in self.warnings])


def plan_growth(base, rows, columns, vocabularies, initializers, skip, slots, allow_nonfinite):
    """Returns the `Growth` of a checkpoint; for the arguments and errors see `grow_checkpoint`."""
    named = {*(rows or ()), *(columns or ()), *(vocabularies or ())}
    inventory, starts = Inventory(base, named), SlotStarts(slots)
    if not isinstance(initializers, dict):
        initializers = {"*": initializers}
    initializers, skipped = Patterns(initializers), Patterns(skip)
    sizes = [
        (axis, pattern, count)
        for axis, given in ((0, rows), (1, columns))
        for pattern, count in (given or {}).items()
    ]
    vocabularies = {p: as_vocabulary(v) for p, v in (vocabularies or {}).items()}
    compare_with_keys(base.prefix + VOCABULARY_SUFFIX, vocabularies.values())
    keyed = Patterns(vocabularies)
    if not sizes and not vocabularies:
        raise ValueError("Nothing says what grows: give rows=, columns= or vocabularies=.")
    obeyed, tables, warnings = set(), [], []
    for name in inventory.variables:
        if skipped.get(name):
            _warn_of_skipped(name, list(base.shapes[name]), keyed.of_all(), warnings)
            continue
        asked = [each for each in sizes if fnmatch.fnmatchcase(name, each[1])]
        obeyed.update(asked)
        options = _options(base, name, asked, keyed, warnings)
        if options is None:
            continue
        shape, options = options
        if _KERAS_STATE.search(name):
            raise ValueError(
                f"{name} is state of an optimizer of Keras, and nothing says whose. Train on from "
                "the variables alone: skip='*optimizer/_variables/*'."
            )
        start, initializer = _initializer(initializers, name, shape, base.dtypes[name])
        plan = plan_table(
            name,
            tf.TensorShape(shape),
            base.dtypes[name],
            initializer,
            checkpoint=base,
            allow_nonfinite=allow_nonfinite,
            **options,
        )
        its_slots = {slot: starts.of(slot) for slot in inventory.slots.get(name, ())}
        for slot in its_slots:
            held, axis = list(base.shapes[slot]), plan.rows.axis
            if held[axis : axis + 1] != [base.shapes[name][axis]]:
                raise ValueError(
                    f"The slot {slot} {held} has no entry for each of the rows of {name} "
                    f"{base.shapes[name]} along axis {axis}, and cannot grow with it. Grow them "
                    "in a script, by pe.growing."
                )
        tables.append(GrownTable(name, plan, its_slots, options.get("vocabulary"), start))
    if "*" in keyed.unmatched:
        keys = keyed.of_all()
        count = len(keys.old_keys) + keys.num_oov_buckets
        hints = "".join(f" {warning}." for warning in warnings)
        raise ValueError(
            f"No variable of {base.prefix} has one entry for each of {count} keys.{hints}"
        )
    unmatched = {pattern for axis, pattern, count in sizes if (axis, pattern, count) not in obeyed}
    unmatched |= keyed.unmatched | skipped.unmatched | starts.unmatched
    unmatched |= initializers.unmatched - {"*"}
    if unmatched or not tables:
        what = f"The patterns {sorted(unmatched)} match nothing" if unmatched else "Nothing grows"
        listed = nearest(min(unmatched or [""]), inventory.variables, describe=base.describe)
        raise ValueError(f"{what} in {base.prefix}. Variables there: {listed}.")
    grown = {table.name for table in tables}
    copied = [name for name in inventory.variables if name not in grown]
    _warn_of_keys(base, [table for table in tables if table.vocabulary is None], warnings)
    counts = {base.shapes[t.name][t.plan.rows.axis] for t in tables if t.vocabulary is None}
    alike = [n for n in copied if counts.intersection(base.shapes[n]) and not skipped.get(n)]
    if alike:
        warnings.append(
            f"{', '.join(alike)} has as many rows or columns as what grows, and stays as it is: "
            "if they are of the same keys, let it grow too"
        )
    return Growth(base.prefix, tables, copied, warnings, starts)


def _options(base, name, asked, keyed, warnings):
    """Returns (shape, options of `plan_table`) of a variable that grows, None if it does not."""
    held = list(base.shapes[name])
    pattern, vocabulary = keyed.find(
        name, lambda pattern, vocabulary: pattern != "*" or vocabulary.axes(held)
    )
    if len(asked) + (vocabulary is not None and pattern != "*") > 1:
        raise ValueError(
            f"{name} is asked to grow in two ways. Say rows=, columns= or a vocabulary."
        )
    if asked:
        axis, _, count = asked[0]
        whole = isinstance(count, (int, np.integer)) and not isinstance(count, bool)
        if axis >= len(held) or not whole or not held[axis] < count < 1 << 31:
            raise ValueError(
                f"{name} {held} cannot grow to {count} {['rows', 'columns'][axis]}: expected a "
                f"number above {held[axis] if axis < len(held) else 'those it has: it has none'}."
            )
        return with_rows(held, axis, int(count)), {"axis": axis}
    if vocabulary is None:
        _warn_of_buckets(name, held, keyed.of_all(), warnings)
        return None
    axes = vocabulary.axes(held)
    if vocabulary.old_keys == vocabulary.new_keys:
        raise ValueError(f"The old vocabulary of {name} is the new one, and so nothing grows.")
    if len(axes) != 1:
        keys = len(vocabulary.old_keys) + vocabulary.num_oov_buckets
        found = f"axes {axes}, and a table grows along one" if axes else "no axis"
        raise ValueError(
            f"{name} {held} has one entry for each of {keys} keys along {found}. Say "
            f"skip={name!r}, or give the vocabulary it was trained with."
        )
    count = len(vocabulary.new_keys) + vocabulary.num_oov_buckets
    options = {"axis": axes[0], "vocabulary": vocabulary}
    return with_rows(held, axes[0], count), options


def _warn_of_keys(base, tables, warnings):
    """Notes tables that grow by number, and whose rows follow keys."""
    keyed = [table.name for table in tables if follows_keys(base, table.name)]
    if keyed:
        warnings.append(
            f"rows of {', '.join(keyed)} follow keys, and grow by number: nothing will know them "
            "by keys any more. Give the vocabularies, old and new, in place of rows"
        )


def _warn_of_skipped(name, held, vocabulary, warnings):
    """Notes a variable that is to stay as it is, and has an entry for each old key."""
    if vocabulary is not None and vocabulary.axes(held):
        warnings.append(
            f"{name} {held} stays as it is, and has one entry for each old key: what looks it up "
            "by the new ones finds other rows, or none"
        )


def _warn_of_buckets(name, held, vocabulary, warnings):
    """Notes a variable that has a few entries more than there are keys."""
    if vocabulary is None:
        return
    keys = len(vocabulary.old_keys) + vocabulary.num_oov_buckets
    for count in held:
        if keys < count <= keys + 4:
            warnings.append(
                f"{name} {held} stays as it is, and has {count - keys} more than there are keys. "
                "If those are of keys in no vocabulary, say (old, new, num_oov_buckets)"
            )


def _initializer(patterns, name, shape, dtype):
    """Returns (its description, the initializer) of the new rows of a variable."""
    pattern, given = patterns.find(name)
    if pattern in (None, "*") and isinstance(given, str) and not dtype.is_floating:
        given = "zeros"
    if dtype == tf.string and isinstance(given, str):
        raise ValueError(f"{name} holds texts: say where new ones start, or skip={name!r}.")
    if isinstance(given, str) and given in _NAMED:
        return given, _NAMED[given](zlib.crc32(f"{name} {shape}".encode()) & 0x7FFFFFFF)
    if isinstance(given, str):
        if not os.path.isfile(given):
            raise ValueError(
                f"New rows of {name} start at {', '.join(_NAMED)} or a .npy file, got {given!r}."
            )
        return given, row_init.values_from(given)
    if not callable(given) and not isinstance(given, row_init.RowInit):
        given = row_init.values_from(given)
    return "values of their own", given
