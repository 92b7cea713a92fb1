"""The ops that set variables when a checkpoint is restored, each where its variable is."""

import contextlib
from collections import namedtuple

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed.files.finite import nonfinite_rows, refuse_nonfinite
from partial_embed.files.hashes import can_hash, digest_of, digest_text, hash_rows, read_digest
from partial_embed.files.tensors import read_tensors, reason, restore
from partial_embed.saving.same_base import check_base, compare_base
from partial_embed.saving.saveables import Saved
from partial_embed.saving.source import read_all
from partial_embed.table.embedding import divides_rows, parts_of
from partial_embed.table.on_disk import Whole


class RestoreOps:
    """The ops that set variables, each where the variable is: from a file, or from what is fed.

    Args:
        content: `Content`.
        saveables: all that the Saver saves, for those that are no variables.
        allow_nonfinite: bool, whether to set rows that hold NaN or Inf.
    """

    def __init__(self, content, saveables, allow_nonfinite):
        self._allow_nonfinite = allow_nonfinite
        self._rows_of = _rows_of_variables(content)
        variables = [v for table in content.tables for v in table.embedding.variables]
        variables += [slot.variable for table in content.tables for slot in table.slots]
        variables += [saved.variable for saved in content.unchanged + content.plain]
        with tf.name_scope("partial_embed_restore"):
            values = {variable.op.name: self._value_of(variable) for variable in variables}
            self._values = values
            self._frozen = self._hashed(content)
            # Made here: a placeholder that is fed waits for nothing, nor does what it feeds.
            foreign = [
                (saveable, [tf.placeholder(spec.dtype) for spec in saveable.specs])
                for saveable in saveables
                if not isinstance(saveable, (Saved, Whole))
            ]
            # Nothing is assigned before everything is read. (What waits for a placeholder with a
            # default waits for the default; so its value is looked at, by an op that stays.)
            read = [value.is_read for value in values.values()]
            read = tf.reduce_all(read + [frozen.is_same for frozen in self._frozen.values()])
            read = tf.raw_ops.Assert(condition=read, data=["not all was read, or is the same"])
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
            with tf.control_dependencies([value]):
                is_read = tf.placeholder_with_default(True, [])
            value = tf.placeholder_with_default(value, variable.shape)
        return _Value(place, value, is_read)

    def _hashed(self, content):
        """Returns {name: `_Frozen`} of what deltas can stand on: it is hashed as it is read."""
        named = {table.name: table.embedding.frozen_parts for table in content.tables}
        named.update(
            (saved.disk_name, parts_of(saved.whole))
            for saved in content.unchanged
            if not divides_rows(saved.whole)  # else the base's file is compared
        )
        found = {}
        for name, variables in named.items():
            names = [variable.op.name for variable in variables]
            values = [self._values[name].value for name in names if name in self._values]
            if not values or len(values) < len(names) or not can_hash(values[0].dtype):
                continue
            hashes = []
            for variable, value in zip(variables, values):
                with tf.device(variable.device):
                    axis = self._rows_of.get(variable.op.name, (None, (), 0))[2]
                    hashes.append(hash_rows(value, axis))
            digest = digest_of(hashes)
            expected = tf.placeholder(tf.int32, digest.shape)
            is_same = tf.reduce_all(tf.equal(digest, expected))
            found[name] = _Frozen(digest, expected, tf.placeholder_with_default(is_same, []))
        return found

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
        checked = self._expect(restoration, feeds)
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
        # Of those that are set it says either; of the others, whether they lack a value.
        uninitialized = [self._uninitialized] if restoration.untouched else []
        try:
            _, names = session.run([ops, uninitialized], feeds)
        except (tf.errors.UnavailableError, tf.errors.AbortedError):
            raise  # A parameter server is gone: monitored sessions wait for it.
        except tf.errors.OpError as error:
            with contextlib.suppress(tf.errors.OpError):  # it could not be read
                for known in checked:
                    found = digest_text(session.run(self._frozen[known.name].digest, feeds))
                    delta = restoration.checkpoint.prefix
                    compare_base(delta, known.entry, known.name, found, known.stored)
            raise ValueError(
                f"Restoring {restoration.checkpoint.prefix} failed: {reason(error)}. No variable "
                "was changed."
            ) from error
        missing = {tf.compat.as_text(name) for found in names for name in found}
        missing = [v.initializer for v in restoration.untouched if v.op.name in missing]
        if missing:
            session.run(missing)

    def _expect(self, restoration, feeds):
        """Feeds what a delta must find in its base, or compares it; returns the former."""
        checked = []
        for known in restoration.standing:
            digest, frozen = read_digest(known.entry["frozen"]), self._frozen.get(known.name)
            if digest is None or frozen is None or len(digest) != frozen.digest.shape[0]:
                check_base(restoration.checkpoint.prefix, known.entry, known.name, known.stored)
            else:
                feeds[frozen.expected] = digest
                checked.append(known)
        known = {known.name for known in checked}
        feeds.update((f.is_same, True) for name, f in self._frozen.items() if name not in known)
        return checked

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


_Value = namedtuple("_Value", ["place", "value", "is_read"])
_Value.__doc__ = """What is assigned to a variable.

Attributes:
    place: three placeholders, where it is read: prefix, name, slice; or nothing, if
    value: the tensor is fed itself.
    is_read: a tensor that waits until it is read; fed, if it is not.
"""

_Frozen = namedtuple("_Frozen", ["digest", "expected", "is_same"])
_Frozen.__doc__ = """What a delta can stand on: frozen rows of a table, or a variable frozen whole.

Attributes:
    digest: of what is to be assigned to its variables.
    expected: placeholder of the digest in a delta's manifest.
    is_same: whether they are equal; fed, if it is no delta that is restored.
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
