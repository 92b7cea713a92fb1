"""Restoring: where the value of each variable is found in a checkpoint."""

import os
from collections import namedtuple

import numpy as np

from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.growth import (
    DELTA_KEY,
    expect_keys,
    read_delta,
    read_generations,
    rows_of_generation,
)
from partial_embed.files.nearest import nearest
from partial_embed.saving.deltas import generations_of
from partial_embed.saving.source import (
    BaseTable,
    open_delta,
    open_table,
    stored,
)
from partial_embed.table.embedding import parts_of
from partial_embed.table.optimizer_state import owners_in_checkpoint
from partial_embed.table.plan import with_rows

_FIELDS = ["checkpoint", "values", "places", "untouched", "sources", "standing"]


class Restoration(namedtuple("Restoration", _FIELDS)):
    """What one restore sets, checked before any variable is set.

    Attributes:
        checkpoint: `Checkpoint`.
        values: list of (variable, `Stored`).
        places: {name of a variable's op: which of its rows these are}, where they are not all: a
            base has those that train among new ones, too.
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


def plan_restoration(content, checkpoint, known, loaded, reports, generation=None):
    """Finds the value of every variable in a checkpoint.

    Args:
        content: `Content`.
        checkpoint: `Checkpoint`: a base, a whole one or a delta.
        known: dict of table name to the source of its frozen rows by now.
        loaded: dict of the name of a variable that is frozen whole to its `Stored` by now.
        reports: list of the `Report`s of the graph: what they let start afresh, no base sets.
        generation: int, take of plain variables only the rows of that generation; or None.

    Returns:
        A `Restoration`.

    Raises:
        ValueError: if anything does not fit; says what was expected and what was found.
    """
    values, places, untouched, standing = [], {}, [], {}
    if DELTA_KEY in checkpoint:
        manifest = read_delta(checkpoint)
        sources = _open_deltas(content, checkpoint, manifest["tables"], known)
    else:
        manifest = None
        sources = {t.name: open_table(t, checkpoint) for t in content.tables}
    growing = any(not source.is_complete for source in sources.values())
    reports = [r for r in reports if growing or checkpoint.is_same(r.checkpoint)]
    growing = growing or bool(reports)

    def afresh(name):
        return any(report.leaves(name) for report in reports)

    def name_of(saved):
        """Returns what a variable is called there: a base has the names that growing took."""
        there = [r.variables.get(saved.own_name, (None, None))[1] for r in reports]
        return next((name for name in there if name and name in checkpoint), saved.disk_name)

    for table in content.tables:
        source, plan = sources[table.name], table.embedding.plan
        if manifest:
            _expect_keys(checkpoint, table, manifest["tables"][table.name])
        elif source.is_complete:
            _expect_keys(checkpoint, table, read_generations(checkpoint).get(source.name, {}))
        values += [(variable, source.rows(which)) for variable, which in table.frozen()]
        if manifest:
            entry, rows = manifest["tables"][table.name], source.base.rows(plan.frozen_rows())
            variables = table.embedding.frozen_parts
            standing[table.name] = Standing(table.name, entry, variables, rows)
        for variable, slot in table.trainable():
            rows = plan.trainable_rows
            if slot and afresh(slot.name):
                untouched.append(variable)
                continue
            old = [] if source.is_complete else np.flatnonzero(plan.is_old(rows))
            if len(old) and len(old) < len(rows):
                rows = rows[old]
                places[variable.op.name] = old
            elif plan.in_order:
                rows = range(plan.num_frozen_rows, plan.num_rows)
            found = source.slot_rows(slot.name, rows) if slot else source.rows(rows)
            if found is None and not growing:
                slots = owners_in_checkpoint(checkpoint).items()
                its = [table.name, *(slot for slot, owner in slots if owner == table.name)]
                raise ValueError(
                    f"The checkpoint {checkpoint.prefix} holds no slot {slot.name}, which the "
                    f"optimizer here keeps; of {table.name} it holds "
                    f"{nearest(slot.name, its)}. Build the optimizer that it was saved with. No "
                    "variable was changed."
                )
            if found is None:
                untouched.append(variable)
            else:
                values.append((variable, found))
    for saved in content.unchanged:
        entry = manifest and manifest["unchanged"].get(saved.disk_name)
        if entry:
            known_by = saved.disk_name, entry, parts_of(saved.whole)
            standing[saved.disk_name] = Standing(*known_by, loaded[saved.disk_name])
        name = name_of(saved)
        here = not manifest and name in checkpoint
        if here:
            # It grew there, and not here: its rows may stand elsewhere.
            base = read_generations(saved.source.checkpoint).get(saved.source.name, {})
            entry = read_generations(checkpoint).get(name, {})
            expect_keys(checkpoint.prefix, name, entry, base.get("vocabulary"))
        place = (checkpoint, name) if here else loaded[saved.disk_name][:2]
        values.append((saved.variable, _checked(saved, *place)))
    kept = {} if generation is None else _kept_rows(checkpoint, generation)
    for saved in content.plain:
        name = name_of(saved)
        missing = growing and name not in checkpoint
        if missing or afresh(saved.own_name):
            untouched.append(saved.variable)
        else:
            values.append((saved.variable, _checked(saved, checkpoint, name, kept)))
    for variable, value in values:
        shape = variable.shape.as_list()
        if variable.op.name in places:
            shape = with_rows(shape, value.axis, len(places[variable.op.name]))
        _check(variable, value, shape)
    kinds = values, places, untouched
    return Restoration(checkpoint, *kinds, sources, list(standing.values()))


def _expect_keys(checkpoint, table, entry):
    """Raises ValueError if rows that grew stand by other keys than here, or not by keys.

    Args:
        checkpoint: `Checkpoint`, whole or a delta.
        table: `Table` of a Saver.
        entry: dict, what is known of it there, {} for nothing.
    """
    embedding, plan = table.embedding, table.embedding.plan
    its = generations_of(plan, embedding.source, embedding.tensor_name, embedding.keys)
    expect_keys(checkpoint.prefix, table.name, entry, its.get("vocabulary"))
    if embedding.keys is None or not entry or "vocabulary" in entry:
        return
    if len(plan.moved_rows()):
        raise ValueError(
            f"The rows of {table.name} in {checkpoint.prefix} stand by their numbers: it grew "
            "without the vocabulary that is given here. Grow from its base again, with that, or "
            "leave out the vocabulary. No variable was changed."
        )


def _open_deltas(content, checkpoint, entries, known):
    tables = {table.name: table for table in content.tables}
    if set(tables) != set(entries):
        raise ValueError(
            f"The delta {checkpoint.prefix} holds rows of {sorted(entries)}; the tables that grow "
            f"here are {sorted(tables) or 'none'}. Build the graph that it was saved from, or "
            "restore what merge_checkpoint writes of it."
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
            base = BaseTable(found, tensor_name, table.embedding.plan, table.embedding.table_name)
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
        owner = owners_in_checkpoint(checkpoint).get(name)
        if table in (name, owner) and held[axis : axis + 1] == [rows]:
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
