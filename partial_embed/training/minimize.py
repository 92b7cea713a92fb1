"""A training step that updates new rows, what is named beside them, and nothing else."""

import tensorflow.compat.v1 as tf
from absl import logging

from partial_embed._tensorflow import PartitionedVariable, Variable
from partial_embed.table.embedding import (
    PartialEmbedding,
    embeddings_in,
    frozen_variables_in,
    parts_of,
)
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
    """
    everything = embeddings_in(loss.graph)
    if embeddings is not None:
        asked = _as_list(embeddings)
    else:  # but those that the script made with trainable=False
        asked = [e for e in everything if e.trainable is None or e.trainable.trainable]
    for embedding in asked:
        if not isinstance(embedding, PartialEmbedding):
            raise TypeError(
                f"embeddings must be PartialEmbeddings, got {_describe(embedding)}. "
                f"{_advice(embedding, everything)}"
            )
    variables = [e.trainable for e in asked if e.trainable is not None]
    if asked and not variables and not var_list:
        raise ValueError(
            "Nothing to train: {}. Give the table more rows than its checkpoint holds, or name "
            "rows in trainable_rows=.".format(
                ", ".join(
                    f"all {e.num_frozen_rows} rows of {e.table_name} are frozen" for e in asked
                )
            )
        )
    frozen = {id(part): e for e in everything for part in e.frozen_parts}
    frozen_whole = {
        id(part) for variable, _ in frozen_variables_in(loss.graph) for part in parts_of(variable)
    }
    for item in _as_list(var_list):
        for variable in expand(item, everything):
            if id(variable) in frozen:
                raise ValueError(
                    f"var_list holds {variable.name}, the frozen rows of "
                    f"{frozen[id(variable)].table_name}. Leave it out, or name the rows to "
                    "train in trainable_rows=."
                )
            if id(variable) in frozen_whole:
                raise ValueError(
                    f"var_list holds {variable.name}, which growing froze. To train it, name it "
                    "where it is "
                    f"made: growing(checkpoint, train={variable.op.name!r})."
                )
            if not any(variable is known for known in variables):
                variables.append(variable)
    if not variables:
        raise ValueError(
            "Nothing to train: the graph of the loss has no PartialEmbedding and var_list is empty."
        )
    gradients = optimizer.compute_gradients(loss, var_list=variables)
    missing = [variable for gradient, variable in gradients if gradient is None]
    # A table that was not asked for by name may belong to another loss.
    optional = [e.trainable for e in everything] if embeddings is None else []
    required = [v for v in missing if not any(v is known for known in optional)]
    if required or len(missing) == len(variables):
        raise ValueError(
            "The loss {} does not reach {}, so {} would never change. Look its rows up with "
            "lookup(ids) or tf.nn.embedding_lookup and let the loss depend on the result, not on "
            "a copy of the table (a numpy array, tf.stop_gradient, the value of sess.run).".format(
                loss.name,
                ", ".join(v.name for v in required or missing),
                "it" if len(required or missing) == 1 else "they",
            )
        )
    for variable in missing:
        logging.warning(
            "The loss %s does not reach %s: it will not change.", loss.name, variable.name
        )
    gradients = [pair for pair in gradients if pair[0] is not None]
    return optimizer.apply_gradients(gradients, global_step=global_step, name=name)


def _as_list(items):
    if items is None:
        return []
    return list(items) if isinstance(items, (list, tuple)) else [items]


def expand(item, everything):
    """The variables that one item of a var_list stands for."""
    if isinstance(item, PartialEmbedding):
        return [] if item.trainable is None else [item.trainable]
    if isinstance(item, PartitionedVariable):
        return list(item)
    if isinstance(item, Variable):
        return [item]
    raise TypeError(
        f"var_list must hold variables, got {_describe(item)}. {_advice(item, everything)}"
    )


def _describe(item):
    return f"the tensor {item.name}" if isinstance(item, tf.Tensor) else repr(item)


def _advice(item, everything):
    """Which variable to give instead of a looked-up tensor."""
    if not isinstance(item, tf.Tensor):
        return "Give a PartialEmbedding, or a variable from tf.get_variable."
    above = upstream([item])
    reached = [
        e for e in everything if e.trainable is not None and any(v.op in above for v in e.variables)
    ]
    if not reached:
        return "A tensor is a value and cannot be updated; give the variable it was made from."
    return (
        "A looked-up tensor is a value and cannot be updated; give the variable its rows come "
        "from, {}, or leave it out: minimize(optimizer, loss) finds it.".format(
            " and ".join(f"{e.table_name}.trainable ({e.trainable.name})" for e in reached)
        )
    )
