"""A small recurrent language model: python language_model.py TOKENS MODEL [EPOCHS].

TOKENS is a text file: the size of the vocabulary, then a sentence of ids a line.
"""

import sys

import numpy as np
import tensorflow.compat.v1 as tf
import partial_embed as pe

tf.disable_v2_behavior()


class Config(object):  # noqa: UP004
    init_scale = 0.1
    learning_rate = 1.0
    max_grad_norm = 5
    hidden_size = 6
    max_epoch = 2
    lr_decay = 0.5
    batch_size = 10


class LanguageModel(object):  # noqa: UP004
    def __init__(self, is_training, config, vocab_size, num_steps):
        size = config.hidden_size
        self.tokens = tf.placeholder(tf.int32, [None, num_steps + 1])

        embedding = tf.get_variable("embedding", [vocab_size, size])
        inputs = tf.nn.embedding_lookup(embedding, self.tokens[:, :-1])
        rnn_w = tf.get_variable("rnn_w", [2 * size, size])
        rnn_b = tf.get_variable("rnn_b", [size], initializer=tf.zeros_initializer())
        state, outputs = tf.zeros_like(inputs[:, 0]), []
        for step in range(num_steps):
            state = tf.tanh(tf.matmul(tf.concat([inputs[:, step], state], 1), rnn_w) + rnn_b)
            outputs.append(state)
        output = tf.reshape(tf.stack(outputs, 1), [-1, size])

        softmax_w = tf.get_variable("softmax_w", [size, vocab_size])
        softmax_b = tf.get_variable("softmax_b", [vocab_size])
        logits = tf.matmul(output, softmax_w) + softmax_b
        targets = tf.reshape(self.tokens[:, 1:], [-1])
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits)
        self.cost = tf.reduce_mean(loss)
        if not is_training:
            return

        self.lr = tf.Variable(0.0, trainable=False, name="lr")
        tvars = tf.trainable_variables()
        grads, _ = tf.clip_by_global_norm(tf.gradients(self.cost, tvars), config.max_grad_norm)
        optimizer = tf.train.GradientDescentOptimizer(self.lr)
        global_step = tf.train.get_or_create_global_step()
        self.train_op = optimizer.apply_gradients(zip(grads, tvars), global_step=global_step)
        self.new_lr = tf.placeholder(tf.float32, shape=[], name="new_learning_rate")
        self.lr_update = tf.assign(self.lr, self.new_lr)


def main(tokens_file, model_file, epochs=8):
    with open(tokens_file) as f:
        vocab_size = int(f.readline())
        data = np.array([line.split() for line in f], np.int32)
    config = Config()
    with tf.Graph().as_default(), pe.growing("language_model.ckpt"):
        tf.set_random_seed(17)
        initializer = tf.random_uniform_initializer(-config.init_scale, config.init_scale)
        with tf.variable_scope("Model", reuse=None, initializer=initializer):
            m = LanguageModel(True, config, vocab_size, data.shape[1] - 1)
        with tf.variable_scope("Model", reuse=True, initializer=initializer):
            mvalid = LanguageModel(False, config, vocab_size, data.shape[1] - 1)

        saver = tf.train.Saver()
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            if tf.train.checkpoint_exists(model_file):
                saver.restore(session, model_file)
            for i in range(epochs):
                lr_decay = config.lr_decay ** max(i + 1 - config.max_epoch, 0.0)
                session.run(m.lr_update, {m.new_lr: config.learning_rate * lr_decay})
                for j in range(0, len(data), config.batch_size):
                    session.run(m.train_op, {m.tokens: data[j : j + config.batch_size]})
                cost = session.run(mvalid.cost, {mvalid.tokens: data})
                print("Epoch: %d Perplexity: %.3f" % (i + 1, np.exp(cost)))  # noqa: UP031
            saver.save(session, model_file)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 8)
