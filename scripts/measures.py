"""What benchmark.py measures; each function runs in a process of its own, in its default graph.

Each takes the sizes, a `benchmark.Setting`, and returns seconds unless it says otherwise.
"""

import glob
import os
import time
import zlib

import forms
import numpy as np
import quiet  # noqa: F401 (before all that imports TensorFlow)
import report
import tensorflow.compat.v1 as tf

import partial_embed as pe

OUTPUT = "output.ckpt"  # what is written
TABLES = 50  # of the model whose first step is measured


def seconds_of(function, *arguments, **options):
    """Returns how many seconds a call took."""
    start = time.perf_counter()
    function(*arguments, **options)
    return time.perf_counter() - start


def place(at, name, slots):
    """Returns the prefix of a checkpoint."""
    return os.path.join(at.directory, f"{name}{'-adam' if slots else ''}.ckpt")


def make_zeros(at, plain):
    """Makes the table of zeros, as one variable or with its old rows frozen."""
    shape, zeros = [at.rows + at.new_rows, at.dim], tf.zeros_initializer()
    if plain:
        return tf.get_variable("embedding", shape, initializer=zeros)
    return pe.get_embedding("embedding", shape, initializer=zeros, num_frozen_rows=at.rows)


def make_trained(at, rows, slots):
    """Makes one variable of some rows, or with None the table that grows; Adam's slots if asked."""
    if rows is None:
        shape, base = [at.rows + at.new_rows, at.dim], place(at, "base", slots)
        table = pe.get_embedding("embedding", shape, checkpoint=base)
    else:
        drawn = tf.random_uniform_initializer(-0.1, 0.1, seed=1)
        table = tf.get_variable("embedding", [rows, at.dim], initializer=drawn)
    if slots:
        last = tf.nn.embedding_lookup(table, [table.shape.as_list()[0] - 1])
        tf.train.AdamOptimizer(0.1).minimize(tf.reduce_sum(last))


def prepare(at, slots):
    """Writes a base, a delta, and the whole table they stand for, with Adam's slots if asked."""
    for rows, savers in (
        (at.rows, {"base": tf.train.Saver}),
        (None, {"delta": lambda: pe.Saver(delta=True), "whole": pe.Saver}),
    ):
        with tf.Graph().as_default(), tf.Session() as session:
            make_trained(at, rows, slots)
            session.run(tf.global_variables_initializer())
            for name, saver in savers.items():
                saver().save(session, place(at, name, slots), write_meta_graph=False)
    return 0.0


def prepare_keys(at):
    """Writes the keys of the base, and those of the grown table, which are in another order."""
    keys = [f"key{number}" for number in range(at.rows + at.new_rows)]
    moved = np.random.RandomState(0).permutation(len(keys))
    for name, its in (("old", keys[: at.rows]), ("new", [keys[number] for number in moved])):
        with open(os.path.join(at.directory, name), "w", encoding="utf-8") as stream:
            stream.writelines(key + "\n" for key in its)
    return 0.0


def prepare_tables(at):
    """Writes a base of `TABLES` tables, which have the rows together."""
    with tf.Graph().as_default(), tf.Session() as session:
        for number in range(TABLES):
            tf.get_variable(f"table{number}", [max(1, at.rows // TABLES), at.dim])
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, place(at, "tables", False), write_meta_graph=False)
    return 0.0


def versions(at):
    """Returns {package: version}."""
    del at
    return {"tensorflow": tf.__version__, "numpy": np.__version__, "partial_embed": pe.__version__}


def in_turns(at, lines, repeats):
    """Returns a list of values for each of some lines, [function, *arguments], which take turns."""
    found = [[] for _ in lines]
    for _ in range(repeats):
        for (function, *arguments), values in zip(lines, found):
            with tf.Graph().as_default():
                values.append(globals()[function](at, *arguments))
    return found


def nothing(at):
    """What TensorFlow itself takes."""
    del at
    variable = tf.get_variable("tiny", [2, 2])
    with tf.Session() as session:
        return seconds_of(session.run, variable.initializer)


def fresh_output(at):
    """Returns a prefix to write to, at which nothing is left of what was measured before.

    Some file systems flush a file that takes the place of another.
    """
    prefix = os.path.join(at.directory, OUTPUT)
    for path in glob.glob(glob.escape(prefix) + "*"):
        os.remove(path)
    return prefix


def files(at, plain, load, save=False, slots=False):
    """Loads a table and, if asked, saves it whole.

    Args:
        at: the `Setting`.
        plain: whether that is one variable and a `tf.train.Saver`; else it grows.
        load: name of the checkpoint that a Saver restores; None: initializers load.
        save: how often it is saved, of which the last time is measured; False: loading is
            measured; "both": both.
        slots: whether there are Adam's slots.
    """
    rows = at.rows if load == "base" else at.rows + at.new_rows
    make_trained(at, rows if plain else None, slots)
    saver, initializer = (tf.train if plain else pe).Saver(), tf.global_variables_initializer()
    if save == "both":  # As `merge` does: memory that was freed just now is quicker to get.
        fresh_output(at)
    with tf.Session() as session:
        if load:
            loading = seconds_of(saver.restore, session, place(at, load, slots))
        else:
            loading = seconds_of(session.run, initializer)
        if not save:
            return loading
        output = os.path.join(at.directory, OUTPUT) if save == "both" else fresh_output(at)
        for step in range(1 if save == "both" else save):
            saving = seconds_of(saver.save, session, output, step, write_meta_graph=False)
        return loading + saving if save == "both" else saving


def merge(at, slots):
    """Merges base and delta."""
    prefixes = [place(at, name, slots) for name in ("base", "delta")]
    return seconds_of(pe.merge_checkpoint, *prefixes, fresh_output(at))


def grow(at, plain):
    """Grows the base by its keys, which the new vocabulary has in another order."""
    base, output = place(at, "base", False), fresh_output(at)
    old, new = (os.path.join(at.directory, name) for name in ("old", "new"))
    if not plain:
        return seconds_of(pe.grow_checkpoint, base, output, vocabularies={"*": (old, new)})
    size = at.rows + at.new_rows

    def warm_start():
        tf.get_variable("embedding", [size, at.dim])
        sizes = {"new_vocab_size": size, "num_oov_buckets": 0, "old_vocab_size": -1}
        keys = tf.train.VocabInfo(new_vocab=new, old_vocab=old, **sizes)
        tf.train.warm_start(base, ".*", {"embedding": keys})
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            tf.train.Saver().save(session, output, write_meta_graph=False)

    return seconds_of(warm_start)


def prove(at, how):
    """Seconds a GB, of one of the two passes: once before training and once after it."""
    table = make_zeros(at, plain=False)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())

        def checksum():
            return zlib.crc32(session.run(table.frozen))

        def crc32():
            assert checksum() == checksum()

        def copy():
            before = session.run(table.frozen)
            assert np.array_equal(before, session.run(table.frozen))

        def hashes():
            pe.record_frozen_rows(session).verify(session)

        way = {"crc32": crc32, "copy": copy, "hashes": hashes}[how]
        return seconds_of(way) / (2 * 4e-9 * at.rows * at.dim)


def build(at, plain, number, shared=False, count_ops=False):
    """Builds lookups in a graph; returns seconds, or how many ops they are made of."""

    def look_up(table, ids):
        for some in ids:
            tf.nn.embedding_lookup(table, some)

    values = []
    for _ in range(6):  # The first one is slower.
        with tf.Graph().as_default() as graph:
            table = make_zeros(at, plain)
            ids = [tf.placeholder(tf.int32, [None]) for _ in range(1 if shared else number)]
            before = len(graph.get_operations())
            seconds = seconds_of(look_up, table, ids * number if shared else ids)
            values.append(len(graph.get_operations()) - before if count_ops else seconds)
    return float(np.median(values[1:]))


def first(at, plain, stepping, saved=False):
    """Builds a model of `TABLES` tables, with a Saver if `saved`; if `stepping`, takes a step."""
    base, rows = place(at, "tables", False), max(1, at.rows // TABLES)
    batch = np.random.RandomState(0).randint(rows, size=at.batch)

    def make():
        more = 0 if plain else max(1, at.new_rows // TABLES)
        shape = [rows + more, at.dim]
        return [tf.get_variable(f"table{number}", shape) for number in range(TABLES)]

    def run():
        ids = tf.placeholder(tf.int32, [None])
        if plain:
            tables = make()
        else:
            with pe.growing(base, show=None):
                tables = make()
        summed = tf.add_n([tf.nn.embedding_lookup(table, ids) for table in tables])
        weight = tf.get_variable("weight", [at.dim, 2])
        loss = tf.reduce_mean(tf.square(tf.matmul(summed, weight) - 1.0))
        step = tf.train.AdagradOptimizer(0.1).minimize(loss)
        if saved:
            (tf.train if plain else pe).Saver()
        if not stepping:
            return
        saver = tf.train.Saver(tables) if plain else None
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            if plain:
                saver.restore(session, base)
            session.run(step, {ids: batch})

    values = []
    for _ in range(4):  # The first one is slower.
        with tf.Graph().as_default():
            values.append(seconds_of(run))
    return float(np.median(values[1:]))


def wrong_rows(at):
    """Returns {"of": old and new rows, "rows": {title: {optimizer: wrong rows of that form}}}."""
    at = at._replace(rows=200, new_rows=20, dim=4, batch=16)
    counts = {
        title: {its: forms.count_wrong_rows(at, form, its) for its in forms.OPTIMIZERS}
        for form, title in report.TITLES.items()
    }
    return {"of": [at.rows, at.new_rows], "rows": counts}
