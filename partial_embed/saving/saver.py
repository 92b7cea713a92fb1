"""`Saver`: whole tables on disk, or only what training can change."""

import os

import numpy as np
import tensorflow.compat.v1 as tf
from absl import logging

from partial_embed._tensorflow import OpenSaver, update_checkpoint_state
from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.publish import deleting, publish, staging
from partial_embed.files.threads import threads
from partial_embed.saving.built import Built
from partial_embed.saving.content import are_all, as_the_script_meant, content_of
from partial_embed.saving.saveables import Builder
from partial_embed.table.report import listed, reports_in
from partial_embed.training.graph import expect_open
from partial_embed.training.writers import refuse_writers


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
    whatever this Saver writes, and logs which it found. It does all of it, or
    raises and changes no variable.

    A checkpoint is whole or is not there: it is staged beside its place and
    published by one rename. Beside it, `<prefix>.growth.json` says which rows
    came in which generation.

    Args:
        var_list: as for `tf.train.Saver`; a `PartialEmbedding` stands for all
            its variables. Default: all variables.
        delta: bool, whether `save` writes deltas.
        allow_nonfinite: restore tables that hold NaN or Inf, instead of failing.
        **kwargs: more arguments of `tf.train.Saver`, by name: max_to_keep, sharded, ...

    Raises:
        ValueError: if asked for the V1 format, which is read but not written; when it is
            built, if an op of the graph can write to what is frozen, or a pattern
            given to growing was of no use.

    Example:
        >>> with pe.growing("base.ckpt", show=None):
        ...     table = tf.get_variable("embedding", [7, 4])
        >>> saver = pe.Saver()
        >>> session = tf.Session()
        >>> session.run(tf.global_variables_initializer())
        >>> prefix = saver.save(session, "run/model.ckpt", global_step=8)
        >>> tf.train.load_checkpoint(prefix).get_tensor("embedding").shape
        (7, 4)
        >>> saver.restore(session, prefix)
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
        self._num_known = None  # global variables there were, of a Saver of all
        super().__init__(var_list, **kwargs)

    def build(self):
        """Adds the ops that save and restore; the constructor calls it unless deferred."""
        if self.is_built or self.saver_def or tf.executing_eagerly():
            super().build()
            return
        items = self.var_list
        if items is None:
            self._num_known = len(tf.global_variables())
            items = tf.global_variables() + tf.get_collection(tf.GraphKeys.SAVEABLE_OBJECTS)
        expect_open("a Saver, or give it as tf.train.Scaffold(saver=)")
        if self.builder is not None:
            raise ValueError("partial_embed.Saver has a builder of its own. Leave out builder=.")
        self.builder = Builder()
        refuse_writers()
        for report in reports_in():
            report.check(tf.get_default_graph())
        items = as_the_script_meant(items) if items else None
        content = content_of(items) if items else None
        if self._delta and content and not (content.tables or reports_in()):
            raise ValueError(
                "delta=True leaves out what growing froze, and nothing is frozen here. Make the "
                "variables under growing or with get_embedding first, or leave out delta=True."
            )
        if content:
            self.var_list = content.saveables(self._delta)
        super().build()
        if content and not self.is_empty:
            arguments = self.builder, self._delta, self._allow_nonfinite, are_all(items)
            self._built = Built(content, *arguments)

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
                checkpoint whose optimizer slots are needed is gone or damaged.
            OSError: if it cannot be written, or another writer is at it; what
                stood there is as it was.
        """
        if self._built is None:  # empty, or made from a SaverDef
            kwargs.update(write_meta_graph=write_meta_graph, write_state=write_state)
            return super().save(
                sess, save_path, global_step, latest_filename, meta_graph_suffix, **kwargs
            )
        self._warn_of_later_variables(sess.graph)
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
            self._built.warn_of_base(prefix)
            part = {self.saver_def.filename_tensor_name: stage.part()}
            # The rest comes from other checkpoints, one tensor after the other: two at a time would
            # be quicker still, and hold both.
            with threads(1) as pool:
                variables = pool.submit(sess.run, self.saver_def.save_tensor_name, part)
                try:
                    self._built.write_rest(sess, stage)
                finally:
                    variables.result()
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

    def _warn_of_later_variables(self, graph):
        """Logs, once, which variables were made after a Saver of all variables."""
        if self._num_known is None:
            return
        later = graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)[self._num_known :]
        self._num_known = None
        if later:
            logging.warning(
                "Made after this Saver, which does not save them: %s. Make it when the model "
                "and its optimizer are complete.",
                listed([variable.op.name for variable in later]),
            )

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

    def restore(self, sess, save_path, generation=None, allow_other_base=False):
        """Sets every variable from a base, a whole checkpoint or a delta.

        What has as many rows as the table here is whole, and all of it is set. Of a base with
        fewer, what growing loads is set. The rest is left as it is, or initialized
        if it was not: what a base does not hold (new rows, their slots, variables
        that were not there yet), and what growing lets start afresh (`global_step`,
        the state of optimizers) or leaves to the script.

        Args:
            sess: a session of the graph.
            save_path: prefix, directory or `checkpoint` file.
            generation: int: of tables that grew, restore the rows they had then
                (into plain variables of that many rows); rows added later are
                dropped. A table that grows from an earlier generation is made
                with `get_embedding(generation=)`.
            allow_other_base: bool, whether a base, or what pe.Saver saved of a run that grew
                from another, may hold other rows than the one the tables grew from, which then
                take the place of those.

        Raises:
            ValueError: if there is no checkpoint, it is damaged, a name, shape
                or dtype does not fit, or a base or a delta's base is another. No
                variable is changed then.
        """
        if self._built is None:
            super().restore(sess, save_path)
            return
        if save_path is None:
            raise ValueError("There is no checkpoint to restore: save_path is None.")
        checkpoint = Checkpoint(save_path)
        restored = self._built.restore(sess, checkpoint, generation, allow_other_base)
        logging.info("Restored %s, %s.", restored.checkpoint.prefix, restored.describe())
        if restored.untouched:
            logging.info(
                "Left as initialized: %s.",
                ", ".join(v.op.name for v in restored.untouched),
            )
