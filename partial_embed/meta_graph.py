"""`grow_meta_graph`: a model whose code is lost, from its `.meta` file, with larger tables."""

import difflib
import fnmatch
import re
from collections import defaultdict, namedtuple

import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import set_input, variable_definitions, variable_from_definition
from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.regular import expect_file
from partial_embed.meta_graph_constants import Size, count_new_rows, fitting
from partial_embed.meta_graph_loops import import_loops
from partial_embed.table.embedding import FROZEN_VARIABLES, FrozenVariable
from partial_embed.table.get_embedding import get_embedding
from partial_embed.table.loading import loading_initializer
from partial_embed.table.optimizer_state import is_state_of
from partial_embed.training.graph import node_of

_GATHERS = ("Gather", "GatherV2", "ResourceGather")
_READS = ("Identity", "ReadVariableOp")
_TRAINS = re.compile(r".*Apply[A-Z]|(Save|Restore)(V2|Slices?)?$")
# What is done with a table itself, by initializers, optimizers, Savers and checks.
_HANDLES = re.compile(r".*(Assign|Scatter|IsInitialized|IsVariableInitialized|VariableShape)")
_GRADIENTS = re.compile(r"(^|/)gradients(_\d+)?/")
# Where everything is made that is no part of the model, to leave it its names.
_SCOPE = "partial_embed_meta_graph/"


class GrownGraph(namedtuple("GrownGraph", ["embeddings", "variables"])):
    """What `grow_meta_graph` made.

    Attributes:
        embeddings: dict of table name to `PartialEmbedding`.
        variables: list of the other variables of the model.

    Example:
        >>> grown = pe.grow_meta_graph("base.ckpt.meta", "base.ckpt", {"embedding": 7})
        >>> grown.embeddings["embedding"].num_frozen_rows, grown.variables[0].name
        (5, 'weight:0')
    """


def grow_meta_graph(
    meta,
    checkpoint,
    rows,
    train=(),
    initializer=None,
    allow_nonfinite=False,
    outputs=None,
    constants=None,
):
    """Imports a MetaGraph into the default graph, with tables that have more rows.

    Tensors keep their names. Lookups of the grown tables become lookups of a
    `PartialEmbedding`; what read a table whole reads all its rows. The old
    optimizer, its slots and the old Saver are left out, for they are made for
    the old shapes: train with `minimize`, save with `Saver`.

    Args:
        meta: path of a `.meta` file, or a `MetaGraphDef`.
        checkpoint: prefix, directory or `Checkpoint` that holds the variables.
        rows: dict of table name to its new number of rows.
        train: pattern or list of patterns of other variables that go on
            training; "all" for those that the MetaGraph says are trainable. The
            others are loaded and frozen.
        initializer: initializer for new rows; the default of `tf.get_variable`.
        allow_nonfinite: load tables that hold NaN or Inf, instead of failing.
        outputs: list of the names of tensors or operations to import, with all
            that they depend on. Default: what collections and signatures of the
            MetaGraph name, and what nothing but a gradient takes, unless it
            depends on an optimizer, its state, or a Saver. The variables are
            imported in any case, but for the optimizer's.
        constants: dict of pattern of a node's name to the number in place of the old number of
            rows (or the last row's) that it holds, or "keep"; of others a warning tells.

    Returns:
        A `GrownGraph`.

    Raises:
        ValueError: if the file is no MetaGraph, a table or an output is not in it
            (names those that are), a table is partitioned or is read inside a
            function (as tf.cond of TensorFlow 2 makes them), the checkpoint does
            not fit, or the default graph has operations of these names already.

    Example:
        >>> grown = pe.grow_meta_graph("base.ckpt.meta", "base.ckpt", {"embedding": 7})
        >>> loss = tf.get_default_graph().get_tensor_by_name("loss:0")
        >>> step = pe.minimize(tf.train.AdagradOptimizer(0.1), loss)
        >>> session = tf.Session()
        >>> session.run(tf.global_variables_initializer())
        >>> session.run(step, {"ids:0": [0, 5, 6]})
    """
    meta_graph, checkpoint = read_meta(meta), Checkpoint(checkpoint)
    patterns = [train] if isinstance(train, str) else list(train)
    definitions = variable_definitions(meta_graph, tf.GraphKeys.GLOBAL_VARIABLES)
    trainable = set(variable_definitions(meta_graph, tf.GraphKeys.TRAINABLE_VARIABLES))
    for name in rows:
        if name not in definitions:
            partitioned = any(known.startswith(name + "/part_") for known in definitions)
            raise ValueError(
                f"The MetaGraph has no variable {name!r}. It has: {', '.join(sorted(definitions))}."
                + " (The parts of a partitioned table cannot grow.)" * partitioned
            )
    graph_def = tf.GraphDef()
    graph_def.CopyFrom(meta_graph.graph_def)
    nodes = {node.name: node for node in graph_def.node}
    others = [name for name in definitions if name not in trainable and name not in rows]
    state = {name for name in others if is_state_of(nodes, name, definitions)}
    for node in nodes.values():
        node.attr.pop("_class", None)  # a node that is left out is no place to be near
        node.attr.pop("_output_shapes", None)  # the tables have other ones
    if outputs is None:
        outputs = _ends(meta_graph, nodes, rows, state)
    else:
        outputs = _check_outputs(outputs, nodes)
    reads = _swap_reads(graph_def, nodes, rows)
    graph_def, kept = _prune(graph_def, outputs, rows, definitions, state)
    _check_nodes(graph_def, rows)
    held = {name: nodes[name].attr["shape"].shape.dim[0].size for name in rows}
    sizes = [Size(held[name], rows[name]) for name in rows]
    count_new_rows(graph_def, outputs, sizes, constants, leave=_SCOPE)
    embeddings = {}
    for name, count in rows.items():
        attributes = nodes[name].attr
        embeddings[name] = get_embedding(
            name,
            [count] + [dim.size for dim in attributes["shape"].shape.dim[1:]],
            dtype=tf.as_dtype(attributes["dtype"].type),
            checkpoint=checkpoint,
            initializer=initializer,
            allow_nonfinite=allow_nonfinite,
            use_resource=nodes[name].op == "VarHandleOp",
            trainable=name in trainable,
        )
    _import(graph_def, reads, embeddings)
    import_loops(meta_graph)
    variables, unmatched = [], set(patterns) - {"all"}
    for name, definition in kept.items():
        variable = variable_from_definition(definition)
        variables.append(variable)
        tf.add_to_collection(tf.GraphKeys.GLOBAL_VARIABLES, variable)
        if name in checkpoint:
            shape, dtype = variable.shape.as_list(), variable.dtype.base_dtype
            checkpoint.check(name, dtype, shape)
            with tf.name_scope(_SCOPE):
                load = loading_initializer(checkpoint, name, shape, allow_nonfinite)(shape, dtype)
            set_input(variable.initializer, 1, load)
        matching = [p for p in patterns if p == "all" or fnmatch.fnmatchcase(name, p)]
        unmatched.difference_update(matching)
        if name in trainable and (matching or name not in checkpoint):
            tf.add_to_collection(tf.GraphKeys.TRAINABLE_VARIABLES, variable)
        elif name in trainable:
            tf.add_to_collection(
                FROZEN_VARIABLES, FrozenVariable(variable, checkpoint, variable.op.name)
            )
    if unmatched:
        raise ValueError(
            f"The patterns {sorted(unmatched)} match no variable but those that grow. There are: "
            f"{', '.join(kept) or 'none'}."
        )
    return GrownGraph(embeddings, variables)


def read_meta(meta):
    """Returns a `MetaGraphDef`, of the path of a `.meta` file or as it is."""
    if isinstance(meta, tf.MetaGraphDef):
        return meta
    definition = tf.MetaGraphDef()
    expect_file(meta)
    try:
        with tf.gfile.GFile(meta, "rb") as stream:
            definition.ParseFromString(stream.read())
    except Exception as error:
        raise ValueError(
            f"{meta} cannot be read as a MetaGraph: {error}. Expected the .meta file that a Saver "
            "writes."
        ) from error
    return definition


def _ends(meta_graph, nodes, tables, state):
    """Returns the names of what to keep if nobody says, see `grow_meta_graph`."""
    users = defaultdict(set)
    for node in nodes.values():
        for text in node.input:
            users[node_of(text)].add(node.name)

    def with_all_after(names):
        found, todo = set(), list(names)
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                todo.extend(users[name])
        return found

    training = with_all_after(state.union(n for n in nodes if _trains(nodes[n], tables)))
    gradients = {name for name in nodes if _GRADIENTS.search(name)}
    clipped = with_all_after(gradients)
    named = {name for name in nodes if users[name] <= gradients}
    # A loss that is handed on when the step is done; not the step's own settings.
    for name in set(nodes) - clipped:
        if nodes[name].input and users[name] <= gradients | training:
            named.add(name)
    for collection in meta_graph.collection_def.values():
        named.update(map(node_of, collection.node_list.value))
    for signature in meta_graph.signature_def.values():
        named.update(node_of(info.name) for info in signature.outputs.values())
    return [name for name in nodes if name in named.difference(training, gradients, tables)]


def _trains(node, tables):
    """Whether a node trains, saves or restores, or does something to a table itself."""
    on_table = node.input and node_of(node.input[0]) in tables
    return _TRAINS.match(node.op) or (on_table and _HANDLES.match(node.op))


def _check_outputs(outputs, nodes):
    names = [node_of(text) for text in outputs]
    for name in names:
        if name not in nodes:
            nearest = difflib.get_close_matches(name, nodes, 12, 0.4)
            raise ValueError(
                f"The MetaGraph has no operation {name!r}, which outputs= names. Nearest are: "
                f"{', '.join(nearest) or 'none'}."
            )
    return names


def _swap_reads(graph_def, nodes, rows):
    """Puts an Identity of the same name in place of each node that reads a table.

    What it is the identity of can depend on what is imported with it, so that is
    set when all is there; until then a placeholder has the shape, which others need.

    Returns:
        List of (name of the node, table, name of its ids or None if it reads all).
    """
    wholes, reads = {table: table for table in rows}, []
    for name, node in nodes.items():  # in the order in which they were made
        table = wholes.get(node_of(node.input[0])) if node.input else None
        if table is None:
            continue
        if node.op in _READS:
            wholes[name], ids = table, None
        elif node.op in _GATHERS and _along_rows(node, nodes):
            ids = node.input[1]
        else:
            continue
        holder = graph_def.node.add(name=_SCOPE + name, op="Placeholder")
        holder.attr["dtype"].CopyFrom(nodes[table].attr["dtype"])
        shape = holder.attr["shape"].shape
        if ids:
            shape.unknown_rank = True  # until its ids are there
        else:
            shape.CopyFrom(nodes[table].attr["shape"].shape)
            shape.dim[0].size = rows[table]
        node.op, node.input[:] = (
            "Identity",
            [holder.name] + ["^" + node_of(text) for text in node.input[1:]],
        )
        node.attr.clear()
        node.attr["T"].CopyFrom(holder.attr["dtype"])
        reads.append((name, table, ids))
    return reads


def _along_rows(node, nodes):
    """Whether a gather node takes rows (axis 0), as lookups do."""
    if "batch_dims" in node.attr and node.attr["batch_dims"].i:
        return False
    if node.op != "GatherV2":
        return True
    axis = nodes[node_of(node.input[2])]
    return axis.op == "Const" and not tf.make_ndarray(axis.attr["value"].tensor).any()


def _prune(graph_def, outputs, tables, definitions, state):
    """Returns a GraphDef of what outputs and variables need, and {name: VariableDef} of these."""
    extract = tf.graph_util.extract_sub_graph
    outputs = [name for name in outputs if name not in tables]
    needed = {node.name for node in extract(graph_def, outputs).node}
    left_out = state.difference(needed).union(tables)
    kept = {name: definitions[name] for name in definitions if name not in left_out}
    for d in kept.values():
        own = (d.variable_name, d.initializer_name, d.initial_value_name, d.snapshot_name)
        outputs += [node_of(text) for text in own if text]
    return extract(graph_def, outputs), kept


def _check_nodes(graph_def, tables):
    """Raises ValueError if a node takes a table itself, or its name is in use."""
    names = set(tables)
    for node in graph_def.node:
        names.add(node.name)
        taken = {node_of(text) for text in node.input}.intersection(tables)
        if taken:
            raise ValueError(
                f"{' and '.join(sorted(taken))} is read inside {node.name} ({node.op}), where "
                "lookups cannot be exchanged (a function, a branch, training). Name in outputs= "
                "what does without, or rebuild the model from its code, under growing."
            )
    used = sorted(names.intersection(op.name for op in tf.get_default_graph().get_operations()))
    if used:
        raise ValueError(
            f"The graph has operations of these names already: {', '.join(used[:5])}. Open a graph "
            "for the model: with tf.Graph().as_default()."
        )


def _import(graph_def, reads, embeddings):
    """Imports into the default graph, and sets what `_swap_reads` left open."""
    nodes = {node.name: node for node in graph_def.node}
    reads = [read for read in reads if read[0] in nodes]
    # Shapes depend on each other along chains of lookups. They are found in graphs
    # of their own, for a shape cannot be corrected afterwards.
    changed = True
    while changed:
        changed = False
        with tf.Graph().as_default(), fitting():
            tf.import_graph_def(graph_def, name="")
            for name, table, ids in reads:
                if ids:
                    shape = nodes[_SCOPE + name].attr["shape"].shape
                    found = _tensor(ids).shape.concatenate(embeddings[table].shape[1:]).as_proto()
                    changed = changed or found != shape
                    shape.CopyFrom(found)
    with tf.name_scope(None):
        made = tf.import_graph_def(graph_def, name="", return_elements=list(nodes))
    made = dict(zip(nodes, made))
    renamed = [name for name in nodes if made[name].name != name]
    if renamed:
        raise ValueError(
            f"Operations cannot have the names that they had: {', '.join(renamed[:5])}."
        )
    for name, table, ids in reads:
        rows = embeddings[table].op.outputs[0]
        if ids:
            with tf.name_scope(_SCOPE):
                rows = embeddings[table].lookup(_tensor(ids))
        set_input(made[name], 0, rows)


def _tensor(text):
    """The tensor of the default graph that an input of a node names, `a` or `a:1`."""
    return tf.get_default_graph().get_tensor_by_name(text if ":" in text else text + ":0")
