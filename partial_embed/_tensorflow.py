"""The few names that TensorFlow keeps outside its public interface, in one place.

Everything else in the package is `tensorflow.compat.v1`, which TensorFlow 1.15
and 2.x both have. The names below have kept their places in both.
"""

import contextlib

import tensorflow.compat.v1 as tf
from google.protobuf.message import DecodeError
from tensorflow.core.framework.variable_pb2 import VariableDef
from tensorflow.core.protobuf.control_flow_pb2 import WhileContextDef
from tensorflow.core.protobuf.meta_graph_pb2 import AssetFileDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto, BundleHeaderProto
from tensorflow.core.util.saved_tensor_slice_pb2 import SavedTensorSlices
from tensorflow.python.framework.ops import get_from_proto_function, get_gradient_function
from tensorflow.python.ops.control_flow_grad import _EnterGrad as enter_gradient
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
    from tensorflow.python.trackable.base import VARIABLE_VALUE_KEY, Trackable
except ImportError:
    from tensorflow.python.training.tracking.base import VARIABLE_VALUE_KEY, Trackable

try:
    from tensorflow.python.eager.record import could_possibly_record as is_watched
except ImportError:
    from tensorflow.python.eager.tape import could_possibly_record as is_watched

try:
    # What tf.nn.embedding_lookup passes on untouched instead of reading it whole.
    from tensorflow.python.types.internal import NativeObject as TensorLike
except ImportError:
    from tensorflow.python.framework.tensor_like import _TensorLike as TensorLike


def variable_store():
    """Returns {name: variable} of what `tf.get_variable` finds again in the default graph."""
    return _get_default_variable_store()._vars


def save_slice_info(variable):
    """Returns the `SaveSliceInfo` of a variable, None if it is a tensor of its own."""
    return variable._get_save_slice_info()


class OpenSaver(tf.train.Saver):
    """A `tf.train.Saver` that lets a subclass see and set what it keeps to itself."""

    is_built = property(lambda self: self._is_built)
    is_empty = property(lambda self: self._is_empty)
    save_relative_paths = property(lambda self: self._save_relative_paths)
    var_list = property(
        lambda self: self._var_list, lambda self, value: setattr(self, "_var_list", value)
    )
    builder = property(
        lambda self: self._builder, lambda self, value: setattr(self, "_builder", value)
    )

    def numbered(self, prefix, step):
        """Returns the prefix of a step's checkpoint."""
        return f"{prefix}-{step:08d}" if self._pad_step_number else f"{prefix}-{step}"

    def record_last_checkpoint(self, prefix):
        """Puts a checkpoint at the end of `last_checkpoints`, which may push others out."""
        self._RecordLastCheckpoint(prefix)

    def checkpoints_to_be_deleted(self):
        """Returns the prefixes that `last_checkpoints` has pushed out, the oldest first."""
        return [prefix for prefix, _ in self._checkpoints_to_be_deleted]

    def keep_oldest_checkpoint(self):
        """Forgets the first of those, which stays."""
        self._checkpoints_to_be_deleted.pop(0)

    def delete_oldest_checkpoint(self, meta_graph_suffix):
        """Deletes the first of those, unless keep_checkpoint_every_n_hours keeps it."""
        self._MaybeDeleteOldCheckpoints(meta_graph_suffix=meta_graph_suffix)


def assets_of(meta_graph):
    """Returns {name of a tensor: name of the file in assets/ that it stands for}."""
    found = list(meta_graph.asset_file_def)
    if "saved_model_assets" in meta_graph.collection_def:
        for packed in meta_graph.collection_def["saved_model_assets"].any_list.value:
            asset = AssetFileDef()
            if packed.Unpack(asset):
                found.append(asset)
    return {asset.tensor_info.name: asset.filename for asset in found}


def variable_definitions(meta_graph, key):
    """Returns {name: VariableDef} of one collection of a `MetaGraphDef`."""
    texts = meta_graph.collection_def[key].bytes_list.value
    definitions = [VariableDef.FromString(text) for text in texts]
    return {definition.variable_name.split(":")[0]: definition for definition in definitions}


def set_variable_definitions(meta_graph, definitions):
    """Puts changed VariableDefs, {name: VariableDef}, into all collections of a `MetaGraphDef`."""
    for key in list(meta_graph.collection_def):
        texts = meta_graph.collection_def[key].bytes_list.value
        for number, text in enumerate(texts):
            try:
                name = VariableDef.FromString(text).variable_name.split(":")[0]
            except DecodeError:  # of something else
                continue
            if name in definitions:
                texts[number] = definitions[name].SerializeToString()


def variable_from_definition(definition):
    """Returns the variable that a VariableDef describes, whose ops are in the default graph."""
    return get_from_proto_function(tf.GraphKeys.GLOBAL_VARIABLES)(definition)


def set_input(operation, index, tensor):
    """Makes a tensor of the same graph an input of an operation, in place of another."""
    operation._update_input(index, tensor)


def place_of_ops():
    """Returns what an op made now is part of: its graph, its branch or loop, what it waits for."""
    graph = tf.get_default_graph()
    return (
        graph,
        graph._get_control_flow_context(),
        frozenset(graph._current_control_dependencies()),
    )


def colocated_with(operation=None):
    """Returns the names of ops that an op stands beside, or with None an op that is made now."""
    if operation is not None:
        return [group.decode()[len("loc:@") :] for group in operation.colocation_groups()]
    return [its.name.split(":")[0] for its in tf.get_default_graph()._colocation_stack.peek_objs()]


@contextlib.contextmanager
def outside_of_loop():
    """Makes ops outside of the loop that ops are part of now, and inside the one around that."""
    loop = tf.get_default_graph()._get_control_flow_context()
    loop.Exit()
    if loop.outer_context:
        loop.outer_context.Enter()
    yield
    if loop.outer_context:
        loop.outer_context.Exit()
    loop.Enter()


def set_save_slice(variable, full_name, full_shape, offset, asked):
    """Makes plain Savers write and read a variable as a slice of a larger tensor.

    Args:
        variable: the variable.
        full_name, full_shape: of the tensor.
        offset: list of ints, where the slice begins.
        asked: function of no arguments, called when a plain Saver is built.
    """
    info = _Slice(full_name, full_shape, offset, variable.shape.as_list())
    info.asked = asked
    variable._set_save_slice_info(info)


class _Slice(tf.Variable.SaveSliceInfo):
    """The slice that a variable is of a table. Who asks for `spec` is a plain Saver being built."""

    @property
    def spec(self):
        self.asked()
        return super().spec


class VariableLike(TensorLike, Trackable):
    """Stands where TensorFlow expects a variable, and gives it what it asks for by private names.

    Subclasses have `snapshot`, a tensor; `refuse` and `ref`, which raise errors; `saveable(name)`,
    a `SaveableObject`; `variables`, of which the last one trains if any does.
    """

    # So that safe_embedding_lookup_sparse does not make one tensor of it.
    _should_act_as_resource_variable = True

    def _as_graph_element(self):
        """What `Session.run` fetches."""
        return self.snapshot

    def _get_variable_list(self):
        """What `tf.contrib.layers` puts into its collections."""
        return [self]

    def _gather_saveables_for_checkpoint(self):
        """What a `tf.train.Saver` that is given the table by itself saves."""
        return {VARIABLE_VALUE_KEY: self.saveable}

    @property
    def handle(self):
        """What `tf.gradients` differentiates by: the variable that trains."""
        trained = self.variables[-1]
        if hasattr(trained, "handle"):
            return trained.handle
        if tf.get_default_graph().building_function:  # which can take no references
            raise AttributeError("handle")
        return trained._ref()

    @property
    def _in_graph_mode(self):
        """What an optimizer asks of what it shall update."""
        return self.ref()

    @property
    def _lazy_read(self):
        """What `tf.scatter_update` and its kin ask of what is no reference."""
        return self.refuse()


__all__ = [
    "BulkSaverBuilder",
    "BundleEntryProto",
    "BundleHeaderProto",
    "OpenSaver",
    "PartitionedVariable",
    "SaveSpec",
    "SaveableObject",
    "SavedModel",
    "SavedTensorSlices",
    "TensorLike",
    "Variable",
    "VariableLike",
    "WhileContextDef",
    "assets_of",
    "colocated_with",
    "enter_gradient",
    "get_from_proto_function",
    "get_gradient_function",
    "is_watched",
    "outside_of_loop",
    "place_of_ops",
    "save_slice_info",
    "set_input",
    "set_save_slice",
    "set_variable_definitions",
    "update_checkpoint_state",
    "variable_definitions",
    "variable_from_definition",
    "variable_store",
]
