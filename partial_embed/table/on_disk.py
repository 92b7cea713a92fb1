"""How the variables of a table are one tensor on disk: its slices, or joined to be saved."""

import functools

import tensorflow.compat.v1 as tf
from absl import logging

from partial_embed._tensorflow import (
    SaveableObject,
    SaveSpec,
    save_slice_info,
    set_save_slice,
)
from partial_embed.files.tensors import can_slice, slice_spec
from partial_embed.table.loading import row_indices
from partial_embed.table.optimizer_state import slot_variables
from partial_embed.table.plan import offset_of, rows_of, with_rows


def save_as_one_tensor(embedding, plan):
    """Makes plain Savers write and read the variables of a table as one tensor of its name.

    Args:
        embedding: `PartialEmbedding`.
        plan: its `TablePlan`.
    """
    if not in_slices(embedding):
        tf.add_to_collection(tf.GraphKeys.SAVEABLE_OBJECTS, _Found(embedding, plan.name))
        return
    last = embedding.variables[-1]  # One of them tells of a Saver.
    for variable, row in embedding.offsets():
        asked = functools.partial(_warn, embedding) if variable is last else lambda: None
        set_save_slice(variable, plan.name, plan.shape, plan.part_offset(row), asked)


def _warn(embedding):
    """Logs what a plain Saver, being built, will not write of a table; returns whether it did."""
    lacks, half = [], embedding.trainable is not None and embedding.trainable.op.name
    slots = [
        save_slice_info(variable).full_name if save_slice_info(variable) else variable.op.name
        for variable in slot_variables(tf.global_variables()).get(half, ())
    ]
    if slots:
        slots = ", ".join(sorted(slots))
        lacks.append(
            f"writes only the new rows of {slots}, which the script without growing cannot restore"
        )
    if embedding.keys is not None:
        lacks.append(f"does not record whose keys the rows of {embedding.table_name} are")
    if lacks:
        logging.warning(
            "A plain tf.train.Saver %s. Use partial_embed.Saver in its place. (One that an export "
            "of a SavedModel makes is as it should be: that is loaded with its own graph.)",
            ", and ".join(lacks),
        )
    return bool(lacks)


class Whole(SaveableObject):
    """A table whose variables are no slices of it, saved as one tensor."""

    def __init__(self, embedding, name=None):
        disk_name = name or embedding.table_name
        self._embedding = embedding
        self.disk_name = disk_name
        self.spec = ""
        value = embedding.value()
        super().__init__(value, [SaveSpec(value, "", disk_name)], disk_name)

    def restore(self, restored_tensors, restored_shapes):
        del restored_shapes
        (value,) = restored_tensors
        plan, assigned = self._embedding.plan, []
        for variable, offset in self._embedding.offsets():
            rows = plan.trainable_rows
            if variable is not self._embedding.trainable:
                rows = plan.frozen_rows()[offset : offset + rows_of(variable, plan.axis)]
            part = tf.gather(value, row_indices(rows), axis=plan.axis)
            assigned.append(tf.assign(variable, part))
        return tf.group(*assigned)


class _Found(Whole):
    """That which plain Savers find in a graph. Who asks for `specs` is one being built."""

    @property
    def specs(self):
        self._said = self._said or _warn(self._embedding)  # It is asked several times.
        return self._specs

    @specs.setter
    def specs(self, specs):
        self._specs, self._said = specs, False


def in_slices(embedding):
    """Returns whether a table's variables are saved and restored as slices of one tensor.

    Where they are not, rows stand in another order, or TensorFlow cannot slice
    the dtype, and the table is joined to be saved.
    """
    return embedding.plan.contiguous and can_slice(embedding.dtype)


def slice_of(variable, plan, row):
    """Returns the slice, beginning with a row, that a variable is of a table; "" for all of it."""
    shape, axis = variable.shape.as_list(), plan.axis
    if shape[axis] == plan.num_rows:
        return ""
    return slice_spec(with_rows(shape, axis, plan.num_rows), offset_of(shape, axis, row), shape)
