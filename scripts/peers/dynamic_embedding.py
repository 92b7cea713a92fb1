"""TensorFlow Recommenders Addons' `dynamic_embedding.Variable`: a hash table of rows.

It grows when a new id is looked up, and trains every row that is: old rows move.
"""

import functools
import json
import sys

import numpy as np
import tensorflow as tf2
import tensorflow_recommenders_addons as tfra
from turns import Player, serve

tf = tf2.compat.v1
tf.disable_eager_execution()  # TFRA has no slots for reference variables.
OPTIMIZERS = {
    "SGD": lambda: tf.train.GradientDescentOptimizer(0.1),
    "Adagrad": lambda: tf.train.AdagradOptimizer(0.1),
    "Adam": lambda: tf.train.AdamOptimizer(0.1),
}
AT_ONCE = 1000000  # rows that are put into the hash table


def main():
    """Serves one plain variable and a hash table of the same rows."""
    sizes = json.loads(sys.argv[1])
    rows, new, dim, batch = (sizes[name] for name in ("rows", "new_rows", "dim", "batch"))
    versions = f"TFRA {tfra.__version__}", f"TensorFlow {tf2.__version__}"
    ids = tf.placeholder(tf.int64, [None])
    variable = tf.get_variable("plain", [rows + new, dim], initializer=tf.zeros_initializer())
    hashed = tfra.dynamic_embedding.get_variable(
        "hashed", dim=dim, initializer=0.0, init_size=rows + new
    )
    looked_up, row_variable = tfra.dynamic_embedding.embedding_lookup(
        hashed, ids, return_trainable=True
    )
    keys = tf.placeholder(tf.int64, [None])
    insert = hashed.upsert(keys, tf.zeros([tf.size(keys), dim]))

    def train(name, looked_up, trains, optimizer):
        weight = tf.get_variable(f"weight_{name}", [dim, 2], initializer=tf.ones_initializer())
        loss = tf.reduce_mean(tf.square(tf.matmul(looked_up, weight) - 1.0))
        return optimizer.minimize(loss, var_list=[trains, weight])

    peer = f"{versions[0]} `dynamic_embedding.Variable`, all rows train; {versions[1]}"
    make = OPTIMIZERS[sizes["optimizer"]]
    ops = {
        f"one `tf.Variable`, all rows train; {versions[1]}": train(
            "plain", tf.nn.embedding_lookup(variable, ids), variable, make()
        ),
        peer: train(
            "hashed",
            looked_up,
            row_variable,
            tfra.dynamic_embedding.DynamicEmbeddingOptimizer(make()),
        ),
    }
    session, random = tf.Session(), np.random.RandomState(0)
    session.run(tf.global_variables_initializer())
    for first in range(0, rows + new, AT_ONCE):
        session.run(insert, {keys: np.arange(first, min(first + AT_ONCE, rows + new))})

    def draw():
        old = random.randint(rows, size=0 if sizes["new"] == "all" else batch // 2)
        return {ids: np.concatenate([old, random.randint(new, size=batch - len(old)) + rows])}

    players = {title: Player(draw, functools.partial(session.run, op)) for title, op in ops.items()}
    about = {"tfra": tfra.__version__, "tensorflow": tf2.__version__, "peer": peer}
    serve(players, about)


if __name__ == "__main__":
    main()
