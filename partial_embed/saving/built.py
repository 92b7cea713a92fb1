"""What a Saver knows once its graph is complete: what it saves, and where frozen rows are."""

import weakref

import numpy as np
import tensorflow.compat.v1 as tf
from absl import logging

from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.growth import DELTA_KEY
from partial_embed.files.locate import is_same_place
from partial_embed.files.tensors import write_part
from partial_embed.files.together import Together
from partial_embed.saving.content import Table
from partial_embed.saving.deltas import generations_of, manifest_of
from partial_embed.saving.frozen_slots import (
    Place,
    slice_of_slot,
    slot_in,
    slot_value,
    standing,
    stands,
    write_joined_slot,
)
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
from partial_embed.table.report import reports_in
from partial_embed.training.frozen_rows import FrozenRows

# How often a checkpoint is read that is replaced all the while.
_MOST_READS = 5
# By session, {`Built`: digests of what is frozen there}, until a Saver restores other rows.
_DIGESTS = weakref.WeakKeyDictionary()
# By session, {table: prefix of what a Saver restored in place of its base, or None}.
_OTHER_BASES = weakref.WeakKeyDictionary()


class Built:
    """What a Saver knows once its graph is complete: what it saves, and where frozen rows are.

    Args:
        content: `Content`.
        builder: `Builder` that made the ops that save it.
        delta: bool, whether only what training can change is saved.
        allow_nonfinite: bool.
        of_all: bool, whether all variables are saved, and slots of what does not train.
    """

    def __init__(self, content, builder, delta, allow_nonfinite, of_all):
        self._content = content
        self._delta = delta
        self._ops = RestoreOps(content, builder.saveables, allow_nonfinite)
        self._frozen_rows = FrozenRows() if delta else None
        self._kept, self._powers = content.kept_slots() if of_all and not delta else ([], {})
        self._unchanged_slots = [] if delta else content.unchanged_slots()
        self._writers = {} if delta else self._slot_writers()
        self._warned = False
        # By table: what holds its frozen rows' slots, the newest, and what they were loaded from.
        self._sources = {
            table.name: self._base_of(table)
            for table in content.tables
            if table.embedding.source is not None
        }
        self._origins = dict(self._sources)
        # By frozen variable likewise: the newest `Place` that has its slots, and the one before.
        self._places = {
            saved.disk_name: [None, Place(saved.source.checkpoint, *2 * [saved.source.name])]
            for saved in content.unchanged
        }

    def _slot_writers(self):
        """Returns what writes the slots of what does not train, by slot name and slice."""
        writers = {}
        for table in self._content.tables:
            for slot in table.slots if in_slices(table.embedding) else ():
                for variable, rows in table.frozen():
                    spec, *shapes = slice_of_slot(table, slot, rows)
                    place = slot.name, spec
                    dtype = slot.variable.dtype.base_dtype
                    writers[place] = SlotWriter(variable.device, *place, *shapes, dtype)
        for saved, name, _, dtype, shape in self._unchanged_slots:
            device = saved.variable.device
            writers[name, ""] = SlotWriter(device, name, "", shape, shape, dtype)
        for holder, name, there, like in self._kept:
            if isinstance(holder, Table):
                variable = holder.embedding.frozen_parts[0]
                shape, dtype = holder.kept_type(there, like)
            else:
                variable, base = holder.variable, holder.source.checkpoint
                shape, dtype = list(base.shapes[there]), base.dtypes[there]
            writers[name, ""] = SlotWriter(variable.device, name, "", shape, shape, dtype)
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
        known, reports = dict(self._sources), reports_in(session.graph)
        # A delta's frozen rows: of what was loaded, should another have replaced the newest.
        known.update((name, its) for name, its in self._origins.items() if not stands(known[name]))
        for _ in range(_MOST_READS):
            try:
                restoration = plan_restoration(
                    self._content, checkpoint, known, self._loaded(), reports, generation
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
        for name, source in restoration.sources.items():
            base = source.base if isinstance(source, DeltaTable) else source
            self._sources[name] = self._origins[name] = base
        values = {v.op.name: value for v, value in restoration.values}
        is_base = not all(isinstance(s, WholeTable) for s in restoration.sources.values())
        for saved in self._content.unchanged:
            value, place = values[saved.variable.op.name], self._places[saved.disk_name][1]
            if value[:2] != place[:2]:  # else it stood there before, under the same name
                owner = value.name if is_base else saved.own_name
                place = Place(value.checkpoint, value.name, owner)
            self._places[saved.disk_name] = [None, place]
        others = _OTHER_BASES.setdefault(session, {})
        for table in self._content.tables:
            others[table.embedding.table_name] = self._other_base(table)
        # Of this session, by whatever other that is inside of it, or around it, they were asked.
        for other in [its for its in _DIGESTS if its.graph is session.graph]:
            del _DIGESTS[other]
        return restoration

    def _other_base(self, table):
        """Returns the prefix of another base than a table grew from, if that was restored here."""
        origin, grew_from = self._origins.get(table.name), table.embedding.source
        if grew_from is None or origin.is_complete:
            return None
        same = origin.checkpoint.index_checksum == grew_from.index_checksum
        return None if same else origin.checkpoint.prefix

    def _expect_own_base(self, session):
        """Raises ValueError if a session has rows of a base that it does not have by this Saver."""
        others = _OTHER_BASES.get(session, {})
        for table in self._content.tables:
            here, there = self._other_base(table), others.get(table.embedding.table_name)
            has_slots = table.slots or any(table is holder for holder, *_ in self._kept)
            if has_slots and here != there:
                how = "by another Saver" if there else "in another session or before another"
                raise ValueError(
                    f"{there or here} was restored in place of what {table.name} grew from, {how}, "
                    "so which optimizer slots its frozen rows have this Saver does not know. "
                    "Restore it with this one, in this session, or save with delta=True."
                )

    def _loaded(self):
        """Returns {name: `Stored`} of what frozen variables were loaded from."""
        return {name: stored(*place[:2]) for name, (_, place) in self._places.items()}

    def generations(self):
        """Returns what the growth record beside a whole checkpoint says, or None."""
        if self._delta or not self._content.tables:
            return None
        found = {}
        for name, table in ((its.name, its.embedding) for its in self._content.tables):
            entry = generations_of(table.plan, table.source, table.tensor_name, table.keys)
            found[name] = entry
            base, origin = table.source, self._origins.get(name)
            if base is not None and origin.grew_from == base.index_checksum != "":
                entry["grew_from"] = base.index_checksum
        return found

    def stands_on(self, prefix):
        """Returns whether deltas are saved, of which the frozen rows stand in a checkpoint."""
        bases = [source.checkpoint for source in self._sources.values()]
        bases += [saved.source.checkpoint for saved in self._content.unchanged]
        bases += [place.checkpoint for _, place in self._places.values()]
        return self._delta and any(is_same_place(base.prefix, prefix) for base in bases)

    def warn_of_base(self, prefix):
        """Says once if a checkpoint is saved over one that tables grew from."""
        origins = [t.embedding.source for t in self._content.tables if t.embedding.source]
        if not self._warned and any(is_same_place(its.prefix, prefix) for its in origins):
            self._warned = True
            logging.warning(
                "%s is what the tables grew from, and is replaced by the grown ones: a run that "
                "starts again finds no fewer rows to grow from. Save under another name.",
                prefix,
            )

    def note_saved(self, prefix):
        """Notes that a whole checkpoint has the slots of all rows from now on."""
        checkpoint = Checkpoint(prefix)
        for (name, _), writer in self._writers.items():
            if name in checkpoint:
                writer.note_saved(checkpoint)
        for saved in self._content.unchanged:
            self._places[saved.disk_name][0] = Place(checkpoint, saved.disk_name, saved.own_name)
        for table in self._content.tables:
            source = WholeTable(checkpoint, table.name, table.embedding.plan.axis)
            self._sources[table.name] = source
            origin = self._origins.get(table.name)
            if origin is not None and origin.checkpoint.prefix == checkpoint.prefix:
                self._origins[table.name] = source  # It was replaced.

    def write_rest(self, session, stage):
        """Writes what the variables lack: the manifest of a delta, else the rest of slots."""
        if self._delta:
            digests = _DIGESTS.setdefault(session, {})
            if self not in digests:
                digests[self] = self._frozen_rows.digests(session)
            place = self._sources, self._loaded()
            text = manifest_of(self._content, *place, digests[self], session)
            write_part(stage.part(), [(DELTA_KEY, "", np.array(text, object))])
            return
        self._expect_own_base(session)
        starts, first = initial_values(self._content.slots, session), len(stage.parts)
        newest_too = True
        for left in reversed(range(_MOST_READS)):
            used = []
            try:
                with Together(stage) as together:
                    self._write_slots(session, together, starts, used, newest_too)
            except (ValueError, tf.errors.OpError) as error:
                is_replaced = not all(checkpoint.is_unchanged() for checkpoint in used)
                is_damaged = isinstance(error, ValueError) and not is_replaced and newest_too
                if not (left and (is_replaced or is_damaged and self._has_newest())):
                    raise
                if is_damaged:
                    newest_too = False
                    logging.warning("%s Slots are taken from what was loaded.", error)
            else:
                if all(checkpoint.is_unchanged() for checkpoint in used):
                    return
            del stage.parts[first:]
        for checkpoint in used:
            checkpoint.expect_unchanged()

    def _has_newest(self):
        """Whether slots stand in a newer checkpoint than what was loaded."""
        newer = any(self._sources[name] is not its for name, its in self._origins.items())
        return newer or any(newest for newest, _ in self._places.values())

    def _write_slots(self, session, together, starts, used, newest_too):
        """Writes slots of what does not train; appends to `used` the checkpoints they stand in."""
        for table in self._content.tables:
            source = self._source_of_slots(table, newest_too) if table.slots else None
            used += [source.checkpoint] if source else []
            for slot in table.slots:
                start = starts[slot.name]
                if in_slices(table.embedding):
                    for variable, rows in table.frozen():
                        value = slot_value(session, source, table, slot, start, rows, [variable])
                        writer = self._writers[slot.name, slice_of_slot(table, slot, rows)[0]]
                        writer.write(session, together, value)
                else:
                    write_joined_slot(session, source, together.stage, table, slot, start)
        for saved, name, slot, *kind in self._unchanged_slots:
            place = self._place_of(saved, newest_too)
            used.append(place.checkpoint)
            found, rows = slot_in(place, saved, name), stored(place.checkpoint, place.name)
            value = slot_or_start(found, rows, starts[slot.name], *kind)
            self._writers[name, ""].write(session, together, value)
        for holder, name, there, like in self._kept:
            place = self._place_of(holder, newest_too)
            used.append(place.checkpoint)
            if isinstance(holder, Table):
                rows = range(holder.embedding.plan.num_rows)
                value = place.slot_rows(name, rows)
                if like:
                    (shape, dtype), start = holder.kept_type(there, like), starts[like.name]
                    value = slot_or_start(value, place.rows(rows), start, dtype, shape)
            else:
                value = slot_in(place, holder, name)
            if value is not None:  # else another was restored since, which has none
                self._writers[name, ""].write(session, together, value)
        for name, holder in self._powers.items():
            base = self._place_of(holder, newest_too).checkpoint
            used.append(base)
            if name in base:
                together.write(name, "", base.read(name))

    def _place_of(self, holder, newest_too):
        """Returns the source or `Place` in which a `Table` or `Saved` has its slots."""
        if isinstance(holder, Table):
            return self._source_of_slots(holder, newest_too)
        places = self._places[holder.disk_name]
        return standing(holder.disk_name, places if newest_too else places[1:])

    def _source_of_slots(self, table, newest_too):
        """The newest checkpoint, or should that be gone what was loaded; None without any."""
        places = (self._sources, self._origins) if newest_too else (self._origins,)
        known = [found[table.name] for found in places if table.name in found]
        return standing(f"the frozen rows of {table.name}", known) if known else None
