"""Restoring: where each variable's value is found, and the ops that set it."""

import os
from collections import namedtuple

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
from partial_embed.files.tensors import read_tensors, reason, restore
from partial_embed.saving.same_base import check_base
from partial_embed.saving.saveables import Saved
from partial_embed.saving.source import (
    BaseTable,
    open_delta,
    open_table,
    read_all,
    stored,
)
from partial_embed.table.on_disk import Whole, in_slices
from partial_embed.table.optimizer_state import belongs_to


class Restoration(namedtuple("Restoration", ["checkpoint", "values", "untouched", "sources"])):
    """What one restore sets, checked before any variable is set.

    Attributes:
        checkpoint: `Checkpoint`.
        values: list of (variable, `Stored`).
        untouched: list of variables that it says nothing about, or that start without it.
        sources: dict of table name to its source.
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
    values, untouched = [], []
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
            check_base(checkpoint.prefix, entry, saved.disk_name, saved.source)
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
    return Restoration(checkpoint, values, untouched, sources)


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
    """The ops that set variables: frozen ones straight from a file, others from what is fed.

    Args:
        content: `Content`.
        saveables: all that the Saver saves, for those that are no variables.
        allow_nonfinite: bool, whether to set rows that hold NaN or Inf.
    """

    def __init__(self, content, saveables, allow_nonfinite):
        self._content = content
        self._allow_nonfinite = allow_nonfinite
        straight = [
            variable
            for table in content.tables
            if in_slices(table.embedding)
            for variable, _ in table.frozen()
        ] + [saved.variable for saved in content.unchanged]
        names = {variable.op.name for variable in straight}
        fed = [v for table in content.tables for v in table.embedding.variables]
        fed += [slot.variable for table in content.tables for slot in table.slots]
        fed += [saved.variable for saved in content.plain]
        fed = [variable for variable in fed if variable.op.name not in names]
        with tf.name_scope("partial_embed_restore"):
            self._places, reads = {}, []
            for variable in straight:
                place = [tf.placeholder(tf.string, []) for _ in range(3)]
                value = restore(*place[:2], variable.dtype.base_dtype, place[2], variable.shape)
                if not allow_nonfinite:
                    value = refuse_nonfinite(value, variable.op.name)
                self._places[variable.op.name] = place
                reads.append(value)
            # Made here: a placeholder that is fed waits for nothing, nor does what it feeds.
            feeds = [tf.placeholder(v.dtype.base_dtype, v.shape) for v in fed]
            foreign = [
                (saveable, [tf.placeholder(spec.dtype) for spec in saveable.specs])
                for saveable in saveables
                if not isinstance(saveable, (Saved, Whole))
            ]
            # Nothing is assigned before everything is read.
            with tf.control_dependencies(reads):
                self._straight = [tf.assign(v, value).op for v, value in zip(straight, reads)]
                self._fed = {
                    variable.op.name: (feed, tf.assign(variable, feed).op)
                    for variable, feed in zip(fed, feeds)
                }
                self._foreign = [
                    (saveable, values, saveable.restore(values, None))
                    for saveable, values in foreign
                ]
            self._uninitialized = tf.identity(tf.report_uninitialized_variables(straight + fed))

    def run(self, session, restoration):
        """Sets every variable, or raises and sets none.

        Raises:
            ValueError: if a value cannot be read, or holds NaN or Inf.
        """
        feeds, ops, fed = {}, list(self._straight), []
        for variable, value in restoration.values:
            if variable.op.name in self._fed:
                fed.append((variable.op.name, value))
            else:
                place = (value.checkpoint.prefix, value.name, value.spec)
                feeds.update(zip(self._places[variable.op.name], place))
        rows_of = {} if self._allow_nonfinite else self._rows_of_variables()
        for (name, _), array in zip(fed, read_all([value for _, value in fed])):
            bad = nonfinite_rows(array) if name in rows_of else ()
            if len(bad):
                table, rows = rows_of[name]
                raise ValueError(
                    f"{table} of {restoration.checkpoint.prefix}: rows "
                    f"{[int(rows[row]) for row in bad[:20]]} hold NaN or Inf. Repair the "
                    "checkpoint, or pass allow_nonfinite=True to load it as it is. No variable was "
                    "changed."
                )
            feed, op = self._fed[name]
            feeds[feed] = array
            ops.append(op)
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
            session.run(ops, feeds)
        except tf.errors.OpError as error:
            raise ValueError(
                f"Restoring {restoration.checkpoint.prefix} failed: {reason(error)}. No variable "
                "was changed."
            ) from error
        session.run([v.initializer for v in restoration.untouched if v.op.name in missing])

    def _rows_of_variables(self):
        """Returns {name of a variable's op: (table, which rows of it the variable holds)}."""
        found = {}
        for table in self._content.tables:
            found.update((v.op.name, (table.name, rows)) for v, rows in table.frozen())
            if table.embedding.trainable is not None:
                rows = table.embedding.plan.trainable_rows
                found[table.embedding.trainable.op.name] = (table.name, rows)
        return found
