"""One program four times: the same table from each, that of genuine TensorFlow 1.15.5."""

import os
import re
import subprocess
import sys

import forks
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

NEW_VERSION = not tf.__version__.startswith("1.")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NAMES = ["tf1.py", "compat.py", "with_partial_embed.py", "keras3.py"]
HAS_KERAS_3 = getattr(tf.keras, "__version__", "2").startswith("3")
RUN_HERE = NAMES[NEW_VERSION : 4 if HAS_KERAS_3 else 3]


@pytest.fixture(scope="module")
def old(data):
    prefix = data("migration", "old.ckpt")
    return prefix, tf.train.load_checkpoint(prefix).get_tensor("embedding")


@pytest.fixture(scope="module")
def recorded(data):
    with np.load(data("migration", "grown.npz")) as stored:
        return stored["start"], stored["grown"]


@pytest.fixture(scope="module")
def results(scripts, old, tmp_path_factory):
    """{script: (exit status, errors, what it wrote)}, each run as a user runs it."""
    directory = tmp_path_factory.mktemp("migration")
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    started = {}
    for name in sorted({"tf1.py", *RUN_HERE}):
        output = str(directory / name.replace(".py", ".keras"))
        command = [sys.executable, os.path.join(scripts, "migration", name), old[0], output]
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, env=environment, universal_newlines=True
        )
        started[name] = process, output
    return {
        name: (process.communicate()[1], process.returncode, output)
        for name, (process, output) in started.items()
    }


def learn(old, start, batches):
    """The 200 steps by numpy; old rows stay.

    As `scatter_sub` does it, an entry of a batch after the other, each rounded: gradients that are
    summed first, or double precision, end 7e-6 from here.
    """
    table = np.concatenate([old, start])
    for pairs, alike in batches:
        left, right = pairs.T
        scores = (table[left] * table[right]).sum(axis=1)
        slopes = (1 / (1 + np.exp(-scores)) - alike).astype(np.float32)[:, None]
        ids = np.concatenate([left, right])
        steps = np.float32(0.01) * np.concatenate([slopes * table[right], slopes * table[left]])
        np.subtract.at(table, ids[ids >= len(old)], steps[ids >= len(old)])
    return table


LOAD = """
import sys
import keras
import numpy as np

np.save(sys.argv[2], keras.models.load_model(sys.argv[1]).get_layer("embedding").get_weights()[0])
"""


def table_of(name, output, directory):
    if name != "keras3.py":
        return tf.train.load_checkpoint(output).get_tensor("embedding")
    # In a process of its own, for here is no eager mode.
    (directory / "load.py").write_text(LOAD)
    found = forks.run(directory / "load.py", output, directory / "table.npy")
    assert found.returncode == 0, found.stderr
    return np.load(str(directory / "table.npy"))


@pytest.mark.parametrize("name", RUN_HERE)
def test_the_table_is_that_of_tensorflow_1_15(results, old, recorded, same_bits, tmp_path, name):
    errors, status, output = results[name]
    assert status == 0, errors
    table = table_of(name, output, tmp_path)
    np.testing.assert_allclose(table, recorded[1], rtol=0, atol=1e-6)
    assert same_bits(table[:20], old[1])


def test_the_table_is_that_of_arithmetic(scripts, old, recorded, monkeypatch):
    monkeypatch.syspath_prepend(os.path.join(scripts, "migration"))
    import pairs

    start, grown = recorded
    batches = list(pairs.batches())
    assert len(batches) == 200
    np.testing.assert_allclose(grown, learn(old[1], start, batches), rtol=0, atol=1e-6)
    assert abs(grown[20:] - start).min() > 1e-4
    # Old and new by columns, and all three ways of them.
    kinds = {tuple(map(tuple, (ids.T >= 20)[:, :1])) for ids, _ in batches}
    assert len(kinds) == 3
    assert all(len(set(column)) == 1 for ids, _ in batches for column in ids.T >= 20)


@pytest.mark.parametrize("name", [name for name in RUN_HERE if name != "keras3.py"])
def test_a_plain_saver_restores_it(results, recorded, plain_restore, name):
    shapes = {"embedding": [22, 10]}
    found = plain_restore(results[name][2], shapes)["embedding"]
    np.testing.assert_allclose(found, recorded[1], rtol=0, atol=1e-6)
    reader = tf.train.load_checkpoint(results[name][2])
    assert reader.get_variable_to_shape_map() == {"embedding": [22, 10], "global_step": []}
    assert reader.get_tensor("global_step") == 200


@pytest.mark.skipif(not NEW_VERSION, reason="This TensorFlow has what the script needs.")
def test_the_first_needs_tensorflow_1(results):
    errors, status, _ = results["tf1.py"]
    assert status == 1
    assert "AttributeError: module 'tensorflow' has no attribute 'placeholder'" in errors


# --- what the page says of them ------------------------------------------------------


def code_of(scripts, name):
    """The lines of a script after its docstring."""
    with open(os.path.join(scripts, "migration", name), encoding="utf-8") as file:
        text = file.read().split('"""\n', 1)[1]
    return [line.split("  #")[0].strip() for line in text.splitlines() if line.strip()]


def shown():
    """The cells of the table, by script: a list of lists of lines."""
    with open(os.path.join(ROOT, "docs", "migration.md"), encoding="utf-8") as file:
        section = file.read().split("## One program, four times")[1].split("\n## ")[0]
    columns = {name: [] for name in NAMES}
    for row in re.findall(r"^\| [a-zT][\w ]+ \|.*\|$", section, re.M):
        lines = []
        for name, cell in zip(NAMES, row.strip("|").split(" | ")[1:]):
            if cell.strip(" |") != "=":
                lines = re.findall("`([^`]+)`", cell)
            columns[name].append(lines)
    return columns


@pytest.mark.parametrize("name", NAMES)
def test_the_page_shows_all_lines_and_no_others(scripts, name):
    cells = shown()[name]
    assert len(cells) == 13
    found = sorted(line for cell in cells for line in cell)
    around = {
        "import sys",
        "old_path, new_path = sys.argv[1:]",
        '"""Rows that stay and rows that train, looked up as one table."""',
    }
    code = code_of(scripts, name)
    expected = [ln for ln in code if ln not in around and not ln.startswith("from pairs")]
    assert found == sorted(expected)


NATIVE = """
import keras
import numpy as np
import tensorflow as tf

for optimizer in (keras.optimizers.SGD(0.1, momentum=0.9), keras.optimizers.Adam(0.1)):
    table = keras.layers.Embedding(3, 2)
    model = keras.Sequential([keras.Input([1], dtype="int32"), table])
    model.compile(optimizer, loss="mse")
    tables = []
    for row in (0, 1):
        model.train_on_batch(np.array([[row]]), np.ones([1, 1, 2]))
        tables.append(table.get_weights()[0])
    assert (tables[1][0] != tables[0][0]).all()


class Layer(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.one, self.other = tf.Variable(1.0), keras.Variable(1.0)


assert [variable.name for variable in Layer().weights] == ["variable"]
assert keras.initializers.TruncatedNormal(stddev=1.0, seed=1)([1])[0] != (
    tf.random.truncated_normal([1], seed=1)[0]
)
try:
    keras.Sequential([keras.layers.Embedding(20, 10)]).load_weights("model.ckpt")
    raise AssertionError("Keras read it.")
except ValueError as error:
    assert "File format not supported" in str(error), error
"""


@pytest.mark.skipif(not HAS_KERAS_3, reason="This TensorFlow has no Keras 3.")
def test_what_bites_in_keras(tmp_path):
    (tmp_path / "script.py").write_text(NATIVE)
    found = forks.run(tmp_path / "script.py")
    assert found.returncode == 0, found.stderr


def test_momentum_moves_rows_of_the_batch_alone(start):
    table = tf.get_variable("table", [3, 2])
    ids = tf.placeholder(tf.int32, [None])
    loss = tf.reduce_sum(tf.nn.embedding_lookup(table, ids))
    train = tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss)
    session = start()
    session.run(train, {ids: [0]})
    before = session.run(table)
    session.run(train, {ids: [1]})
    assert (session.run(table) != before).all(axis=1).tolist() == [False, True, False]


def test_xavier_of_two_rows():
    assert round(((22 + 10) / (2 + 10.0)) ** 0.5, 1) == 1.6
