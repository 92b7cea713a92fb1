"""Two entities more: the program of tf1.py, line for line, by hand, for TensorFlow 2.

  python scripts/migration/compat.py tests/data/migration/old.ckpt /tmp/grown.ckpt

Runs on TensorFlow 1.15 as well. What differs from tf1.py: two lines at the top, and a line where
contrib was.
"""

import sys

import tensorflow.compat.v1 as tf
from pairs import batches, d, n_e, n_old

tf.disable_v2_behavior()

old_path, new_path = sys.argv[1:]
pairs = tf.placeholder(tf.int32, [None, 2])
labels = tf.placeholder(tf.float32, [None])

xavier = tf.truncated_normal_initializer(stddev=(2.6 / (n_e - n_old + d)) ** 0.5, seed=1)
scale = ((n_e - n_old + d) / float(n_e + d)) ** 0.5  # as rows of all, not of a table of two
e_old = tf.get_variable("embedding", [n_old, d], trainable=False)
e = tf.get_variable("e", initializer=scale * xavier([n_e - n_old, d]))


def look_up(ids):  # all of them old, or all new
    return tf.cond(
        ids[0] >= n_old,
        lambda: tf.nn.embedding_lookup(e, ids - n_old),
        lambda: tf.nn.embedding_lookup(e_old, ids),
    )


scores = tf.reduce_sum(look_up(pairs[:, 0]) * look_up(pairs[:, 1]), axis=1)
loss = tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=scores))
global_step = tf.train.get_or_create_global_step()
optimizer = tf.train.GradientDescentOptimizer(0.01)
train = optimizer.apply_gradients(optimizer.compute_gradients(loss), global_step)

whole = tf.get_variable("whole", [n_e, d], trainable=False)
join = tf.assign(whole, tf.concat([e_old, e], axis=0))

with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    tf.train.Saver({"embedding": e_old}).restore(sess, old_path)
    for ids, alike in batches():
        sess.run(train, {pairs: ids, labels: alike})
    sess.run(join)
    tf.train.Saver({"embedding": whole, "global_step": global_step}).save(sess, new_path)
