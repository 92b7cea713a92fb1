"""Variables as a Saver's ops write them: under a name, as a slice of that."""

import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import BulkSaverBuilder, SaveableObject, SaveSpec
from partial_embed.saving.source import stored
from partial_embed.table.embedding import whole_value


class Saved(SaveableObject):
    """One variable under the name, and as the slice, that it has on disk.

    Attributes:
        variable: the variable.
        disk_name: str.
        spec: slice text, "" for a variable that is a tensor of its own.
        full_shape: list of ints, shape of the tensor on disk.
        source: `Stored`, all of the tensor it was loaded from, if growing froze it; else None.
        whole: then the variable that it is, or is a part of.
        own_name: its name in the graph, by which its slots are named.
    """

    def __init__(self, variable, disk_name, spec, full_shape=None, own_name=None):
        self.variable = variable
        self.disk_name = disk_name
        self.spec = spec
        self.full_shape = full_shape or variable.shape.as_list()
        self.own_name = own_name or disk_name
        self.source = self.whole = None
        with tf.device(variable.device):  # which a sharded save looks at
            value = whole_value(variable)
        super().__init__(value, [SaveSpec(value, spec, disk_name)], disk_name)

    def freeze(self, frozen):
        """Notes where growing loaded it from, a `FrozenVariable`."""
        self.source, self.whole = stored(frozen.checkpoint, frozen.tensor_name), frozen.variable

    def place(self, checkpoint, name=None):
        """Returns its `Stored` value in a checkpoint, where it is perhaps called `name`."""
        return stored(checkpoint, name or self.disk_name, spec=self.spec)

    def restore(self, restored_tensors, restored_shapes):
        del restored_shapes
        return tf.assign(self.variable, restored_tensors[0])


class Builder(BulkSaverBuilder):
    """Remembers the saveables that a Saver has made of its list."""

    def __init__(self):
        super().__init__(tf.train.SaverDef.V2)
        self.saveables = []

    def save_op(self, filename_tensor, saveables):
        self.saveables.extend(saveables)
        return super().save_op(filename_tensor, saveables)
