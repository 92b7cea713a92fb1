"""What a Saver knows once its graph is complete: what it saves, and where frozen rows are."""

import os
import weakref

import numpy as np
import tensorflow.compat.v1 as tf
from absl import logging

from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.growth import DELTA_KEY
from partial_embed.files.tensors import slice_spec, write_part
from partial_embed.saving.deltas import generations_of, manifest_of
from partial_embed.saving.places import Place, Places
from partial_embed.saving.restore_ops import RestoreOps
from partial_embed.saving.restoring import plan_restoration
from partial_embed.saving.same_base import expect_same_base
from partial_embed.saving.slot_writer import SlotWriter
from partial_embed.saving.slots import initial_values
from partial_embed.saving.source import (
    BaseTable,
    DeltaTable,
    WholeTable,
    slot_or_start,
    stored,
)
from partial_embed.table.on_disk import in_slices
from partial_embed.table.optimizer_state import name_in, renamed
from partial_embed.table.plan import offset_of, with_rows
from partial_embed.table.report import reports_in
from partial_embed.training.frozen_rows import FrozenRows

# How often a checkpoint is read that is replaced all the while.
_MOST_READS = 5
# By session, {`Built`: digests of what is frozen there}, until a Saver restores other rows.
_DIGESTS = weakref.WeakKeyDictionary()


class Built:
    """What a Saver knows once its graph is complete: what it saves, and where frozen rows are.

    Args:
        content: `Content`.
        builder: `Builder` that made the ops that save it.
        delta: bool, whether only what training can change is saved.
        allow_nonfinite: bool.
    """

    def __init__(self, content, builder, delta, allow_nonfinite):
        self._content = content
        self._delta = delta
        self._ops = RestoreOps(content, builder.saveables, allow_nonfinite)
        self._frozen_rows = FrozenRows() if delta else None
        self._writers = {} if delta else self._slot_writers()
        self._warned = False
        loaded = {
            table.embedding.table_name: self._base_of(table)
            for table in content.tables
            if table.embedding.source is not None
        }
        for saved in content.unchanged:
            source = saved.source
            loaded[saved.own_name] = Place(source.checkpoint, source.name, source.name)
        self._places = Places(loaded)

    def _slot_writers(self):
        """Returns what writes the slots of what does not train, by slot name and slice."""
        writers = {}
        for table in self._content.tables:
            for slot in table.slots if in_slices(table.embedding) else ():
                for variable, rows in table.frozen():
                    spec, *shapes = _slice_of_slot(table, slot, rows)
                    place = slot.name, spec
                    dtype = slot.variable.dtype.base_dtype
                    writers[place] = SlotWriter(variable.device, *place, *shapes, dtype)
        for saved, name, _, shape in self._content.unchanged_slots():
            dtype, device = saved.source.dtype, saved.variable.device
            writers[name, ""] = SlotWriter(device, name, "", shape, shape, dtype)
        return writers

    @staticmethod
    def _base_of(table):
        embedding = table.embedding
        place = (embedding.source, embedding.tensor_name)
        return BaseTable(*place, embedding.plan, embedding.table_name)

    def restore(self, session, checkpoint, generation, allow_other_base):
        """Sets every variable, or none; returns the `Restoration`."""
        if generation is not None and self._content.tables:
            raise ValueError(
                f"generation= restores plain variables; {self._content.tables[0].name} grows here. "
                "Say generation= where it is made, to get_embedding or growing."
            )
        places = self._sources(session), self._loaded(session)
        reports = reports_in(session.graph)
        for _ in range(_MOST_READS):
            try:
                restoration = plan_restoration(
                    self._content, checkpoint, *places, reports, generation
                )
                for table in [] if allow_other_base else self._content.tables:
                    place = (restoration.sources[table.name], self._base_of(table))
                    expect_same_base(table, *place)
                self._ops.run(session, restoration)
            except ValueError:
                if checkpoint.is_unchanged():
                    raise
            if checkpoint.is_unchanged():
                break
            replaced, checkpoint = checkpoint, Checkpoint(checkpoint.prefix)
        else:
            replaced.expect_unchanged()
        found, values = {}, {v.op.name: value for v, value in restoration.values}
        for table in self._content.tables:
            source = restoration.sources[table.name]
            base = source.base if isinstance(source, DeltaTable) else source
            found[table.embedding.table_name] = base
        is_base = not all(isinstance(s, WholeTable) for s in restoration.sources.values())
        for saved in self._content.unchanged:
            value = values[saved.variable.op.name]
            owner = value.name if is_base else saved.own_name
            found[saved.own_name] = Place(value.checkpoint, value.name, owner)
        self._places.note_restored(session, found)
        _DIGESTS.pop(session, None)
        return restoration

    def _sources(self, session):
        """Returns {name of a table: the newest source of its frozen rows}."""
        found = {
            t.name: self._places.newest(session, t.embedding.table_name)
            for t in self._content.tables
        }
        return {name: source for name, source in found.items() if source}

    def _loaded(self, session):
        """Returns {name on disk: `Stored`} of what frozen variables were loaded from."""
        origins = {
            s.disk_name: self._places.origin(session, s.own_name) for s in self._content.unchanged
        }
        return {name: stored(place.checkpoint, place.name) for name, place in origins.items()}

    def generations(self):
        """Returns what the growth record beside a whole checkpoint says, or None."""
        if self._delta or not self._content.tables:
            return None
        tables = {table.name: table.embedding for table in self._content.tables}
        return {
            name: generations_of(table.plan, table.source, table.tensor_name, table.keys)
            for name, table in tables.items()
        }

    def stands_on(self, prefix):
        """Returns whether deltas are saved, of which the frozen rows stand in a checkpoint."""
        bases = map(os.path.realpath, self._places.prefixes())
        return self._delta and os.path.realpath(prefix) in bases

    def warn_of_base(self, prefix):
        """Says once if a checkpoint is saved over one that tables grew from."""
        place = os.path.realpath(prefix)
        origins = [t.embedding.source for t in self._content.tables if t.embedding.source]
        if not self._warned and any(os.path.realpath(o.prefix) == place for o in origins):
            self._warned = True
            logging.warning(
                "%s is what the tables grew from, and is replaced by the grown ones: a run that "
                "starts again finds no fewer rows to grow from. Save under another name.",
                prefix,
            )

    def note_saved(self, session, prefix):
        """Notes that a whole checkpoint has the slots of all rows from now on."""
        checkpoint, found = Checkpoint(prefix), {}
        for writer in self._writers.values():
            writer.note_saved(checkpoint)
        for saved in self._content.unchanged:
            found[saved.own_name] = Place(checkpoint, saved.disk_name, saved.own_name)
        for table in self._content.tables:
            source = WholeTable(checkpoint, table.name, table.embedding.plan.axis)
            found[table.embedding.table_name] = source
        self._places.note_saved(session, found)

    def write_rest(self, session, stage):
        """Writes what the variables lack: the manifest of a delta, else the rest of slots."""
        if self._delta:
            digests = _DIGESTS.setdefault(session, {})
            if self not in digests:
                digests[self] = self._frozen_rows.digests(session)
            places = self._sources(session), self._loaded(session)
            text = manifest_of(self._content, *places, digests[self], session)
            write_part(stage.part(), [(DELTA_KEY, "", np.array(text, object))])
            return
        starts, first = initial_values(self._content.slots, session), len(stage.parts)
        for left in reversed(range(_MOST_READS)):
            used = []
            try:
                self._write_slots(session, stage, starts, used)
            except (ValueError, tf.errors.OpError) as error:
                is_replaced = not all(checkpoint.is_unchanged() for checkpoint in used)
                is_damaged = isinstance(error, ValueError) and not is_replaced
                has_another = is_damaged and self._places.forget_saved(session)
                if not (left and (is_replaced or has_another)):
                    raise
                if has_another:
                    logging.warning("%s Slots are taken from what was loaded.", error)
            else:
                if all(checkpoint.is_unchanged() for checkpoint in used):
                    return
            del stage.parts[first:]
        for checkpoint in used:
            checkpoint.expect_unchanged()

    def _write_slots(self, session, stage, starts, used):
        """Writes slots of what does not train; appends to `used` the checkpoints they stand in."""
        for table in self._content.tables:
            source = self._source_of_slots(session, table) if table.slots else None
            used += [source.checkpoint] if source else []
            for slot in table.slots:
                start = starts[slot.name]
                if in_slices(table.embedding):
                    for variable, rows in table.frozen():
                        value = _slot_value(session, source, table, slot, start, rows, [variable])
                        writer = self._writers[slot.name, _slice_of_slot(table, slot, rows)[0]]
                        writer.write(session, stage.part(), value)
                elif table.embedding.plan.num_frozen_rows:
                    _write_joined_slot(session, source, stage, table, slot, start)
        for saved, name, slot, shape in self._content.unchanged_slots():
            place = self._places.standing(session, saved.own_name, saved.disk_name)
            used.append(place.checkpoint)
            base, dtype = place.checkpoint, saved.source.dtype
            there = name_in(base, renamed(name, saved.own_name, place.owner), place.owner)
            found = stored(base, there) if there in base else None
            value = slot_or_start(found, stored(base, place.name), starts[slot.name], dtype, shape)
            self._writers[name, ""].write(session, stage.part(), value)

    def _source_of_slots(self, session, table):
        what = f"the frozen rows of {table.name}"
        return self._places.standing(session, table.embedding.table_name, what)


def _slot_value(session, source, table, slot, start, which, variables):
    """Returns a slot's values for frozen rows, those that some variables hold."""
    axis = table.embedding.plan.axis
    found = source and source.slot_rows(slot.name, which)
    rows = source.rows(which) if source else _Frozen(session, variables, axis)
    part = with_rows(slot.variable.shape.as_list(), axis, len(which))
    return slot_or_start(found, rows, start, slot.variable.dtype.base_dtype, part)


def _write_joined_slot(session, source, stage, table, slot, start):
    """Writes all rows of a slot, where those that train lie among others."""
    embedding, plan = table.embedding, table.embedding.plan
    rows = plan.frozen_rows(), embedding.frozen_parts
    value = _slot_value(session, source, table, slot, start, *rows)
    joined = plan.joined(value.read(), session.run(slot.variable))
    write_part(stage.part(), [(slot.name, "", joined)])


def _slice_of_slot(table, slot, rows):
    """Returns (text of the slice, its shape, the shape of all) that some rows are of a slot."""
    plan, shape = table.embedding.plan, slot.variable.shape.as_list()
    whole, part = (with_rows(shape, plan.axis, count) for count in (plan.num_rows, len(rows)))
    return slice_spec(whole, offset_of(whole, plan.axis, rows[0]), part), part, whole


class _Frozen:
    """Frozen rows as a session has them, for a table that came from no checkpoint."""

    def __init__(self, session, variables, axis):
        self._session, self._variables, self._axis = session, variables, axis

    def read(self):
        return np.concatenate(self._session.run(self._variables), self._axis)

    def tensor(self):
        array = self.read()
        return tf.py_func(lambda: array, [], array.dtype, stateful=False)
