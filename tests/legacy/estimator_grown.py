"""A canned Estimator with feature columns: python estimator.py LABELS MODEL_DIR [STEPS].

LABELS is a text file: the known words on one line, then `word label` a line.
"""

import sys

import tensorflow.compat.v1 as tf
import partial_embed as pe

tf.disable_v2_behavior()


def load(labels_file):
    with open(labels_file) as f:
        words = f.readline().split()
        rows = [line.split() for line in f]
    return words, [row[0] for row in rows], [int(row[1]) for row in rows]


def train_input_fn(words, labels):
    dataset = tf.data.Dataset.from_tensor_slices(({"word": words}, labels))
    return dataset.repeat().batch(16)


def main(labels_file, model_dir, steps=30):
    vocabulary, words, labels = load(labels_file)
    word = tf.feature_column.categorical_column_with_vocabulary_list("word", vocabulary)
    classifier = tf.estimator.DNNClassifier(
        hidden_units=[5],
        feature_columns=[tf.feature_column.embedding_column(word, dimension=4)],
        model_dir=model_dir,
        n_classes=3,
        config=tf.estimator.RunConfig(tf_random_seed=31),
    )
    with pe.growing("estimator.ckpt"):
        classifier.train(lambda: train_input_fn(words, labels), steps=steps)
    metrics = classifier.evaluate(lambda: train_input_fn(words, labels), steps=4)
    print("accuracy", metrics["accuracy"])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 30)
