"""What all tests share: a fresh graph each, tables of row numbers, plain checkpoints."""

import os
import sys

import hypothesis
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from written import written

import partial_embed as pe

tf.disable_v2_behavior()
tf.logging.set_verbosity(tf.logging.ERROR)
# The same examples every time, and no clock: the first example of a test also builds graphs.
hypothesis.settings.register_profile(
    "same", deadline=None, derandomize=True, max_examples=25, database=None
)
hypothesis.settings.load_profile("same")

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
SCRIPTS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "scripts")
if SCRIPTS not in sys.path:
    sys.path.insert(0, SCRIPTS)


@pytest.fixture(autouse=True)
def graph():
    """A fresh default graph for every test, with a seed."""
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(1)
        yield graph


@pytest.fixture
def random():
    """A `RandomState` that starts the same in every test."""
    return np.random.RandomState(0)


@pytest.fixture(scope="session")
def data():
    """Returns `path(*names)`: files that genuine TensorFlow 1.15.5 wrote, see data/README.md."""
    return lambda *names: os.path.join(DATA, *names)


@pytest.fixture(scope="session")
def scripts():
    """Returns the path of the directory of scripts."""
    return SCRIPTS


@pytest.fixture
def start():
    """Returns `start()`: a session on the default graph with all variables initialized."""
    sessions = []

    def start():
        session = tf.Session(graph=tf.get_default_graph())
        sessions.append(session)
        session.run(tf.global_variables_initializer())
        return session

    yield start
    for session in sessions:
        session.close()


def row_numbers(shape, dtype=np.float32):
    """Returns an array [rows, ...] in which every element is the number of its row."""
    rows = np.arange(shape[0]).reshape([shape[0]] + [1] * (len(shape) - 1))
    return np.broadcast_to(rows, shape).astype(dtype)


@pytest.fixture(name="row_numbers", scope="session")
def row_numbers_fixture():
    """Returns the function `row_numbers(shape, dtype=np.float32)`."""
    return row_numbers


@pytest.fixture
def numbered():
    """Returns `numbered(shape=(6, 2), num_frozen_rows=4)`: a table that holds its row numbers."""

    def make(shape=(6, 2), num_frozen_rows=4, name="embedding", dtype=tf.float32, **kwargs):
        if "trainable_rows" in kwargs:
            num_frozen_rows = None
        values = row_numbers(shape, tf.as_dtype(dtype).as_numpy_dtype)
        return pe.get_embedding(
            name, list(shape), dtype, initializer=values, num_frozen_rows=num_frozen_rows, **kwargs
        )

    return make


@pytest.fixture
def write_checkpoint(tmp_path):
    """Returns `write(arrays, name="model.ckpt", partitions=1)`, which gives a prefix.

    Plain TensorFlow: a graph of ordinary variables and a `tf.train.Saver`.
    """

    def write(arrays, name="model.ckpt", partitions=1, use_resource=False, **saver_arguments):
        prefix = str(tmp_path / name)
        arrays = {name: np.asarray(array) for name, array in arrays.items()}
        if saver_arguments or sum(its.nbytes for its in arrays.values()) > 1 << 16:
            return save(prefix, arrays, partitions, use_resource, **saver_arguments)
        content = [(name, str(its.dtype), its.shape, _key(its)) for name, its in arrays.items()]
        written(
            (tuple(content), partitions, use_resource),
            lambda path: save(path, arrays, partitions, use_resource),
            prefix,
        )
        return prefix

    def save(prefix, arrays, partitions, use_resource, **saver_arguments):
        with tf.Graph().as_default(), tf.Session() as session:
            for tensor_name, values in arrays.items():
                divide = partitions > 1 and values.ndim > 0
                tf.get_variable(
                    tensor_name,
                    # A partitioned variable takes no array as its initializer.
                    shape=values.shape,
                    dtype=tf.as_dtype(values.dtype),
                    initializer=_slice_of(values),
                    partitioner=tf.fixed_size_partitioner(partitions) if divide else None,
                    use_resource=use_resource,
                )
            session.run(tf.global_variables_initializer())
            saver = tf.train.Saver(**saver_arguments)
            return saver.save(session, prefix, write_meta_graph=False)

    return write


def _key(values):
    """What the values of an array are, as something that can be a key."""
    return str(values.tolist()) if values.dtype == object else values.tobytes()


def _slice_of(values):
    def initialize(shape, dtype=None, partition_info=None):
        start = partition_info.var_offset[0] if partition_info is not None else 0
        part = values[start : start + shape[0]] if len(shape) else values
        return tf.constant(part, dtype)

    return initialize


@pytest.fixture
def read_checkpoint():
    """Returns `read(prefix)`: dict of name to array, by TensorFlow's own reader."""

    def read(prefix):
        reader = tf.train.load_checkpoint(prefix)
        return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}

    return read


@pytest.fixture
def plain_restore():
    """Returns `restore(prefix, shapes)`: dict of arrays, as a plain script restores them."""

    def restore(prefix, shapes, dtype=tf.float32, use_resource=False):
        with tf.Graph().as_default(), tf.Session() as session:
            variables = {
                name: tf.get_variable(name, shape, dtype, use_resource=use_resource)
                for name, shape in shapes.items()
            }
            tf.train.Saver().restore(session, prefix)
            return session.run(variables)

    return restore


def same_bits(left, right):
    """Returns whether two arrays have the same shape, dtype and bits: -0 is not 0."""
    left, right = np.asarray(left), np.asarray(right)
    return (left.shape, left.dtype) == (right.shape, right.dtype) and (
        left.tobytes() == right.tobytes()
    )


@pytest.fixture(name="same_bits", scope="session")
def same_bits_fixture():
    """Returns the function `same_bits(left, right)`."""
    return same_bits
