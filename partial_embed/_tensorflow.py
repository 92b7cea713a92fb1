"""The few names that TensorFlow keeps outside its public interface, in one place.

Everything else in the package is `tensorflow.compat.v1`, which TensorFlow 1.15
and 2.x both have. The names below have kept their places in both.
"""

import tensorflow.compat.v1 as tf
from tensorflow.core.framework.variable_pb2 import VariableDef
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


def variable_definitions(meta_graph, key):
    """Returns {name: VariableDef} of one collection of a `MetaGraphDef`."""
    texts = meta_graph.collection_def[key].bytes_list.value
    definitions = [VariableDef.FromString(text) for text in texts]
    return {definition.variable_name.split(":")[0]: definition for definition in definitions}


def variable_from_definition(definition):
    """Returns the variable that a VariableDef describes, whose ops are in the default graph."""
    return get_from_proto_function(tf.GraphKeys.GLOBAL_VARIABLES)(definition)


def set_input(operation, index, tensor):
    """Makes a tensor of the same graph an input of an operation, in place of another."""
    operation._update_input(index, tensor)


__all__ = [
    "BulkSaverBuilder",
    "PartitionedVariable",
    "SaveSpec",
    "SaveableObject",
    "TensorLike",
    "Variable",
    "get_gradient_function",
    "set_input",
    "variable_definitions",
    "variable_from_definition",
    "variable_store",
    "update_checkpoint_state",
]
