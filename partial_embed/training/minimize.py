"""A training step that updates new rows, what is named beside them, and nothing else."""

import contextlib

import tensorflow.compat.v1 as tf
from absl import logging

from partial_embed._tensorflow import PartitionedVariable, Variable
from partial_embed.table.embedding import (
    PartialEmbedding,
    embeddings_in,
    frozen_variables_in,
    parts_of,
)
from partial_embed.table.optimizer_state import owners_in_checkpoint, scope_of
from partial_embed.training.graph import upstream


def minimize(optimizer, loss, embeddings=None, var_list=None, global_step=None, name=None):
    """Returns `optimizer.minimize(loss, var_list=[trainable rows, *var_list])`.

    Args:
        optimizer: any `tf.train` optimizer.
        loss: scalar tensor.
        embeddings: `PartialEmbedding` or list of them whose trainable rows to
            update; default: all in the loss's graph, but for those made with
            trainable=False.
        var_list: more variables to update; none by default.
        global_step: variable to add one to, or None.
        name: name of the op.

    Returns:
        The training op.

    Raises:
        TypeError: if something in the lists is no variable; for a looked-up
            tensor, names the variable to give instead.
        ValueError: if there is nothing to train, a variable is frozen, or the
            loss does not reach one that was asked for.

    Example:
        >>> table = pe.get_embedding("embedding", [7, 4], checkpoint="base.ckpt")
        >>> loss = tf.reduce_sum(table.lookup([0, 6]))
        >>> step = pe.minimize(tf.train.GradientDescentOptimizer(0.5), loss)
        >>> session = tf.Session()
        >>> session.run(tf.global_variables_initializer())
        >>> before = session.run(table)
        >>> session.run(step)
        >>> (session.run(table) != before).any(axis=1).tolist()
        [False, False, False, False, False, False, True]
    """
    everything = embeddings_in(loss.graph)
    if embeddings is not None:
        asked = as_list(embeddings)
    else:  # but those that the script made with trainable=False
        asked = [e for e in everything if e.trainable is None or e.trainable.trainable]
    for embedding in asked:
        if not isinstance(embedding, PartialEmbedding):
            raise TypeError(
                f"embeddings must be PartialEmbeddings, got {_describe(embedding)}. "
                f"{_advice(embedding, everything)}"
            )
    variables = {e.trainable.op.name: e.trainable for e in asked if e.trainable is not None}
    refused = _frozen_in(loss.graph)
    for item in as_list(var_list):
        for variable in expand(item, everything):
            if variable.op.name in refused:
                raise ValueError(f"var_list holds {variable.name}, {refused[variable.op.name]}")
            variables.setdefault(variable.op.name, variable)
    if not variables:
        frozen = [f"all {e.num_frozen_rows} rows of {e.table_name} are frozen" for e in asked]
        why = ", ".join(frozen) or "the graph of the loss has no PartialEmbedding"
        raise ValueError(
            f"Nothing to train: {why} and var_list is empty. Give a table more rows than its "
            "checkpoint holds, or name rows in trainable_rows=."
        )
    gradients = optimizer.compute_gradients(loss, var_list=list(variables.values()))
    missing = [variable for gradient, variable in gradients if gradient is None]
    # A table that was not asked for by name may belong to another loss.
    optional = [] if embeddings is not None else [e.trainable for e in everything]
    required = [v for v in missing if not any(v is known for known in optional)]
    if required or len(missing) == len(variables):
        missing = required or missing
        raise ValueError(
            f"The loss {loss.name} does not reach {', '.join(v.name for v in missing)}, so "
            f"{'it' if len(missing) == 1 else 'they'} would never change. Look its rows up with "
            "lookup(ids) or tf.nn.embedding_lookup and let the loss depend on the result, not on "
            "a copy of the table (a numpy array, tf.stop_gradient, the value of sess.run)."
        )
    for variable in missing:
        logging.warning(
            "The loss %s does not reach %s: it will not change.", loss.name, variable.name
        )
    gradients = [pair for pair in gradients if pair[0] is not None]
    with _scope_of_state(asked):
        return optimizer.apply_gradients(gradients, global_step=global_step, name=name)


@contextlib.contextmanager
def _scope_of_state(embeddings):
    """Opens the scope in which an optimizer's state was made in what the tables grew from.

    A script that makes its optimizer inside a scope looks for slots, and for the powers
    of Adam, by names that begin with it.
    """
    scopes = {
        scope_of(name, embedding.tensor_name)
        for embedding in embeddings
        if embedding.source is not None
        for name, owner in owners_in_checkpoint(embedding.source).items()
        if owner == embedding.tensor_name
    }
    if len(scopes) != 1 or tf.get_variable_scope().name or "" in scopes:
        yield
        return
    (scope,) = scopes
    with tf.variable_scope(scope, auxiliary_name_scope=False), tf.name_scope(scope + "/"):
        yield


def as_list(items):
    """Returns the items of an argument that takes one, several or none, as a list."""
    if items is None:
        return []
    return list(items) if isinstance(items, (list, tuple)) else [items]


def expand(item, everything):
    """Returns the list of variables that one item of a var_list stands for.

    Args:
        item: variable, `PartitionedVariable` or `PartialEmbedding`.
        everything: list of the graph's `PartialEmbedding`s, to give advice by.

    Raises:
        TypeError: if it is none of these; names the variable to give instead.
    """
    if isinstance(item, PartialEmbedding):
        return [] if item.trainable is None else [item.trainable]
    if isinstance(item, (PartitionedVariable, Variable)):
        return parts_of(item)
    raise TypeError(
        f"var_list must hold variables, got {_describe(item)}. {_advice(item, everything)}"
    )


def _frozen_in(graph):
    """{name of a frozen variable's op: what it is, and what to do to train it}."""
    refused = {
        part.op.name: f"the frozen rows of {e.table_name}. Leave it out, or name the rows to train "
        "in trainable_rows=."
        for e in embeddings_in(graph)
        for part in e.frozen_parts
    }
    for variable, _, _ in frozen_variables_in(graph):
        for part in parts_of(variable):
            refused[part.op.name] = (
                "which growing froze. To train it, name it where it is made: growing(checkpoint, "
                f"train={part.op.name!r})."
            )
    return refused


def _describe(item):
    return f"the tensor {item.name}" if isinstance(item, tf.Tensor) else repr(item)


def _advice(item, everything):
    """Which variable to give instead of a looked-up tensor."""
    if not isinstance(item, tf.Tensor):
        return "Give a PartialEmbedding, or a variable from tf.get_variable."
    above = upstream([item])
    reached = [
        f"{e.table_name}.trainable ({e.trainable.name})"
        for e in everything
        if e.trainable is not None and any(v.op in above for v in e.variables)
    ]
    if not reached:
        return "A tensor is a value and cannot be updated; give the variable it was made from."
    return (
        "A looked-up tensor is a value and cannot be updated; give the variable its rows come "
        f"from, {' and '.join(reached)}, or leave it out: minimize(optimizer, loss) finds it."
    )
