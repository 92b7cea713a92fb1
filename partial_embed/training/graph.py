"""How values flow through a graph: what writes to a variable, what stops a gradient."""

import re

import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import get_gradient_function

PLAIN_ASSIGN = ("Assign", "AssignVariableOp")
_KEEPS_VALUES = ("Identity", "Reshape", "Cast")
_SCATTER = r"(Resource)?Scatter(Add|Sub|Mul|Div|Min|Max|Update|Nd(Add|Sub|Min|Max|Update))$"
_WRITES = re.compile(r".*Assign|.*Apply[A-Z]|" + _SCATTER)
_CALLS = re.compile(r"(Stateless)?(If|While|Case)$|(Stateful)?PartitionedCall$")
# Ops that hand a variable, or its value, on as it is.
_PASSES = re.compile(r"(Ref)?(Identity|Switch|Enter)$|ReadVariableOp$")
_STOPS = ("StopGradient", "PreventGradient")
_RESTORES = ("RestoreV2", "Restore", "RestoreSlice")
VARIABLES = ("VariableV2", "Variable", "VarHandleOp")


def expect_open(what):
    """Raises RuntimeError if the default graph takes no ops any more; says what comes too late."""
    if tf.get_default_graph().finalized:
        raise RuntimeError(
            "This graph is finalized, as monitored sessions leave it, and takes no ops any more. "
            f"Make {what}, before the session."
        )


def upstream(tensors, control=True):
    """Returns the set of all operations that `tensors` depend on.

    Args:
        tensors: list of tensors.
        control: bool, whether waiting for an operation counts as depending on it.
    """
    found, todo = set(), [tensor.op for tensor in tensors]
    while todo:
        op = todo.pop()
        if op not in found:
            found.add(op)
            todo += [tensor.op for tensor in op.inputs] + (op.control_inputs if control else [])
    return found


def users(tensor):
    """Returns the set of ops that use a tensor, looking past ops that keep its values."""
    found, todo = set(), [tensor]
    while todo:
        for op in todo.pop().consumers():
            if op.type in _KEEPS_VALUES:
                todo += op.outputs
            else:
                found.add(op)
    return found


def source(tensor):
    """Returns the op a value comes from, through reads of a variable."""
    op = tensor.op
    while _PASSES.match(op.type) and op.inputs:
        op = op.inputs[0].op
    return op


def blocked_by(op, above):
    """Returns the sorted names of ops that pass no gradient, on all ways down from one op.

    Args:
        op: `tf.Operation` to begin at.
        above: set of the ops that count, as those a loss depends on.
    """
    below, todo = set(), [op]
    while todo:
        for output in todo.pop().outputs:
            new = above.intersection(output.consumers()).difference(below)
            below |= new
            todo += new
    # A lookup also asks for shapes; what the script did to the rows says more.
    stops = [op.name for op in below if op.type in _STOPS]
    return sorted(stops or [op.name for op in below if not _differentiable(op)])


def find_writers(operations):
    """Returns {name of a variable's op: ops that write to it}, but for those that load it.

    What initializes a variable, or restores it from a checkpoint, loads it.

    Args:
        operations: list of all `tf.Operation`s of the default graph.
    """
    loading = {variable.initializer.name for variable in tf.global_variables()}
    writers = {}
    for op in operations:
        if op.name in loading or _restores(op):
            continue
        for target in _written_by(op):
            # The op of its first initializer, even if it has got another.
            if target.type in VARIABLES and op.name != target.name + "/Assign":
                writers.setdefault(target.name, []).append(op)
    return writers


def _written_by(op):
    """The sources of what an op can write to."""
    if _WRITES.match(op.type) and op.inputs:
        return [source(op.inputs[0])]
    if not _CALLS.match(op.type):
        return []
    try:
        read_only = op.get_attr("_read_only_resource_inputs")
    except ValueError:  # a function says nothing about itself
        return []
    return [
        source(tensor)
        for index, tensor in enumerate(op.inputs)
        if tensor.dtype == tf.resource and index not in read_only
    ]


def _restores(op):
    if "partial_embed_restore" in op.name:
        return True
    if op.type not in PLAIN_ASSIGN:
        return False
    # Rows can be taken of what is restored, and no variable is read for it.
    types = {above.type for above in upstream([op.inputs[1]], control=False)}
    return not types.isdisjoint(_RESTORES) and types.isdisjoint(VARIABLES)


def _differentiable(op):
    if not any(output.dtype.is_floating or output.dtype.is_complex for output in op.outputs):
        return False
    try:
        return get_gradient_function(op) is not None
    except LookupError:
        return False


def node_of(text):
    """Returns the name of the node that an input of another one names: `^a`, `a` or `a:1`."""
    return text.lstrip("^").split(":")[0]
