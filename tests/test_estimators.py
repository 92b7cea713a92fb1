"""Estimators and monitored sessions grow with nothing but a `with` around them."""

import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe

SOAK = bool(os.environ.get("PARTIAL_EMBED_SOAK"))
has_estimators = pytest.mark.skipif(
    not hasattr(tf, "estimator") or not hasattr(tf.estimator, "LinearRegressor"),
    reason="This TensorFlow has no Estimators.",
)


def column(keys):
    return tf.feature_column.categorical_column_with_vocabulary_list(
        "key", [f"k{i}" for i in range(keys)]
    )


def embedded(keys):
    return tf.feature_column.embedding_column(column(keys), 4)


def batches(keys, steps=None):
    def input_fn():
        labels = [float(i % 2) for i in range(32)]
        data = tf.data.Dataset.from_tensor_slices(
            ({"key": [f"k{i % keys}" for i in range(32)]}, labels)
        )
        return data.repeat().batch(8).take(steps or -1)

    return input_fn


def canned_dnn(keys, directory):
    return tf.estimator.DNNRegressor([8], [embedded(keys)], directory)


def canned_linear(keys, directory):
    return tf.estimator.LinearRegressor([column(keys)], directory)


def canned_wide_and_deep(keys, directory):
    return tf.estimator.DNNLinearCombinedRegressor(
        directory,
        linear_feature_columns=[column(keys)],
        dnn_feature_columns=[embedded(keys)],
        dnn_hidden_units=[8],
    )


def custom(keys, directory, prepare=None):
    def model_fn(features, labels, mode):
        with prepare() if prepare else tf.name_scope("plain"):
            rows = tf.feature_column.input_layer(features, [embedded(keys)])
            predictions = tf.layers.dense(rows, 1)[:, 0]
        if mode == tf.estimator.ModeKeys.PREDICT:
            return tf.estimator.EstimatorSpec(mode, predictions=predictions)
        loss = tf.reduce_mean(tf.square(predictions - labels))
        step = tf.train.AdamOptimizer(0.1).minimize(loss, tf.train.get_global_step())
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=step)

    return tf.estimator.Estimator(model_fn, directory)


# The last is made of the two before it.
MODELS = [custom, canned_dnn, canned_linear, canned_wide_and_deep]


def values_of(directory):
    checkpoint = pe.meta_graph.Checkpoint(directory)
    return {name: checkpoint.read(name) for name in checkpoint.shapes}


@has_estimators
@pytest.mark.parametrize(
    "make", MODELS if SOAK else [custom, canned_wide_and_deep], ids=lambda make: make.__name__
)
def test_trained_twice_evaluated_predicted_and_continued_by_a_plain_script(make, tmp_path, capsys):
    old, new = str(tmp_path / "old"), str(tmp_path / "new")
    make(6, old).train(batches(6), steps=3)
    before = values_of(old)
    with pe.growing(old):
        grown = make(8, new)
        grown.train(batches(8), steps=3)
        grown.train(batches(8), steps=3)
        assert grown.evaluate(batches(8, 2))["global_step"] == 6
        predictions = list(grown.predict(batches(8, 1)))
    after = values_of(new)
    assert len(predictions) == 8
    assert set(before) <= set(after)
    tables = [name for name in before if name.endswith(("embedding_weights", "key/weights"))]
    shown = capsys.readouterr().err
    assert [shown.count(f"{name}: [6 -> 8, ") for name in tables] == [1] * len(tables) != []
    for name, value in before.items():
        if after[name].shape != value.shape:
            assert after[name].shape == (8,) + value.shape[1:]
            assert after[name][:6].tolist() == value.tolist()
            assert (after[name][6:] != 0).any()
        elif name.endswith(("kernel", "bias", "weights")):
            assert after[name].tolist() == value.tolist()
    plain = make(8, new)
    plain.train(batches(8), steps=3)
    assert plain.evaluate(batches(8, 2))["global_step"] == 9


@has_estimators
def test_opened_inside_the_model_fn(tmp_path):
    old, new = str(tmp_path / "old"), str(tmp_path / "new")
    custom(6, old).train(batches(6), steps=3)
    custom(8, new, lambda: pe.growing(old, show=None)).train(batches(8), steps=3)
    before, after = values_of(old), values_of(new)
    (table,) = [name for name in before if name.endswith("embedding_weights")]
    assert after[table][:6].tolist() == before[table].tolist()
    assert after[table + "/Adam"].shape == (8, 4)


def script():
    table = tf.get_variable("table", [6, 2], initializer=tf.ones_initializer())
    loss = tf.reduce_sum(tf.square(tf.nn.embedding_lookup(table, [0, 5]) - 3.0))
    step = tf.train.get_or_create_global_step()
    return table, tf.train.AdagradOptimizer(0.1).minimize(loss, global_step=step), step


def test_a_monitored_session_saves_whole_tables_by_itself(write_checkpoint, row_numbers, tmp_path):
    base = write_checkpoint(
        {"table": row_numbers([4, 2]), "table/Adagrad": np.full([4, 2], 5.0, np.float32)}
    )
    directory = str(tmp_path / "run")

    def run(growing, steps):
        with tf.Graph().as_default():
            with growing:
                table, train, step = script()
            with tf.train.MonitoredTrainingSession(
                checkpoint_dir=directory, save_checkpoint_steps=2, log_step_count_steps=None
            ) as session:
                for _ in range(steps):
                    session.run(train)
                return session.run([table, step])

    first, step = run(pe.growing(base, show=None), 3)
    assert first[:4, 0].tolist() == [0, 1, 2, 3] and step == 3
    second, step = run(pe.growing(base, show=None), 2)  # resumed
    assert second[:4, 0].tolist() == [0, 1, 2, 3] and step == 5
    assert (second[5] != first[5]).all()
    saved = values_of(directory)
    assert saved["table"].tolist() == second.tolist()
    assert (saved["table/Adagrad"][:4] == 5).all() and (saved["table/Adagrad"][5] != 5).all()
    third, step = run(tf.name_scope("plain"), 1)
    assert step == 6 and (third[0] != second[0]).all()
    assert os.path.exists(os.path.join(directory, "model.ckpt-6.index"))
