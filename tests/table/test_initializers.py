"""xavier_initializer is contrib's; new rows are drawn as rows of the whole table."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe
from partial_embed.table.initializers import for_rows


@pytest.mark.parametrize("kind", ["normal", "uniform"])
@pytest.mark.parametrize("graph_seed", [None, 1234])
def test_xavier_is_contribs_value_for_value(data, kind, graph_seed):
    with np.load(data("xavier.npz")) as recorded, tf.Graph().as_default(), tf.Session() as session:
        if graph_seed is not None:
            tf.set_random_seed(graph_seed)
        xavier = pe.xavier_initializer(uniform=kind == "uniform", seed=1)
        values = session.run(xavier([2000, 50]))
        name = kind if graph_seed is None else f"{kind}_graph{graph_seed}"
        expected = recorded[name]
        np.testing.assert_allclose(values.ravel()[:200], expected, rtol=1e-6, atol=0)
        if graph_seed is None:
            found = [f(values.astype(np.float64)) for f in (np.mean, np.std, np.min, np.max)]
            np.testing.assert_allclose(found, recorded[kind + "_statistics"], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("shape, mean_fan", [([], 1), ([7], 7), ([4, 6], 5), ([3, 2, 4, 6], 30)])
def test_scale_for_every_rank(shape, mean_fan):
    values = [pe.xavier_initializer(seed=seed)(shape) for seed in range(40)]
    with tf.Session() as session:
        largest = np.abs(session.run(values)).max()
    limit = np.sqrt(3.0 / mean_fan)
    assert 0.9 * limit < largest <= limit


def test_dtypes():
    xavier = pe.xavier_initializer(seed=1, dtype=tf.float64)
    assert xavier([2, 2]).dtype == tf.float64
    assert xavier([2, 2], dtype=tf.float16).dtype == tf.float16
    assert tf.get_variable("v", [2, 2], tf.float16, initializer=xavier).dtype.base_dtype == "half"
    with pytest.raises(TypeError, match="needs a float dtype, got .*int32"):
        pe.xavier_initializer(dtype=tf.int32)


INITIALIZERS = {
    "xavier": lambda: pe.xavier_initializer(seed=3),
    "glorot": lambda: tf.glorot_uniform_initializer(seed=3),
    "variance scaling": lambda: tf.variance_scaling_initializer(
        mode="fan_avg", distribution="uniform", scale=1.0, seed=3
    ),
}


@pytest.mark.parametrize("name", sorted(INITIALIZERS))
def test_new_rows_have_the_scale_of_the_whole_table(start, name):
    # A table [2, 10] of its own would be drawn from +-sqrt(3 / 6) = .71.
    table = pe.get_embedding(
        "embedding", [1000, 10], num_frozen_rows=998, initializer=INITIALIZERS[name]()
    )
    limit = np.sqrt(3.0 / 505)
    largest = np.abs(start().run(table.trainable)).max()
    assert 0.5 * limit < largest <= limit


def test_the_default_initializer_has_the_scale_of_the_whole_table(start, write_checkpoint):
    zeros = np.zeros([998, 10], np.float32)
    prefix = write_checkpoint({"explicit": zeros, "implicit": zeros})
    explicit = pe.get_embedding("explicit", [1000, 10], checkpoint=prefix)
    with pe.growing(prefix):
        implicit = tf.get_variable("implicit", [1000, 10])
    session = start()
    limit = np.sqrt(3.0 / 505)
    for table in (explicit, implicit):
        assert 0.5 * limit < np.abs(session.run(table.trainable)).max() <= limit


def test_the_same_rows_as_for_rows_with_the_same_seed(start):
    xavier = pe.xavier_initializer(seed=5)
    table = pe.get_embedding("embedding", [50, 4], num_frozen_rows=47, initializer=xavier)
    expected = for_rows(xavier, [50, 4], [47, 0])([3, 4], tf.float32)
    new, drawn = start().run([table.trainable, expected])
    assert new.tolist() == drawn.tolist()


def test_initializers_in_every_form(start):
    forms = {
        "an_object": tf.constant_initializer(7.0),
        "a_class": tf.ones_initializer,
        "a_function": lambda shape, dtype=None, partition_info=None: tf.fill(shape, 3.0),
        "a_plain_function": lambda shape, dtype: tf.fill(shape, tf.cast(4.0, dtype)),
        "all_rows": np.full([6, 3], 6.0, np.float32),
        "a_list": [[8.0] * 3] * 6,
    }
    tables = {
        name: pe.get_embedding(name, [6, 3], num_frozen_rows=4, initializer=initializer)
        for name, initializer in forms.items()
    }
    session = start()
    values = {name: float(session.run(table)[5, 0]) for name, table in tables.items()}
    assert values == dict(
        an_object=7, a_class=1, a_function=3, a_plain_function=4, all_rows=6, a_list=8
    )


def test_initial_values_of_the_new_rows_alone(start, write_checkpoint):
    prefix = write_checkpoint({"embedding": np.zeros([4, 3], np.float32)})
    for number, form in enumerate((np.full([2, 3], 5.0, np.float32), [[5.0] * 3] * 2)):
        table = pe.get_embedding(
            f"table{number}",
            [6, 3],
            checkpoint=prefix,
            tensor_name="embedding",
            initializer=form,
        )
        assert start().run(table)[:, 0].tolist() == [0, 0, 0, 0, 5, 5]


def test_initial_values_of_a_wrong_shape(write_checkpoint):
    prefix = write_checkpoint({"embedding": np.zeros([4, 3], np.float32)})
    for shape in ([3, 3], [2, 4]):
        with tf.Graph().as_default(), pytest.raises(ValueError) as error:
            pe.get_embedding(
                "embedding", [6, 3], checkpoint=prefix, initializer=np.zeros(shape, np.float32)
            )
        assert f"have shape {shape}" in str(error.value)
        assert "the rows that train, [2, 3], or the whole table, [6, 3]" in str(error.value)
