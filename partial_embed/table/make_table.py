"""The variables of a table, made by its plan with whatever makes the script's variables."""

import functools

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import variable_store
from partial_embed.table.embedding import (
    PartialEmbedding,
    PartitionedEmbedding,
    embeddings_in,
)
from partial_embed.table.on_disk import Whole, save_as_one_tensor
from partial_embed.table.table_plan import plan_table


def find_or_make(
    getter, name, options, shape=None, dtype=None, initializer=None, reuse=None, **arguments
):
    """Returns the table `name` if it is there and may be used again, else makes it.

    Args:
        getter: what a custom getter is given to make variables with.
        name: full name of the table, scopes included.
        options: dict of the arguments of `plan_table` that are not named here.
        shape, dtype, initializer, reuse, **arguments: what a custom getter is given.
    """
    shape = tf.TensorShape(np.shape(initializer) if shape is None else shape)
    dtype = tf.as_dtype(dtype or tf.float32).base_dtype
    if reuse is True or name in variable_store():  # TensorFlow finds it, or says why it may not
        found = getter(name, shape=shape, dtype=dtype, reuse=reuse)
        if not isinstance(found, PartialEmbedding):
            raise ValueError(f"{name} was made as a plain variable before, and cannot grow now.")
        return found
    plan = plan_table(name, shape, dtype, initializer, **options)
    return make_table(getter, plan, reuse=reuse, **arguments)


def make_table(
    getter,
    plan,
    trainable=None,
    partitioner=None,
    regularizer=None,
    constraint=None,
    collections=None,
    **arguments,
):
    """Returns a `PartialEmbedding`, with new variables that a `TablePlan` says.

    Args:
        getter: what a custom getter is given to make variables with.
        plan: `TablePlan`.
        trainable: False if the new rows do not train either.
        partitioner: the script's, for the frozen variable alone.
        regularizer, constraint: for the trainable one alone.
        collections, **arguments: for both.
    """
    if any(e.table_name == plan.name for e in embeddings_in()):  # of tf.Variable
        raise ValueError(f"The table {plan.name} already exists.")

    def variable(half, rows, **more):
        if not len(rows):
            return None
        return getter(
            f"{plan.name}/{half}",
            shape=plan.part_shape(len(rows)),
            dtype=plan.dtype,
            initializer=plan.initial_values(rows),
            **dict(arguments, **more),
        )

    frozen = variable(
        "frozen",
        plan.rows.frozen_rows(),
        trainable=False,
        partitioner=partitioner or plan.partitioner,
        # Those of the script are for what trains.
        collections=collections
        and [key for key in collections if key != tf.GraphKeys.TRAINABLE_VARIABLES],
    )
    new = variable(
        "trainable",
        plan.rows.trainable_rows,
        trainable=trainable,
        regularizer=regularizer,
        constraint=constraint,
        collections=collections,
    )
    embedding = (PartitionedEmbedding if partitioner else PartialEmbedding)(plan, frozen, new)
    save_as_one_tensor(embedding, plan)
    embedding.saveable = functools.partial(Whole, embedding)
    # A scope that asks for it again, here or later, is given this object.
    variable_store()[plan.name] = embedding
    return embedding
