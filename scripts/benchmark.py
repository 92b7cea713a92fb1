"""What growing costs beside plain TensorFlow: loading, merging, memory, steps.

    python scripts/benchmark.py                        # 5,000,000 x 32, 640 MB
    python scripts/benchmark.py --rows=1000000 --repeats=5

Every number is measured in a process of its own, the median of --repeats of
them. Memory is the most a process ever held, less what one holds that has
imported TensorFlow and run a tiny session, in units of the table.

    load     old rows into memory: by the variable's own initializer, and by
             pe.Saver; beside tf.train.Saver.restore of one whole variable
    merge    base + delta; beside restore + save of the whole table; both also
             with Adam's slots, which make a plain table three
    build    the graph of 50 lookups; beside 50 of a plain table
    step     a batch that mixes old and new ids; beside one plain table, and
             beside concat([old, new]), a mask that multiplies the whole table,
             and one that multiplies the sparse gradient
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time

from absl import app, flags

FLAGS = flags.FLAGS
flags.DEFINE_integer("rows", 5000000, "Rows of the trained table.")
flags.DEFINE_integer("dim", 32, "Numbers a row, float32.")
flags.DEFINE_integer("new_rows", 1000, "Rows the table gains.")
flags.DEFINE_integer("batch", 1024, "Ids in a batch of the step times.")
flags.DEFINE_integer("repeats", 3, "Processes for each number, of which the median counts.")
flags.DEFINE_string("directory", None, "Where to put checkpoints; default: a temporary one.")
flags.DEFINE_bool("steps", True, "Whether to measure step times, too.")
flags.DEFINE_string("measure", None, "Used by the script itself: the one thing to measure.")

# TensorFlow is imported by the processes that measure, never by the one that starts them: a
# new process inherits the peak of the memory of the one it came from.


def tensorflow():
    """Returns the module, quietly imported, and partial_embed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow.compat.v1 as tf

    import partial_embed as pe

    tf.disable_v2_behavior()
    tf.logging.set_verbosity(tf.logging.ERROR)
    return tf, pe


def timed(function):
    """Returns how many seconds a call took."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def place(name):
    """Returns a path in the directory of the checkpoints."""
    return os.path.join(FLAGS.directory, name)


def grown_shape():
    """Returns the shape of the table after it grew."""
    return [FLAGS.rows + FLAGS.new_rows, FLAGS.dim]


# --- what is measured: each returns seconds ---------------------------------------------------


def nothing():
    """What TensorFlow itself takes."""
    tf, _ = tensorflow()
    variable = tf.get_variable("tiny", [2, 2])
    with tf.Session() as session:
        return timed(lambda: session.run(variable.initializer))


def optimized(tf, table, adam):
    """Adds Adam, and so its slots, if it is to be there."""
    if adam:
        loss = tf.reduce_sum(tf.nn.embedding_lookup(table, tf.constant([0, FLAGS.rows - 1])))
        tf.train.AdamOptimizer(0.1).minimize(loss)


def grown(adam):
    """Makes the table that grew."""
    tf, pe = tensorflow()
    base = place("base-adam.ckpt" if adam else "base.ckpt")
    table = pe.get_embedding("embedding", grown_shape(), checkpoint=base)
    if adam:
        tf.train.AdamOptimizer(0.1).minimize(tf.reduce_sum(table.lookup([FLAGS.rows])))
    return tf, pe


def prepare():
    """Writes the bases, their deltas, and the whole tables they stand for."""
    tf, _ = tensorflow()
    for adam, suffix in ((False, ""), (True, "-adam")):
        with tf.Graph().as_default(), tf.Session() as session:
            initializer = tf.random_uniform_initializer(-0.1, 0.1, seed=1)
            shape = [FLAGS.rows, FLAGS.dim]
            optimized(tf, tf.get_variable("embedding", shape, initializer=initializer), adam)
            session.run(tf.global_variables_initializer())
            tf.train.Saver().save(session, place(f"base{suffix}.ckpt"), write_meta_graph=False)
        with tf.Graph().as_default(), tf.Session() as session:
            _, pe = grown(adam)
            session.run(tf.global_variables_initializer())
            for delta, name in ((True, "delta"), (False, "whole")):
                prefix = place(f"{name}{suffix}.ckpt")
                pe.Saver(delta=delta).save(session, prefix, write_meta_graph=False)
    return 0.0


def plain_restore():
    """tf.train.Saver.restore into one variable."""
    tf, _ = tensorflow()
    tf.get_variable("embedding", [FLAGS.rows, FLAGS.dim])
    saver = tf.train.Saver()
    with tf.Session() as session:
        return timed(lambda: saver.restore(session, place("base.ckpt")))


def initializer():
    """get_embedding(checkpoint=), loaded by its own initializer."""
    tf, pe = tensorflow()
    pe.get_embedding("embedding", grown_shape(), checkpoint=place("base.ckpt"))
    initialize = tf.global_variables_initializer()
    with tf.Session() as session:
        return timed(lambda: session.run(initialize))


def saver_restore(name):
    """pe.Saver.restore into a table that grows."""
    tf, pe = tensorflow()
    pe.get_embedding("embedding", grown_shape(), checkpoint=place("base.ckpt"))
    saver = pe.Saver()
    with tf.Session() as session:
        return timed(lambda: saver.restore(session, place(name)))


def plain_copy(adam):
    """Restore and save of the whole table in plain TensorFlow."""
    tf, _ = tensorflow()
    optimized(tf, tf.get_variable("embedding", grown_shape()), adam)
    saver = tf.train.Saver()

    def copy():
        saver.restore(session, place("whole-adam.ckpt" if adam else "whole.ckpt"))
        saver.save(session, place("copy.ckpt"), write_meta_graph=False)

    with tf.Session() as session:
        return timed(copy)


def merge(adam):
    """pe.merge_checkpoint of base and delta."""
    _, pe = tensorflow()
    names = [place(f"{name}{'-adam' if adam else ''}.ckpt") for name in ("base", "delta")]
    return timed(lambda: pe.merge_checkpoint(*names, place("merged.ckpt")))


def save(adam):
    """pe.Saver.save of the whole table; the loading before it is not counted."""
    tf, pe = grown(adam)
    saver = pe.Saver()
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return timed(lambda: saver.save(session, place("saved.ckpt"), write_meta_graph=False))


def build(form, lookups=50):
    """Making the graph of many lookups of one table, each of other ids."""
    tf, pe = tensorflow()
    times = []
    for _ in range(7):  # The first also makes what later graphs share.
        with tf.Graph().as_default():
            shape = [1000, FLAGS.dim]
            table = (
                pe.get_embedding("embedding", shape, num_frozen_rows=900)
                if form == "partial"
                else tf.get_variable("embedding", shape)
            )
            ids = [tf.placeholder(tf.int32, [None]) for _ in range(lookups)]
            times.append(timed(lambda t=table, i=ids: [tf.nn.embedding_lookup(t, x) for x in i]))
    return sorted(times[1:])[len(times) // 2]


def hashing():
    """FrozenRows of the whole table."""
    tf, pe = tensorflow()
    pe.get_embedding("embedding", grown_shape(), checkpoint=place("base.ckpt"))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return timed(lambda: pe.record_frozen_rows(session))


def old_rows_dropped(tf, gradient):
    """Returns a sparse gradient whose values for old rows are zero."""
    keep = tf.cast(gradient.indices >= FLAGS.rows, gradient.values.dtype)[:, None]
    return tf.IndexedSlices(gradient.values * keep, gradient.indices, gradient.dense_shape)


def step(form, optimizer):
    """The median step of one form of the table, in a batch of old and new ids."""
    import numpy as np

    tf, pe = tensorflow()
    shape, old = grown_shape(), FLAGS.rows
    zeros = tf.zeros_initializer()
    if form == "partial":
        table = pe.get_embedding("embedding", shape, initializer=zeros, num_frozen_rows=old)
    elif form == "concat":
        frozen = tf.get_variable("old", [old, shape[1]], initializer=zeros, trainable=False)
        table = tf.concat([frozen, tf.get_variable("new", [shape[0] - old, shape[1]])], 0)
    else:
        table = tf.get_variable("embedding", shape, initializer=zeros)
        if form == "mask on the table":
            mask = tf.cast(tf.range(shape[0]) >= old, tf.float32)[:, None]
            table = mask * table + tf.stop_gradient((1 - mask) * table)
    ids = tf.placeholder(tf.int32, [None])
    weight = tf.get_variable("weight", [shape[1], 2])
    loss = tf.reduce_mean(tf.square(tf.matmul(tf.nn.embedding_lookup(table, ids), weight) - 1.0))
    optimizers = {
        "SGD": lambda: tf.train.GradientDescentOptimizer(0.1),
        "Momentum": lambda: tf.train.MomentumOptimizer(0.1, 0.9),
        "Adagrad": lambda: tf.train.AdagradOptimizer(0.1),
    }
    if form == "mask on the sparse gradient":
        chosen = optimizers[optimizer]()
        train = chosen.apply_gradients(
            [
                (old_rows_dropped(tf, gradient) if v is table else gradient, v)
                for gradient, v in chosen.compute_gradients(loss)
            ]
        )
    else:
        train = optimizers[optimizer]().minimize(loss)
    random = np.random.RandomState(0)
    count = FLAGS.batch // 2
    batches = [
        np.concatenate([random.randint(old, size=count), random.randint(old, shape[0], count)])
        for _ in range(20)
    ]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        times = [timed(lambda b=batch: session.run(train, {ids: b})) for batch in batches]
        quick = sorted(times[5:])[len(times[5:]) // 2] < 0.02
        for _ in range(20 if quick else 0):
            times += [timed(lambda b=batch: session.run(train, {ids: b})) for batch in batches]
    return sorted(times[5:])[len(times[5:]) // 2]


MEASURES = {
    "nothing": nothing,
    "prepare": prepare,
    "plain restore": plain_restore,
    "initializer": initializer,
    "Saver.restore, base": lambda: saver_restore("base.ckpt"),
    "Saver.restore, whole": lambda: saver_restore("whole.ckpt"),
    "Saver.restore, delta": lambda: saver_restore("delta.ckpt"),
    "hashing frozen rows": hashing,
    "50 lookups, plain": lambda: build("plain"),
    "50 lookups": lambda: build("partial"),
}
for _adam, _with in ((False, ""), (True, ", Adam")):
    MEASURES["plain restore + save" + _with] = lambda adam=_adam: plain_copy(adam)
    MEASURES["merge" + _with] = lambda adam=_adam: merge(adam)
    MEASURES["Saver.save" + _with] = lambda adam=_adam: save(adam)
FORMS = ("plain", "partial", "concat", "mask on the table", "mask on the sparse gradient")
OPTIMIZERS = ("SGD", "Momentum", "Adagrad")
for _form in FORMS:
    for _optimizer in OPTIMIZERS:
        MEASURES[f"step {_form} {_optimizer}"] = lambda f=_form, o=_optimizer: step(f, o)


# --- the process that starts them ---------------------------------------------------------------


def measure(name, repeats):
    """Returns the medians (seconds, peak bytes) of processes that measure one thing."""
    results = []
    for _ in range(repeats):
        command = [sys.executable, "-W", "ignore", os.path.abspath(__file__), "--measure", name]
        for flag in ("rows", "dim", "new_rows", "batch", "directory"):
            command.append(f"--{flag}={FLAGS[flag].value}")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        output, errors = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{name} failed:\n{errors.decode('utf-8')[-2000:]}")
        results.append(json.loads(output.decode("utf-8").strip().split("\n")[-1]))
    middle = len(results) // 2
    return [sorted(column)[middle] for column in zip(*results)]


def report(row_format, rows):
    """Prints rows of one table."""
    for row in rows:
        print(row_format.format(*row).rstrip(), flush=True)


def run():
    """Measures everything and prints it."""
    table_bytes = 4 * FLAGS.rows * FLAGS.dim
    print(
        f"{FLAGS.rows:,} x {FLAGS.dim} float32 ({table_bytes // 1000000:,} MB), {FLAGS.new_rows:,} "
        f"new rows; medians of {FLAGS.repeats}"
    )
    measure("prepare", 1)
    _, empty = measure("nothing", FLAGS.repeats)
    row_format = "{:26} {:>9} {:>9} {:>14}"
    report(row_format, [("", "seconds", "ratio", "memory/table")])
    baseline = None
    for name in (
        "plain restore",
        "initializer",
        "Saver.restore, base",
        "Saver.restore, whole",
        "Saver.restore, delta",
        "hashing frozen rows",
        None,
        "plain restore + save",
        "merge",
        "Saver.save",
        None,
        "plain restore + save, Adam",
        "merge, Adam",
        "Saver.save, Adam",
    ):
        if name is None:
            baseline = None
            print()
            continue
        seconds, peak = measure(name, FLAGS.repeats)
        baseline = baseline or seconds
        ratio, memory = seconds / baseline, (peak - empty) / float(table_bytes)
        numbers = [f"{number:.2f}" for number in (seconds, ratio, memory)]
        report(row_format, [[name] + numbers])
    if not FLAGS.steps:
        return
    print()
    row_format = "{:38} {:>9} {:>9}"
    report(row_format, [(f"step, batch {FLAGS.batch}", "ms", "ratio")])
    groups = [[f"step {form} {optimizer}" for form in FORMS] for optimizer in OPTIMIZERS]
    for group in [*groups, ["50 lookups, plain", "50 lookups"]]:
        baseline = None
        for name in group:
            seconds, _ = measure(name, FLAGS.repeats if "concat" not in name else 1)
            baseline = baseline or seconds
            numbers = [f"{1000 * seconds:.2f}", f"{seconds / baseline:.2f}"]
            report(row_format, [[name] + numbers])


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {' '.join(argv[1:])}.")
    if FLAGS.measure:
        seconds = MEASURES[FLAGS.measure]()
        # Linux counts in KiB.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps([seconds, peak]))
        return
    temporary = None if FLAGS.directory else tempfile.mkdtemp()
    FLAGS.directory = FLAGS.directory or temporary
    try:
        run()
    finally:
        if temporary:
            shutil.rmtree(temporary)


if __name__ == "__main__":
    app.run(main)
