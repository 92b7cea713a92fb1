"""The graph of a SavedModel, told that variables have more rows; no value is computed."""

from collections import namedtuple

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import (
    assets_of,
    set_variable_definitions,
    variable_definitions,
)
from partial_embed.exporting.grown_keys import LOOKUP_TABLES, expect_own_keys, set_keys
from partial_embed.exporting.nodes import add_constant, ancestors
from partial_embed.files.tensors import slice_spec
from partial_embed.table.optimizer_state import owners_of
from partial_embed.training.graph import node_of

_SCOPE = "partial_embed_grown"
# Collections of what runs when a model is loaded, and of what training's gradients ask for.
_STARTS = ("saved_model_main_op", "legacy_init_op", "table_initializer")
_CONTEXTS = ("cond_context", "while_context")
KEEP = "keep"


class GrownVariable(
    namedtuple("GrownVariable", ["name", "shape", "axis", "old", "new", "vocabulary"])
):
    """A variable that has more rows.

    Attributes:
        name: str, as the checkpoint has it.
        shape: list of ints, its larger shape.
        axis: int, along which it grew.
        old, new: ints, its rows before and now.
        vocabulary: `Vocabulary` that its rows follow, or None.
    """


def grow_graph(meta_graph, variables, vocabularies, constants, files):
    """Changes a `MetaGraphDef` in place.

    Args:
        meta_graph: of a SavedModel that TensorFlow 1 style code wrote.
        variables: list of `GrownVariable`.
        vocabularies: list of `Vocabulary`s that their rows follow.
        constants: `Patterns` of a node's name whose value is the number that stands in place of the
            old count of rows, or "keep".
        files: dict of the name of a file beside it that holds new keys now to their `Vocabulary`.

    Returns:
        Whether a lookup table holds new keys now.

    Raises:
        ValueError: if a variable is not in the graph, a constant or an input of the model
            holds the old count and nobody says what it means, or a variable is looked up by
            other keys than its rows follow.
    """
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    definitions = variable_definitions(meta_graph, tf.GraphKeys.GLOBAL_VARIABLES)
    held = [(variable, _definition_of(variable.name, definitions)) for variable in variables]
    asked = _ends(meta_graph)
    _prune(meta_graph, nodes, definitions, asked)
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    for node in _all_nodes(meta_graph.graph_def):
        node.attr.pop("_output_shapes", None)
    scope = _SCOPE
    while any(name.startswith(scope + "/") for name in nodes):  # It was grown before.
        scope += "_"
    unsaid = set_constants(meta_graph.graph_def, ancestors(asked, nodes), variables, constants)
    if unsaid:
        name, (old, new) = next(iter(unsaid.items()))
        raise ValueError(
            f"The graph of the model holds {old}, an old number of rows or the last row's, in "
            f"{', '.join(list(unsaid)[:8])}. Say what stands there now: "
            f"constants={{{name!r}: {new}}}, or 'keep'."
        )
    for variable, definition in held:
        if definition is not None:
            _enlarge(meta_graph.graph_def, nodes, variable, definition, scope)
    set_variable_definitions(meta_graph, definitions)
    followed = set_keys(meta_graph, nodes, vocabularies, files, scope, constants)
    grown = {
        node_of(definition.variable_name): variable
        for variable, definition in held
        if definition is not None
    }
    expect_own_keys(nodes, grown, followed)
    _set_signatures(meta_graph)
    return bool(followed)


def _prune(meta_graph, nodes, definitions, asked):
    """Leaves out what serving does not need: training, whose gradients know the old shapes."""
    saver = meta_graph.saver_def
    needed = {saver.filename_tensor_name, saver.save_tensor_name, saver.restore_op_name}
    needed.update(assets_of(meta_graph))
    for definition in definitions.values():
        needed.update([definition.variable_name, definition.initializer_name])
        needed.update([definition.snapshot_name, definition.initial_value_name])
    for key in set(_STARTS).intersection(meta_graph.collection_def):  # asking for one makes it
        needed.update(meta_graph.collection_def[key].node_list.value)
    # A table of keys is filled by ops that nothing depends on.
    needed.update(name for name, node in nodes.items() if node.op in LOOKUP_TABLES)
    kept = ancestors(asked | {node_of(text) for text in needed}, nodes)
    for key in [key for key in meta_graph.collection_def if key in _CONTEXTS]:
        del meta_graph.collection_def[key]
    for collection in meta_graph.collection_def.values():
        names = [text for text in collection.node_list.value if node_of(text) in kept]
        if collection.HasField("node_list"):
            collection.node_list.value[:] = names
    left = [node for node in meta_graph.graph_def.node if node.name in kept]
    del meta_graph.graph_def.node[:]
    for node in left:
        node.attr.pop("_class", None)  # a node that is left out is no place to be near
    meta_graph.graph_def.node.extend(left)


def _all_nodes(graph_def):
    yield from graph_def.node
    for function in graph_def.library.function:
        yield from function.node_def


def _ends(meta_graph):
    """Returns the names of the nodes that serving asks for."""
    return {
        node_of(info.name)
        for signature in meta_graph.signature_def.values()
        for info in [*signature.inputs.values(), *signature.outputs.values()]
        if info.name
    }


def set_constants(graph_def, names, variables, said):
    """Replaces old counts of rows in constants and inputs by what somebody says.

    Args:
        graph_def: `GraphDef`, in which they are replaced.
        names: of the nodes that are looked at.
        variables: what grows, each with `old` and `new` numbers of rows.
        said: `Patterns` of names of nodes to the number that stands there now, or "keep".

    Returns:
        {name of a node of which nobody says anything: (the old count there, the new one)}.
    """
    last_rows = {v.old - 1: v.new - 1 for v in variables if v.old > 2}
    rows = {v.old: v.new for v in variables}
    counts = {**last_rows, **rows}
    nodes = {node.name: node for node in graph_def.node if node.name in names}
    for function in graph_def.library.function:  # branches and loops of TensorFlow 2
        own = function.signature.name
        nodes.update({f"{own}/{node.name}": node for node in function.node_def})
    unsaid = {}
    for name in sorted(nodes):
        what = _count_in(nodes[name], counts, rows)
        if what is None:
            continue
        pattern, number = said.find(name)
        if pattern is None:
            unsaid[name] = what, counts[what]
        elif number != KEEP:
            _replace(nodes[name], what, int(number))
    return unsaid


def _count_in(node, counts, rows):
    """Returns the old count, or the number of the last row, that a node holds, else None.

    Args:
        node: `NodeDef`.
        counts: dict whose keys are both.
        rows: dict whose keys are old counts: what a number with a point can be, as of a mean.
    """
    if node.op == "Placeholder":
        held = [dim.size for dim in node.attr["shape"].shape.dim]
        return next((count for count in held if count in counts and counts[count] > 1), None)
    if node.op != "Const":
        return None
    tensor = node.attr["value"].tensor
    held = [dim.size for dim in tensor.tensor_shape.dim]
    dtype = tf.as_dtype(tensor.dtype)
    if (dtype.is_integer or dtype.is_floating) and np.prod(held) <= 8:
        values = np.ravel(tf.make_ndarray(tensor)).tolist()
        held += values if dtype.is_integer else [int(its) for its in values if its in rows]
    return next((count for count in held if count in counts), None)


def _replace(node, old, new):
    if node.op == "Placeholder":
        for dim in node.attr["shape"].shape.dim:
            dim.size = new if dim.size == old else dim.size
        return
    value = tf.make_ndarray(node.attr["value"].tensor)
    if old in value.shape:
        raise ValueError(
            f"{node.name} is an array with one entry for each of {old} rows, which cannot grow. "
            "Say 'keep' if it is something else, or export the model from its source."
        )
    value = np.where(value == old, new, value).astype(value.dtype)
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))


def _definition_of(name, definitions):
    """Returns the VariableDef of a tensor of the checkpoint; None for a slot that is not there.

    A variable that a partitioner left in one piece is called `name/part_0`, and is a slice.
    """
    found = [
        definition
        for known, definition in definitions.items()
        if (definition.save_slice_info_def.full_name or known) == name
    ]
    if len(found) > 1:
        raise ValueError(
            f"{name} is in {len(found)} pieces in the graph, whose lookups depend on their sizes. "
            "Export the model from its source."
        )
    if not found and not owners_of(name, definitions):
        raise ValueError(
            f"The graph has no variable {name}, of which the checkpoint has rows. Leave it out: "
            f"skip={name!r}."
        )
    return found[0] if found else None


def _enlarge(graph_def, nodes, variable, definition, scope):
    """Gives a variable its larger shape, and zeros as its first value: it will be restored."""
    node = nodes[node_of(definition.variable_name)]
    node.attr["shape"].shape.dim[variable.axis].size = variable.new
    info = definition.save_slice_info_def
    if info.full_name:
        info.full_shape[variable.axis] = info.var_shape[variable.axis] = variable.new
        spec = slice_spec(variable.shape, [0] * len(variable.shape), variable.shape)
        _set_slices(nodes, variable.name, spec)
    initializer = nodes.get(node_of(definition.initializer_name))
    if initializer is None:
        return
    dtype = node.attr["dtype"]
    base, zero = f"{scope}/{variable.name}", np.zeros([], tf.as_dtype(dtype.type).as_numpy_dtype)
    dims = add_constant(graph_def, base + "/dims", np.array(variable.shape, np.int32))
    zero = add_constant(graph_def, base + "/zero", zero)
    fill = graph_def.node.add(name=base + "/fill", op="Fill", input=[dims.name, zero.name])
    fill.attr["T"].CopyFrom(dtype)
    fill.attr["index_type"].type = tf.int32.as_datatype_enum
    initializer.input[1] = fill.name
    definition.initial_value_name = fill.name + ":0"


def _set_slices(nodes, name, spec):
    """Tells the ops of Savers which slice of a tensor of the checkpoint a variable is."""
    for node in nodes.values():
        if node.op in ("SaveV2", "RestoreV2"):
            names, slices = (nodes[node_of(text)] for text in node.input[1:3])
            texts = tf.make_ndarray(slices.attr["value"].tensor)
            for place in np.flatnonzero(
                tf.make_ndarray(names.attr["value"].tensor) == name.encode()
            ):
                texts[place] = spec.encode()
            slices.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(texts, tf.string))


def _set_signatures(meta_graph):
    """Imports the graph, which finds what does not fit, and notes the shapes of signatures."""
    with tf.Graph().as_default() as graph:
        try:
            tf.import_graph_def(meta_graph.graph_def, name="")
        except ValueError as error:
            raise ValueError(
                f"The graph does not fit its larger variables: {error}. Export the model from its "
                "source."
            ) from error
        for signature in meta_graph.signature_def.values():
            for info in [*signature.inputs.values(), *signature.outputs.values()]:
                if info.name:
                    tensor = graph.get_tensor_by_name(info.name)
                    info.tensor_shape.CopyFrom(tensor.shape.as_proto())
