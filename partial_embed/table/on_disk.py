"""How the two variables of a table lie in a checkpoint: as slices, or joined."""

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import SaveableObject, SaveSpec
from partial_embed.files.runs import row_indices
from partial_embed.files.tensors import can_slice, slice_spec


class Whole(SaveableObject):
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


def in_slices(embedding):
    """Whether a table's two variables are saved, and restored, as slices of one tensor.

    Where they are not, rows stand in another order, or TensorFlow cannot slice
    the dtype, and the table is joined to be saved.
    """
    return embedding.plan.contiguous and can_slice(embedding.dtype)


def slice_of(variable, num_rows, offset):
    """The slice a variable is of a table of `num_rows`; "" for all of it."""
    shape = variable.shape.as_list()
    if shape[0] == num_rows:
        return ""
    return slice_spec([num_rows] + shape[1:], [offset] + [0] * (len(shape) - 1), shape)
