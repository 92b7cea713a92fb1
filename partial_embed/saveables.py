"""What a Saver writes: variables as the slices of tables they are on disk."""

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import BulkSaverBuilder, SaveableObject, SaveSpec
from partial_embed.checkpoint import can_slice, slice_spec
from partial_embed.embedding import PartialEmbedding
from partial_embed.plan import row_indices


class Saved(SaveableObject):
    """One variable under the name, and as the slice, that it has on disk.

    If growing froze it, `source` is (prefix, name) of the tensor it was loaded
    from, and `whole` the variable that it is, or is a part of.
    """

    def __init__(self, variable, disk_name, spec, full_shape=None):
        self.variable = variable
        self.disk_name = disk_name
        self.spec = spec
        self.full_shape = full_shape or variable.shape.as_list()
        self.source = self.whole = None
        with tf.device(variable.device):
            value = tf.convert_to_tensor(variable)
        super().__init__(value, [SaveSpec(value, spec, disk_name)], disk_name)

    def restore(self, restored_tensors, restored_shapes):
        del restored_shapes
        return tf.assign(self.variable, restored_tensors[0])


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


class Builder(BulkSaverBuilder):
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
                super(Builder, self).save_op(tf.string_join([filename_tensor, suffix]), part)
                for suffix, part in zip(self.SUFFIXES, (saveables[:1], saveables[1:]))
            ]
        self.saveables.extend(saveables)
        return super().save_op(filename_tensor, saveables)


def in_slices(embedding):
    """Whether a table's two variables are saved, and restored, as slices of one tensor.

    Where they are not, rows stand in another order, or TensorFlow cannot slice
    the dtype, and the table is joined to be saved.
    """
    return embedding.plan.contiguous and can_slice(embedding.dtype)


def named_items(items):
    """Returns [(name or None, item), ...] of a Saver's var_list."""
    if isinstance(items, PartialEmbedding):
        items = [items]
    if isinstance(items, dict):
        return [(name, item) for name, item in sorted(items.items())]
    return [(None, item) for item in tf.nest.flatten(list(items))]


def place_on_disk(variable, name):
    """Returns (disk name, slice text, full shape) of a variable that is no part of a table."""
    info = variable._get_save_slice_info()
    if info is None:
        return name or variable.op.name, "", variable.shape.as_list()
    return name or info.full_name, info.spec, list(info.full_shape)


def slice_of(variable, num_rows, offset):
    """The slice a variable is of a table of `num_rows`; "" for all of it."""
    shape = variable.shape.as_list()
    if shape[0] == num_rows:
        return ""
    return slice_spec([num_rows] + shape[1:], [offset] + [0] * (len(shape) - 1), shape)
