"""Names that are gone, and what took their place: asked of the TensorFlow that is here."""

import importlib
import os
import re

import numpy as np
import pytest
import tensorflow
import tensorflow.compat.v1 as tf

import partial_embed as pe
from partial_embed.migration import gone

NEW_VERSION = not tf.__version__.startswith("1.")
KERAS_3 = getattr(tf.keras, "__version__", "2").startswith("3")  # 2.16 and later
PAGE = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "migration.md")
HEADING = "Names that are gone"
# What is there as a name, and has nothing in it that could be used.
HOLLOW = {"tf.layers": "dense", "tf.nn.rnn_cell": "BasicLSTMCell"}


def has(root, name):
    """Whether a package has `tf.some.name`."""
    try:
        for part in name.split(".")[1:]:
            root = getattr(root, part)
    except AttributeError:
        return False
    return True


@pytest.mark.skipif(not KERAS_3, reason="This TensorFlow has them still.")
def test_they_are_gone_and_their_successors_are_there():
    for name, (successor, _) in gone.SUCCESSORS.items():
        assert not has(tf, f"{name}.{HOLLOW[name]}" if name in HOLLOW else name), name
        for other in re.findall(r"\btf\.[\w.]+", successor):
            assert has(tf, other), (name, other)
        for other in re.findall(r"\bpe\.(\w+)", successor):
            assert hasattr(pe, other), (name, other)


@pytest.mark.skipif(not KERAS_3, reason="This TensorFlow has them still.")
def test_what_only_compat_has():
    assert [name for name in gone.COMPAT_ONLY if not has(tf, name)] == []
    assert [name for name in gone.COMPAT_ONLY if has(tensorflow, name)] == []
    for module in gone.PRIVATE:
        with pytest.raises(ImportError):
            importlib.import_module(module.replace("tf", "tensorflow", 1))


@pytest.mark.skipif(NEW_VERSION, reason="This TensorFlow has no contrib.")
def test_what_takes_the_place_of_contrib(same_bits, start, write_checkpoint):
    layers = tensorflow.contrib.layers
    x = tf.constant(np.arange(6, dtype=np.float32).reshape(2, 3))
    # As `gone` has them.
    pairs = [
        (layers.l2_regularizer(0.3)(x), 0.3 * tf.nn.l2_loss(x)),
        (layers.l1_regularizer(0.3)(x), 0.3 * tf.reduce_sum(tf.abs(x))),
    ]
    session = start()
    for left, right in pairs:
        np.testing.assert_allclose(*session.run([left, right]), rtol=1e-6)
    init = layers.variance_scaling_initializer(seed=1), tf.variance_scaling_initializer(2.0, seed=1)
    left, right = session.run([made([50, 40]) for made in init])
    assert (left != right).all()


@pytest.mark.skipif(NEW_VERSION, reason="This TensorFlow has no contrib.")
def test_embed_sequence_grows(start, write_checkpoint):
    prefix = write_checkpoint({"EmbedSequence/embeddings": np.ones([3, 2], np.float32)})
    with pe.growing(prefix):
        rows = tensorflow.contrib.layers.embed_sequence(tf.constant([[0, 4]]), 5, 2)
    assert [v.op.name for v in tf.trainable_variables()] == ["EmbedSequence/embeddings/trainable"]
    assert start().run(rows)[0, 0].tolist() == [1, 1]


def test_the_page_lists_them():
    with open(PAGE, encoding="utf-8") as file:
        section = file.read().split("### " + HEADING)[1].split("\n### ")[0]
    rows = re.findall(r"^\| `(tf[\w.]*)` \| (.*) \|$", section, re.M)
    assert rows == [(name, successor) for name, (successor, _) in gone.SUCCESSORS.items()]


@pytest.mark.parametrize(
    "source, name",
    [
        ("x = tf.contrib.layers.flatten(y)", "tf.contrib.layers.flatten"),
        ("layers = tf.contrib.layers\nx = layers.flatten(y)", "tf.contrib.layers, flatten"),
        ("from tensorflow.contrib import rnn\nc = rnn.GRUCell(3)", "tf.contrib.rnn.GRUCell"),
        (
            "from tensorflow.contrib.rnn import GRUCell as G\nc = G(3)",
            "tf.contrib.rnn.GRUCell",
        ),
        ("import tensorflow.contrib.slim as slim\nc = slim.conv2d(x)", "tf.contrib.slim.conv2d"),
        ("import tensorflow\nc = tensorflow.contrib.rnn.GRUCell(3)", "tf.contrib.rnn.GRUCell"),
        ("c = tf.nn.rnn_cell.GRUCell(3)", "tf.nn.rnn_cell.GRUCell"),
        ("h = tf.layers.dense(x, 3)", "tf.layers.dense"),
        ("e = tf.estimator.Estimator(f)", "tf.estimator.Estimator"),
        ("s = tf.mul(a, b)", "tf.mul"),
        ("from keras.backend import get_session\nx = get_session()", "keras.backend.get_session"),
        (
            "from tensorflow.examples.tutorials.mnist import input_data\ninput_data.read()",
            "tf.examples.tutorials.mnist.input_data.read",
        ),
    ],
)
def test_names_are_followed_through_imports(check, source, name):
    found = [its for its in check(source) if its.kind == "gone"]
    assert [its.seen.split(" (")[0] for its in found] == [name]


def test_one_finding_for_all_lines(check):
    found = check("a = tf.layers.dense(x, 3)\nb = tf.layers.dropout(a)\nc = tf.layers.dense(b, 1)")
    assert [its.seen for its in found] == ["tf.layers.dense, dropout (also lines 4, 5)"]


def test_the_import_of_a_script_without_compat(check):
    source = "x = tf.placeholder(tf.float32)\nflags = tf.app.flags\ns = tf.Session()"
    (found,) = check(source, "plain")
    assert found.line == 0  # the line of the import
    assert found.seen == "tf.Session, tf.app, tf.placeholder"
    assert "disable_v2_behavior" in found.remedy and "`absl.app`" in found.remedy
    assert check(source) == []


@pytest.mark.parametrize(
    "source",
    [
        "s = tf.compat.v1.Session()",
        "import tensorflow.compat.v1 as tf1\ns = tf1.Session()",
        "from tensorflow.compat import v1\ns = v1.Session()",
        "tf = tf.compat.v1\ns = tf.Session()",
        "x = tf.concat([a, b], 0)",
        "x = tf.Variable(1.0)",
        "try:\n    s = tf.Session()\nexcept AttributeError:\n    s = tf.compat.v1.Session()",
        "f = tf.matmul\nif tf.__version__ < '1':\n    f = tf.batch_matmul\nx = f(a, b)",
        "if tf.__version__ < '2':\n    x = tf.contrib.rnn",
    ],
)
def test_what_is_not_gone(check, source):
    assert check(source, "plain") == []


def test_either_import(check):
    source = """
    try:
        import tensorflow.compat.v1 as tf
    except ImportError:
        import tensorflow as tf
    s = tf.Session()
    """
    assert check(source) == []


def test_a_star_brings_tensorflow(check):
    from partial_embed.migration.check import check_script

    (found,) = check_script("from layers import *\nx = tf.placeholder(tf.int32)\n", "models.py")
    assert (found.line, found.seen) == (2, "tf.placeholder")
    assert check_script("x = tf.placeholder(tf.int32)\n", "models.py") == []


def test_what_absl_has_not_of_the_flags_before_it(check):
    flags = "FLAGS = tf.app.flags.FLAGS\n"
    (found,) = check(flags + "FLAGS._parse_flags()")
    assert (found.line, found.kind, found.heading) == (2, "gone", HEADING)
    (found,) = check(flags + "for name, value in FLAGS.__flags.items():\n    print(name)")
    assert found.line == 2 and "`FLAGS.flag_values_dict()`" in found.remedy
    assert check(flags + "n = self.__flags") == []


def test_the_order_of_concat(said):
    assert said("x = tf.concat(0, [a, b])") == {(1, "gone", HEADING)}
