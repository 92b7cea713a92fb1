"""Matrix factorization with biases (Koren et al. 2009): how does a user rate an item?"""

import numpy as np
import tensorflow.compat.v1 as tf

from models import hyperparameters  # noqa: F401 (defines the flags)


def matrix_factorization(features, sizes, flags):
    """`rating(u, i) = mean + b_u + b_i + p_u . q_i`; squared error, and the norms of its rows.

    Args:
      features: dict of user, item: int [b], and value: float [b].
      sizes: dict of users, items: how many rows there are.
      flags: dimension, l2 and mean are read.

    Returns:
      The loss [], and the metrics `rmse` and `mae` as of `tf.metrics`.
    """
    drawn = tf.random_normal_initializer(stddev=0.1 / np.sqrt(flags.dimension))
    zeros = tf.zeros_initializer()
    user_table = tf.get_variable("user", [sizes["users"], flags.dimension], initializer=drawn)
    item_table = tf.get_variable("item", [sizes["items"], flags.dimension], initializer=drawn)
    user_bias = tf.get_variable("user_bias", [sizes["users"]], initializer=zeros)
    item_bias = tf.get_variable("item_bias", [sizes["items"]], initializer=zeros)
    mean = tf.get_variable("mean", [], initializer=tf.constant_initializer(flags.mean))

    user = tf.nn.embedding_lookup(user_table, features["user"])
    item = tf.nn.embedding_lookup(item_table, features["item"])
    biases = tf.nn.embedding_lookup(user_bias, features["user"])
    biases += tf.nn.embedding_lookup(item_bias, features["item"])
    rating = mean + biases + tf.reduce_sum(user * item, axis=1)

    squares = tf.reduce_sum(user**2 + item**2, axis=1) + biases**2
    loss = tf.reduce_mean((features["value"] - rating) ** 2 + flags.l2 * squares)
    metrics = {
        "rmse": tf.metrics.root_mean_squared_error(features["value"], rating),
        "mae": tf.metrics.mean_absolute_error(features["value"], rating),
    }
    return loss, metrics


matrix_factorization.tables = {
    "user": "users",
    "item": "items",
    "user_bias": "users",
    "item_bias": "items",
}
