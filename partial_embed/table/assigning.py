"""Values of a whole table that a script assigns: new rows take their part, frozen ones stay."""

import numpy as np
import tensorflow.compat.v1 as tf
from absl import logging


class Assignable:
    """What a `PartialEmbedding` does where `tf.assign` and its kin are given it."""

    _said = False

    def assign(self, value, use_locking=None, name=None, read_value=True):
        """Gives the trainable rows their part of `value`, a whole table; frozen rows stay.

        Args:
            value: tensor of the table's shape.
            use_locking, name: as of `tf.Variable.assign`.
            read_value: whether to return the whole table as it is then; else the op.
        """
        return self._assign("assign", value, use_locking, name, read_value)

    def assign_add(self, delta, use_locking=None, name=None, read_value=True):
        """Adds their part of `delta`, a whole table, to the trainable rows; see `assign`."""
        return self._assign("assign_add", delta, use_locking, name, read_value)

    def assign_sub(self, delta, use_locking=None, name=None, read_value=True):
        """Subtracts their part of `delta`, a whole table; see `assign`."""
        return self._assign("assign_sub", delta, use_locking, name, read_value)

    def load(self, value, session=None):
        """Gives the trainable rows their part of `value`, an array, in a session, at once."""
        value = np.asarray(value)
        self._take_part(value.shape)
        if self.trainable is not None:
            part = np.take(value, self.plan.trainable_rows, self.plan.axis)
            self.trainable.load(part, session)

    def _assign(self, method, value, use_locking, name, read_value):
        value = tf.convert_to_tensor(value, self.dtype)
        self._take_part(value.shape)
        default_name = f"{self.table_name.replace('/', '_')}_{method}"
        with tf.name_scope(name, default_name), tf.get_default_graph().colocate_with(
            None, ignore_existing=True
        ):
            assigned = []
            if self.trainable is not None:
                value = self.trainable_part(tf.ensure_shape(value, self.shape))
                assigned.append(getattr(self.trainable, method)(value, use_locking).op)
            if not read_value:
                return tf.group(*assigned)
            with tf.control_dependencies(assigned):
                return tf.identity(self.value())

    def _take_part(self, shape):
        """Checks the shape of what is assigned, and says once what becomes of it."""
        if not self.shape.is_compatible_with(shape):
            raise ValueError(
                f"{self.name} has shape {self.shape.as_list()} and was given a value of shape "
                f"{tf.TensorShape(shape).as_list()}. Give a whole table, or assign to its new "
                f"rows, {self.table_name}.trainable."
            )
        if not self._said:
            logging.warning(
                "%s is assigned to as a whole: its new rows take their part of the value, its %d "
                "frozen rows stay.",
                self.name,
                self.num_frozen_rows,
            )
        self._said = True
