"""`grow_meta_graph`: a model whose code is lost, from its `.meta` file, with larger tables."""

import fnmatch
import re
from collections import namedtuple

import tensorflow.compat.v1 as tf
from tensorflow.core.framework.variable_pb2 import VariableDef

from partial_embed._tensorflow import get_from_proto_function
from partial_embed.checkpoint import Checkpoint
from partial_embed.embedding import FROZEN_VARIABLES
from partial_embed.get_embedding import get_embedding
from partial_embed.growing import is_optimizer_state, loading_initializer

_GATHERS = ("Gather", "GatherV2", "ResourceGather")
_READS = ("Identity", "ReadVariableOp")


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
            those that are) or is partitioned, or the checkpoint does not fit.
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
        )
    importer = _Importer(meta_graph, embeddings)
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
            loads[definition.initializer_name] = initialize(shape, dtype)
    importer.run(loads)
    variables = []
    from_proto = get_from_proto_function(tf.GraphKeys.GLOBAL_VARIABLES)
    for name, definition in kept.items():
        variable = from_proto(definition)
        tf.add_to_collection(tf.GraphKeys.GLOBAL_VARIABLES, variable)
        wanted = any(p == "all" or fnmatch.fnmatchcase(name, p) for p in patterns)
        if name in trainable and (wanted or name not in checkpoint):
            tf.add_to_collection(tf.GraphKeys.TRAINABLE_VARIABLES, variable)
        elif name in trainable:
            tf.add_to_collection(FROZEN_VARIABLES, (variable, checkpoint))
        variables.append(variable)
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
            "{} cannot be read as a MetaGraph: {}. Expected the .meta file that a Saver "
            "writes.".format(meta, error)
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
    """Imports a graph in stages: what a lookup's ids need, the lookup, and so on.

    A lookup takes the place of a gather node. Its ids come out of the graph
    that is being imported, and what uses it goes into the same graph.
    """

    def __init__(self, meta_graph, embeddings):
        self._meta_graph = meta_graph
        self._embeddings = embeddings
        self._nodes = {node.name: node for node in meta_graph.graph_def.node}
        self._tensors = {}  # what stands for a tensor of the old graph: name -> tensor
        self._done = set()
        self._gathers = []  # (gather node, its embedding)
        self._reads = []  # (read node, its embedding)
        self.keep = self._choose()

    def _choose(self):
        """Returns the names to import: neither training nor what is made for old shapes."""
        drop = set(self._embeddings)
        definitions = set(_variables(self._meta_graph))
        trainable = set(_variables(self._meta_graph, tf.GraphKeys.TRAINABLE_VARIABLES))
        for name in definitions - drop:
            if is_optimizer_state(name, name in trainable, definitions):
                drop.add(name)
        reads = {}
        for node in self._nodes.values():
            sources = [_node_of(text) for text in node.input]
            if not sources:
                continue
            table = self._embeddings.get(sources[0]) or reads.get(sources[0])
            if table is not None and node.op in _READS:
                reads[node.name] = table
                self._reads.append((node, table))
        for node in self._nodes.values():
            sources = [_node_of(text) for text in node.input]
            table = sources and (self._embeddings.get(sources[0]) or reads.get(sources[0]))
            if table is not None and node.op in _GATHERS and self._along_rows(node):
                self._gathers.append((node, table))
        # What writes to a variable in training, reads a table but is no lookup
        # (initializers, Savers), and all that comes after it.
        replaced = {node.name for node, _ in self._gathers + self._reads}
        for node in self._nodes.values():
            writes = "Apply" in node.op or node.op in ("SaveV2", "RestoreV2", "Save", "Restore")
            if node.name not in replaced and (
                writes or any(_node_of(text) in drop for text in node.input)
            ):
                drop.add(node.name)
        self._spread(drop, replaced)
        self._drop_gradients(drop)
        return set(self._nodes) - drop - replaced

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
        scope = re.compile(r"(^|/)gradients(_\d+)?/")
        inside = {name for name in self._nodes if scope.search(name)}
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
        if node.op != "GatherV2":
            return True
        axis = self._nodes.get(_node_of(node.input[2]))
        return (
            axis is not None
            and axis.op == "Const"
            and not any(tf.make_ndarray(axis.attr["value"].tensor).ravel())
        )

    def run(self, loads):
        """Imports everything.

        Args:
            loads: dict of an initializer op's name to the tensor it shall assign.
        """
        self._loads = loads
        for node, table in self._reads:
            self._stand_in(node.name, table.value())
        pending = list(self._gathers)
        while pending:
            ready = [item for item in pending if not self._waits_for(item[0], pending)]
            for item in ready or pending[:1]:
                node, table = item
                ids = node.input[1]
                self._import(self._ancestors([_node_of(ids)]))
                self._stand_in(node.name, table.lookup(self._tensor(ids)))
                pending.remove(item)
        self._import(self.keep - self._done)

    def _waits_for(self, node, pending):
        names = {other.name for other, _ in pending}
        return bool(self._ancestors([_node_of(node.input[1])], through_done=True) & names)

    def _ancestors(self, names, through_done=False):
        """The nodes to import for `names`; replaced ones are seen but not passed."""
        seen, todo = set(), list(names)
        while todo:
            name = todo.pop()
            if name in seen or name not in self._nodes:
                continue
            seen.add(name)
            if name in self.keep and (through_done or name not in self._done):
                todo.extend(_node_of(text) for text in self._nodes[name].input)
        return seen if through_done else (seen & self.keep) - self._done

    def _stand_in(self, name, tensor):
        """Puts `tensor` in the place, and under the name, of an old node's output."""
        with tf.name_scope(None):
            self._tensors[name] = tf.identity(tensor, name=name)

    def _tensor(self, text):
        name, _, output = text.partition(":")
        if name in self._tensors:
            return self._tensors[name]
        return tf.get_default_graph().get_tensor_by_name("{}:{}".format(name, output or 0))

    def _import(self, names):
        if not names:
            return
        definition = tf.GraphDef()
        old = self._meta_graph.graph_def
        definition.versions.CopyFrom(old.versions)
        definition.library.CopyFrom(old.library)
        mapping = {}
        for node in old.node:
            if node.name not in names:
                continue
            copy = definition.node.add()
            copy.CopyFrom(node)
            if node.name in self._loads:
                mapping["partial_embed_load/" + node.name + ":0"] = self._loads[node.name]
                copy.input[1] = "partial_embed_load/" + node.name
            # Shapes are found anew, for the tables have other ones.
            copy.attr.pop("_output_shapes", None)
            # A node that is left out, or stands elsewhere now, is no place to be near.
            near = [
                text
                for text in copy.attr["_class"].list.s
                if tf.compat.as_text(text).replace("loc:@", "") in names
            ]
            del copy.attr["_class"].list.s[:]
            copy.attr["_class"].list.s.extend(near)
            if not near:
                del copy.attr["_class"]
            inputs = []
            for text in copy.input:
                name = _node_of(text)
                outside = name not in names and name in self._nodes
                if not outside:
                    inputs.append(text)
                elif text.startswith("^"):
                    # Done already, or replaced by something that needs no waiting for.
                    continue
                else:
                    tensor_name = text if ":" in text else text + ":0"
                    mapping[tensor_name] = self._tensor(text)
                    inputs.append(text)
            del copy.input[:]
            copy.input.extend(inputs)
        with tf.name_scope(None):
            tf.import_graph_def(definition, input_map=mapping, name="")
        self._done |= set(names)


def _node_of(text):
    """The node that an input of another node names: `^a`, `a` or `a:1`."""
    return text.lstrip("^").split(":")[0]
