"""The ops that set variables when a checkpoint is restored, each where its variable is."""

from collections import namedtuple

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed.files.finite import nonfinite_rows, refuse_nonfinite
from partial_embed.files.hashes import can_hash, hash_rows
from partial_embed.files.tensors import read_tensors, reason, restore
from partial_embed.saving.same_base import compare_base, hashes_of
from partial_embed.saving.saveables import Saved
from partial_embed.saving.source import read_all
from partial_embed.table.on_disk import Whole


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
        except (tf.errors.UnavailableError, tf.errors.AbortedError):
            raise  # A parameter server is gone: monitored sessions wait for it.
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
