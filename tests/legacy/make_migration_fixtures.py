"""Writes tests/data/migration again: an old model, and what scripts/migration/tf1.py makes of it.

Run by genuine TensorFlow 1.15.5, and by no other:

    python tests/legacy/make_migration_fixtures.py
"""

import os
import runpy
import sys
import tempfile

import numpy as np
import tensorflow as tf

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DATA = os.path.join(ROOT, "tests", "data", "migration")
SCRIPTS = os.path.join(ROOT, "scripts", "migration")


def train_old(prefix, n_e, d):
    """Trains the asker's first model, on all pairs of n_e entities, and saves it."""
    pairs = np.array([(i, j) for i in range(n_e) for j in range(n_e) if i != j])
    alike = (pairs.sum(1) % 2 == 0).astype(np.float32)
    with tf.Graph().as_default(), tf.Session() as sess:
        xavier = tf.contrib.layers.xavier_initializer(uniform=False, seed=0)
        e = tf.get_variable("embedding", [n_e, d], initializer=xavier)
        left, right = tf.unstack(tf.nn.embedding_lookup(e, pairs), axis=1)
        scores = tf.reduce_sum(left * right, 1)
        loss = tf.nn.sigmoid_cross_entropy_with_logits(labels=alike, logits=scores)
        global_step = tf.train.get_or_create_global_step()
        optimizer = tf.train.GradientDescentOptimizer(0.01)
        train = optimizer.minimize(tf.reduce_sum(loss), global_step)
        sess.run(tf.global_variables_initializer())
        for _ in range(50):
            sess.run(train)
        tf.train.Saver().save(sess, prefix, write_meta_graph=False, write_state=False)


def main():
    assert tf.__version__ == "1.15.5", tf.__version__
    sys.path.insert(0, SCRIPTS)
    import pairs

    if not os.path.isdir(DATA):
        os.makedirs(DATA)
    old = os.path.join(DATA, "old.ckpt")
    train_old(old, pairs.n_old, pairs.d)
    with tempfile.TemporaryDirectory() as directory:
        sys.argv = ["tf1.py", old, os.path.join(directory, "grown.ckpt")]
        names = runpy.run_path(os.path.join(SCRIPTS, "tf1.py"))
        grown = tf.train.load_checkpoint(sys.argv[2]).get_tensor("embedding")
    with tf.Session() as sess:  # where the new rows started
        sess.run(names["e"].initializer)
        start = sess.run(names["e"])
    np.savez(os.path.join(DATA, "grown.npz"), start=start, grown=grown)


if __name__ == "__main__":
    main()
