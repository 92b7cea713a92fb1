"""The graph of a run: tables, queries, loss and train op."""

import collections

import tensorflow.compat.v1 as tf

import partial_embed as pe
from knowledge_graph import models, new_rows
from knowledge_graph.settings import OPTIMIZERS

Graph = collections.namedtuple(
    "Graph", "triples entity queries numpy_scores loss train_op global_step saver"
)


def build(config, base, dataset):
    sizes = len(dataset.entities), len(dataset.relations), config.dimension
    # The one place that knows about growing.
    if base.checkpoint:
        starts = new_rows.initializers(config.new_rows, len(base.entities), dataset)
        with pe.growing(base.checkpoint, initializers=starts):
            model = models.MODELS[config.model](*sizes)
    else:
        model = models.MODELS[config.model](*sizes)

    global_step = tf.train.get_or_create_global_step()
    facts = tf.placeholder(tf.int32, [None, 3], name="triples")
    head = tf.nn.embedding_lookup(model.entity, facts[:, 0])
    relation = tf.nn.embedding_lookup(model.relation, facts[:, 1])
    inverse = tf.nn.embedding_lookup(model.inverse, facts[:, 1])
    tail = tf.nn.embedding_lookup(model.entity, facts[:, 2])
    tail_query = model.query(head, relation)
    head_query = model.query(tail, inverse)

    # One against all: which of all entities is the tail, and which is the head?
    loss = 0.0
    for side, (query, target) in enumerate([(tail_query, facts[:, 2]), (head_query, facts[:, 0])]):
        seed = tf.stack([config.seed, 2 * tf.cast(global_step, tf.int32) + side])
        logits = model.scores(_dropout(query, config.dropout, seed) if config.dropout else query)
        loss += tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=target, logits=logits)
        )
    if config.n3:
        cubes = sum(
            tf.reduce_sum(model.cubes(rows), axis=1) for rows in (head, relation, inverse, tail)
        )
        loss += config.n3 * tf.reduce_mean(cubes)

    optimizer_arguments = {}
    if config.optimizer == "Momentum" or config.momentum is not None:
        optimizer_arguments["momentum"] = 0.9 if config.momentum is None else config.momentum
    optimizer = OPTIMIZERS[config.optimizer](config.learning_rate, **optimizer_arguments)
    if base.checkpoint:
        train_op = pe.minimize(optimizer, loss, global_step=global_step)
    else:
        train_op = optimizer.minimize(loss, global_step=global_step)
    queries = [tail_query, head_query]
    saver = pe.Saver(max_to_keep=3)
    return Graph(
        facts, model.entity, queries, model.numpy_scores, loss, train_op, global_step, saver
    )


def _dropout(values, rate, seed):
    """Dropout by its seed alone, so that a stopped run continues with the same masks."""
    kept = tf.random.stateless_uniform(tf.shape(values), seed=seed) >= rate
    return tf.where(kept, values / (1.0 - rate), tf.zeros_like(values))
