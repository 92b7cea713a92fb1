"""Writes tests/data/legacy again: the checkpoints that the original scripts leave behind.

Run by genuine TensorFlow 1.15.5 (`make legacy-fixtures`), and by no other, so that the
checkpoints are what someone has who trained a model in 2018:

    python tests/legacy/make_fixtures.py [DIRECTORY]
"""

import importlib
import os
import sys

import numpy as np
import tensorflow as tf

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(os.path.dirname(HERE), "data", "legacy")
SCRIPTS = ("transe", "transd", "factorization")


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


def write_data(directory):
    """Writes the data of the old models, and larger data for the grown ones."""
    write_triples(os.path.join(directory, "triples.txt"), 24, 3, 60, seed=1)
    write_triples(os.path.join(directory, "more_triples.txt"), 27, 3, 60, seed=2)
    write_triples(os.path.join(directory, "ratings.txt"), 14, 20, 80, seed=3, ratings=True)
    write_triples(os.path.join(directory, "more_ratings.txt"), 16, 23, 80, seed=4, ratings=True)


def data_of(script, more=False):
    name = "ratings.txt" if script == "factorization" else "triples.txt"
    return "more_" + name if more else name


def main(directory):
    if tf.__version__ != "1.15.5":
        sys.exit(f"Genuine TensorFlow 1.15.5 is needed, this is {tf.__version__}.")
    if not os.path.isdir(directory):
        os.makedirs(directory)
    os.chdir(directory)
    sys.path.insert(0, HERE)
    write_data(directory)
    for script in SCRIPTS:
        with tf.Graph().as_default():
            importlib.import_module(script).main(data_of(script), script + ".ckpt")
        if script != "factorization":  # whose MetaGraph is kept too
            os.remove(script + ".ckpt.meta")
    importlib.import_module("lookups").main("lookups.ckpt")
    os.remove("checkpoint")


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else DATA))
