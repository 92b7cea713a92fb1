"""What scripts make their tables with: each grows from a plain script's checkpoint, and trains.

The oracle is the script itself: all rows in plain variables that start with the same values, of
which gradients of old rows are dropped.
"""

import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe
from partial_embed.table.embedding import embeddings_in

SOAK = bool(os.environ.get("PARTIAL_EMBED_SOAK"))
TF1 = tf.__version__.startswith("1.")
OLD, NEW, WIDTH = 6, 9, 4
features = tf.feature_column


def draw(n):
    return np.random.RandomState(n).randn(n, WIDTH).astype(np.float32)


def bags():
    cells = [[0, 0], [0, 1], [1, 0], [2, 1]]
    return tf.SparseTensor(cells, tf.constant([0, 8, 5, 7], tf.int64) % 9, [3, 2])


def rows_of(table):
    return tf.nn.embedding_lookup(table, [0, 5, 8, 7, 8])


def sampled(function):
    def model(n):
        weights = tf.get_variable("weights", initializer=draw(n))
        biases = tf.get_variable("biases", initializer=draw(n)[:, 0])
        inputs = tf.constant(draw(2))
        drawn = (tf.constant([0, n - 1, 4], tf.int64), tf.ones([2, 1]), tf.ones([3]))
        labels = tf.constant([[5], [n - 2]], tf.int64)
        return function(weights, biases, labels, inputs, 3, n, sampled_values=drawn)

    return model


def unnamed(n):
    one, other = tf.Variable(draw(n)), tf.Variable(draw(n) + 1)
    return rows_of(one) * rows_of(other)


def embedding_column(n):
    column = features.categorical_column_with_identity("ids", n)
    column = features.embedding_column(column, WIDTH, initializer=tf.ones_initializer())
    return features.input_layer({"ids": bags()}, [column])


def shared_columns(n):
    columns = [features.categorical_column_with_identity(key, n) for key in ("ids", "more")]
    columns = features.shared_embedding_columns(columns, WIDTH, initializer=tf.ones_initializer())
    return features.input_layer({"ids": bags(), "more": bags()}, columns)


def linear_model(n):
    column = features.categorical_column_with_identity("ids", n)
    return features.linear_model({"ids": bags()}, [column])


def partitioned(model):
    def build(n):
        with tf.variable_scope("", partitioner=tf.fixed_size_partitioner(2)):
            return model(n)

    return build


def keras(n):
    layer = tf.keras.layers.Embedding(n, WIDTH, embeddings_initializer="ones", name="words")
    return layer(tf.constant([[0, 5], [8, 7]]))


CONSTRUCTS = {
    "Variable": lambda n: rows_of(tf.Variable(draw(n), name="table")),
    "Variable of a dtype": lambda n: rows_of(
        tf.Variable(draw(n).astype(np.float64), name="table", dtype=tf.float32)
    ),
    "unnamed Variables": unnamed,
    "sampled_softmax_loss": sampled(tf.nn.sampled_softmax_loss),
    "nce_loss": sampled(tf.nn.nce_loss),
    "embedding_column": embedding_column,
    "embedding_column, partitioned": partitioned(embedding_column),
    "shared_embedding_columns": shared_columns,
    "linear_model": linear_model,
    "linear_model, partitioned": partitioned(linear_model),
    "keras Embedding": keras,
}
if TF1:
    from tensorflow.contrib import layers

    def contrib(make):
        return lambda n: make(layers.sparse_column_with_integerized_feature("ids", n))

    CONSTRUCTS.update(
        {
            "contrib embed_sequence": lambda n: layers.embed_sequence(
                tf.constant([[0, 5], [8, 7]]), n, WIDTH, initializer=tf.ones_initializer()
            ),
            "contrib embedding_column": contrib(
                lambda column: layers.input_from_feature_columns(
                    {"ids": bags()},
                    [layers.embedding_column(column, WIDTH, initializer=tf.ones_initializer())],
                )
            ),
            "contrib weighted sum": contrib(
                lambda column: layers.weighted_sum_from_feature_columns(
                    {"ids": bags()}, [column], num_outputs=2
                )[0]
            ),
        }
    )
else:
    CONSTRUCTS["Variable of a shape"] = lambda n: rows_of(
        tf.Variable(lambda: draw(n), name="table", shape=[n, WIDTH])
    )


def loss_of(outputs):
    return tf.reduce_sum(tf.square(outputs - 0.1))


def train_plainly(model, base, use_resource):
    """Trains the script as it is, all in plain variables, on new rows alone; returns arrays."""
    with tf.Graph().as_default(), tf.Session() as session:
        with tf.variable_scope("", use_resource=use_resource):
            loss = loss_of(model(NEW))
        optimizer = tf.train.MomentumOptimizer(0.05, 0.9)
        kept = []
        for gradient, variable in optimizer.compute_gradients(loss):
            if variable.shape.as_list() and variable.shape[0] == NEW:
                new = tf.cast(tf.range(NEW) >= OLD, tf.float32)
                new = tf.reshape(new, [-1] + [1] * (variable.shape.rank - 1))
                kept.append((tf.convert_to_tensor(gradient) * new, variable))
        step = optimizer.apply_gradients(kept)
        session.run(tf.global_variables_initializer())
        for variable in tf.global_variables():
            if variable.op.name in base:
                value = session.run(variable)
                value[: len(base[variable.op.name])] = base[variable.op.name]
                variable.load(value, session)
        for _ in range(3):
            session.run(step)
        return {v.op.name: session.run(v) for v in tf.global_variables() if v.op.name in base}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.layer.add_variable:UserWarning")
@pytest.mark.parametrize(
    "construct, use_resource",
    [
        pytest.param(construct, use_resource, id=f"{construct}-{kind}")
        for number, construct in enumerate(CONSTRUCTS)
        for use_resource, kind in enumerate(["ref", "resource"])
        if SOAK or use_resource == number % 2 or construct == "Variable"
    ],
)
def test_it_grows_and_trains_as_the_oracle(
    construct, use_resource, tmp_path, read_checkpoint, same_bits
):
    model, prefix = CONSTRUCTS[construct], str(tmp_path / "base")
    with tf.Graph().as_default(), tf.Session() as session:
        with tf.variable_scope("", use_resource=use_resource):
            step = tf.train.GradientDescentOptimizer(0.01).minimize(loss_of(model(NEW)))
        session.run(tf.global_variables_initializer())
        session.run(step)
        # As if fewer had been there: what it learned of the first rows.
        learned = {
            name: value[:OLD] if value.shape[:1] == (NEW,) else value
            for name, value in whole_variables(session).items()
        }
    with tf.Graph().as_default(), tf.Session() as session:
        for name, value in learned.items():
            tf.get_variable(name, initializer=value)
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, prefix)
    with tf.Graph().as_default(), tf.Session() as session:
        with pe.growing(prefix), tf.variable_scope("", use_resource=use_resource):
            loss = loss_of(model(NEW))
        tables = embeddings_in()
        assert [table.shape[0] for table in tables] == [NEW] * len(tables)
        step = tf.train.MomentumOptimizer(0.05, 0.9).minimize(loss)
        session.run(tf.global_variables_initializer())
        for _ in range(3):
            session.run(step)
        grown = {table.table_name: session.run(table) for table in tables}
        pe.Saver().save(session, str(tmp_path / "grown"))
    assert sorted(grown) == sorted(n for n, v in learned.items() if v.shape[:1] == (OLD,))
    saved = read_checkpoint(str(tmp_path / "grown"))
    for name, value in grown.items():
        assert same_bits(value[:OLD], learned[name])
        assert same_bits(saved[name], value)
    if "partitioned" not in construct:
        expected = train_plainly(model, learned, use_resource)
        for name, value in grown.items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-6, err_msg=name)


def whole_variables(session):
    """Returns {name: array} of the graph's variables, partitioned ones joined."""
    found = {}
    for variable in tf.global_variables():
        found.setdefault(variable.op.name.split("/part_")[0], []).append(session.run(variable))
    return {name: np.concatenate(v) if len(v) > 1 else v[0] for name, v in found.items()}


# --- a table where a variable is named -------------------------------------------------


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
def test_gradients_by_a_table_are_those_of_its_new_rows(numbered, start, same_bits, use_resource):
    table = numbered(use_resource=use_resource)
    loss = tf.reduce_sum(tf.square(tf.nn.embedding_lookup(table, [5, 0, 5])))
    pairs = tf.gradients(loss, [table]), tf.gradients(loss, table.trainable)
    (found,), (expected,) = start().run(pairs)
    assert same_bits(found.values, expected.values)
    assert same_bits(found.indices, expected.indices)


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
def test_what_needs_one_variable_is_told_which(numbered, use_resource):
    table = numbered(use_resource=use_resource)
    loss = tf.reduce_sum(tf.nn.embedding_lookup(table, [5]))
    optimizer = tf.train.MomentumOptimizer(0.1, 0.9)
    for use in (
        lambda: optimizer.minimize(loss, var_list=[table]),
        lambda: optimizer.compute_gradients(loss, table),
        lambda: optimizer.apply_gradients([(tf.zeros([2, 2]), table)]),
        lambda: tf.train.ExponentialMovingAverage(0.9).apply([table]),
    ):
        with pytest.raises(TypeError, match="embedding:0 is two variables; give embedding.train"):
            use()
    frozen = numbered(name="frozen", num_frozen_rows=6)
    with pytest.raises(TypeError, match="No row of frozen:0 trains"):
        optimizer.minimize(loss, var_list=[frozen])


@pytest.mark.parametrize("rows", [{}, {"trainable_rows": [1, 4]}], ids=["new", "scattered"])
@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
def test_plain_savers_of_a_table(
    numbered, start, read_checkpoint, same_bits, tmp_path, rows, use_resource
):
    table = numbered(use_resource=use_resource, **rows)
    savers = tf.train.Saver([table]), tf.train.Saver({"renamed": table})
    session = start()
    value = session.run(table)
    for saver, name in zip(savers, ("embedding", "renamed")):
        prefix = saver.save(session, str(tmp_path / name))
        saved = read_checkpoint(prefix)
        assert list(saved) == [name]
        assert same_bits(saved[name], value)
        session.run([tf.assign(v, tf.zeros_like(v)) for v in table.variables])
        saver.restore(session, prefix)
        assert same_bits(session.run(table), value)
