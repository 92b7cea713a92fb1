"""`grow_meta_graph`: a model whose code is lost, from its `.meta` file, with larger tables."""

import fnmatch
import re
from collections import namedtuple

import tensorflow.compat.v1 as tf
from tensorflow.core.framework.variable_pb2 import VariableDef

from partial_embed._tensorflow import get_from_proto_function
from partial_embed.files.checkpoint import Checkpoint
from partial_embed.table.embedding import FROZEN_VARIABLES
from partial_embed.table.get_embedding import get_embedding
from partial_embed.table.loading import is_optimizer_state, loading_initializer

_GATHERS = ("Gather", "GatherV2", "ResourceGather")
_READS = ("Identity", "ReadVariableOp")
# Where everything is made that is no part of the model, to leave it its names.
_SCOPE = "partial_embed_meta_graph/"
_GRADIENTS = re.compile(r"(^|/)gradients(_\d+)?/")


class GrownGraph(namedtuple("GrownGraph", ["embeddings", "variables"])):
    """What `grow_meta_graph` made.

    Attributes:
        embeddings: dict of table name to `PartialEmbedding`.
        variables: list of the other variables of the model.
    """


def grow_meta_graph(meta, checkpoint, rows, train=(), initializer=None, allow_nonfinite=False):
    """Imports a MetaGraph into the default graph, with tables that have more rows.

    Tensors keep their names. Lookups of the grown tables become lookups of a
    `PartialEmbedding`; what read a table whole reads all its rows. The old
    optimizer, its slots and the old Saver are left out, for they are made for
    the old shapes: train with `minimize`, save with `Saver`.

        with tf.Graph().as_default():
            pe.grow_meta_graph("model.ckpt-50.meta", "model.ckpt-50", {"embedding": 110})
            loss = tf.get_default_graph().get_tensor_by_name("loss:0")
            step = pe.minimize(tf.train.GradientDescentOptimizer(0.1), loss)

    Args:
        meta: path of a `.meta` file, or a `MetaGraphDef`.
        checkpoint: prefix, directory or `Checkpoint` that holds the variables.
        rows: dict of table name to its new number of rows.
        train: pattern or list of patterns of other variables that go on
            training; "all" for those that the MetaGraph says are trainable. The
            others are loaded and frozen.
        initializer: initializer for new rows; the default of `tf.get_variable`.
        allow_nonfinite: load tables that hold NaN or Inf, instead of failing.

    Returns:
        A `GrownGraph`.

    Raises:
        ValueError: if the file is no MetaGraph, a table is not in it (names
            those that are), is partitioned or is read inside a function (as
            tf.cond of TensorFlow 2 makes them), the checkpoint does not fit, or
            the default graph has operations of these names already.
    """
    meta_graph, checkpoint = _read_meta(meta), Checkpoint(checkpoint)
    patterns = [train] if isinstance(train, str) else list(train)
    definitions = _variables(meta_graph)
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    for name in rows:
        if name not in definitions:
            raise ValueError(
                "The MetaGraph has no variable {!r}. It has: {}.{}".format(
                    name,
                    ", ".join(sorted(definitions)),
                    " (The parts of a partitioned table cannot grow.)"
                    if any(known.startswith(name + "/part_") for known in definitions)
                    else "",
                )
            )
    trainable = set(_variables(meta_graph, tf.GraphKeys.TRAINABLE_VARIABLES))
    importer = _Importer(meta_graph, rows)
    importer.check_names()
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
    kept, loads = {}, {}
    for name, definition in definitions.items():
        if name in rows or name not in importer.keep:
            continue
        kept[name] = definition
        if name in checkpoint:
            node = nodes[name]
            shape = [dim.size for dim in node.attr["shape"].shape.dim]
            dtype = tf.as_dtype(node.attr["dtype"].type)
            checkpoint.check(name, dtype, shape)
            initialize = loading_initializer(checkpoint, name, shape, allow_nonfinite)
            with tf.name_scope(_SCOPE):
                loads[definition.initializer_name] = initialize(shape, dtype)
    importer.run(embeddings, loads)
    variables, unmatched = [], set(patterns) - {"all"}
    from_proto = get_from_proto_function(tf.GraphKeys.GLOBAL_VARIABLES)
    for name, definition in kept.items():
        variable = from_proto(definition)
        tf.add_to_collection(tf.GraphKeys.GLOBAL_VARIABLES, variable)
        matching = [p for p in patterns if p == "all" or fnmatch.fnmatchcase(name, p)]
        unmatched.difference_update(matching)
        if name in trainable and (matching or name not in checkpoint):
            tf.add_to_collection(tf.GraphKeys.TRAINABLE_VARIABLES, variable)
        elif name in trainable:
            tf.add_to_collection(FROZEN_VARIABLES, (variable, checkpoint))
        variables.append(variable)
    if unmatched:
        raise ValueError(
            "The patterns {} match no variable but those that grow. There are: {}.".format(
                sorted(unmatched), ", ".join(kept) or "none"
            )
        )
    return GrownGraph(embeddings, variables)


def _read_meta(meta):
    if isinstance(meta, tf.MetaGraphDef):
        return meta
    definition = tf.MetaGraphDef()
    try:
        with tf.gfile.GFile(meta, "rb") as stream:
            definition.ParseFromString(stream.read())
    except Exception as error:
        raise ValueError(
            f"{meta} cannot be read as a MetaGraph: {error}. Expected the .meta file that a Saver "
            "writes."
        ) from error
    return definition


def _variables(meta_graph, key=tf.GraphKeys.GLOBAL_VARIABLES):
    """Returns {name: VariableDef} of one collection."""
    found = {}
    for text in meta_graph.collection_def[key].bytes_list.value:
        definition = VariableDef.FromString(text)
        found[definition.variable_name.split(":")[0]] = definition
    return found


class _Importer:
    """Imports what is not training, with other ops where a table was read.

    A node that looked rows up becomes an Identity of the same name, and so does
    one that read a table whole. What they are the identity of depends on nodes
    of the same import, so that input is set when all of them are there.
    """

    def __init__(self, meta_graph, tables):
        self._meta_graph = meta_graph
        self._tables = set(tables)
        self._nodes = {node.name: node for node in meta_graph.graph_def.node}
        self._gathers = {}  # name of a node that takes rows -> its table
        self._reads = {}  # name of a node that reads all of a table -> its table
        self.keep = self._choose()

    def check_names(self):
        """Raises ValueError if names of the model are in use; it would get others."""
        there = {operation.name for operation in tf.get_default_graph().get_operations()}
        taken = sorted(there & (self.keep | self._tables))
        if taken:
            raise ValueError(
                "The graph has operations of these names already: {}. Open a graph for the model: "
                "with tf.Graph().as_default().".format(", ".join(taken[:5]))
            )

    def _choose(self):
        """Returns the names to import: neither training nor what is made for old shapes."""
        drop = set(self._tables)
        definitions = set(_variables(self._meta_graph))
        trainable = set(_variables(self._meta_graph, tf.GraphKeys.TRAINABLE_VARIABLES))
        for name in definitions - drop:
            if is_optimizer_state(name, name in trainable, definitions):
                drop.add(name)
        for node in self._nodes.values():
            table = self._table_of(node)
            if table is not None and node.op in _READS:
                self._reads[node.name] = table
        for node in self._nodes.values():
            table = self._table_of(node)
            if table is not None and node.op in _GATHERS and self._along_rows(node):
                self._gathers[node.name] = table
        # What writes to a variable in training, takes a table but reads no rows
        # of it (initializers, Savers), and all that comes after it.
        replaced = set(self._gathers) | set(self._reads)
        for node in self._nodes.values():
            writes = "Apply" in node.op or node.op in ("SaveV2", "RestoreV2", "Save", "Restore")
            before = {_node_of(text) for text in node.input}
            if node.name not in replaced and (writes or before & drop):
                self._check_functions(node, before & self._tables)
                drop.add(node.name)
        self._spread(drop, replaced)
        self._drop_gradients(drop)
        return set(self._nodes) - drop

    def _table_of(self, node):
        """The table that a node's first input is, or is the value of; or None."""
        source = _node_of(node.input[0]) if node.input else None
        return source if source in self._tables else self._reads.get(source)

    def _check_functions(self, node, tables):
        """Raises ValueError if a node looks rows up where they cannot be exchanged."""
        calls = any(value.HasField("func") for value in node.attr.values())
        if tables and (calls or node.op == "ResourceGatherNd") and not _GRADIENTS.search(node.name):
            raise ValueError(
                "{} is read inside {} ({}), a function or an op whose lookups cannot be exchanged. "
                "Rebuild the model from its code, under growing.".format(
                    " and ".join(sorted(tables)), node.name, node.op
                )
            )

    def _spread(self, names, without):
        """Adds to `names` all nodes that come after one of them, but for some."""
        consumers = self._consumers()
        todo = list(names)
        while todo:
            for name in consumers.get(todo.pop(), ()):
                if name not in names and name not in without:
                    names.add(name)
                    todo.append(name)

    def _consumers(self):
        consumers = {}
        for node in self._nodes.values():
            for text in node.input:
                consumers.setdefault(_node_of(text), set()).add(node.name)
        return consumers

    def _drop_gradients(self, drop):
        """Adds to `drop` the gradients that only the old training needed.

        They have the old shapes. A loss that is itself made of gradients stays:
        nothing but a gradient comes directly after it.
        """
        consumers = self._consumers()
        inside = {name for name in self._nodes if _GRADIENTS.search(name)}
        candidates = set(inside)
        self._spread(candidates, drop)
        todo = list(candidates - drop)
        while todo:
            name = todo.pop()
            after = consumers.get(name, set())
            if name in drop or not after <= drop:
                continue
            if name in inside or after - inside:
                drop.add(name)
                before = {_node_of(text) for text in self._nodes[name].input}
                todo.extend((before & candidates) - drop)

    def _along_rows(self, node):
        """Whether a gather node takes rows (axis 0), as lookups do."""
        if "batch_dims" in node.attr and node.attr["batch_dims"].i:
            return False
        if node.op != "GatherV2":
            return True
        axis = self._nodes.get(_node_of(node.input[2]))
        return (
            axis is not None
            and axis.op == "Const"
            and not any(tf.make_ndarray(axis.attr["value"].tensor).ravel())
        )

    def run(self, embeddings, loads):
        """Imports everything.

        Args:
            embeddings: dict of table name to `PartialEmbedding`.
            loads: dict of an initializer op's name to the tensor it shall assign.
        """
        # Shapes depend on each other along chains of lookups. They are found in
        # graphs of their own, for a shape cannot be corrected afterwards.
        shapes, found = None, {name: None for name in self._gathers}
        while found != shapes:
            shapes = found
            with tf.Graph().as_default():
                with tf.name_scope(_SCOPE):
                    values = {n: tf.placeholder(e.dtype, e.shape) for n, e in embeddings.items()}
                    fed = {n: tf.placeholder(v.dtype, v.shape) for n, v in loads.items()}
                operations = self._import(embeddings, values, fed, shapes)
                found = {
                    name: _as_list(
                        self._ids(operations[name]).shape.concatenate(embeddings[table].shape[1:])
                    )
                    for name, table in self._gathers.items()
                }
        with tf.name_scope(_SCOPE):
            values = {name: embeddings[name].value() for name in set(self._reads.values())}
        operations = self._import(embeddings, values, loads, shapes)
        for name, table in self._gathers.items():
            with tf.name_scope(None):
                rows = embeddings[table].lookup(self._ids(operations[name]))
            operations[name]._update_input(0, rows)

    def _ids(self, operation):
        """The imported tensor of ids that an imported lookup was given."""
        name, _, output = self._nodes[operation.name].input[1].partition(":")
        return operation.graph.get_tensor_by_name(f"{name}:{output or 0}")

    def _import(self, embeddings, values, loads, shapes):
        """Imports into the default graph; returns {name: operation} of the lookups.

        Args:
            embeddings: see `run`.
            values: dict of table name to its value as one tensor.
            loads: see `run`.
            shapes: dict of lookup name to a list, its shape as far as known, or None.
        """
        definition, mapping = tf.GraphDef(), {}
        old = self._meta_graph.graph_def
        definition.versions.CopyFrom(old.versions)
        definition.library.CopyFrom(old.library)
        for node in old.node:
            if node.name not in self.keep:
                continue
            copy = definition.node.add()
            table = self._gathers.get(node.name) or self._reads.get(node.name)
            if table is None:
                copy.CopyFrom(node)
            else:
                copy.name, copy.op, copy.device = node.name, "Identity", node.device
                copy.attr["T"].type = embeddings[table].dtype.as_datatype_enum
                if node.name in self._gathers:
                    with tf.name_scope(_SCOPE):
                        value = tf.placeholder(embeddings[table].dtype, shapes[node.name])
                else:
                    value = values[table]
                self._map(copy, 0, value, mapping)
            if node.name in loads:
                self._map(copy, 1, loads[node.name], mapping)
            # Shapes are found anew, for the tables have other ones.
            copy.attr.pop("_output_shapes", None)
            # A node that is left out is no place to be near.
            near = [
                text
                for text in copy.attr["_class"].list.s
                if tf.compat.as_text(text).replace("loc:@", "") in self.keep
            ]
            del copy.attr["_class"].list.s[:]
            copy.attr["_class"].list.s.extend(near)
            if not near:
                del copy.attr["_class"]
        with tf.name_scope(None):
            tf.import_graph_def(definition, input_map=mapping, name="")
        there = {operation.name for operation in tf.get_default_graph().get_operations()}
        if not self.keep <= there:
            raise ValueError(
                "Operations cannot have the names that they had: {}.".format(
                    ", ".join(sorted(self.keep - there)[:5])
                )
            )
        graph = tf.get_default_graph()
        return {name: graph.get_operation_by_name(name) for name in self._gathers}

    def _map(self, node, index, tensor, mapping):
        """Makes `tensor` the input `index` of a node that is to be imported."""
        name = f"partial_embed_input/{len(mapping)}"
        mapping[name + ":0"] = tensor
        if index == len(node.input):
            node.input.append(name)
        else:
            node.input[index] = name


def _as_list(shape):
    return None if shape.rank is None else shape.as_list()


def _node_of(text):
    """The node that an input of another node names: `^a`, `a` or `a:1`."""
    return text.lstrip("^").split(":")[0]
