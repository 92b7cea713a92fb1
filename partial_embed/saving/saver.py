"""`Saver`: whole tables on disk, or only what training can change."""

import os

import numpy as np
import tensorflow.compat.v1 as tf
from absl import logging

from partial_embed._tensorflow import PartitionedVariable, Variable, update_checkpoint_state
from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.finite import nonfinite_rows, refuse_nonfinite
from partial_embed.files.growth import (
    DELTA_KEY,
    DELTA_ROWS,
    delta_text,
    generations_of,
    growth_text,
)
from partial_embed.files.hashes import fingerprint
from partial_embed.files.index import num_shards
from partial_embed.files.locate import exists
from partial_embed.files.publish import (
    deleting,
    noting,
    publish,
    remove_orphaned_manifests,
    staging,
)
from partial_embed.files.runs import to_runs
from partial_embed.files.tensors import reason, restore, slice_spec, write_part
from partial_embed.saving.saveables import Builder, Saved, named_items, place_on_disk
from partial_embed.saving.slots import slots_of
from partial_embed.saving.source import Parts, Reading, SlotSource, Table, base_rows, frozen_part
from partial_embed.table.embedding import embeddings_in, frozen_variables_in, parts_of
from partial_embed.table.on_disk import Whole, in_slices, slice_of
from partial_embed.training.frozen_rows import FrozenRows, frozen_name


class Saver(tf.train.Saver):
    """A `tf.train.Saver` whose checkpoints hold whole tables.

    `save` writes every table under its own name as one tensor, complete with
    its optimizer slots: rows that were frozen get the slot rows of the
    checkpoint they came from, or else what the optimizer starts a slot at. Any
    plain script with the same variables restores it with `tf.train.Saver`.

    With `delta=True`, `save` writes what training can change and no more: new
    rows, their slots, the other variables. Its size does not depend on the
    frozen rows. `merge_checkpoint` makes a whole checkpoint of it again.

    `restore` takes the checkpoint a table grew from, a whole one, or a delta,
    whatever this Saver writes, and logs which it found. It changes every
    variable, or raises and changes none.

    A checkpoint is whole or is not there: it is staged beside its place and
    published by one rename. Beside it, `<prefix>.growth.json` says which rows
    came in which generation.

    Args:
        var_list: as for `tf.train.Saver`; a `PartialEmbedding` stands for all
            its variables. Default: all variables.
        delta: bool, whether `save` writes deltas.
        allow_nonfinite: restore tables that hold NaN or Inf, instead of failing.
        **kwargs: more arguments of `tf.train.Saver`, by name.

    Raises:
        ValueError: if asked for the V1 format, which is read but not written.
    """

    def __init__(self, var_list=None, delta=False, allow_nonfinite=False, **kwargs):
        if kwargs.get("write_version", tf.train.SaverDef.V2) != tf.train.SaverDef.V2:
            raise ValueError(
                "partial_embed.Saver writes the V2 format (it reads V1 too). Leave out "
                "write_version."
            )
        self._delta = delta
        self._allow_nonfinite = allow_nonfinite
        super().__init__(var_list, **kwargs)

    # --- build ------------------------------------------------------------------

    def build(self):
        """Adds the ops that save and restore; the constructor calls it unless deferred."""
        if self._is_built or self.saver_def or tf.executing_eagerly():
            super().build()
            return
        items = self._var_list
        if items is None:
            items = tf.global_variables() + tf.get_collection(tf.GraphKeys.SAVEABLE_OBJECTS)
        if self._builder is not None:
            raise ValueError("partial_embed.Saver has a builder of its own. Leave out builder=.")
        self._builder = Builder(self._sharded)
        if items:
            self._sort(named_items(items))
            self._var_list = self._saveables()
        super().build()
        if not self._is_empty:
            self._build_restore()

    def _sort(self, items):
        """Divides [(name or None, item), ...] into tables, frozen variables and the rest."""
        given = {id(item): name for name, item in items}
        self._tables, taken = [], set()
        for embedding in embeddings_in():
            whole = [embedding, embedding.frozen] + embedding.variables
            if any(id(item) in given for item in whole):
                slots = [
                    slot._replace(name=given.get(id(slot.variable)) or slot.name)
                    for slot in slots_of(embedding, [item for _, item in items])
                ]
                name = given.get(id(embedding)) or embedding.table_name
                self._tables.append(Table(name, embedding, slots))
                taken.update(map(id, whole + [slot.variable for slot in slots]))
        # Variables that growing froze whole, by their parts: global_variables lists those.
        frozen = {
            id(part): (source.prefix, variable)
            for variable, source in frozen_variables_in()
            for part in parts_of(variable)
        }
        # Of the rest: frozen whole by growing, plain, and what is no variable.
        self._unchanged, self._plain, self._foreign = [], [], []
        for name, item in items:
            if id(item) in taken or isinstance(item, Whole):
                continue  # Whole: for Savers that know nothing of tables
            if not isinstance(item, (Variable, PartitionedVariable)):
                self._foreign.append((name, item))
                continue
            for variable in parts_of(item):
                saved = Saved(variable, *place_on_disk(variable, name))
                if id(variable) in frozen:
                    prefix, saved.whole = frozen[id(variable)]
                    saved.source = (prefix, place_on_disk(variable, None)[0])
                (self._unchanged if saved.source else self._plain).append(saved)
        self._slot_sources = {
            table.name: SlotSource(table.embedding.source.prefix, True)
            for table in self._tables
            if table.embedding.source is not None
        }
        self._slot_origins = dict(self._slot_sources)

    def _saveables(self):
        """What the graph's own save op writes, by a label."""
        saveables = self._plain + ([] if self._delta else self._unchanged)
        suffix = DELTA_ROWS if self._delta else ""
        for table in self._tables:
            embedding, whole = table.embedding, not self._delta
            if whole and not in_slices(embedding):
                # Its slots are joined with the base's rows, see _complete.
                saveables.append(Whole(embedding, table.name))
                continue
            variables = [
                (v, table.name, offset)
                for v, offset in embedding.offsets()
                if whole or v is embedding.trainable
            ]
            variables += [(s.variable, s.name, embedding.num_frozen_rows) for s in table.slots]
            for variable, name, offset in variables:
                spec = slice_of(variable, embedding.plan.num_rows, offset) if whole else ""
                saveables.append(Saved(variable, name + suffix, spec))
        by_label = {}
        for saveable in saveables:
            label = f"{saveable.disk_name} {saveable.spec}"
            if label in by_label:
                raise ValueError(f"Two variables would be saved as {label}.")
            by_label[label] = saveable
        for name, item in self._foreign:
            by_label[name or item.name] = item
        return by_label

    def _build_restore(self):
        """Ops that assign: frozen rows straight from a file, all else what is fed."""
        frozen = [
            variable
            for table in self._tables
            if in_slices(table.embedding)
            for variable in table.embedding.frozen_parts
        ] + [saved.variable for saved in self._unchanged]
        fed = [variable for table in self._tables for variable in table.embedding.variables]
        fed += [slot.variable for table in self._tables for slot in table.slots]
        fed += [saved.variable for saved in self._plain]
        straight = {id(variable) for variable in frozen}
        fed = [variable for variable in fed if id(variable) not in straight]
        with tf.name_scope("partial_embed_restore"):
            self._straight, reads = {}, []
            for variable in frozen:
                place = [tf.placeholder(tf.string, []) for _ in range(3)]
                value = restore(
                    place[0], place[1], variable.dtype.base_dtype, place[2], variable.shape
                )
                if not self._allow_nonfinite:
                    value = refuse_nonfinite(value, variable.op.name)
                self._straight[id(variable)] = place
                reads.append(value)
            # Made here: a placeholder that is fed waits for nothing, nor does what it feeds.
            feeds = [tf.placeholder(v.dtype.base_dtype, v.shape) for v in fed]
            foreign = [
                (saveable, [tf.placeholder(spec.dtype) for spec in saveable.specs])
                for saveable in self._builder.saveables
                if not isinstance(saveable, (Saved, Whole))
            ]
            # Nothing is assigned before everything is read.
            with tf.control_dependencies(reads):
                self._assign_straight = [
                    tf.assign(variable, value).op for variable, value in zip(frozen, reads)
                ]
                self._fed = {
                    id(variable): (feed, tf.assign(variable, feed).op)
                    for variable, feed in zip(fed, feeds)
                }
                self._foreign_assigns = [
                    (saveable, values, saveable.restore(values, None))
                    for saveable, values in foreign
                ]
            self._uninitialized = tf.identity(tf.report_uninitialized_variables(frozen + fed))
        self._frozen_rows = FrozenRows() if self._delta else None
        self._digests = None

    # --- save -------------------------------------------------------------------

    def save(
        self,
        sess,
        save_path,
        global_step=None,
        latest_filename=None,
        meta_graph_suffix="meta",
        write_meta_graph=True,
        write_state=True,
        **kwargs,
    ):
        """Writes a checkpoint, whole or a delta; arguments as in `tf.train.Saver.save`.

        Returns:
            The prefix it was written to.

        Raises:
            ValueError: if the base checkpoint whose optimizer slots are needed
                is gone.
            OSError: if it cannot be written; what stood there is as it was.
        """
        if not hasattr(self, "_tables"):  # empty, or made from a SaverDef
            return super().save(
                sess,
                save_path,
                global_step,
                latest_filename,
                meta_graph_suffix,
                write_meta_graph,
                write_state,
                **kwargs,
            )
        prefix = os.fspath(save_path)
        if global_step is not None:
            if not isinstance(global_step, (int, np.integer)):
                global_step = tf.train.global_step(sess, global_step)
            pattern = "{}-{:08d}" if self._pad_step_number else "{}-{}"
            prefix = pattern.format(prefix, int(global_step))
        state_file = latest_filename or "checkpoint"
        if os.path.basename(prefix) in ("", state_file):
            raise ValueError(
                f"{prefix!r} is no name for a checkpoint: it needs a last part, other than "
                f"{state_file!r}, the "
                "file that names the newest one."
            )
        with staging(prefix) as stage:
            if self._delta:
                parts, manifest = [self._write_delta_manifest(sess, stage)], None
            else:
                parts = self._complete(sess, stage)
                entries = {table.name: generations_of(table.embedding) for table in self._tables}
                manifest = growth_text(entries) if entries else None
            # In place of a checkpoint of as many files, one of one file more.
            split = len(parts) + 1 == num_shards(prefix)
            parts += self._write_variables(sess, os.path.join(stage, "variables"), split)
            publish(parts, prefix, stage, manifest)
        if not self._delta:
            for table in self._tables:
                source = SlotSource(prefix, False)
                self._slot_sources[table.name] = source
                origin = self._slot_origins.get(table.name)
                if origin is not None and origin.prefix == os.path.abspath(prefix):
                    self._slot_origins[table.name] = source  # It was replaced.
        directory = os.path.dirname(prefix)
        with noting(prefix):
            if write_state:
                self._RecordLastCheckpoint(prefix)
                update_checkpoint_state(
                    save_dir=directory,
                    model_checkpoint_path=prefix,
                    all_model_checkpoint_paths=self.last_checkpoints,
                    latest_filename=state_file,
                    save_relative_paths=self._save_relative_paths,
                )
                doomed = [path for path, _ in self._checkpoints_to_be_deleted]
                if doomed:
                    with deleting(doomed):
                        self._MaybeDeleteOldCheckpoints(meta_graph_suffix=meta_graph_suffix)
                remove_orphaned_manifests(directory)
            if write_meta_graph:
                with sess.graph.as_default():
                    self.export_meta_graph(f"{prefix}.{meta_graph_suffix}", **kwargs)
        return prefix

    def _write_variables(self, session, prefix, split):
        """Runs the graph's save op, or the two that write the same as two parts."""
        feed = {self.saver_def.filename_tensor_name: prefix}
        if split and self._builder.split:
            session.run(self._builder.split, feed)
            return [prefix + suffix for suffix in Builder.SUFFIXES]
        session.run(self.saver_def.save_tensor_name, feed)
        return [prefix]

    def _complete(self, session, stage):
        """Writes what the variables lack of whole slots; returns the parts written."""
        parts = []
        for table in self._tables:
            plan = table.embedding.plan
            for slot in table.slots if plan.num_frozen_rows else []:
                rows = self._frozen_slot_rows(session, table, slot)
                spec = ""
                if in_slices(table.embedding):
                    spec = slice_spec(
                        [plan.num_rows] + list(rows.shape[1:]), [0] * rows.ndim, rows.shape
                    )
                else:
                    rows = _join(plan, rows, session.run(slot.variable))
                parts.append(os.path.join(stage, f"slot-{len(parts)}"))
                write_part(parts[-1], [(slot.name, spec, rows)])
        for saved, name, slot in self._unchanged_slots():
            base, initial = Checkpoint(saved.source[0]), slot.initial(session)
            if name in base and base.shapes[name] == saved.full_shape:
                value = base.read(name)
            elif initial is None:
                value = base.read(saved.source[1])
            else:
                dtype = slot.variable.dtype.base_dtype.as_numpy_dtype
                value = np.full(saved.full_shape, initial, dtype)
            parts.append(os.path.join(stage, f"slot-{len(parts)}"))
            write_part(parts[-1], [(name, "", value)])
        return parts

    def _unchanged_slots(self):
        """Returns [(saved, slot name on disk, like which slot), ...] of what growing froze.

        The plain script trains these variables too, so it looks for their slots.
        """
        found = {}
        for table in self._tables:
            for slot in table.slots:
                for saved in self._unchanged:
                    name = slot.name_for(saved.source[1], table.embedding)
                    found.setdefault(name, (saved, name, slot))
        return list(found.values())

    def _frozen_slot_rows(self, session, table, slot):
        """The slot's rows for the frozen rows: the base's, or where it starts."""
        plan = table.embedding.plan
        # The newest checkpoint has them; so has, should that be deleted, what was loaded.
        known = [found.get(table.name) for found in (self._slot_sources, self._slot_origins)]
        if known[0] is not None:
            source = next((s for s in known if s and exists(s.prefix)), None)
            if source is None:
                raise ValueError(
                    f"{known[0].prefix} is gone, and with it the optimizer slots of the frozen "
                    f"rows of {table.name}. Put it "
                    "back, or save with delta=True, which does not need it."
                )
            checkpoint = Checkpoint(source.prefix)
            dtype = slot.variable.dtype.base_dtype
            if slot.name in checkpoint and checkpoint.dtypes[slot.name] == dtype:
                return frozen_part(checkpoint, slot.name, table, source.is_base)
        initial = slot.initial(session)
        if initial is None:
            return np.concatenate(session.run(table.embedding.frozen_parts))
        shape = [plan.num_frozen_rows] + slot.variable.shape.as_list()[1:]
        return np.full(shape, initial, slot.variable.dtype.base_dtype.as_numpy_dtype)

    def _write_delta_manifest(self, session, stage):
        if self._digests is None:
            hashes = self._frozen_rows.hashes(session)
            self._digests = {name: fingerprint(found) for name, found in hashes.items()}
        tables = {}
        for table in self._tables:
            embedding, plan = table.embedding, table.embedding.plan
            source = self._slot_sources.get(table.name)
            tables[table.name] = dict(
                generations_of(embedding),
                base=source and source.prefix,
                base_name=embedding.tensor_name,
                checkpoint_rows=plan.checkpoint_rows or plan.num_frozen_rows,
                base_rows=base_rows(embedding),
                trainable=to_runs(plan.trainable_rows),
                source=None if plan.source is None else to_runs(plan.source),
                frozen=self._digests[embedding.table_name],
                slots={slot.name: slot.initial(session) for slot in table.slots},
                keys=embedding.trainable_keys,
            )
        unchanged = {
            saved.disk_name: {
                "base": saved.source[0],
                "base_name": saved.source[1],
                "frozen": self._digests[frozen_name(saved.whole)],
                "slots": {},
            }
            for saved in self._unchanged
        }
        for saved, name, slot in self._unchanged_slots():
            unchanged[saved.disk_name]["slots"][name] = slot.initial(session)
        part = os.path.join(stage, "manifest")
        write_part(part, [(DELTA_KEY, "", np.array(delta_text(tables, unchanged), object))])
        return part

    # --- restore ----------------------------------------------------------------

    def restore(self, sess, save_path, generation=None):
        """Sets every variable from a base, a whole checkpoint or a delta.

        What a base does not hold (new rows, their slots, variables that were
        not there yet) is left as it is, or initialized if it was not.

        Args:
            sess: a session of the graph.
            save_path: prefix, directory or `checkpoint` file.
            generation: int: of tables that grew, restore the rows they had then
                (into plain variables of that many rows); rows added later are
                dropped. A table that grows from an earlier generation is made
                with `get_embedding(generation=)`.

        Raises:
            ValueError: if there is no checkpoint, it is damaged, a name, shape
                or dtype does not fit, or a delta belongs to another base. No
                variable is changed then.
        """
        if not hasattr(self, "_tables"):
            super().restore(sess, save_path)
            return
        if save_path is None:
            raise ValueError("There is no checkpoint to restore: save_path is None.")
        checkpoint = Checkpoint(save_path)
        parts = Parts(self._tables, self._unchanged, self._plain, self._foreign_assigns)
        reading = Reading(checkpoint, parts, self._slot_sources)
        if generation is not None:
            if self._tables:
                raise ValueError(
                    f"generation= restores plain variables; {self._tables[0].name} grows here. Say "
                    "generation= where "
                    "it is made, to get_embedding or growing."
                )
            reading.keep_generation(generation)
        if DELTA_KEY in checkpoint:
            kind, sources = reading.plan_delta()
        else:
            kind, sources = reading.plan_whole()
        feeds, ops = {}, list(self._assign_straight)
        for key, (prefix, name, spec) in reading.straight.items():
            feeds.update(zip(self._straight[key], (prefix, name, spec)))
        rows_of = {} if self._allow_nonfinite else self._rows_of_variables()
        for key, array in reading.arrays():
            bad = nonfinite_rows(array) if key in rows_of else ()
            if len(bad):
                table, rows = rows_of[key]
                raise ValueError(
                    f"{table.name} of {checkpoint.prefix}: rows {rows[bad[:20]].tolist()} hold NaN "
                    "or Inf. Repair the checkpoint, or pass "
                    "allow_nonfinite=True to load it as it is. No variable was changed."
                )
            feed, op = self._fed[key]
            feeds[feed] = array
            ops.append(op)
        for (_, placeholders, op), arrays in reading.foreign_arrays():
            feeds.update(zip(placeholders, arrays))
            ops.append(op)
        uninitialized = {tf.compat.as_text(name) for name in sess.run(self._uninitialized)}
        try:
            sess.run(ops, feeds)
        except tf.errors.OpError as error:
            raise ValueError(
                f"Restoring {checkpoint.prefix} failed: {reason(error)}. No variable was changed."
            ) from error
        sess.run([v.initializer for v in reading.untouched if v.op.name in uninitialized])
        self._slot_sources.update(sources)
        self._slot_origins.update(sources)
        self._digests = None
        logging.info("Restored %s, %s.", checkpoint.prefix, kind)
        if reading.untouched:
            logging.info(
                "Not in it, and left as initialized: %s.",
                ", ".join(v.op.name for v in reading.untouched),
            )

    def _rows_of_variables(self):
        """Returns {id of variable: (table, which rows of it the variable holds)}."""
        found = {}
        for table in self._tables:
            plan = table.embedding.plan
            rows = np.concatenate([plan.frozen_rows(), plan.trainable_rows])
            for variable, offset in table.embedding.offsets():
                found[id(variable)] = (table, rows[offset:])
        return found


def _join(plan, frozen, trainable):
    whole = np.empty([plan.num_rows] + list(trainable.shape[1:]), trainable.dtype)
    whole[plan.frozen_rows()] = frozen
    whole[plan.trainable_rows] = trainable
    return whole
