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


__all__ = [
    "BulkSaverBuilder",
    "PartitionedVariable",
    "SaveSpec",
    "SaveableObject",
    "TensorLike",
    "Variable",
    "get_from_proto_function",
    "get_gradient_function",
    "place_of_ops",
    "variable_store",
    "update_checkpoint_state",
]
