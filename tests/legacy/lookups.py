"""A model of which only the files are left: python lookups.py MODEL.

All the ways in which one script reads a table: lookups, ids that are looked up themselves, sparse
ids, the table as a whole; and an optimizer with slots, a clipped gradient, a summary.
"""

import sys

import numpy as np
import tensorflow.compat.v1 as tf

tf.disable_v2_behavior()


def build_model(entities, use_resource=False):
    with tf.variable_scope("model", use_resource=use_resource):
        embedding = tf.get_variable("embedding", [entities, 4])
        successor = tf.get_variable(
            "successor",
            initializer=(np.arange(entities) * 2 % entities).astype(np.int32),
            trainable=False,
        )
        weight = tf.get_variable("weight", [4, 2])
        bias = tf.get_variable("bias", [2], initializer=tf.zeros_initializer())
    global_step = tf.train.get_or_create_global_step()

    ids = tf.placeholder(tf.int32, [None], name="ids")
    labels = tf.placeholder(tf.int32, [None], name="labels")
    rows = tf.nn.embedding_lookup(embedding, ids, name="rows")
    chain = tf.nn.embedding_lookup(embedding, tf.gather(successor, ids), name="chain")
    bag = tf.sparse_placeholder(tf.int64, name="bag")
    bags = tf.nn.embedding_lookup_sparse(embedding, bag, None, combiner="mean", name="bags")
    tf.matmul(rows, embedding, transpose_b=True, name="scores")
    tf.nn.l2_normalize(embedding, 1, name="unit")
    tf.gather(embedding, [1, 0], axis=1, name="columns")

    logits = tf.nn.bias_add(tf.matmul(tf.nn.dropout(rows, rate=0.0) * chain, weight), bias)
    logits = tf.add(logits, tf.reduce_sum(bags), name="logits")
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    loss = tf.reduce_mean(losses, name="loss")
    tf.summary.scalar("loss", loss)
    optimizer = tf.train.MomentumOptimizer(0.1, 0.9)
    gradients, variables = zip(*optimizer.compute_gradients(loss))
    gradients, _ = tf.clip_by_global_norm(gradients, 5.0)
    optimizer.apply_gradients(zip(gradients, variables), global_step=global_step, name="train")


def feed(ids):
    cells = [[number, 0] for number in range(len(ids))]
    return {
        "ids:0": ids,
        "labels:0": np.asarray(ids) % 2,
        "bag/indices:0": cells,
        "bag/values:0": ids,
        "bag/shape:0": [len(ids), 1],
    }


def main(model_file, entities=6, steps=3, use_resource=False):
    with tf.Graph().as_default(), tf.Session() as sess:
        tf.set_random_seed(8)
        build_model(entities, use_resource)
        sess.run(tf.global_variables_initializer())
        for _ in range(steps):
            sess.run("train", feed([0, 1, 2, 3, 3, 5]))
        tf.train.Saver().save(sess, model_file)


if __name__ == "__main__":
    main(sys.argv[1])
