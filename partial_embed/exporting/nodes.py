"""Nodes of a `GraphDef`, without a graph: what they depend on, and constants among them."""

import tensorflow.compat.v1 as tf

from partial_embed.training.graph import VARIABLES, node_of


def ancestors(names, nodes, stops=()):
    """Returns the names of the nodes that some depend on, and their own.

    Args:
        names: of nodes.
        nodes: dict of name to `NodeDef`.
        stops: ops whose own inputs do not count.
    """
    found, todo = set(), [name for name in names if name in nodes]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            if nodes[name].op in stops:
                continue
            todo += [node_of(text) for text in nodes[name].input if node_of(text) in nodes]
    return found


def constant(nodes, text):
    """Returns the array that an input of a node always is, None if it may be another."""
    needed = ancestors([node_of(text)], nodes)
    if any(nodes[name].op in VARIABLES or nodes[name].op == "Placeholder" for name in needed):
        return None
    graph_def = tf.GraphDef()
    graph_def.node.extend(nodes[name] for name in nodes if name in needed)
    with tf.Graph().as_default():
        names = [text if ":" in text else text + ":0"]
        (tensor,) = tf.import_graph_def(graph_def, return_elements=names, name="")
        return tf.get_static_value(tensor)


def add_constant(graph_def, name, array):
    """Adds a constant of an array; returns its node."""
    dtype = tf.string if array.dtype.kind == "O" else tf.as_dtype(array.dtype)
    node = graph_def.node.add(name=name, op="Const")
    node.attr["dtype"].type = dtype.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(array, dtype))
    return node
