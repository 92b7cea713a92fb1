"""`Facts`: what a graph says about its variables and a loss, gathered once for `audit`."""

import re
import typing

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import Variable
from partial_embed.table.embedding import (
    PartialEmbedding,
    embeddings_in,
    frozen_variables_in,
    parts_of,
)
from partial_embed.table.plan import rows_of
from partial_embed.training.graph import PLAIN_ASSIGN, blocked_by, find_writers, upstream
from partial_embed.training.minimize import as_list, expand

_GRADIENTS = re.compile(r"(^|/)gradients(_\d+)?/")


class Facts(typing.NamedTuple):
    """What the checks judge by, gathered once. Variables go by the names of their ops."""

    embeddings: list  # of PartialEmbedding
    adam: bool  # whether the optimizer moves rows that were in earlier batches
    operations: list  # all of the graph, but for what the audit adds
    above: set  # the operations that the loss depends on
    writers: dict  # name -> the ops that write to it, but for loading it
    frozen: dict  # name -> (variable, what it is), of those that are to stay
    gradients: dict  # name -> (variable, its gradient), of those that may train
    trained: set  # names of those that are to train
    left_out: str  # why the others are not
    samples: list  # of (table, ids of a batch)


def gather(loss, optimizer, var_list, ids, embeddings):
    """Returns the `Facts` of the default graph, which has the loss; for arguments see `audit`."""
    embeddings = embeddings_in() if embeddings is None else as_list(embeddings)
    samples = _samples(ids, embeddings)
    operations = loss.graph.get_operations()
    writers = find_writers(operations)
    frozen = {
        part.op.name: (part, f"{rows_of(part, e.plan.axis)} frozen rows of {e.table_name}")
        for e in embeddings
        for part in e.frozen_parts
    }
    for variable, _, _ in frozen_variables_in():
        frozen.update({v.op.name: (v, "frozen whole by growing") for v in parts_of(variable)})
    tables = [e.trainable for e in embeddings if e.trainable is not None]
    trainable = [v for v in tf.trainable_variables() if isinstance(v, Variable)]
    learns = {v.op.name for v in tables + trainable}
    moved, by_hand = [], []
    for variable in tf.global_variables() + tables:
        name = variable.op.name
        # A plain assignment loads a variable, and trains none.
        its = [op for op in writers.get(name, ()) if op.type not in PLAIN_ASSIGN]
        if any("Apply" in op.type or name in learns and _has_gradient(op) for op in its):
            moved.append(variable)
        elif its and name in learns:
            by_hand.append(variable)
    moved = moved or by_hand  # Beside an optimizer they clip, or normalize.
    if var_list is not None:
        trained = [v for item in as_list(var_list) for v in expand(item, embeddings)]
        left_out = "not in the var_list"
    elif moved and optimizer is None:
        trained, left_out = moved, "no training op updates it"
    else:
        trained, left_out = trainable, "not trainable"
    may_train = {v.op.name: v for v in trained + tables + trainable if v.op.name not in frozen}
    gradients = zip(may_train.values(), _gradients(loss, list(may_train.values())))
    return Facts(
        embeddings=embeddings,
        adam=isinstance(optimizer, tf.train.AdamOptimizer),
        operations=operations,
        above=upstream([loss], control=False),
        writers=writers,
        frozen=frozen,
        gradients=dict(zip(may_train, gradients)),
        trained={v.op.name for v in trained},
        left_out=left_out,
        samples=samples,
    )


def why_no_gradient(variable, above):
    """Returns in words why a loss, with these operations above it, gives a variable none."""
    if variable.op not in above:
        return "the loss does not reach it"
    stops = blocked_by(variable.op, above)
    if not stops:
        return "the loss reaches it by no op that has a gradient"
    return f"no gradient passes {' and '.join(stops[:3])}"


def _has_gradient(op):
    """Whether what an op writes depends on a gradient, by the scope that these are made in."""
    return any(_GRADIENTS.search(other.name) for other in upstream(op.inputs, control=False))


def _gradients(loss, variables):
    try:
        with tf.name_scope("partial_embed_audit"):
            return tf.gradients(loss, variables) if variables else []
    except LookupError:  # an op in between that nobody gave a gradient
        if len(variables) == 1:
            return [None]
        return [_gradients(loss, [variable])[0] for variable in variables]


def _samples(ids, embeddings):
    """Returns [(table, its ids in the sample), ...]."""
    by_name = {e.table_name: e for e in embeddings}
    names = ", ".join(sorted(by_name)) or "none: make one with growing or get_embedding"
    if ids is not None and not isinstance(ids, dict):
        if len(by_name) != 1:
            raise ValueError(
                f"The graph has {len(by_name)} tables ({names}); give ids as a dict of table name "
                "to ids."
            )
        ids = {embeddings[0]: ids}
    found = []
    for table, sample in (ids or {}).items():
        name = table.table_name if isinstance(table, PartialEmbedding) else table
        if name not in by_name:
            raise ValueError(f"No table {name!r}; there are: {names}.")
        found.append((by_name[name], np.ravel(np.asarray(sample))))
    return found
