"""How the variables of a table are one tensor on disk: its slices, or joined to be saved."""

import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import SaveableObject, SaveSpec, set_save_slice
from partial_embed.files.tensors import can_slice, slice_spec
from partial_embed.table.loading import row_indices
from partial_embed.table.plan import offset_of, rows_of, with_rows


def save_as_one_tensor(embedding, plan):
    """Makes plain Savers write and read the variables of a table as one tensor of its name.

    Args:
        embedding: `PartialEmbedding`.
        plan: its `TablePlan`.
    """
    if in_slices(embedding):
        for variable, row in embedding.offsets():
            set_save_slice(variable, plan.name, plan.shape, plan.part_offset(row))
    else:
        tf.add_to_collection(tf.GraphKeys.SAVEABLE_OBJECTS, Whole(embedding, plan.name))


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
