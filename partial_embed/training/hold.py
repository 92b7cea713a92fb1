"""State that the script's own updates shall not move: their ops write what is there."""

import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import set_input
from partial_embed.table.embedding import parts_of
from partial_embed.training.graph import PLAIN_ASSIGN, find_writers

_SCOPE = "partial_embed_hold"
_ADDS = ("AssignAdd", "AssignSub", "AssignAddVariableOp", "AssignSubVariableOp")


def hold_still(variable):
    """Makes every op of the default graph that updates a variable leave it as it is.

    An assignment assigns the variable's own value, an addition adds zeros.

    Raises:
        ValueError: if an op of another kind can write to it; names both.
    """
    graph = tf.get_default_graph()
    for part in parts_of(variable):
        for op in find_writers(graph.get_operations()).get(part.op.name, ()):
            if is_held(op):
                continue
            with graph.control_dependencies(None), tf.name_scope(_SCOPE):
                if op.type in PLAIN_ASSIGN:
                    value = tf.identity(tf.convert_to_tensor(part))
                elif op.type in _ADDS:
                    value = tf.zeros(part.shape, part.dtype.base_dtype)
                else:
                    raise ValueError(
                        f"{part.name} cannot be held: {op.name} ({op.type}) writes to it, which is "
                        "no assignment. Leave it out of hold=."
                    )
            set_input(op, 1, value)


def is_held(op):
    """Returns whether an op that writes to a variable was made to leave it as it is."""
    return any(_SCOPE in value.op.name for value in op.inputs[1:])
