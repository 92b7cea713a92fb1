"""The few names that TensorFlow keeps outside its public interface, in one place.

Everything else in the package is `tensorflow.compat.v1`, which TensorFlow 1.15
and 2.x both have. The names below have kept their places in both.
"""

import tensorflow.compat.v1 as tf
from tensorflow.python.framework.ops import get_from_proto_function, get_gradient_function
from tensorflow.python.ops.variable_scope import _get_default_variable_store

# Variable: tf.Variable of compat.v1 is a class that resource variables of 2.x are not of.
from tensorflow.python.ops.variables import PartitionedVariable, Variable
from tensorflow.python.training.saver import BulkSaverBuilder
from tensorflow.python.training.saving.saveable_object import SaveableObject, SaveSpec

try:
    from tensorflow.python.checkpoint.checkpoint_management import (
        update_checkpoint_state_internal as update_checkpoint_state,
    )
except ImportError:
    from tensorflow.python.training.checkpoint_management import (
        update_checkpoint_state_internal as update_checkpoint_state,
    )

try:
    # What tf.nn.embedding_lookup passes on untouched instead of reading it whole.
    from tensorflow.python.types.internal import NativeObject as TensorLike
except ImportError:
    from tensorflow.python.framework.tensor_like import _TensorLike as TensorLike


def variable_store():
    """Returns {name: variable} of what `tf.get_variable` finds again in the default graph."""
    return _get_default_variable_store()._vars


def place_of_ops():
    """Returns what an op made now is part of: its graph, its branch or loop, what it waits for."""
    graph = tf.get_default_graph()
    return (
        graph,
        graph._get_control_flow_context(),
        frozenset(graph._current_control_dependencies()),
    )


def set_save_slice(variable, full_name, full_shape, offset):
    """Makes plain Savers write and read a variable as a slice of a larger tensor."""
    extent = variable.shape.as_list()
    variable._set_save_slice_info(tf.Variable.SaveSliceInfo(full_name, full_shape, offset, extent))


class VariableLike(TensorLike):
    """Stands where TensorFlow expects a variable, and gives it what it asks for by private names.

    Subclasses have `snapshot`, a tensor, and `refuse`, which raises an error.
    """

    def _as_graph_element(self):
        """What `Session.run` fetches."""
        return self.snapshot

    @property
    def _lazy_read(self):
        """What `tf.scatter_update` and its kin ask of what is no reference."""
        return self.refuse()


__all__ = [
    "BulkSaverBuilder",
    "PartitionedVariable",
    "SaveSpec",
    "SaveableObject",
    "Variable",
    "VariableLike",
    "get_from_proto_function",
    "get_gradient_function",
    "place_of_ops",
    "set_save_slice",
    "variable_store",
    "update_checkpoint_state",
]
