"""A graph recommender: python graph_recommender.py RATINGS MODEL [EPOCHS].

Tables of users and items are propagated over the graph of who rated what.
"""

import sys

import numpy as np
import tensorflow.compat.v1 as tf
import partial_embed as pe

tf.disable_v2_behavior()

EMB_DIM = 5
N_LAYERS = 2
DECAY = 1e-3


def load(ratings_file):
    with open(ratings_file) as f:
        n_users, n_items = map(int, f.readline().split())
        rows = np.array([line.split() for line in f], np.int64)
    item_features = np.zeros([n_items, 5], np.float32)  # how often which rating
    np.add.at(item_features, (rows[:, 1], rows[:, 2] - 1), 1.0)
    return n_users, n_items, rows[:, 0], rows[:, 1], item_features


def normalized_adjacency(users, items, n_users, n_items):
    edges = sorted({(u, n_users + i) for u, i in zip(users, items)})
    edges = np.array(sorted(edges + [(i, u) for u, i in edges]), np.int64)
    degree = np.bincount(edges[:, 0], minlength=n_users + n_items)
    values = 1.0 / np.sqrt(degree[edges[:, 0]] * degree[edges[:, 1]])
    shape = [n_users + n_items, n_users + n_items]
    return tf.SparseTensor(edges, values.astype(np.float32), shape)


class Model(object):  # noqa: UP004
    def __init__(self, n_users, n_items, adjacency, item_features):
        self.users = tf.placeholder(tf.int32, shape=(None,))
        self.pos_items = tf.placeholder(tf.int32, shape=(None,))
        self.neg_items = tf.placeholder(tf.int32, shape=(None,))
        self.weights = self._init_weights(n_users, n_items, item_features)

        items = self.weights["item_embedding"] + tf.matmul(
            self.weights["item_features"], self.weights["W"]
        )
        ego_embeddings = tf.concat([self.weights["user_embedding"], items], axis=0)
        all_embeddings = [ego_embeddings]
        for _ in range(N_LAYERS):
            ego_embeddings = tf.sparse_tensor_dense_matmul(adjacency, ego_embeddings)
            all_embeddings += [ego_embeddings]
        all_embeddings = tf.reduce_mean(tf.stack(all_embeddings, 1), axis=1)
        self.ua_embeddings, self.ia_embeddings = tf.split(all_embeddings, [n_users, n_items], 0)

        u = tf.nn.embedding_lookup(self.ua_embeddings, self.users)
        pos = tf.nn.embedding_lookup(self.ia_embeddings, self.pos_items)
        neg = tf.nn.embedding_lookup(self.ia_embeddings, self.neg_items)
        margin = tf.reduce_sum(u * pos, axis=1) - tf.reduce_sum(u * neg, axis=1)
        u_pre = tf.nn.embedding_lookup(self.weights["user_embedding"], self.users)
        self.loss = tf.reduce_mean(tf.nn.softplus(-margin)) + DECAY * tf.nn.l2_loss(u_pre)
        self.opt = tf.train.AdamOptimizer(learning_rate=0.02).minimize(self.loss)

    def _init_weights(self, n_users, n_items, item_features):
        xavier = tf.glorot_uniform_initializer()
        return {
            "user_embedding": tf.Variable(xavier([n_users, EMB_DIM]), name="user_embedding"),
            "item_embedding": tf.Variable(xavier([n_items, EMB_DIM]), name="item_embedding"),
            "item_features": tf.Variable(item_features, name="item_features", trainable=False),
            "W": tf.Variable(xavier([item_features.shape[1], EMB_DIM]), name="W"),
        }


def main(ratings_file, model_file, epochs=10):
    n_users, n_items, users, items, item_features = load(ratings_file)
    rng = np.random.RandomState(29)
    with tf.Graph().as_default(), pe.growing("graph_recommender.ckpt"):
        tf.set_random_seed(29)
        adjacency = normalized_adjacency(users, items, n_users, n_items)
        model = Model(n_users, n_items, adjacency, item_features)
        saver = pe.Saver()
        with tf.Session() as sess:
            sess.run(tf.global_variables_initializer())
            if tf.train.checkpoint_exists(model_file):
                saver.restore(sess, model_file)
            for _ in range(epochs):
                feed = {model.users: users, model.pos_items: items}
                feed[model.neg_items] = rng.randint(0, n_items, len(items))
                sess.run(model.opt, feed_dict=feed)
            outputs = sess.run([model.ua_embeddings, model.ia_embeddings])
            saver.save(sess, model_file)
    return outputs


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 10)
