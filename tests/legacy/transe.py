"""TransE with a margin loss, as one wrote it in 2017: python transe.py TRIPLES MODEL [EPOCHS].

TRIPLES is a text file: the numbers of entities and relations, then `head relation tail` a line.
"""

import sys

import numpy as np
import tensorflow.compat.v1 as tf

tf.disable_v2_behavior()

hidden_size = 8
margin = 1.0
learning_rate = 0.05
batch_size = 16


def load(path):
    with open(path) as f:
        n_entity, n_relation = [int(n) for n in f.readline().split()]
        triples = np.array([[int(n) for n in line.split()] for line in f], np.int32)
    return n_entity, n_relation, triples


def corrupt(triples, n_entity, rng):
    negative = triples.copy()
    replace_head = rng.rand(len(triples)) < 0.5
    random_entity = rng.randint(0, n_entity, len(triples))
    negative[replace_head, 0] = random_entity[replace_head]
    negative[~replace_head, 2] = random_entity[~replace_head]
    return negative


def build_model(n_entity, n_relation):
    positive = tf.placeholder(tf.int32, [None, 3], name="positive")
    negative = tf.placeholder(tf.int32, [None, 3], name="negative")
    xavier = tf.glorot_uniform_initializer(seed=1)
    ent_embeddings = tf.get_variable("ent_embeddings", [n_entity, hidden_size], initializer=xavier)
    rel_embeddings = tf.get_variable(
        "rel_embeddings", [n_relation, hidden_size], initializer=xavier
    )

    pos_h = tf.nn.embedding_lookup(ent_embeddings, positive[:, 0])
    pos_r = tf.nn.embedding_lookup(rel_embeddings, positive[:, 1])
    pos_t = tf.nn.embedding_lookup(ent_embeddings, positive[:, 2])
    neg_h = tf.nn.embedding_lookup(ent_embeddings, negative[:, 0])
    neg_r = tf.nn.embedding_lookup(rel_embeddings, negative[:, 1])
    neg_t = tf.nn.embedding_lookup(ent_embeddings, negative[:, 2])

    pos_h, pos_t = tf.nn.l2_normalize(pos_h, 1), tf.nn.l2_normalize(pos_t, 1)
    neg_h, neg_t = tf.nn.l2_normalize(neg_h, 1), tf.nn.l2_normalize(neg_t, 1)
    pos_score = tf.reduce_sum(tf.abs(pos_h + pos_r - pos_t), 1, name="score")
    neg_score = tf.reduce_sum(tf.abs(neg_h + neg_r - neg_t), 1)
    loss = tf.reduce_sum(tf.maximum(pos_score - neg_score + margin, 0), name="loss")

    global_step = tf.Variable(0, name="global_step", trainable=False)
    optimizer = tf.train.GradientDescentOptimizer(learning_rate)
    train_op = optimizer.minimize(loss, global_step=global_step)
    return positive, negative, loss, train_op


def main(triples_file, model_file, epochs=10):
    n_entity, n_relation, triples = load(triples_file)
    rng = np.random.RandomState(7)
    with tf.variable_scope("model"):
        positive, negative, loss, train_op = build_model(n_entity, n_relation)

    saver = tf.train.Saver()
    config = tf.ConfigProto(inter_op_parallelism_threads=1, intra_op_parallelism_threads=1)
    with tf.Session(config=config) as sess:
        sess.run(tf.global_variables_initializer())
        if tf.train.checkpoint_exists(model_file):
            saver.restore(sess, model_file)
        for epoch in range(epochs):
            rng.shuffle(triples)
            total = 0.0
            for i in range(0, len(triples), batch_size):
                batch = triples[i : i + batch_size]
                feed = {positive: batch, negative: corrupt(batch, n_entity, rng)}
                total += sess.run([loss, train_op], feed)[0]
            print("epoch", epoch, "loss", total)
        saver.save(sess, model_file)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 10)
