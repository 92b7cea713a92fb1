"""Writes tests/data/tf1 again: small checkpoints in every form that TensorFlow 1 had.

Run by genuine TensorFlow 1.15.5 (`make tf1-fixtures`), and by no other. The same
bytes every time:

    python tests/legacy/make_tf1_fixtures.py [DIRECTORY]

Each case is a directory with one checkpoint `model.ckpt`. `true.npz` has what the
live sessions held, as `case|tensor name`; `files.txt` lists all files with their
hashes, so that a missing or changed one is noticed.
"""

import hashlib
import os
import shutil
import sys

import numpy as np
import tensorflow.compat.v1 as tf

V1, V2 = tf.train.SaverDef.V1, tf.train.SaverDef.V2
OPTIMIZERS = {
    "momentum": lambda: tf.train.MomentumOptimizer(0.1, 0.9),
    "adagrad": lambda: tf.train.AdagradOptimizer(0.1),
    "rmsprop": lambda: tf.train.RMSPropOptimizer(0.1, momentum=0.5, centered=True),
    "adam": lambda: tf.train.AdamOptimizer(0.1),
    "ftrl": lambda: tf.train.FtrlOptimizer(0.1),
    "adadelta": lambda: tf.train.AdadeltaOptimizer(0.1),
}


def table(shape=(11, 3), name="ent", dtype=tf.float32, **arguments):
    """A variable of random numbers, in slices if there is a partitioner."""
    seed = sum(map(ord, name)) + len(shape)
    values = np.random.RandomState(seed).randn(*shape).astype(np.float32)

    def initialize(part, dtype=None, partition_info=None):
        begin = partition_info.var_offset if partition_info is not None else [0] * len(part)
        here = tuple(slice(start, start + size) for start, size in zip(begin, part))
        return tf.cast(tf.constant(values[here]), dtype)

    return tf.get_variable(name, shape, dtype, initializer=initialize, **arguments)


def one_slice_a_row_group(count, axis=0):
    """Arguments for a table in slices."""
    return dict(partitioner=tf.fixed_size_partitioner(count, axis))


def train(variable, optimizer, average=False):
    """Trains a variable for two steps, as the graph's ops `train`."""
    loss = tf.reduce_sum(tf.square(tf.nn.embedding_lookup(variable, [0, 2, 2]) - 1.0))
    step = optimizer.minimize(loss, global_step=tf.train.get_or_create_global_step())
    if average:
        with tf.control_dependencies([step]):
            step = tf.train.ExponentialMovingAverage(0.9).apply([variable])
    tf.add_to_collection("train", step)


def scoped(optimizer):
    """A table under scopes, its optimizer made inside one."""
    tf.train.get_or_create_global_step()
    with tf.variable_scope("model"), tf.variable_scope("deep"):
        train(table(name="ent"), OPTIMIZERS[optimizer]())


def averaged():
    """A table and its moving average."""
    train(table(), tf.train.GradientDescentOptimizer(0.1), average=True)


def on_two_devices():
    """Two tables on two devices, which a sharded Saver writes into two files."""
    with tf.device("/cpu:0"):
        table(name="ent")
    with tf.device("/cpu:1"):
        table([6, 2], name="rel")


def cases():
    """Yields (name, function that builds the graph, arguments of the Saver)."""
    for text, version in (("v1", V1), ("v2", V2)):
        form = dict(write_version=version)
        for dtype in (tf.float16, tf.bfloat16, tf.float32, tf.float64):
            if (version, dtype) == (V1, tf.bfloat16):
                continue  # TensorFlow cannot write it.
            name = f"{text}_{dtype.name}"
            yield name, lambda dtype=dtype: table(dtype=dtype), form
        slices = (("equal", [12, 3], 4, 0), ("uneven", [11, 3], 4, 0), ("columns", [11, 5], 2, 1))
        for kind, shape, count, axis in slices:
            divided = one_slice_a_row_group(count, axis)
            name = f"{text}_sliced_{kind}"
            yield name, lambda shape=shape, given=divided: table(shape, **given), form
        yield text + "_sharded", on_two_devices, dict(form, sharded=True)
        yield text + "_rank1", lambda: table([11]), form
        yield text + "_rank3", lambda: table([7, 2, 3]), form
    half = dict(dtype=tf.float16, **one_slice_a_row_group(3))
    yield "v2_sliced_float16", lambda: table(**half), {}
    yield "v2_resource", lambda: table(use_resource=True), {}
    yield "v2_averaged", averaged, {}
    for optimizer in sorted(OPTIMIZERS):
        yield "v2_" + optimizer, lambda optimizer=optimizer: scoped(optimizer), {}
    yield "v2_renamed", lambda: [table(), table([4, 2], "rel")], dict(renamed=True)


def write(directory, build, renamed=False, **arguments):
    """Writes one checkpoint; returns {tensor name: array} as the session had it."""
    config = tf.ConfigProto(
        device_count={"CPU": 2},
        intra_op_parallelism_threads=1,
        inter_op_parallelism_threads=1,
        use_per_session_threads=True,
    )
    with tf.Graph().as_default(), tf.Session(config=config) as session:
        build()
        session.run(tf.global_variables_initializer())
        for step in tf.get_collection("train"):
            session.run([step])
            session.run([step])
        whole = {}
        for variable in tf.global_variables():
            info = variable._get_save_slice_info()
            name = info.full_name if info else variable.op.name
            parts = whole.setdefault(name, [])
            parts.append((info.var_offset if info else [], session.run(variable)))
        names = None
        if renamed:
            names = {"published/" + v.op.name: v for v in tf.global_variables()}
            whole = {"published/" + name: parts for name, parts in whole.items()}
        os.makedirs(directory)
        tf.train.Saver(names, **arguments).save(
            session,
            os.path.join(directory, "model.ckpt"),
            write_meta_graph=False,
            write_state=False,
        )
    found = {}
    for name, parts in whole.items():
        parts.sort(key=lambda part: list(part[0]))
        axis = int(np.argmax(parts[-1][0])) if len(parts) > 1 else 0
        arrays = [array for _, array in parts]
        found[name] = np.concatenate(arrays, axis) if len(parts) > 1 else arrays[0]
    return found


def main(directory):
    """Writes all cases into `directory`, in place of what is there."""
    if tf.__version__ != "1.15.5":
        sys.exit(f"Genuine TensorFlow 1.15.5 is needed, this is {tf.__version__}.")
    if os.path.isdir(directory):
        shutil.rmtree(directory)
    true = {}
    for name, build, arguments in cases():
        for tensor, array in write(os.path.join(directory, name), build, **arguments).items():
            # numpy has no bfloat16 of its own; all of its numbers are float32, too.
            kept = array if array.dtype.kind in "fiu" else array.astype(np.float32)
            true[f"{name}|{tensor}"] = kept
    np.savez(os.path.join(directory, "true.npz"), **{name: true[name] for name in sorted(true)})
    lines = []
    for folder, _, files in sorted(os.walk(directory)):
        for name in sorted(files):
            path = os.path.join(folder, name)
            with open(path, "rb") as stream:
                digest = hashlib.sha256(stream.read()).hexdigest()
            lines.append(f"{digest} {os.path.relpath(path, directory)}\n")
    with open(os.path.join(directory, "files.txt"), "w") as stream:
        stream.write("".join(lines))


if __name__ == "__main__":
    TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    main(sys.argv[1] if len(sys.argv) > 1 else os.path.join(TESTS, "data", "tf1"))
