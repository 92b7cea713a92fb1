"""`Saver`: whole tables on disk, or only what training can change."""

import os
from collections import namedtuple

import numpy as np
import tensorflow.compat.v1 as tf
from absl import logging

from partial_embed._tensorflow import (
    BulkSaverBuilder,
    PartitionedVariable,
    SaveableObject,
    SaveSpec,
    Variable,
    update_checkpoint_state,
)
from partial_embed.bundle import (
    publish,
    read_tensors,
    remove_orphaned_manifests,
    staging,
    write_part,
)
from partial_embed.checkpoint import (
    Checkpoint,
    can_slice,
    exists,
    nonfinite_rows,
    reason,
    refuse_nonfinite,
    restore,
    slice_spec,
)
from partial_embed.embedding import embeddings_in, frozen_variables_in
from partial_embed.frozen_rows import FrozenRows, fingerprint, row_hashes
from partial_embed.index import num_shards
from partial_embed.manifest import (
    DELTA_KEY,
    DELTA_ROWS,
    delta_text,
    generations_of,
    growth_text,
    read_delta,
    read_generations,
    rows_of_generation,
)
from partial_embed.plan import describe_runs, row_indices, to_runs
from partial_embed.slots import slots_of

# One table as a Saver sees it: its name on disk, its slots, and whether the file
# that holds the slots of its frozen rows has the rows of the base or of the whole.
_Table = namedtuple("_Table", ["name", "embedding", "slots"])
_SlotSource = namedtuple("_SlotSource", ["prefix", "is_base"])


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
        self._builder = _Builder(self._sharded)
        if items:
            self._sort(_named(items))
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
                self._tables.append(_Table(name, embedding, slots))
                taken.update(map(id, whole + [slot.variable for slot in slots]))
        frozen = {id(variable): source.prefix for variable, source in frozen_variables_in()}
        # Of the rest: frozen whole by growing, plain, and what is no variable.
        self._unchanged, self._plain, self._foreign = [], [], []
        for name, item in items:
            if id(item) in taken:
                continue
            if not isinstance(item, (Variable, PartitionedVariable)):
                self._foreign.append((name, item))
                continue
            for variable in item if isinstance(item, PartitionedVariable) else [item]:
                saved = _Saved(variable, *_place(variable, name))
                if id(item) in frozen:
                    saved.source = (frozen[id(item)], _place(variable, None)[0])
                (self._unchanged if saved.source else self._plain).append(saved)
        self._slot_sources = {
            table.name: _SlotSource(table.embedding.source.prefix, True)
            for table in self._tables
            if table.embedding.source is not None
        }

    def _saveables(self):
        """What the graph's own save op writes, by a label."""
        saveables = self._plain + ([] if self._delta else self._unchanged)
        suffix = DELTA_ROWS if self._delta else ""
        for table in self._tables:
            embedding, whole = table.embedding, not self._delta
            if whole and not _in_slices(embedding):
                # Its slots are joined with the base's rows, see _complete.
                saveables.append(_Whole(embedding, table.name))
                continue
            variables = [
                (v, table.name, offset)
                for v, offset in embedding.offsets()
                if whole or v is embedding.trainable
            ]
            variables += [(s.variable, s.name, embedding.num_frozen_rows) for s in table.slots]
            for variable, name, offset in variables:
                spec = _spec(variable, embedding.plan.num_rows, offset) if whole else ""
                saveables.append(_Saved(variable, name + suffix, spec))
        by_label = {}
        for saveable in saveables:
            label = "{} {}".format(saveable.disk_name, saveable.spec)
            if label in by_label:
                raise ValueError("Two variables would be saved as {}.".format(label))
            by_label[label] = saveable
        for name, item in self._foreign:
            by_label[name or item.name] = item
        return by_label

    def _build_restore(self):
        """Ops that assign: frozen rows straight from a file, all else what is fed."""
        frozen = [
            variable
            for table in self._tables
            if _in_slices(table.embedding)
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
                if not isinstance(saveable, (_Saved, _Whole))
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
            ValueError: if the directory does not exist, or the base checkpoint
                whose optimizer slots are needed is gone.
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
                "{!r} is no name for a checkpoint: it needs a last part, other than {!r}, the "
                "file that names the newest one.".format(prefix, state_file)
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
                self._slot_sources[table.name] = _SlotSource(prefix, False)
        directory = os.path.dirname(prefix)
        if write_state:
            self._RecordLastCheckpoint(prefix)
            update_checkpoint_state(
                save_dir=directory,
                model_checkpoint_path=prefix,
                all_model_checkpoint_paths=self.last_checkpoints,
                latest_filename=state_file,
                save_relative_paths=self._save_relative_paths,
            )
            self._MaybeDeleteOldCheckpoints(meta_graph_suffix=meta_graph_suffix)
            remove_orphaned_manifests(directory)
        if write_meta_graph:
            with sess.graph.as_default():
                self.export_meta_graph("{}.{}".format(prefix, meta_graph_suffix), **kwargs)
        return prefix

    def _write_variables(self, session, prefix, split):
        """Runs the graph's save op, or the two that write the same as two parts."""
        feed = {self.saver_def.filename_tensor_name: prefix}
        if split and self._builder.split:
            session.run(self._builder.split, feed)
            return [prefix + suffix for suffix in _Builder.SUFFIXES]
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
                if _in_slices(table.embedding):
                    spec = slice_spec(
                        [plan.num_rows] + list(rows.shape[1:]), [0] * rows.ndim, rows.shape
                    )
                else:
                    rows = _join(plan, rows, session.run(slot.variable))
                parts.append(os.path.join(stage, "slot-{}".format(len(parts))))
                write_part(parts[-1], [(slot.name, spec, rows)])
        for saved, name, slot in self._unchanged_slots():
            base, initial = Checkpoint(saved.source[0]), slot.initial(session)
            if name in base and base.shapes[name] == saved.full_shape:
                value = base.read(name)
            elif initial is None:
                value = session.run(saved.variable)
            else:
                dtype = slot.variable.dtype.base_dtype.as_numpy_dtype
                value = np.full(saved.full_shape, initial, dtype)
            parts.append(os.path.join(stage, "slot-{}".format(len(parts))))
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
                    if not saved.spec:
                        name = slot.name_for(saved.variable, table.embedding)
                        found.setdefault(name, (saved, name, slot))
        return list(found.values())

    def _frozen_slot_rows(self, session, table, slot):
        """The slot's rows for the frozen rows: the base's, or where it starts."""
        plan = table.embedding.plan
        source = self._slot_sources.get(table.name)
        if source is not None:
            if not exists(source.prefix):
                raise ValueError(
                    "{} is gone, and with it the optimizer slots of the frozen rows of {}. Put it "
                    "back, or save with delta=True, which does not need it.".format(
                        source.prefix, table.name
                    )
                )
            checkpoint = Checkpoint(source.prefix)
            dtype = slot.variable.dtype.base_dtype
            if slot.name in checkpoint and checkpoint.dtypes[slot.name] == dtype:
                return _frozen_part(checkpoint, slot.name, table, source.is_base)
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
                base_rows=_base_rows(embedding),
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
                "frozen": self._digests[saved.variable.op.name],
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
        reading = _Reading(checkpoint)
        if generation is not None:
            if self._tables:
                raise ValueError(
                    "generation= restores plain variables; {} grows here. Say generation= where "
                    "it is made, to get_embedding or growing.".format(self._tables[0].name)
                )
            reading.keep_generation(generation)
        if DELTA_KEY in checkpoint:
            kind, sources = self._plan_delta(checkpoint, reading)
        else:
            kind, sources = self._plan_whole(checkpoint, reading)
        feeds, ops = {}, list(self._assign_straight)
        for key, (prefix, name, spec) in reading.straight.items():
            feeds.update(zip(self._straight[key], (prefix, name, spec)))
        rows_of = {} if self._allow_nonfinite else self._rows_of_variables()
        for key, array in reading.arrays():
            bad = nonfinite_rows(array) if key in rows_of else ()
            if len(bad):
                table, rows = rows_of[key]
                raise ValueError(
                    "{} of {}: rows {} hold NaN or Inf. Repair the checkpoint, or pass "
                    "allow_nonfinite=True to load it as it is. No variable was changed.".format(
                        table.name, checkpoint.prefix, rows[bad[:20]].tolist()
                    )
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
                "Restoring {} failed: {}. No variable was changed.".format(
                    checkpoint.prefix, reason(error)
                )
            ) from error
        sess.run([v.initializer for v in reading.untouched if v.op.name in uninitialized])
        self._slot_sources.update(sources)
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

    def _plan_whole(self, checkpoint, reading):
        """Plans to read a base or a whole checkpoint; returns what it is, and slot sources."""
        kinds, sources = [], {}
        for table in self._tables:
            embedding, plan = table.embedding, table.embedding.plan
            name = table.name if table.name in checkpoint else embedding.tensor_name
            checkpoint.expect(name)
            known = self._slot_sources.get(table.name)
            is_base = _is_base(table, checkpoint, name)
            if known == _SlotSource(checkpoint.prefix, False):
                is_base = False  # A whole table, saved over what it grew from.
            reading.frozen_rows(
                embedding, checkpoint.prefix, name, checkpoint.shapes[name][0], is_base
            )
            trainable = [(embedding.trainable, name)] if embedding.trainable is not None else []
            trainable += [(slot.variable, slot.name) for slot in table.slots]
            for variable, tensor_name in trainable:
                if is_base:
                    reading.untouched.append(variable)
                    continue
                full_shape = [plan.num_rows] + variable.shape.as_list()[1:]
                reading.check(tensor_name, variable, full_shape)
                if _in_slices(embedding):
                    spec = _spec(variable, plan.num_rows, plan.num_frozen_rows)
                    reading.feed(variable, tensor_name, spec)
                else:
                    reading.feed(variable, tensor_name, "", plan.trainable_rows)
            kinds.append(
                "{} as {}".format(name, "the base it grows from" if is_base else "a whole table")
            )
            sources[table.name] = _SlotSource(checkpoint.prefix, is_base)
        growing = any(source.is_base for source in sources.values())
        for saved in self._unchanged:
            here = saved.disk_name in checkpoint
            if here:
                reading.check(saved.disk_name, saved.variable, saved.full_shape)
            place = (checkpoint.prefix, saved.disk_name) if here else saved.source
            reading.straight[id(saved.variable)] = place + (saved.spec,)
        self._plan_rest(reading, may_lack=growing)
        return ", ".join(kinds) or "a checkpoint without tables that grow", sources

    def _plan_rest(self, reading, may_lack):
        for saved in self._plain:
            if may_lack and saved.disk_name not in reading.checkpoint:
                reading.untouched.append(saved.variable)
                continue
            reading.check(saved.disk_name, saved.variable, saved.full_shape)
            reading.feed_whole(saved)
        for saveable, feeds, op in self._foreign_assigns:
            if not may_lack or all(spec.name in reading.checkpoint for spec in saveable.specs):
                reading.foreign.append((saveable, feeds, op))

    def _plan_delta(self, checkpoint, reading):
        """Plans to read a delta, and its frozen rows from the base."""
        manifest = read_delta(checkpoint.prefix)
        tables = {table.name: table for table in self._tables}
        if set(tables) != set(manifest["tables"]):
            raise ValueError(
                "The delta {} holds rows of {}; the tables that grow here are {}.".format(
                    checkpoint.prefix, sorted(manifest["tables"]), sorted(tables) or "none"
                )
            )
        sources, bases = {}, []
        for name, entry in manifest["tables"].items():
            table = tables[name]
            embedding, plan = table.embedding, table.embedding.plan
            here = (plan.num_rows, to_runs(plan.trainable_rows))
            if here != (entry["rows"], entry["trainable"]):
                raise ValueError(
                    "The delta {} holds rows {} of a table {} of {} rows; here rows {} of {} "
                    "train. Build the graph it was saved from, or merge it with its base "
                    "first.".format(
                        checkpoint.prefix,
                        describe_runs(entry["trainable"]),
                        name,
                        entry["rows"],
                        describe_runs(here[1]),
                        here[0],
                    )
                )
            source = self._slot_sources.get(name)
            if source is None and entry["base"]:
                source = _SlotSource(entry["base"], True)
            if source is None:
                raise ValueError(
                    "The delta {} needs the checkpoint it grew from for the frozen rows of {}. "
                    "Restore that first, or give it to get_embedding as checkpoint=.".format(
                        checkpoint.prefix, name
                    )
                )
            base = Checkpoint(source.prefix)
            tensor_name = name if name in base else embedding.tensor_name
            base.expect(tensor_name)
            frozen = _frozen_part(base, tensor_name, table, source.is_base)
            _check_base(checkpoint.prefix, entry, name, frozen, base.prefix)
            del frozen
            reading.frozen_rows(
                embedding, base.prefix, tensor_name, base.shapes[tensor_name][0], source.is_base
            )
            for variable, disk_name in [(embedding.trainable, name)] + [
                (slot.variable, slot.name) for slot in table.slots
            ]:
                reading.check(disk_name + DELTA_ROWS, variable, variable.shape.as_list())
                reading.feed(variable, disk_name + DELTA_ROWS, "")
            sources[name] = source
            bases.append(base.prefix)
        for saved in self._unchanged:
            entry = manifest["unchanged"].get(saved.disk_name)
            if entry is not None:
                prefix, name = saved.source
                array = Checkpoint(prefix).read(name)
                _check_base(checkpoint.prefix, entry, saved.disk_name, array, prefix)
            reading.straight[id(saved.variable)] = saved.source + (saved.spec,)
        self._plan_rest(reading, may_lack=False)
        return "a delta on the base {}".format(", ".join(sorted(set(bases)))), sources


class _Reading:
    """What one restore reads: straight into variables, or to be fed to them."""

    def __init__(self, checkpoint):
        self.checkpoint = checkpoint
        self.straight = {}  # id of variable -> (prefix, name, slice)
        self.untouched = []  # variables the checkpoint says nothing about
        self.foreign = []  # (SaveableObject, placeholders, op)
        self._kept = []  # (rows of a table now, which of them a generation had)
        self._fed = []  # (id of variable, prefix, name, slice, dtype, rows or None)

    def keep_generation(self, generation):
        """Reads of each table, and of its slots, only the rows of a generation."""
        tables = read_generations(self.checkpoint.prefix)
        for name, entry in tables.items():
            last = min(generation, len(entry["generations"]) - 1)
            kept = rows_of_generation(self.checkpoint.prefix, name, last)
            self._kept.append((entry["rows"], kept))
        if not tables or generation >= max(len(e["generations"]) for e in tables.values()):
            rows_of_generation(self.checkpoint.prefix, next(iter(tables), "any table"), generation)

    def _rows_kept(self, held, wanted):
        """The rows to read of a tensor [held, ...] for a variable [wanted, ...], or None."""
        for rows, kept in self._kept:
            if held[:1] == [rows] and wanted[:1] == [len(kept)] and len(kept) < rows:
                return kept
        return None

    def check(self, name, variable, full_shape):
        """Raises ValueError unless the checkpoint's tensor is what the variable needs.

        A Saver of TensorFlow lets a resource variable take any shape.
        """
        self.checkpoint.expect(name)
        dtype = variable.dtype.base_dtype
        held = list(self.checkpoint.shapes[name])
        if self._rows_kept(held, list(full_shape)) is not None:
            held[0] = full_shape[0]
        if held != list(full_shape) or self.checkpoint.dtypes[name] != dtype:
            raise ValueError(
                "The variable {} needs {} {} {}; the checkpoint {} holds {}. No variable was "
                "changed.".format(
                    variable.op.name,
                    name,
                    list(full_shape),
                    dtype.name,
                    self.checkpoint.prefix,
                    self.checkpoint.describe(name),
                )
            )

    def feed(self, variable, name, spec, rows=None, prefix=None):
        dtype = variable.dtype.base_dtype
        prefix = prefix or self.checkpoint.prefix
        self._fed.append((id(variable), prefix, name, spec, dtype, rows))

    def feed_whole(self, saved):
        """Plans to feed a variable that is no part of a table that grows."""
        kept = self._rows_kept(self.checkpoint.shapes[saved.disk_name], saved.full_shape)
        self.feed(saved.variable, saved.disk_name, saved.spec if kept is None else "", kept)

    def frozen_rows(self, embedding, prefix, name, rows, is_base):
        """Plans the frozen rows of a table, which stand in a tensor of `rows` rows."""
        plan = embedding.plan
        sliced = _in_slices(embedding)
        frozen = None if sliced else plan.frozen_rows()
        if frozen is not None and is_base:
            frozen = plan.source_of(frozen)
        for variable, offset in embedding.offsets():
            if variable is embedding.trainable:
                continue
            if sliced:
                spec = _spec(variable, rows, offset)
                self.straight[id(variable)] = (prefix, name, spec)
            else:
                here = frozen[offset : offset + variable.shape.as_list()[0]]
                self.feed(variable, name, "", here, prefix)

    def arrays(self):
        """Yields (id of variable, its new value) after all of them were read."""
        whole = {}
        for _, prefix, name, spec, dtype, _ in self._fed:
            whole.setdefault(prefix, {})[(name, spec)] = dtype
        values = {}
        for prefix, wanted in whole.items():
            keys = list(wanted)
            read = read_tensors(prefix, [key + (wanted[key],) for key in keys])
            values.update({(prefix,) + key: array for key, array in zip(keys, read)})
        for key, prefix, name, spec, _, rows in self._fed:
            value = values[(prefix, name, spec)]
            yield key, value if rows is None else value[rows]

    def foreign_arrays(self):
        """Yields ((saveable, placeholders, op), values) for what is no variable."""
        for item in self.foreign:
            for spec in item[0].specs:
                self.checkpoint.expect(spec.name)
            wanted = [(spec.name, spec.slice_spec, spec.dtype) for spec in item[0].specs]
            yield item, read_tensors(self.checkpoint.prefix, wanted)


class _Saved(SaveableObject):
    """One variable under the name, and as the slice, that it has on disk.

    If growing froze it, `source` is (prefix, name) of the tensor it was loaded from.
    """

    def __init__(self, variable, disk_name, spec, full_shape=None):
        self.variable = variable
        self.disk_name = disk_name
        self.spec = spec
        self.full_shape = full_shape or variable.shape.as_list()
        self.source = None
        with tf.device(variable.device):
            value = tf.convert_to_tensor(variable)
        super().__init__(value, [SaveSpec(value, spec, disk_name)], disk_name)

    def restore(self, restored_tensors, restored_shapes):
        del restored_shapes
        return tf.assign(self.variable, restored_tensors[0])


class _Whole(SaveableObject):
    """A table whose two variables are no slices of it, saved as one tensor."""

    def __init__(self, embedding, disk_name):
        self._embedding = embedding
        self.disk_name = disk_name
        self.spec = ""
        value = embedding.value()
        super().__init__(value, [SaveSpec(value, "", disk_name)], disk_name)

    def restore(self, restored_tensors, restored_shapes):
        del restored_shapes
        (value,) = restored_tensors
        plan = self._embedding.plan
        rows = np.concatenate([plan.frozen_rows(), plan.trainable_rows])
        return tf.group(
            *[
                tf.assign(
                    variable,
                    tf.gather(
                        value, row_indices(rows[offset : offset + variable.shape.as_list()[0]])
                    ),
                )
                for variable, offset in self._embedding.offsets()
            ]
        )


class _Builder(BulkSaverBuilder):
    """Remembers the saveables, and adds ops that write them as two parts.

    A checkpoint of two data files can replace one of one file in a single
    step, because no file name is shared. A sharded save is divided afterwards.
    """

    SUFFIXES = ("-first", "-rest")

    def __init__(self, sharded):
        super().__init__(tf.train.SaverDef.V2)
        self._sharded = sharded
        self.saveables = []
        self.split = []

    def save_op(self, filename_tensor, saveables):
        if not self._sharded and len(saveables) > 1:
            self.split = [
                super(_Builder, self).save_op(tf.string_join([filename_tensor, suffix]), part)
                for suffix, part in zip(self.SUFFIXES, (saveables[:1], saveables[1:]))
            ]
        self.saveables.extend(saveables)
        return super().save_op(filename_tensor, saveables)


def _in_slices(embedding):
    """Whether a table's two variables are saved, and restored, as slices of one tensor."""
    return embedding.plan.contiguous and can_slice(embedding.dtype)


def _named(items):
    """Returns [(name or None, item), ...] of a Saver's var_list."""
    if isinstance(items, dict):
        return [(name, item) for name, item in sorted(items.items())]
    return [(None, item) for item in tf.nest.flatten(list(items))]


def _place(variable, name):
    """Returns (disk name, slice text, full shape) of a variable that is no part of a table."""
    info = variable._get_save_slice_info()
    if info is None:
        return name or variable.op.name, "", variable.shape.as_list()
    return name or info.full_name, info.spec, list(info.full_shape)


def _spec(variable, num_rows, offset):
    """The slice a variable is of a table of `num_rows`; "" for all of it."""
    shape = variable.shape.as_list()
    if shape[0] == num_rows:
        return ""
    return slice_spec([num_rows] + shape[1:], [offset] + [0] * (len(shape) - 1), shape)


def _is_base(table, checkpoint, name):
    """Whether a checkpoint holds the rows a table grew from, or the whole table.

    Raises:
        ValueError: if it is neither.
    """
    embedding, plan = table.embedding, table.embedding.plan
    rows, base_rows = checkpoint.shapes[name][0], plan.checkpoint_rows or plan.num_frozen_rows
    source = embedding.source
    grew_from_it = source is not None and (checkpoint.prefix, rows) == (
        source.prefix,
        _base_rows(embedding),
    )
    drops = plan.source is not None or grew_from_it
    limit = max(rows, plan.num_rows) if drops else plan.num_rows
    checkpoint.check(name, embedding.dtype, [limit] + embedding.shape.as_list()[1:])
    if rows == plan.num_rows and plan.source is None:
        return False
    if rows == plan.num_rows and checkpoint.prefix != embedding.source.prefix:
        return False
    if rows == base_rows or grew_from_it:
        return True
    raise ValueError(
        "The checkpoint {} holds {} rows of {}. Expected {}, the rows it grew from, or {}, the "
        "whole table. No variable was changed.".format(
            checkpoint.prefix, rows, name, base_rows, plan.num_rows
        )
    )


def _base_rows(embedding):
    """How many rows the table has that this one grew from, those it dropped included."""
    if embedding.source is None:
        return embedding.num_frozen_rows
    return embedding.source.shapes[embedding.tensor_name][0]


def _frozen_part(checkpoint, name, table, is_base):
    """Returns the frozen rows of a table or slot, from a base or a whole checkpoint."""
    plan, table_name = table.embedding.plan, table.name
    if table_name not in checkpoint:
        table_name = table.embedding.tensor_name
    shape, rows = list(checkpoint.shapes[name]), checkpoint.shapes[table_name][0]
    if shape[:1] != [rows]:
        raise ValueError(
            "The checkpoint {} holds {}, and {}; expected as many rows.".format(
                checkpoint.prefix, checkpoint.describe(name), checkpoint.describe(table_name)
            )
        )
    dtype = checkpoint.dtypes[name]
    if plan.contiguous:
        part = [plan.num_frozen_rows] + shape[1:]
        spec = "" if part == shape else slice_spec(shape, [0] * len(shape), part)
        return read_tensors(checkpoint.prefix, [(name, spec, dtype)])[0]
    frozen = plan.frozen_rows()
    (value,) = read_tensors(checkpoint.prefix, [(name, "", dtype)])
    return value[plan.source_of(frozen) if is_base else frozen]


def _join(plan, frozen, trainable):
    whole = np.empty([plan.num_rows] + list(trainable.shape[1:]), trainable.dtype)
    whole[plan.frozen_rows()] = frozen
    whole[plan.trainable_rows] = trainable
    return whole


def _check_base(delta, entry, name, frozen, base):
    """Raises ValueError if `frozen` are not the rows that a delta was trained beside."""
    found = fingerprint(row_hashes(np.reshape(frozen, frozen.shape or [1])))
    if found != entry["frozen"]:
        raise ValueError(
            "The delta {} was trained on the base {} (fingerprint of {}: {}), and cannot be put on "
            "{} (fingerprint {}): the frozen rows differ. Give the base it was trained on.".format(
                delta, entry["base"], name, entry["frozen"], base, found
            )
        )
