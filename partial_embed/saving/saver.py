"""`Saver`: whole tables on disk, or only what training can change."""

import os

import numpy as np
import tensorflow.compat.v1 as tf
from absl import logging

from partial_embed._tensorflow import OpenSaver, update_checkpoint_state
from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.growth import DELTA_KEY
from partial_embed.files.locate import exists
from partial_embed.files.publish import deleting, publish, staging
from partial_embed.files.tensors import slice_spec, write_part
from partial_embed.saving.content import content_of
from partial_embed.saving.deltas import generations_of, manifest_of
from partial_embed.saving.restoring import RestoreOps, plan_restoration
from partial_embed.saving.saveables import Builder
from partial_embed.saving.source import (
    BaseTable,
    DeltaTable,
    WholeTable,
    slot_or_start,
    stored,
)
from partial_embed.table.on_disk import in_slices
from partial_embed.table.optimizer_state import renamed
from partial_embed.table.plan import with_rows
from partial_embed.table.report import reports_in
from partial_embed.training.frozen_rows import FrozenRows

# How often a checkpoint is read that is replaced all the while.
_MOST_READS = 5


class Saver(OpenSaver):
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
        self._built = None  # while it is not, and for a Saver of no variables
        super().__init__(var_list, **kwargs)

    def build(self):
        """Adds the ops that save and restore; the constructor calls it unless deferred."""
        if self.is_built or self.saver_def or tf.executing_eagerly():
            super().build()
            return
        items = self.var_list
        if items is None:
            items = tf.global_variables() + tf.get_collection(tf.GraphKeys.SAVEABLE_OBJECTS)
        if self.builder is not None:
            raise ValueError("partial_embed.Saver has a builder of its own. Leave out builder=.")
        self.builder = Builder()
        for report in reports_in():
            report.check(tf.get_default_graph())
        content = content_of(items) if items else None
        if content:
            self.var_list = content.saveables(self._delta)
        super().build()
        if content and not self.is_empty:
            self._built = _Built(content, self.builder, self._delta, self._allow_nonfinite)

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
            ValueError: if the name is none that can be found again, or the base
                checkpoint whose optimizer slots are needed is gone.
            OSError: if it cannot be written, or another writer is at it; what
                stood there is as it was.
        """
        if self._built is None:  # empty, or made from a SaverDef
            kwargs.update(write_meta_graph=write_meta_graph, write_state=write_state)
            return super().save(
                sess, save_path, global_step, latest_filename, meta_graph_suffix, **kwargs
            )
        prefix = os.fsdecode(save_path)
        if global_step is not None:
            if not isinstance(global_step, (int, np.integer)):
                global_step = tf.train.global_step(sess, global_step)
            prefix = self.numbered(prefix, int(global_step))
        state_file = latest_filename or "checkpoint"
        if os.path.basename(prefix) == state_file:
            raise ValueError(
                f"{prefix!r} is no name for a checkpoint: {state_file!r} is the file that names "
                "the newest one."
            )
        with staging(prefix) as stage:
            if self._built.stands_on(prefix):
                raise ValueError(
                    f"{prefix} holds rows that the delta leaves out, and they would be lost. Save "
                    "it under another name."
                )
            sess.run(
                self.saver_def.save_tensor_name,
                {self.saver_def.filename_tensor_name: stage.part()},
            )
            self._built.write_rest(sess, stage)
            publish(stage, self._built.generations())
            if not self._delta:
                self._built.note_saved(prefix)
            if write_state:
                self._write_state(stage, state_file, meta_graph_suffix)
            if write_meta_graph:
                with sess.graph.as_default():
                    self.export_meta_graph(stage.file("merged.meta"), **kwargs)
                stage.put("merged.meta", f"{prefix}.{meta_graph_suffix}")
        return prefix

    def _write_state(self, stage, state_file, meta_graph_suffix):
        """Names the checkpoint as the newest, and deletes those that are too many."""
        directory = os.path.dirname(stage.prefix)
        self.record_last_checkpoint(stage.prefix)
        update_checkpoint_state(
            save_dir=directory,
            model_checkpoint_path=stage.prefix,
            all_model_checkpoint_paths=self.last_checkpoints,
            latest_filename=os.path.join(os.path.basename(stage.path), "state"),
            save_relative_paths=self.save_relative_paths,
        )
        stage.put("state", os.path.join(directory, state_file))
        for path in self.checkpoints_to_be_deleted():
            if self._built.stands_on(path):
                self.keep_oldest_checkpoint()
                continue
            with deleting(path) as may_be:
                if not may_be:
                    break  # It and those after it are the next save's to delete.
                self.delete_oldest_checkpoint(meta_graph_suffix)

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
        if self._built is None:
            super().restore(sess, save_path)
            return
        if save_path is None:
            raise ValueError("There is no checkpoint to restore: save_path is None.")
        restored = self._built.restore(sess, Checkpoint(save_path), generation)
        logging.info("Restored %s, %s.", restored.checkpoint.prefix, restored.describe())
        if restored.untouched:
            logging.info(
                "Not in it, and left as initialized: %s.",
                ", ".join(v.op.name for v in restored.untouched),
            )


class _Built:
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
        self._hashes = None
        # By table: what holds its frozen rows' slots, the newest, and what they were loaded from.
        self._sources = {
            table.name: BaseTable(
                table.embedding.source,
                table.embedding.tensor_name,
                table.embedding.plan,
                table.name,
            )
            for table in content.tables
            if table.embedding.source is not None
        }
        self._origins = dict(self._sources)

    def restore(self, session, checkpoint, generation):
        """Sets every variable, or none; returns the `Restoration`."""
        if generation is not None and self._content.tables:
            raise ValueError(
                f"generation= restores plain variables; {self._content.tables[0].name} grows here. "
                "Say generation= where it is made, to get_embedding or growing."
            )
        for _ in range(_MOST_READS):
            try:
                restoration = plan_restoration(self._content, checkpoint, self._sources, generation)
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
        self._hashes = None
        return restoration

    def generations(self):
        """Returns what the growth record beside a whole checkpoint says, or None."""
        if self._delta or not self._content.tables:
            return None
        return {table.name: generations_of(table.embedding) for table in self._content.tables}

    def stands_on(self, prefix):
        """Returns whether deltas are saved, of which the frozen rows stand in a checkpoint."""
        bases = [source.checkpoint for source in self._sources.values()]
        bases += [saved.source.checkpoint for saved in self._content.unchanged]
        place = os.path.realpath(prefix)
        return self._delta and any(os.path.realpath(base.prefix) == place for base in bases)

    def note_saved(self, prefix):
        """Notes that a whole checkpoint has the slots of all rows from now on."""
        checkpoint = Checkpoint(prefix)
        for table in self._content.tables:
            source = WholeTable(checkpoint, table.name, table.embedding.plan.axis)
            self._sources[table.name] = source
            origin = self._origins.get(table.name)
            if origin is not None and origin.checkpoint.prefix == checkpoint.prefix:
                self._origins[table.name] = source  # It was replaced.

    def write_rest(self, session, stage):
        """Writes what the variables lack: the manifest of a delta, else the rest of slots."""
        if self._delta:
            if self._hashes is None:
                self._hashes = self._frozen_rows.hashes(session)
            text = manifest_of(self._content, self._sources, self._hashes, session)
            write_part(stage.part(), [(DELTA_KEY, "", np.array(text, object))])
            return
        for table in self._content.tables:
            if table.embedding.plan.num_frozen_rows:
                for slot in table.slots:
                    self._write_slot(session, stage, table, slot)
        for saved, name, slot in self._content.unchanged_slots():
            base, dtype = saved.source.checkpoint, slot.variable.dtype.base_dtype
            there = renamed(name, saved.own_name, saved.source.name)
            found = stored(base, there) if there in base else None
            value = slot_or_start(
                found, saved.source, slot.initial(session), dtype, saved.full_shape
            )
            write_part(stage.part(), [(name, "", value.tensor)])

    def _write_slot(self, session, stage, table, slot):
        """Writes a slot's rows for frozen rows; all of its rows, if they lie among others."""
        embedding, plan = table.embedding, table.embedding.plan
        which, dtype = plan.frozen_rows(), slot.variable.dtype.base_dtype
        source, shape = self._source_of_slots(table), slot.variable.shape.as_list()
        found = source and source.slot_rows(slot.name, which)
        rows = source.rows(which) if source else _Frozen(session, embedding)
        part, whole = (with_rows(shape, plan.axis, n) for n in (len(which), plan.num_rows))
        value = slot_or_start(found, rows, slot.initial(session), dtype, part)
        if in_slices(embedding):
            spec = slice_spec(whole, [0] * len(whole), part)
            write_part(stage.part(), [(slot.name, spec, value.tensor)])
            return
        joined = plan.joined(value.read(), session.run(slot.variable))
        write_part(stage.part(), [(slot.name, "", joined)])

    def _source_of_slots(self, table):
        """The newest checkpoint, or should that be deleted what was loaded; None without any."""
        known = [found.get(table.name) for found in (self._sources, self._origins)]
        if known[0] is None:
            return None
        for source in known:
            if source and exists(source.checkpoint.prefix):
                return source
        raise ValueError(
            f"{known[0].checkpoint.prefix} is gone, and with it the optimizer slots of the frozen "
            f"rows of {table.name}. Put it back, or save with delta=True, which does not need it."
        )


class _Frozen:
    """Frozen rows as a session has them, for a table that came from no checkpoint."""

    def __init__(self, session, embedding):
        self._session, self._embedding = session, embedding

    def read(self):
        parts = self._session.run(self._embedding.frozen_parts)
        return np.concatenate(parts, self._embedding.plan.axis)

    def tensor(self):
        array = self.read()
        return tf.py_func(lambda: array, [], array.dtype, stateful=False)
