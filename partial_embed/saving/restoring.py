"""Restoring: where each variable's value is found, and the ops that set it."""

import os
from collections import namedtuple

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.finite import nonfinite_rows, refuse_nonfinite
from partial_embed.files.growth import (
    DELTA_KEY,
    expect_keys,
    read_delta,
    read_generations,
    rows_of_generation,
)
from partial_embed.files.hashes import can_hash, hash_rows
from partial_embed.files.tensors import read_tensors, reason, restore
from partial_embed.saving.same_base import compare_base, hashes_of
from partial_embed.saving.saveables import Saved
from partial_embed.saving.source import (
    BaseTable,
    open_delta,
    open_table,
    read_all,
    stored,
)
from partial_embed.table.embedding import parts_of
from partial_embed.table.on_disk import Whole
from partial_embed.table.optimizer_state import belongs_to

_FIELDS = ["checkpoint", "values", "untouched", "sources", "standing"]


class Restoration(namedtuple("Restoration", _FIELDS)):
    """What one restore sets, checked before any variable is set.

    Attributes:
        checkpoint: `Checkpoint`.
        values: list of (variable, `Stored`).
        untouched: list of variables that it says nothing about, or that start without it.
        sources: dict of table name to its source.
        standing: list of `Standing`, what a delta must find in its base.
    """

    def describe(self):
        """Returns in words what the checkpoint is."""
        if DELTA_KEY in self.checkpoint:
            bases = {source.base.checkpoint.prefix for source in self.sources.values()}
            return f"a delta on the base {', '.join(sorted(bases))}"
        kinds = [
            f"{name} as {'a whole table' if source.is_complete else 'the base it grows from'}"
            for name, source in self.sources.items()
        ]
        return ", ".join(kinds) or "a checkpoint without tables that grow"


class Standing(namedtuple("Standing", ["name", "entry", "variables", "stored"])):
    """What a delta was trained beside.

    Attributes:
        name: of the table, or of the variable that is frozen whole.
        entry: what the manifest says of it.
        variables: list of those that hold it, in the order of rows.
        stored: `Stored`, where it is read from.
    """


def plan_restoration(content, checkpoint, known, reports, generation=None):
    """Finds the value of every variable in a checkpoint.

    Args:
        content: `Content`.
        checkpoint: `Checkpoint`: a base, a whole one or a delta.
        known: dict of table name to the source of its frozen rows by now.
        reports: list of the `Report`s of the graph: what they let start afresh, no base sets.
        generation: int, take of plain variables only the rows of that generation; or None.

    Returns:
        A `Restoration`.

    Raises:
        ValueError: if anything does not fit; says what was expected and what was found.
    """
    values, untouched, standing = [], [], {}
    if DELTA_KEY in checkpoint:
        manifest = read_delta(checkpoint)
        sources = _open_deltas(content, checkpoint, manifest["tables"], known)
    else:
        manifest = None
        sources = {t.name: open_table(t, checkpoint, known.get(t.name)) for t in content.tables}
    growing = any(not source.is_complete for source in sources.values())
    reports = [r for r in reports if growing or checkpoint.is_same(r.checkpoint)]
    growing = growing or bool(reports)

    def afresh(name):
        return any(report.leaves(name) for report in reports)

    for table in content.tables:
        source, plan = sources[table.name], table.embedding.plan
        if source.is_complete and table.embedding.keys:
            entries = manifest["tables"] if manifest else read_generations(checkpoint)
            entry = entries.get(table.name, {})
            expect_keys(checkpoint.prefix, table.name, entry, table.embedding.keys)
        values += [(variable, source.rows(which)) for variable, which in table.frozen()]
        if manifest:
            entry, rows = manifest["tables"][table.name], source.base.rows(plan.frozen_rows())
            variables = table.embedding.frozen_parts
            standing[table.name] = Standing(table.name, entry, variables, rows)
        for variable, slot in table.trainable():
            rows = plan.trainable_rows
            rows = range(plan.num_frozen_rows, plan.num_rows) if plan.in_order else rows
            if slot and afresh(slot.name):
                untouched.append(variable)
                continue
            found = source.slot_rows(slot.name, rows) if slot else source.rows(rows)
            if found is None and not growing:
                checkpoint.expect(slot.name)
            if found is None:
                untouched.append(variable)
            else:
                values.append((variable, found))
    for saved in content.unchanged:
        entry = manifest and manifest["unchanged"].get(saved.disk_name)
        if entry:
            known_by = saved.disk_name, entry, parts_of(saved.whole)
            standing[saved.disk_name] = Standing(*known_by, saved.source)
        here = not manifest and saved.disk_name in checkpoint
        place = (checkpoint, saved.disk_name) if here else saved.source[:2]
        values.append((saved.variable, _checked(saved, *place)))
    kept = {} if generation is None else _kept_rows(checkpoint, generation)
    for saved in content.plain:
        missing = growing and saved.disk_name not in checkpoint
        if missing or afresh(saved.own_name):
            untouched.append(saved.variable)
        else:
            values.append((saved.variable, _checked(saved, checkpoint, saved.disk_name, kept)))
    for variable, value in values:
        _check(variable, value, variable.shape.as_list())
    return Restoration(checkpoint, values, untouched, sources, list(standing.values()))


def _open_deltas(content, checkpoint, entries, known):
    tables = {table.name: table for table in content.tables}
    if set(tables) != set(entries):
        raise ValueError(
            f"The delta {checkpoint.prefix} holds rows of {sorted(entries)}; the tables that grow "
            f"here are {sorted(tables) or 'none'}."
        )
    sources = {}
    for name, entry in entries.items():
        base, table = known.get(name), tables[name]
        # Absolute, as it is written: what comes from elsewhere names no place beyond this machine.
        if base is None and not os.path.isabs(entry["base"] or ""):
            raise ValueError(
                f"The delta {checkpoint.prefix} needs the checkpoint it grew from for the frozen "
                f"rows of {name}. Restore that first, or give it to get_embedding as checkpoint=."
            )
        if base is None:
            found = Checkpoint(entry["base"])
            tensor_name = name if name in found else table.embedding.tensor_name
            found.expect(tensor_name)
            base = BaseTable(found, tensor_name, table.embedding.plan, name)
        sources[name] = open_delta(table, checkpoint, entry, base)
    return sources


def _kept_rows(checkpoint, generation):
    """Returns {table: (axis, rows it has now, which of them a generation had)}."""
    tables, kept = read_generations(checkpoint), {}
    if not tables or generation >= max(len(e["generations"]) for e in tables.values()):
        rows_of_generation(checkpoint, next(iter(tables), "any table"), generation)  # raises
    for name, entry in tables.items():
        last = min(generation, len(entry["generations"]) - 1)
        which = rows_of_generation(checkpoint, name, last)
        kept[name] = (entry.get("axis", 0), entry["rows"], which)
    return kept


def _checked(saved, checkpoint, name, kept=()):
    """Returns the `Stored` value of a variable that is no part of a table, perhaps fewer rows."""
    checkpoint.expect(name)
    held = list(checkpoint.shapes[name])
    for table in kept:
        axis, rows, which = kept[table]
        if belongs_to(name, table) and held[axis : axis + 1] == [rows]:
            found = stored(checkpoint, name, which, axis=axis)
            _check(saved.variable, found, saved.full_shape)
            if saved.spec:
                break
            return found
    _check(saved.variable, stored(checkpoint, name), saved.full_shape)
    return saved.place(checkpoint, name)


def _check(variable, value, shape):
    """Raises ValueError unless a stored value is what the variable needs.

    A Saver of TensorFlow lets a resource variable take any shape.
    """
    dtype = variable.dtype.base_dtype
    if value.shape != list(shape) or value.dtype != dtype:
        raise ValueError(
            f"The variable {variable.op.name} needs {value.name} {list(shape)} {dtype.name}; the "
            f"checkpoint {value.checkpoint.prefix} holds {value.checkpoint.describe(value.name)}. "
            "No variable was changed."
        )


class RestoreOps:
    """The ops that set variables, each where the variable is: from a file, or from what is fed.

    Args:
        content: `Content`.
        saveables: all that the Saver saves, for those that are no variables.
        allow_nonfinite: bool, whether to set rows that hold NaN or Inf.
        of_deltas: bool, whether there shall be ops that hash what deltas stand on; without
            them it is read and hashed here.
    """

    def __init__(self, content, saveables, allow_nonfinite, of_deltas):
        self._allow_nonfinite = allow_nonfinite
        frozen = {v.op.name for table in content.tables for v in table.embedding.frozen_parts}
        frozen |= {saved.variable.op.name for saved in content.unchanged}
        self._to_hash = frozen if of_deltas else ()
        self._rows_of = _rows_of_variables(content)
        variables = [v for table in content.tables for v in table.embedding.variables]
        variables += [slot.variable for table in content.tables for slot in table.slots]
        variables += [saved.variable for saved in content.unchanged + content.plain]
        with tf.name_scope("partial_embed_restore"):
            values = {variable.op.name: self._value_of(variable) for variable in variables}
            self._values = values
            # Made here: a placeholder that is fed waits for nothing, nor does what it feeds.
            foreign = [
                (saveable, [tf.placeholder(spec.dtype) for spec in saveable.specs])
                for saveable in saveables
                if not isinstance(saveable, (Saved, Whole))
            ]
            # Nothing is assigned before everything is read. (What waits for a placeholder with a
            # default waits for the default; so its value is looked at, by an op that stays.)
            read = tf.reduce_all([value.is_read for value in values.values()] or [True])
            read = tf.raw_ops.Assert(condition=read, data=["not all was read"])
            with tf.control_dependencies([read]):
                self._assigned = {
                    variable.op.name: tf.assign(variable, values[variable.op.name].value).op
                    for variable in variables
                }
                self._foreign = [
                    (saveable, tensors, saveable.restore(tensors, None))
                    for saveable, tensors in foreign
                ]
            self._uninitialized = tf.identity(tf.report_uninitialized_variables(variables))

    def _value_of(self, variable):
        """Returns the `_Value` that is to be assigned to a variable."""
        with tf.device(variable.device):
            place = [tf.placeholder(tf.string, []) for _ in range(3)]
            value = restore(*place[:2], variable.dtype.base_dtype, place[2], variable.shape)
            if not self._allow_nonfinite:
                table, rows, axis = self._rows_of.get(variable.op.name, (None, range(1), 0))
                what = table or variable.op.name
                value = refuse_nonfinite(value, what, axis, rows[0] if len(rows) else 0)
            hashes = None
            if variable.op.name in self._to_hash and can_hash(value.dtype):
                hashes = hash_rows(value, self._rows_of.get(variable.op.name, (None, (), 0))[2])
            with tf.control_dependencies([value]):
                is_read = tf.placeholder_with_default(True, [])
            value = tf.placeholder_with_default(value, variable.shape)
        return _Value(place, value, is_read, hashes)

    def run(self, session, restoration):
        """Sets every variable, or raises and sets none.

        Raises:
            ValueError: if a value cannot be read, or holds NaN or Inf.
        """
        feeds, ops, fed = {}, [], []
        for variable, value in restoration.values:
            name = variable.op.name
            ops.append(self._assigned[name])
            if value.is_one_slice:
                place = (value.checkpoint.prefix, value.name, value.spec)
                feeds.update(zip(self._values[name].place, place))
            else:
                fed.append((name, value))
        for (name, _), array in zip(fed, read_all([value for _, value in fed])):
            self._expect_finite(name, array, restoration.checkpoint)
            feeds[self._values[name].value] = array
        # Nothing is read of what is fed, nor of what stays as it is.
        read = {v.op.name for v, value in restoration.values if value.is_one_slice}
        feeds.update((self._values[name].is_read, True) for name in set(self._values) - read)
        may_lack = any(not source.is_complete for source in restoration.sources.values())
        for saveable, placeholders, op in self._foreign:
            checkpoint = restoration.checkpoint
            if may_lack and not all(spec.name in checkpoint for spec in saveable.specs):
                continue
            for spec in saveable.specs:
                checkpoint.expect(spec.name)
            wanted = [(spec.name, spec.slice_spec, spec.dtype) for spec in saveable.specs]
            feeds.update(zip(placeholders, read_tensors(checkpoint.prefix, wanted)))
            ops.append(op)
        missing = {tf.compat.as_text(name) for name in session.run(self._uninitialized)}
        try:
            for known in restoration.standing:
                hashes = self._hashes_of(known, session, feeds, read)
                compare_base(
                    restoration.checkpoint.prefix, known.entry, known.name, hashes, known.stored
                )
            session.run(ops, feeds)
        except tf.errors.OpError as error:
            raise ValueError(
                f"Restoring {restoration.checkpoint.prefix} failed: {reason(error)}. No variable "
                "was changed."
            ) from error
        session.run([v.initializer for v in restoration.untouched if v.op.name in missing])

    def _hashes_of(self, known, session, feeds, read):
        """Returns the hashes of the rows of a `Standing`, made where they are read."""
        names = [variable.op.name for variable in known.variables]
        ops = [self._values[name].hashes for name in names if name in read]
        if len(ops) < len(names) or None in ops or not names:
            return hashes_of(known.stored)
        return np.concatenate(session.run(ops, feeds)).view(np.uint64)

    def _expect_finite(self, name, array, checkpoint):
        if self._allow_nonfinite or name not in self._rows_of:
            return
        table, rows, axis = self._rows_of[name]
        bad = nonfinite_rows(np.moveaxis(array, axis, 0))
        if len(bad):
            raise ValueError(
                f"{table} of {checkpoint.prefix}: rows {[int(rows[row]) for row in bad[:20]]} hold "
                "NaN or Inf. Repair the checkpoint, or pass allow_nonfinite=True to load it as it "
                "is. No variable was changed."
            )


_Value = namedtuple("_Value", ["place", "value", "is_read", "hashes"])
_Value.__doc__ = """What is assigned to a variable.

Attributes:
    place: three placeholders, where it is read: prefix, name, slice; or nothing, if
    value: the tensor is fed itself.
    is_read: a tensor that waits until it is read; fed, if it is not.
    hashes: of its rows, if it is read; or None.
"""


def _rows_of_variables(content):
    """Returns {name of a variable's op: (table, which rows of it the variable holds, axis)}."""
    found = {}
    for table in content.tables:
        axis = table.embedding.plan.axis
        found.update((v.op.name, (table.name, rows, axis)) for v, rows in table.frozen())
        if table.embedding.trainable is not None:
            rows = table.embedding.plan.trainable_rows
            found[table.embedding.trainable.op.name] = (table.name, rows, axis)
    return found
