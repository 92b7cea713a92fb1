"""What growing a checkpoint by its vocabulary costs beside `tf.train.warm_start`, in turns.

  python scripts/measures_files.py --rows=1000000

Both take a table of `--rows` keys to one of 1 % more keys, in another order, and write it. The
plain way makes the larger table in a graph, warm-starts it by `VocabInfo` and saves it.
"""

import os
import tempfile
import time

import numpy as np
import quiet  # noqa: F401 (before all that imports TensorFlow)
import tensorflow.compat.v1 as tf
from absl import app, flags

import partial_embed as pe


def prepare(directory, rows, dim):
    """Writes a table and the old and new keys; returns their paths and the number of new keys."""
    base, old, new = (os.path.join(directory, name) for name in ("base.ckpt", "old", "new"))
    keys = [f"key{number}" for number in range(rows + rows // 100)]
    moved = [keys[at] for at in np.random.RandomState(0).permutation(len(keys))]
    for path, its in ((old, keys[:rows]), (new, moved)):
        with open(path, "w", encoding="utf-8") as stream:
            stream.write("".join(key + "\n" for key in its))
    with tf.Graph().as_default(), tf.Session() as session:
        drawn = tf.random_uniform_initializer(-0.1, 0.1, seed=1)
        tf.get_variable("embedding", [rows, dim], initializer=drawn)
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, base, write_meta_graph=False)
    return base, old, new, len(keys)


def warm_start(base, old, new, output, shape):
    """The plain way."""
    with tf.Graph().as_default(), tf.Session() as session:
        tf.get_variable("embedding", shape)
        sizes = dict(num_oov_buckets=0, old_vocab_size=-1)
        info = tf.train.VocabInfo(new_vocab=new, new_vocab_size=shape[0], old_vocab=old, **sizes)
        tf.train.warm_start(base, ".*", {"embedding": info})
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, output, write_meta_graph=False)


def main(arguments):
    del arguments
    values = flags.FLAGS
    times = {"warm_start": [], "grow_checkpoint": []}
    with tempfile.TemporaryDirectory(dir=values.directory) as directory:
        base, old, new, count = prepare(directory, values.rows, values.dim)
        output = os.path.join(directory, "output.ckpt")
        for _ in range(values.repeats):
            for name, grow in (
                ("warm_start", lambda: warm_start(base, old, new, output, [count, values.dim])),
                (
                    "grow_checkpoint",
                    lambda: pe.grow_checkpoint(base, output, vocabularies={"*": (old, new)}),
                ),
            ):
                start = time.perf_counter(), time.process_time()
                grow()
                times[name].append((time.perf_counter() - start[0], time.process_time() - start[1]))
    plain = np.median(times["warm_start"], 0)
    for name, found in times.items():
        wall, processor = np.median(found, 0)
        ratios = np.median(found, 0) / plain
        print(
            f"| {name} | {wall:.2f} s, {processor:.2f} s of processors | "
            f"{ratios[0]:.2f}, {ratios[1]:.2f} |"
        )


if __name__ == "__main__":
    flags.DEFINE_integer("rows", 1000000, "Keys of the trained table.", lower_bound=100)
    flags.DEFINE_integer("dim", 32, "Numbers a row, float32.", lower_bound=1)
    flags.DEFINE_integer("repeats", 3, "Turns.", lower_bound=1)
    flags.DEFINE_string("directory", None, "Where files are put and removed again.")
    app.run(main)
