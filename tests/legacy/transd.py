"""TransD in a class that owns its graph and session: python transd.py TRIPLES MODEL [EPOCHS]."""

import sys

import numpy as np
import tensorflow.compat.v1 as tf

tf.disable_v2_behavior()


class Config(object):  # noqa: UP004
    hidden_size = 6
    margin = 1.0
    alpha = 0.05
    batch_size = 16

    def __init__(self, triples_file):
        with open(triples_file) as f:
            self.entTotal, self.relTotal = [int(n) for n in f.readline().split()]
            self.triples = np.array([[int(n) for n in line.split()] for line in f], np.int64)
        self.rng = np.random.RandomState(11)

    def sampling(self, batch):
        corrupted = batch.copy()
        corrupted[:, 2] = self.rng.randint(0, self.entTotal, len(batch))
        return corrupted


class TransD(object):  # noqa: UP004
    def __init__(self, config):
        self.config = config
        self.graph = tf.Graph()
        with self.graph.as_default():
            tf.set_random_seed(3)
            self.sess = tf.Session(graph=self.graph)
            with tf.variable_scope("model"):
                self.embedding_def()
                self.loss_def()
                optimizer = tf.train.AdagradOptimizer(config.alpha)
                grads_and_vars = optimizer.compute_gradients(self.loss)
                self.train_op = optimizer.apply_gradients(grads_and_vars)
            self.saver = tf.train.Saver()
            self.sess.run(tf.global_variables_initializer())

    def embedding_def(self):
        config = self.config
        self.ent_embeddings = tf.get_variable(
            name="ent_embeddings", shape=[config.entTotal, config.hidden_size]
        )
        self.rel_embeddings = tf.get_variable(
            name="rel_embeddings", shape=[config.relTotal, config.hidden_size]
        )
        self.ent_transfer = tf.get_variable(
            name="ent_transfer", shape=[config.entTotal, config.hidden_size]
        )
        self.rel_transfer = tf.get_variable(
            name="rel_transfer", shape=[config.relTotal, config.hidden_size]
        )
        self.pos = tf.placeholder(tf.int64, [None, 3])
        self.neg = tf.placeholder(tf.int64, [None, 3])

    def _transfer(self, e, t, r):
        return tf.nn.l2_normalize(e + tf.reduce_sum(e * t, 1, keepdims=True) * r, 1)

    def _calc(self, triple):
        h, r, t = tf.unstack(triple, axis=1)
        h_e = tf.nn.embedding_lookup(self.ent_embeddings, h)
        t_e = tf.nn.embedding_lookup(self.ent_embeddings, t)
        r_e = tf.nn.embedding_lookup(self.rel_embeddings, r)
        h_t = tf.nn.embedding_lookup(self.ent_transfer, h)
        t_t = tf.nn.embedding_lookup(self.ent_transfer, t)
        r_t = tf.nn.embedding_lookup(self.rel_transfer, r)
        return tf.abs(self._transfer(h_e, h_t, r_t) + r_e - self._transfer(t_e, t_t, r_t))

    def loss_def(self):
        p_score = tf.reduce_sum(self._calc(self.pos), 1, keepdims=True)
        n_score = tf.reduce_sum(self._calc(self.neg), 1, keepdims=True)
        self.loss = tf.reduce_sum(tf.maximum(p_score - n_score + self.config.margin, 0))

    def run(self, epochs):
        config = self.config
        for _ in range(epochs):
            config.rng.shuffle(config.triples)
            for i in range(0, len(config.triples), config.batch_size):
                batch = config.triples[i : i + config.batch_size]
                feed = {self.pos: batch, self.neg: config.sampling(batch)}
                self.sess.run(self.train_op, feed)


def main(triples_file, model_file, epochs=10):
    model = TransD(Config(triples_file))
    if tf.train.checkpoint_exists(model_file):
        model.saver.restore(model.sess, model_file)
    model.run(epochs)
    model.saver.save(model.sess, model_file)
    model.sess.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 10)
