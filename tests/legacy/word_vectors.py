"""Skip-gram word vectors: python word_vectors.py TEXT MODEL [EPOCHS].

A word's id is its rank by frequency; MODEL.words lists the words in that order.
"""

import collections
import sys

import numpy as np
import tensorflow.compat.v1 as tf

tf.disable_v2_behavior()

batch_size = 16
embedding_size = 6
skip_window = 2
num_sampled = 8


def build_dataset(text_file, words_file):
    with open(text_file) as f:
        words = f.read().split()
    count = [("UNK", -1)] + collections.Counter(words).most_common()
    dictionary = {word: rank for rank, (word, _) in enumerate(count)}
    with open(words_file, "w") as f:
        f.write("\n".join(word for word, _ in count) + "\n")
    return [dictionary[word] for word in words], dictionary


def skip_grams(data):
    pairs = []
    for i, center in enumerate(data):
        for j in range(max(0, i - skip_window), min(len(data), i + skip_window + 1)):
            if j != i:
                pairs.append((center, data[j]))
    return np.array(pairs)


def main(text_file, model_file, epochs=3):
    data, dictionary = build_dataset(text_file, model_file + ".words")
    vocabulary_size = len(dictionary)
    pairs = skip_grams(data)

    graph = tf.Graph()
    with graph.as_default():
        tf.set_random_seed(13)
        train_inputs = tf.placeholder(tf.int32, shape=[None])
        train_labels = tf.placeholder(tf.int32, shape=[None, 1])
        valid_dataset = tf.constant(np.arange(1, 5), dtype=tf.int32)

        with tf.name_scope("embeddings"):
            embeddings = tf.Variable(
                tf.random_uniform([vocabulary_size, embedding_size], -1.0, 1.0)
            )
            embed = tf.nn.embedding_lookup(embeddings, train_inputs)
        with tf.name_scope("weights"):
            stddev = 1.0 / np.sqrt(embedding_size)
            nce_weights = tf.Variable(
                tf.truncated_normal([vocabulary_size, embedding_size], stddev=stddev)
            )
        with tf.name_scope("biases"):
            nce_biases = tf.Variable(tf.zeros([vocabulary_size]))

        with tf.name_scope("loss"):
            loss = tf.reduce_mean(
                tf.nn.nce_loss(
                    weights=nce_weights,
                    biases=nce_biases,
                    labels=train_labels,
                    inputs=embed,
                    num_sampled=num_sampled,
                    num_classes=vocabulary_size,
                )
            )
        optimizer = tf.train.GradientDescentOptimizer(0.5).minimize(loss)

        norm = tf.sqrt(tf.reduce_sum(tf.square(embeddings), 1, keepdims=True))
        normalized_embeddings = embeddings / norm
        valid_embeddings = tf.nn.embedding_lookup(normalized_embeddings, valid_dataset)
        similarity = tf.matmul(valid_embeddings, normalized_embeddings, transpose_b=True)
        init = tf.global_variables_initializer()
        saver = tf.train.Saver()

    with tf.Session(graph=graph) as session:
        init.run()
        if tf.train.checkpoint_exists(model_file):
            saver.restore(session, model_file)
        for epoch in range(epochs):
            average_loss = 0.0
            for i in range(0, len(pairs), batch_size):
                inputs, labels = pairs[i : i + batch_size].T
                feed_dict = {train_inputs: inputs, train_labels: labels[:, None]}
                average_loss += session.run([loss, optimizer], feed_dict=feed_dict)[0]
            nearest = similarity.eval().argsort(1)[:, -2]
            print("epoch", epoch, "loss", average_loss / len(pairs), "nearest", nearest.tolist())
        saver.save(session, model_file)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 3)
