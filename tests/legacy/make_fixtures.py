"""Writes tests/data/legacy again: the checkpoints that the original scripts leave behind.

Run by genuine TensorFlow 1.15.5 (`make legacy-fixtures`), and by no other, so that the
checkpoints are what someone has who trained a model in 2018:

    python tests/legacy/make_fixtures.py [DIRECTORY]
"""

import importlib
import os
import shutil
import sys

import numpy as np
import tensorflow as tf

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(os.path.dirname(HERE), "data", "legacy")
# The data of each script; larger data is in `more_` and the same name.
SCRIPTS = {
    "transe": "triples.txt",
    "transd": "triples.txt",
    "factorization": "ratings.txt",
    "word_vectors": "text.txt",
    "language_model": "tokens.txt",
    "recommender": "ratings.txt",
    "encoder": "tokens.txt",
    "graph_recommender": "ratings.txt",
    "estimator": "labels.txt",
}


def write_triples(path, entities, relations, count, seed, ratings=False):
    """Writes a text file of `count` triples, in which every id occurs."""
    rng = np.random.RandomState(seed)
    everyone = np.arange(max(entities, relations))
    rows = np.stack(
        [
            np.concatenate([everyone % entities, rng.randint(0, entities, count)]),
            np.concatenate([everyone % relations, rng.randint(0, relations, count)]),
            np.concatenate([everyone[::-1] % entities, rng.randint(0, entities, count)]),
        ],
        axis=1,
    )
    if ratings:
        rows[:, 2] = rng.randint(1, 6, len(rows))
    with open(path, "w") as stream:
        stream.write(f"{entities} {relations}\n")
        for row in rows:
            stream.write(" ".join(map(str, row)) + "\n")


def write_text(path, words, count, seed):
    """Writes `count` words, each of the given ones at least twice; some are frequent."""
    rng = np.random.RandomState(seed)
    frequencies = 1.0 / np.arange(1, len(words) + 1)
    drawn = rng.choice(words, count, p=frequencies / frequencies.sum())
    text = np.concatenate([words, words, drawn])
    rng.shuffle(text)
    with open(path, "w") as stream:
        for start in range(0, len(text), 12):
            stream.write(" ".join(text[start : start + 12]) + "\n")


def write_tokens(path, size, count, seed):
    """Writes `count` sentences of 6 ids, and as many that have each id from 1 on at each place."""
    rng = np.random.RandomState(seed)
    everyone = (np.arange(size - 1)[:, None] + 3 * np.arange(6)) % (size - 1) + 1
    sentences = np.concatenate([everyone, rng.randint(1, size, [count, 6])])
    rng.shuffle(sentences)
    with open(path, "w") as stream:
        stream.write(f"{size}\n")
        for sentence in sentences:
            stream.write(" ".join(map(str, sentence)) + "\n")


def write_labels(path, words, count, seed):
    """Writes `count` words with their label, and each of the words once."""
    rng = np.random.RandomState(seed)
    with open(path, "w") as stream:
        stream.write(" ".join(words) + "\n")
        for word in [*words, *rng.choice(words, count)]:
            stream.write(f"{word} {int(word[1:]) % 3}\n")


def write_data(directory):
    """Writes the data of the old models, and larger data for the grown ones."""
    write_triples(os.path.join(directory, "triples.txt"), 24, 3, 60, seed=1)
    write_triples(os.path.join(directory, "more_triples.txt"), 27, 3, 60, seed=2)
    write_triples(os.path.join(directory, "ratings.txt"), 14, 20, 80, seed=3, ratings=True)
    write_triples(os.path.join(directory, "more_ratings.txt"), 16, 23, 80, seed=4, ratings=True)
    words = [f"w{number}" for number in range(18)]
    # Others are frequent in the larger text, and some words are no longer there.
    others = [f"w{number}" for number in range(21, 1, -1)]
    write_text(os.path.join(directory, "text.txt"), words, 120, seed=5)
    write_text(os.path.join(directory, "more_text.txt"), others, 150, seed=6)
    write_tokens(os.path.join(directory, "tokens.txt"), 16, 15, seed=7)
    write_tokens(os.path.join(directory, "more_tokens.txt"), 19, 15, seed=8)
    write_labels(os.path.join(directory, "labels.txt"), words[:10], 40, seed=9)
    write_labels(os.path.join(directory, "more_labels.txt"), words[:13], 40, seed=10)


def move_checkpoint(directory, prefix):
    """Moves the last checkpoint of an Estimator out of its directory, and removes that."""
    last = tf.train.latest_checkpoint(directory)
    for path in tf.gfile.Glob(last + ".*"):
        if not path.endswith(".meta"):
            os.rename(path, prefix + path[len(last) :])
    shutil.rmtree(directory)


def main(directory):
    if tf.__version__ != "1.15.5":
        sys.exit(f"Genuine TensorFlow 1.15.5 is needed, this is {tf.__version__}.")
    if not os.path.isdir(directory):
        os.makedirs(directory)
    os.chdir(directory)
    sys.path.insert(0, HERE)
    write_data(directory)
    for script, data in SCRIPTS.items():
        directory = script if script == "estimator" else script + ".ckpt"
        with tf.Graph().as_default():
            importlib.import_module(script).main(data, directory)
        if script == "estimator":
            move_checkpoint(directory, script + ".ckpt")
        elif script != "factorization":  # whose MetaGraph is kept too
            os.remove(script + ".ckpt.meta")
    importlib.import_module("lookups").main("lookups.ckpt")
    os.remove("checkpoint")


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else DATA))
