"""Two entities more: the program of tf1.py with partial_embed, for TensorFlow 1.15 and 2.

  python scripts/migration/with_partial_embed.py tests/data/migration/old.ckpt /tmp/grown.ckpt

What is left is the script that trained the old model, with more entities. Batches may mix old and
new ids as they like.
"""

import sys

import tensorflow.compat.v1 as tf
from pairs import batches, d, n_e

import partial_embed as pe

tf.disable_v2_behavior()

old_path, new_path = sys.argv[1:]
pairs = tf.placeholder(tf.int32, [None, 2])
labels = tf.placeholder(tf.float32, [None])

xavier = pe.xavier_initializer(uniform=False, seed=1)
with pe.growing(old_path):
    e = tf.get_variable("embedding", [n_e, d], initializer=xavier)

left, right = tf.unstack(tf.nn.embedding_lookup(e, pairs), axis=1)
scores = tf.reduce_sum(left * right, axis=1)
loss = tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=scores))
global_step = tf.train.get_or_create_global_step()
optimizer = tf.train.GradientDescentOptimizer(0.01)
train = optimizer.apply_gradients(optimizer.compute_gradients(loss), global_step)

with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for ids, alike in batches():
        sess.run(train, {pairs: ids, labels: alike})
    pe.Saver().save(sess, new_path)
