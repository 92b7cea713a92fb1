"""Loops of a MetaGraph, of which a graph that was imported without its training knows the nodes.

What belongs to which loop TensorFlow notes beside the nodes, and takes gradients by that.
"""

import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import WhileContextDef, get_from_proto_function
from partial_embed.training.graph import node_of

_KEY = tf.GraphKeys.WHILE_CONTEXT


def import_loops(meta_graph):
    """Notes, in the default graph, those loops of a MetaGraph whose nodes are there.

    Args:
        meta_graph: a `MetaGraphDef`.
    """
    graph = tf.get_default_graph()
    names = {operation.name for operation in graph.get_operations()}
    if _KEY not in meta_graph.collection_def:
        return
    for text in meta_graph.collection_def[_KEY].bytes_list.value:
        definition = WhileContextDef.FromString(text)
        if node_of(definition.pivot_name) in names:
            _leave_out(definition, names)
            graph.add_to_collection(_KEY, get_from_proto_function(_KEY)(definition))


def _leave_out(definition, names):
    """Removes what is not there from the definition of a loop, or of a branch inside it."""
    for key in ("loop_exit_names", "loop_enter_names"):
        held = getattr(definition, key, [])
        kept = [name for name in held if node_of(name) in names]
        del held[:]
        held.extend(kept)
    values = definition.values_def
    external = {k: v for k, v in values.external_values.items() if node_of(v) in names}
    outside = set(values.external_values)
    kept = [v for v in values.values if (v in external if v in outside else node_of(v) in names)]
    values.external_values.clear()
    values.external_values.update(external)
    del values.values[:]
    values.values.extend(kept)
    nested = []
    for its in definition.nested_contexts:
        inner = getattr(its, its.WhichOneof("ctxt"))
        if node_of(inner.pivot_name) in names:
            _leave_out(inner, names)
            nested.append(its)
    del definition.nested_contexts[:]
    definition.nested_contexts.extend(nested)
