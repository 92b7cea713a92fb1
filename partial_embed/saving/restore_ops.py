"""The ops that set variables when a checkpoint is restored, each where its variable is."""

import contextlib
from collections import namedtuple

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed.files.finite import marks_of, nonfinite_rows
from partial_embed.files.hashes import can_hash, digest_of, digest_text, read_digest
from partial_embed.files.tensors import read_tensors, reason, restore_fed
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
        self._new = {v.op.name for table in content.tables for v, _ in table.trainable()}
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
            # Nothing is assigned before everything is read, and is as it should be. What an op
            # could wait for TensorFlow optimizes, even if it is fed; so ops that set a variable
            # are made three times: after what a base has, after new rows, and after hashes.
            fits = [
                [value.is_fit for name, value in values.items() if (name in self._new) == is_new]
                for is_new in (False, True)
            ]
            barriers, self._assigned = [], []
            for conditions in [*fits, [frozen.is_same for frozen in self._frozen.values()]]:
                barriers += [_expect_all(conditions)] if conditions else []
                with tf.control_dependencies(barriers):
                    self._assigned.append(
                        {
                            variable.op.name: tf.assign(variable, values[variable.op.name].value).op
                            for variable in variables
                            if self._assigned or variable.op.name not in self._new
                        }
                    )
            with tf.control_dependencies(barriers):
                self._foreign = [
                    (saveable, tensors, saveable.restore(tensors, None))
                    for saveable, tensors in foreign
                ]
            self._has_value = tf.stack([tf.is_variable_initialized(v) for v in variables])

    def _value_of(self, variable):
        """Returns the `_Value` that is to be assigned to a variable."""
        with tf.device(variable.device):
            value, place = restore_fed(variable.dtype.base_dtype, variable.shape)
            axis = self._rows_of.get(variable.op.name, (None, (), 0))[2]
            marks = None if self._allow_nonfinite else marks_of(value, axis)
            if marks is None:  # No constant, in place of which TensorFlow puts what it waits for.
                with tf.control_dependencies([value]):
                    is_fit = tf.placeholder_with_default(True, [])
            else:
                is_fit = tf.reduce_all(tf.equal(marks, marks))
        return _Value(place, value, is_fit, marks)

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
            digest = digest_of(values, self._rows_of.get(names[0], (None, (), 0))[2])
            expected = tf.placeholder(tf.int32, digest.shape)
            is_same = tf.reduce_all(tf.equal(digest, expected))
            found[name] = _Frozen(digest, expected, is_same)
        return found

    def run(self, session, restoration):
        """Sets every variable, or raises and sets none.

        Raises:
            ValueError: if a value cannot be read, or holds NaN or Inf.
        """
        feeds, fed = {}, []
        for variable, value in restoration.values:
            if value.is_one_slice and variable.op.name not in restoration.places:
                feeds.update(zip(self._values[variable.op.name].place, value.place))
            else:
                fed.append((variable, value))
        for (variable, its), array in zip(fed, read_all([value for _, value in fed])):
            value, places = self._values[variable.op.name], restoration.places
            feeds[value.value] = array
            if variable.op.name in places:
                there = its.checkpoint.prefix, places[variable.op.name]
                feeds[value.value] = self._placed(session, variable, array, *there)
            if value.marks is None or variable.op.name in places:
                feeds[value.is_fit] = True
        set_here = [variable.op.name for variable, _ in restoration.values]
        checked = self._expect(restoration, feeds)
        way = 2 if checked or self._foreign else 1 if self._new.intersection(set_here) else 0
        # Nothing is read of what stays as it is, and not all is hashed.
        stays = set(self._values).difference(set_here, () if way else self._new)
        feeds.update((self._values[name].is_fit, True) for name in stays)
        if way == 2:
            others = set(self._frozen).difference(known.name for known in checked)
            feeds.update((self._frozen[name].is_same, True) for name in others)
        ops = [self._assigned[way][name] for name in set_here]
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
        has_value = [self._has_value] if restoration.untouched else []
        try:
            _, has_value = session.run([ops, has_value], feeds)
        except (tf.errors.UnavailableError, tf.errors.AbortedError):
            raise  # A parameter server is gone: monitored sessions wait for it.
        except tf.errors.OpError as error:
            with contextlib.suppress(tf.errors.OpError):  # it could not be read
                self._refuse(session, restoration, feeds, checked)
            raise ValueError(
                f"Restoring {restoration.checkpoint.prefix} failed: {reason(error)}. No variable "
                "was changed."
            ) from error
        known = {name for has in has_value for name, its in zip(self._values, has) if its}
        missing = [v.initializer for v in restoration.untouched if v.op.name not in known]
        if missing:
            session.run(missing)

    def _placed(self, session, variable, array, prefix, places):
        """Returns what a variable is, or starts with, with some rows in place of those.

        Raises:
            ValueError: if these hold NaN or Inf, or that cannot be said.
        """
        table, rows, axis = self._rows_of[variable.op.name]
        array = np.moveaxis(array, axis, 0)
        bad = [] if self._allow_nonfinite else nonfinite_rows(array)
        if len(bad):
            bad = [int(rows[places[row]]) for row in bad[:20]]
            raise ValueError(_not_finite(f"{table} of {prefix}", bad))
        try:
            has_value = dict(zip(self._values, session.run(self._has_value)))[variable.op.name]
            value = np.array(session.run(variable if has_value else variable.initial_value))
        except tf.errors.OpError as error:
            raise ValueError(
                f"New rows of {table} have no value: {reason(error)}. Initialize them before. No "
                "variable was changed."
            ) from error
        np.moveaxis(value, axis, 0)[places] = array
        return value

    def _refuse(self, session, restoration, feeds, checked):
        """Raises ValueError if what can be read is not what it should be."""
        for known in checked:
            found = digest_text(session.run(self._frozen[known.name].digest, feeds))
            delta = restoration.checkpoint.prefix
            compare_base(delta, known.entry, known.name, found, known.stored)
        for variable, value in restoration.values:
            marks = self._values[variable.op.name].marks
            bad = [] if marks is None else np.flatnonzero(np.isnan(session.run(marks, feeds)))
            if len(bad):
                table, rows, _ = self._rows_of.get(variable.op.name, (variable.op.name, None, 0))
                bad = [int(row if rows is None else rows[row]) for row in bad[:20]]
                raise ValueError(_not_finite(f"{table} of {value.checkpoint.prefix}", bad))

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
        return checked


_Value = namedtuple("_Value", ["place", "value", "is_fit", "marks"])
_Value.__doc__ = """What is assigned to a variable.

Attributes:
    place: three placeholders, where it is read: prefix, name, slice; or nothing, if
    value: the tensor is fed itself.
    is_fit: whether that is finite, a tensor; fed, if it is not read.
    marks: see `marks_of`; None if it need not be finite.
"""

_Frozen = namedtuple("_Frozen", ["digest", "expected", "is_same"])
_Frozen.__doc__ = """What a delta can stand on: frozen rows of a table, or a variable frozen whole.

Attributes:
    digest: of what is to be assigned to its variables.
    expected: placeholder of the digest in a delta's manifest.
    is_same: whether they are equal; fed, if it is no delta that is restored.
"""


def _not_finite(what, rows):
    return (
        f"{what}: rows {rows} hold NaN or Inf. Repair the checkpoint, or pass allow_nonfinite=True "
        "to load it as it is. No variable was changed."
    )


def _expect_all(conditions):
    """Returns an op that fails if not all hold, and that stays whatever they are."""
    return tf.raw_ops.Assert(condition=tf.reduce_all(conditions), data=["not as it should be"])


def _rows_of_variables(content):
    """Returns {name of a variable's op: (table or slot, which rows of it it holds, axis)}."""
    found = {}
    for table in content.tables:
        axis = table.embedding.plan.axis
        found.update((v.op.name, (table.name, rows, axis)) for v, rows in table.frozen())
        if table.embedding.trainable is not None:
            rows = table.embedding.plan.trainable_rows
            found[table.embedding.trainable.op.name] = (table.name, rows, axis)
            for slot in table.slots:
                along = axis if slot.variable.shape.rank == table.embedding.shape.rank else 0
                found[slot.variable.op.name] = (slot.name, rows, along)
    return found
