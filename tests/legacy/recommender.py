"""A recommender that owns its graph and session: python recommender.py RATINGS MODEL [STEPS].

It trains until its own step counter, which is saved with the model, says STEPS.
"""

import sys

import numpy as np
import tensorflow.compat.v1 as tf

tf.disable_v2_behavior()


class Recommender:
    def __init__(self, n_users, n_items, n_factors=5, learning_rate=0.05, reg=0.01):
        self.graph = tf.Graph()
        with self.graph.as_default():
            tf.set_random_seed(19)
            self._build(n_users, n_items, n_factors, learning_rate, reg)
            self.saver = tf.train.Saver(max_to_keep=2)
        self.session = tf.Session(graph=self.graph)
        with self.graph.as_default():
            self.session.run(tf.global_variables_initializer())

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.session.close()

    def _build(self, n_users, n_items, n_factors, learning_rate, reg):
        self.user = tf.placeholder(tf.int32, [None])
        self.item = tf.placeholder(tf.int32, [None])
        self.rating = tf.placeholder(tf.float32, [None])

        shape = [n_users, n_factors]
        self.users = tf.Variable(tf.truncated_normal(shape, stddev=0.1), name="users")
        shape = [n_items, n_factors]
        self.items = tf.Variable(tf.truncated_normal(shape, stddev=0.1), name="items")
        self.user_bias = tf.Variable(tf.zeros([n_users]), name="user_bias")
        self.item_bias = tf.Variable(tf.zeros([n_items]), name="item_bias")
        self.mean = tf.Variable(3.0, name="mean")
        self.global_step = tf.Variable(0, name="global_step", trainable=False)

        p = tf.nn.embedding_lookup(self.users, self.user)
        q = tf.nn.embedding_lookup(self.items, self.item)
        bias = tf.nn.embedding_lookup(self.user_bias, self.user)
        bias += tf.nn.embedding_lookup(self.item_bias, self.item)
        self.prediction = tf.reduce_sum(p * q, 1) + bias + self.mean
        self.loss = tf.nn.l2_loss(self.prediction - self.rating)
        self.loss += reg * (tf.nn.l2_loss(self.users) + tf.nn.l2_loss(self.items))
        optimizer = tf.train.AdamOptimizer(learning_rate)
        self.train_op = optimizer.minimize(self.loss, global_step=self.global_step)

    def fit(self, ratings, model_file, steps):
        if tf.train.checkpoint_exists(model_file):
            self.saver.restore(self.session, model_file)
        feed = {self.user: ratings[:, 0], self.item: ratings[:, 1], self.rating: ratings[:, 2]}
        step = self.session.run(self.global_step)
        while step < steps:
            _, step = self.session.run([self.train_op, self.global_step], feed)
        self.saver.save(self.session, model_file)


def main(ratings_file, model_file, steps=12):
    with open(ratings_file) as f:
        n_users, n_items = (int(n) for n in f.readline().split())
        ratings = np.array([line.split() for line in f], np.float32)
    with Recommender(n_users, n_items) as model:
        model.fit(ratings, model_file, steps)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 12)
