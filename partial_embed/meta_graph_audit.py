"""`audit_meta_graph`: what can be done with a model of which only the files are left."""

import re

import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import variable_definitions
from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.growth import DELTA_KEY
from partial_embed.meta_graph import grow_meta_graph, read_meta
from partial_embed.saving.inventory import Inventory
from partial_embed.table.optimizer_state import is_state_of
from partial_embed.training.audit import Audit, Finding, VariableReport, audit

_LARGE_CONSTANT_BYTES = 1 << 20


def audit_meta_graph(meta, checkpoint, rows=None, loss=None):
    """Says which tables of a MetaGraph can grow, and what does not fit its checkpoint.

    Whether a table can grow is tried, with one row more, in a graph that is thrown away. Given
    `rows`, the model is grown by them as `grow_meta_graph` does; given the name of its loss
    too, the result is that of `audit` of that loss.

    Args:
        meta: path of a `.meta` file, or a `MetaGraphDef`.
        checkpoint: prefix, directory or `Checkpoint` that holds the variables.
        rows: dict of table name to its new number of rows, or None.
        loss: name of a tensor or operation, like "loss" or "loss:0", or None.

    Returns:
        An `Audit`. Without a loss, its reports say of each variable whether it is trainable, and
        whether it can grow.

    Raises:
        ValueError: if a file cannot be read, a table of `rows` cannot grow, or there is no
            such loss.
    """
    meta_graph, checkpoint = read_meta(meta), Checkpoint(checkpoint)
    if loss is not None:
        with tf.Graph().as_default() as graph:
            grow_meta_graph(meta_graph, checkpoint, rows or {}, outputs=[loss])
            tensor = graph.get_tensor_by_name(loss if ":" in loss else loss + ":0")
            optimizer = tf.train.GradientDescentOptimizer(1.0)
            return audit(tensor, optimizer=optimizer, show=None)
    definitions = variable_definitions(meta_graph, tf.GraphKeys.GLOBAL_VARIABLES)
    trainable = variable_definitions(meta_graph, tf.GraphKeys.TRAINABLE_VARIABLES)
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    if rows:
        with tf.Graph().as_default():
            grow_meta_graph(meta_graph, checkpoint, rows)
    reports, findings = [], []
    for name in definitions:
        if name not in trainable and is_state_of(nodes, name, definitions):
            continue
        shape = [dim.size for dim in nodes[name].attr["shape"].shape.dim]
        problem = _problem(name, shape, checkpoint)
        if problem is not None and problem not in findings:
            findings.append(problem)
        why = "" if problem else _growth(meta_graph, checkpoint, name, shape)
        reports.append(VariableReport(name, shape, name in trainable, "", why))
    tables = {_grown(name, checkpoint) for name in definitions}
    untaken = [name for name in Inventory(checkpoint).variables if name not in definitions]
    untaken = sorted(set(untaken) - tables)
    if untaken:
        findings.append(
            Finding(
                checkpoint.prefix,
                f"it holds {', '.join(untaken[:12])}, and no variable of the graph is called so",
                "Take the .meta file that was saved with it.",
            )
        )
    findings += _constants(nodes.values())
    return Audit(reports, findings)


def _problem(name, shape, checkpoint):
    """Returns the `Finding` of what is wrong with a variable, None if it is as it was saved."""
    if DELTA_KEY in checkpoint:
        raise ValueError(f"{checkpoint.prefix} is a delta. Merge it with its base first.")
    take = "the .meta file that was saved with it."
    table = _grown(name, checkpoint)
    if table:
        problem = "it has grown in this graph, in two parts, old rows and new ones"
        return Finding(table, problem, "Take the .meta file from before it grew.")
    if name not in checkpoint:
        return Finding(name, "the checkpoint does not hold it", f"Take {take}")
    held = list(checkpoint.shapes[name])
    if held != shape:
        problem = f"it is {shape} in the graph and {held} in the checkpoint"
        fewer = len(held) == len(shape) and all(its <= new for its, new in zip(held, shape))
        grow = "Grow the checkpoint to that shape, or take" if fewer else "Take"
        return Finding(name, problem, f"{grow} {take}")
    return None


def _grown(name, checkpoint):
    """Returns the name of the table of which a variable is a part, None if it is none."""
    table, _, part = name.rpartition("/")
    is_part = part in ("frozen", "trainable") and name not in checkpoint and table in checkpoint
    return table if is_part else None


def _growth(meta_graph, checkpoint, name, shape):
    """Returns whether a variable can grow, in words."""
    if not shape:
        return ""
    try:
        with tf.Graph().as_default() as graph:
            grow_meta_graph(meta_graph, checkpoint, {name: shape[0] + 1})
            looked_up = any(op.type == "DynamicStitch" for op in graph.get_operations())
    except ValueError as error:
        # TensorFlow says of which node, and all that it knows of it.
        said = str(error.__cause__ or error)
        reason = re.sub(r" for '({{node )?([^ '}]+).*", r" in \2", said, flags=re.DOTALL)
        return f"cannot grow: {reason.split('. ')[0]}"
    return "can grow: its rows are looked up" if looked_up else "can grow, and is read whole"


def _constants(nodes):
    for node in nodes:
        size = node.ByteSize() if node.op == "Const" else 0
        if size >= _LARGE_CONSTANT_BYTES:
            yield Finding(
                node.name,
                f"a constant of {size / 1e6:.0f} MB in the graph, which cannot pass 2 GB",
                "A table that grows is loaded from the checkpoint; the constant is not.",
            )
