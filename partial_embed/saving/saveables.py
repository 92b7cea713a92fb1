"""What a Saver writes: variables as the slices of tables they are on disk."""

import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import BulkSaverBuilder, SaveableObject, SaveSpec
from partial_embed.table.embedding import PartialEmbedding


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
