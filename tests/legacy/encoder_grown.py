"""An encoder with a tied output: python encoder.py TOKENS MODEL [STEPS].

TOKENS is a text file: the size of the vocabulary, then a sentence of ids a line.
"""

import sys

import numpy as np
import tensorflow.compat.v1 as tf
import partial_embed as pe

tf.disable_v2_behavior()

HIDDEN = 6
MASK = 0


def layer_norm(x, name):
    with tf.variable_scope(name):
        beta = tf.get_variable("beta", [HIDDEN], initializer=tf.zeros_initializer())
        gamma = tf.get_variable("gamma", [HIDDEN], initializer=tf.ones_initializer())
        mean, variance = tf.nn.moments(x, [-1], keepdims=True)
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-6)


def batch_norm(x, is_training, name, momentum=0.9):
    with tf.variable_scope(name):
        beta = tf.get_variable("beta", [HIDDEN], initializer=tf.zeros_initializer())
        gamma = tf.get_variable("gamma", [HIDDEN], initializer=tf.ones_initializer())
        moving_mean = tf.get_variable(
            "moving_mean", [HIDDEN], initializer=tf.zeros_initializer(), trainable=False
        )
        moving_variance = tf.get_variable(
            "moving_variance", [HIDDEN], initializer=tf.ones_initializer(), trainable=False
        )
        mean, variance = tf.nn.moments(x, [0, 1])
        for moving, value in ((moving_mean, mean), (moving_variance, variance)):
            update = tf.assign_sub(moving, (moving - value) * (1 - momentum))
            tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, update)
        mean = tf.where(is_training, mean, moving_mean)
        variance = tf.where(is_training, variance, moving_variance)
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-3)


def encoder(tokens, vocab_size, is_training):
    init = tf.truncated_normal_initializer(stddev=0.2)
    with tf.variable_scope("bert", initializer=init):
        table = tf.get_variable("word_embeddings", [vocab_size, HIDDEN])
        positions = tf.get_variable("position_embeddings", [8, HIDDEN])
        x = tf.gather(table, tokens) + positions[: tokens.shape[1]]
        x = layer_norm(x, "LayerNorm")
        kernel = tf.get_variable("kernel", [HIDDEN, HIDDEN])
        x += tf.nn.relu(tf.tensordot(x + tf.reduce_mean(x, 1, keepdims=True), kernel, 1))
        return batch_norm(x, is_training, "bn"), table


def main(tokens_file, model_file, steps=40):
    with open(tokens_file) as f:
        vocab_size = int(f.readline())
        data = np.array([line.split() for line in f], np.int32)
    with tf.Graph().as_default(), pe.growing("encoder.ckpt", hold="*/moving_*"):
        tf.set_random_seed(23)
        tokens = tf.placeholder(tf.int32, [None, data.shape[1]])
        gap = tf.placeholder(tf.int32, [])
        is_training = tf.placeholder_with_default(False, [])
        x, table = encoder(tokens, vocab_size, is_training)
        with tf.variable_scope("cls/predictions"):
            bias = tf.get_variable("output_bias", [vocab_size], initializer=tf.zeros_initializer())
        logits = tf.matmul(x[:, gap], table, transpose_b=True)
        logits = tf.nn.bias_add(logits, bias, name="logits")
        labels = tf.placeholder(tf.int32, [None])
        loss = tf.losses.sparse_softmax_cross_entropy(labels, logits)
        global_step = tf.train.get_or_create_global_step()
        with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
            train_op = tf.train.AdamOptimizer(0.01).minimize(loss, global_step)

        saver = pe.Saver()
        with tf.Session() as sess:
            sess.run(tf.global_variables_initializer())
            if tf.train.checkpoint_exists(model_file):
                saver.restore(sess, model_file)
            for step in range(steps):
                at = step % data.shape[1]
                masked = data.copy()
                masked[:, at] = MASK
                feed = {tokens: masked, gap: at, labels: data[:, at], is_training: True}
                sess.run(train_op, feed)
            saver.save(sess, model_file)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 40)
