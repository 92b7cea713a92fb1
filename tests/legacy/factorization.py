"""Matrix factorisation with biases: python factorization.py RATINGS MODEL [EPOCHS].

RATINGS is a text file: the numbers of users and items, then `user item rating` a line.
"""

import sys

import numpy as np
import tensorflow.compat.v1 as tf

tf.disable_v2_behavior()

K = 5
REGULARIZATION = 0.02


def read_ratings(path):
    with open(path) as f:
        n_users, n_items = map(int, f.readline().split())
        rows = np.array([line.split() for line in f], np.float32)
    return n_users, n_items, rows[:, 0].astype(int), rows[:, 1].astype(int), rows[:, 2]


def main(ratings_file, model_file, epochs=10):
    n_users, n_items, users, items, ratings = read_ratings(ratings_file)
    with tf.Graph().as_default():
        tf.set_random_seed(5)
        user_ids = tf.placeholder(tf.int32, [None], name="user")
        item_ids = tf.placeholder(tf.int32, [None], name="item")
        rating = tf.placeholder(tf.float32, [None], name="rating")

        init = tf.random_normal_initializer(stddev=0.1)
        with tf.variable_scope("mf", initializer=init):
            P = tf.get_variable("P", [n_users, K])
            Q = tf.get_variable("Q", [n_items, K])
            b_u = tf.get_variable("b_u", [n_users], initializer=tf.zeros_initializer())
            b_i = tf.get_variable("b_i", [n_items], initializer=tf.zeros_initializer())
            mu = tf.get_variable("mu", [], initializer=tf.constant_initializer(3.0))

        p = tf.nn.embedding_lookup(P, user_ids)
        q = tf.nn.embedding_lookup(Q, item_ids)
        bias = tf.gather(b_u, user_ids) + tf.gather(b_i, item_ids) + mu
        predicted = tf.add(tf.reduce_sum(tf.multiply(p, q), 1), bias, name="predicted")
        penalty = tf.nn.l2_loss(p) + tf.nn.l2_loss(q)
        cost = tf.reduce_sum(tf.square(predicted - rating)) + REGULARIZATION * penalty

        global_step = tf.train.get_or_create_global_step()
        rate = tf.train.exponential_decay(0.02, global_step, 50, 0.9, staircase=True)
        optimizer = tf.train.AdamOptimizer(rate)
        gradients, variables = zip(*optimizer.compute_gradients(cost))
        gradients, _ = tf.clip_by_global_norm(gradients, 5.0)
        train = optimizer.apply_gradients(zip(gradients, variables), global_step=global_step)

        saver = tf.train.Saver(max_to_keep=1)
        with tf.Session() as sess:
            sess.run(tf.global_variables_initializer())
            if tf.train.checkpoint_exists(model_file):
                saver.restore(sess, model_file)
            for _ in range(epochs):
                feed = {user_ids: users, item_ids: items, rating: ratings}
                sess.run(train, feed)
            saver.save(sess, model_file)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 10)
