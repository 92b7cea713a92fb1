"""Where new rows start: like the old ones, as means of some, or at given values."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe
from partial_embed import row_init


@pytest.fixture
def grown(write_checkpoint):
    """Returns `grown(old_values, new_rows, initializer)`: values of the new rows."""

    def grown(values, new_rows, initializer, **arguments):
        prefix = write_checkpoint({"ent": values})
        shape = [len(values) + new_rows] + list(values.shape[1:])
        with tf.Graph().as_default(), tf.Session() as session:
            dtype = tf.as_dtype(values.dtype)
            table = pe.get_embedding(
                "ent", shape, dtype, checkpoint=prefix, initializer=initializer, **arguments
            )
            session.run(tf.global_variables_initializer())
            found = session.run(table.trainable)
            # Initialized again, the same seeds give the next values.
            assert tf.get_default_graph().as_graph_def().ByteSize() < 60000
            return found

    return grown


# --- like the old rows ------------------------------------------------------------------


def test_mean_and_covariance(grown, random):
    mixing = random.randn(3, 3)
    old = (random.randn(4000, 3).dot(mixing) + [1, -2, 3]).astype(np.float32)
    new = grown(old, 4000, row_init.normal_like_old_rows(seed=4))
    np.testing.assert_allclose(new.mean(0), old.mean(0), atol=0.15)
    np.testing.assert_allclose(np.cov(new.T), np.cov(old.T), rtol=0.15, atol=0.15)
    assert len(np.unique(new, axis=0)) == 4000
    half = grown(old, 4000, row_init.normal_like_old_rows(scale=0.5, seed=4))
    np.testing.assert_allclose(np.cov(half.T), np.cov(old.T) / 4, rtol=0.15, atol=0.05)


@pytest.mark.parametrize("scale", [1e-9, 0])
def test_all_alike(grown, random, scale):
    old = random.randn(50, 4).astype(np.float32)
    new = grown(old, 5, row_init.normal_like_old_rows(scale=scale))
    np.testing.assert_allclose(new, np.tile(old.mean(0), [5, 1]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_fewer_rows_than_numbers_in_one(grown, random, rows):
    old = random.randn(rows, 8).astype(np.float32)
    new = grown(old, 6, row_init.normal_like_old_rows(seed=1))
    assert np.isfinite(new).all()
    # Drawn from the old rows' own span, around their mean.
    basis = old - old.mean(0)
    off = new - old.mean(0)
    inside = off.dot(np.linalg.pinv(basis, 1e-4)).dot(basis)
    np.testing.assert_allclose(inside, off, atol=1e-4)


def test_a_seed(grown, random):
    old = random.randn(20, 4).astype(np.float32)
    draws = [grown(old, 3, row_init.normal_like_old_rows(seed=seed)) for seed in (7, 7, 8)]
    assert draws[0].tobytes() == draws[1].tobytes()
    assert (draws[0] != draws[2]).all()


@pytest.mark.parametrize("dtype", [tf.float16, tf.float64])
def test_dtypes_and_ranks(grown, random, dtype):
    old = random.randn(30, 2, 3).astype(dtype.as_numpy_dtype)
    new = grown(old, 4, row_init.normal_like_old_rows(seed=1))
    assert new.shape == (4, 2, 3)
    assert new.dtype == old.dtype
    assert np.isfinite(new.astype(float)).all()


def test_a_scale_below_zero():
    with pytest.raises(ValueError, match="scale must be 0 or more, got -1"):
        row_init.normal_like_old_rows(scale=-1)


def test_a_sample_stands_for_a_large_table(grown, random, monkeypatch):
    monkeypatch.setattr(row_init, "_SAMPLE_ROWS", 100)
    old = random.randn(5000, 2).astype(np.float32)
    new = grown(old, 2000, row_init.normal_like_old_rows(seed=2))
    np.testing.assert_allclose(new.mean(0), 0, atol=0.4)
    np.testing.assert_allclose(new.std(0), 1, atol=0.4)


# --- means and copies -------------------------------------------------------------------


def test_copies(grown, random):
    old = random.randn(5, 3).astype(np.float32)
    new = grown(old, 3, row_init.mean_of_rows([4, 0, 4]))
    assert new.tobytes() == old[[4, 0, 4]].tobytes()  # To the last bit.


def test_means(grown, random):
    old = random.randn(5, 3).astype(np.float32)
    new = grown(old, 3, row_init.mean_of_rows([[0, 1], [2], [4, 3, 4]]))
    expected = [old[[0, 1]].mean(0), old[2], old[[4, 3, 4]].mean(0)]
    np.testing.assert_allclose(new, expected, rtol=1e-6)


def test_keys(grown, random):
    old = random.randn(3, 2).astype(np.float32)
    vocabulary = pe.align_vocabularies(["a", "b", "c"], ["c", "new", "a", "b", "newer"])
    new = grown(old, 2, row_init.mean_of_rows([["a", "b"], "c"]), vocabulary=vocabulary)
    np.testing.assert_allclose(new, [old[:2].mean(0), old[2]], rtol=1e-6)
    # Row numbers are those of the table, where "c" stands first.
    new = grown(old, 2, row_init.mean_of_rows([0, 3]), vocabulary=vocabulary)
    np.testing.assert_array_equal(new, old[[2, 1]])


@pytest.mark.parametrize(
    "neighbours, message",
    [
        ([0], "has 2 new rows; expected one list of old rows for each, got 1"),
        ([0, 1, 2], "got 3"),
        ([0, []], "The list of old rows for new row 6 of ent is empty"),
        ([0, 5], "Row 5 of ent cannot be copied: it is not among the 5 rows"),
        ([0, 7], "Row 7 of ent cannot be copied"),
        ([0, -1], "Row -1 of ent cannot be copied"),
        ([0, "a"], "ent has no vocabulary, so 'a' names no row"),
    ],
)
def test_rows_that_cannot_be_copied(grown, neighbours, message):
    with pytest.raises(ValueError, match=message):
        grown(np.zeros([5, 2], np.float32), 2, row_init.mean_of_rows(neighbours))


def test_a_key_that_is_not_there(grown):
    vocabulary = pe.align_vocabularies(list("abc"), list("abcx"))
    old = np.zeros([3, 2], np.float32)
    with pytest.raises(ValueError, match="'z' is no key of ent"):
        grown(old, 1, row_init.mean_of_rows(["z"]), vocabulary=vocabulary)
    with pytest.raises(ValueError, match="Row 3 of ent cannot be copied"):
        grown(old, 1, row_init.mean_of_rows(["x"]), vocabulary=vocabulary)


# --- given values -----------------------------------------------------------------------


@pytest.mark.parametrize("stored", [False, True])
def test_values(grown, random, tmp_path, stored):
    new = random.randn(3, 2)
    given = new
    if stored:
        given = str(tmp_path / "rows.npy")
        np.save(given, new)
    found = grown(np.zeros([4, 2], np.float32), 3, row_init.values_from(given))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, new.astype(np.float32))


def test_values_of_columns(write_checkpoint, start, random):
    prefix, new = write_checkpoint({"kernel": np.zeros([3, 4], np.float32)}), random.randn(2, 3)
    kernel = pe.get_embedding(
        "kernel", [3, 6], checkpoint=prefix, initializer=row_init.values_from(new)
    )
    np.testing.assert_array_equal(start().run(kernel)[:, 4:], new.T.astype(np.float32))


def test_large_values_stay_out_of_the_graph(write_checkpoint, graph, start, random):
    prefix = write_checkpoint({"ent": np.zeros([2, 8], np.float32)})
    new = random.randn(50000, 8).astype(np.float32)  # 1.6 MB
    table = pe.get_embedding(
        "ent", [50002, 8], checkpoint=prefix, initializer=row_init.values_from(new)
    )
    assert graph.as_graph_def().ByteSize() < 20000
    assert start().run(table.trainable).tobytes() == new.tobytes()


@pytest.mark.parametrize("shape", [[3, 2], [4, 3], [4]])
def test_values_of_another_shape(grown, shape):
    with pytest.raises(ValueError, match=r"need values of shape \[4, 2\], got"):
        grown(np.zeros([4, 2], np.float32), 4, row_init.values_from(np.zeros(shape)))


# --- everywhere -------------------------------------------------------------------------


def test_under_growing(write_checkpoint, start, random):
    arrays = {"a": random.randn(4, 2), "b": random.randn(3, 2)}
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    prefix = write_checkpoint(arrays)
    with pe.growing(prefix, initializers={"a": row_init.mean_of_rows([0, 3])}):
        a = tf.get_variable("a", [6, 2])
        b = tf.get_variable("b", [4, 2], initializer=tf.ones_initializer())
    session = start()
    np.testing.assert_array_equal(session.run(a)[4:], arrays["a"][[0, 3]])
    np.testing.assert_array_equal(session.run(b)[3:], [[1, 1]])


def test_without_old_rows():
    with pytest.raises(ValueError, match="checkpoint="):
        pe.get_embedding(
            "ent", [4, 2], num_frozen_rows=2, initializer=row_init.normal_like_old_rows()
        )


def test_with_old_rows_that_train(write_checkpoint, start, random):
    old = random.randn(4, 2).astype(np.float32)
    prefix = write_checkpoint({"ent": old})
    table = pe.get_embedding(
        "ent",
        [6, 2],
        checkpoint=prefix,
        trainable_rows=[1],
        initializer=row_init.mean_of_rows([[1], [2]]),
    )
    found = start().run(table)
    np.testing.assert_array_equal(found, np.concatenate([old, old[[1, 2]]]))


@pytest.mark.parametrize("keys", [None, "xaybcde"])
def test_a_constant_initializer_of_the_whole_table(write_checkpoint, start, keys):
    """As scripts hand over pretrained vectors: new rows take their part."""
    base = write_checkpoint({"e": np.zeros([5, 2], np.float32)})
    given = np.arange(14, dtype=np.float32).reshape([7, 2])
    vocabularies = {"e": (list("abcde"), list(keys))} if keys else None
    with pe.growing(base, vocabularies=vocabularies, show=None):
        table = tf.get_variable("e", [7, 2], initializer=tf.constant_initializer(given))
    new = [0, 2] if keys else [5, 6]
    assert start().run(table)[new].tolist() == given[new].tolist()
