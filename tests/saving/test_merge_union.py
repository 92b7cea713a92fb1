"""Several deltas of one base, any mix: all that they hold is kept, or refused by name."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe
from partial_embed.files.checkpoint import Checkpoint
from partial_embed.saving.policy import Policy

OLD = {
    "ent": np.arange(8, dtype=np.float32).reshape([4, 2]),
    "rel": np.arange(4, dtype=np.float32).reshape([2, 2]),
    "w": np.float32([1, 2]),
    "b": np.float32([5]),
    "count": np.int64([2**60 + 1, 7]),
    "text": np.array([b"one", b"two"], object),
    "flag": np.array([True, False]),
    "wave": np.complex64([1 + 2j, 3]),
}


@pytest.fixture
def base(write_checkpoint):
    return write_checkpoint(OLD, name="base.ckpt")


@pytest.fixture
def delta(base, tmp_path):
    """Returns `delta(name, ...)`: the prefix of a delta that one script saved.

    Args of that:
        grows: dict of table name to its rows.
        sets: dict of variable name to the value that "training" gave it; None to leave it
            frozen. Variables that are not named are not in that script.
        optimizer: a function, or None.
        mark: value of the new rows.
    """

    def delta(name, grows=(), sets=(), optimizer=None, mark=1.0, **growing):
        grows, sets = dict(grows), dict(sets)
        trained = [known for known, value in sets.items() if value is not None]
        with tf.Graph().as_default(), tf.Session() as session:
            with pe.growing(base, train=trained, **growing):
                tables = [tf.get_variable(known, [n, 2]) for known, n in grows.items()]
                tables = [table for table in tables if isinstance(table, pe.PartialEmbedding)]
                others = {
                    known: tf.get_variable(known, np.shape(OLD[known]), OLD[known].dtype)
                    if OLD[known].dtype != object
                    else tf.get_variable(known, [2], tf.string, initializer=tf.zeros_initializer())
                    for known in sets
                }
            if optimizer:
                trains = [t.trainable for t in tables] + [
                    others[n] for n in trained if others[n].dtype.base_dtype == tf.float32
                ]
                optimizer().minimize(
                    tf.add_n([tf.reduce_sum(tf.square(v)) for v in trains]), var_list=trains
                )
            session.run(tf.global_variables_initializer())
            for table in tables:
                session.run(tf.assign(table.trainable, tf.fill(table.trainable.shape, mark)))
            for known in trained:
                others[known].load(sets[known], session)
            return pe.Saver(delta=True).save(session, str(tmp_path / name))

    return delta


@pytest.fixture
def merge(base, tmp_path):
    """Returns `merge(deltas, policy=)`: what the merged checkpoint holds."""

    def merge(*deltas, **arguments):
        merged = Checkpoint(
            pe.merge_checkpoint(base, deltas, str(tmp_path / "merged"), **arguments)
        )
        return {name: merged.read(name) for name in merged.shapes}

    return merge


@pytest.fixture
def refused(base, tmp_path):
    """Returns `refused(deltas, policy=)`: what the error says; nothing may be written."""

    def refused(*deltas, **arguments):
        with pytest.raises(ValueError) as error:
            pe.merge_checkpoint(base, deltas, str(tmp_path / "merged"), **arguments)
        assert not list(tmp_path.glob("merged*")) and not list(tmp_path.glob(".partial*"))
        return str(error.value)

    return refused


def adagrad(start=0.1):
    return lambda: tf.train.AdagradOptimizer(0.1, initial_accumulator_value=start)


def momentum():
    return tf.train.MomentumOptimizer(0.1, 0.9)


@pytest.mark.parametrize("turned", [False, True])
def test_trained_in_one_and_frozen_in_the_other(delta, merge, turned):
    one = delta("one", {"ent": 5}, {"w": [8, 9], "b": None}, adagrad())
    other = delta("other", {"ent": 6}, {"w": None, "b": [3]}, adagrad(), mark=2.0)
    found = merge(*([other, one] if turned else [one, other]), policy="last")
    assert found["w"].tolist() == [8, 9] and found["b"].tolist() == [3]
    assert np.allclose(found["w/Adagrad"], 0.1) and np.allclose(found["b/Adagrad"], 0.1)
    assert found["ent"][:4].tolist() == OLD["ent"].tolist()
    assert sorted(found) == ["b", "b/Adagrad", "ent", "ent/Adagrad", "w", "w/Adagrad"]


def test_what_one_of_them_alone_has(delta, merge):
    one = delta("one", {"ent": 5}, {"w": [8, 9]})
    other = delta("other", {"rel": 3}, {"b": None, "count": [1, 2]}, mark=2.0)
    found = merge(one, other)
    assert {name: value.tolist() for name, value in found.items()} == {
        "ent": OLD["ent"].tolist() + [[1, 1]],
        "rel": OLD["rel"].tolist() + [[2, 2]],
        "w": [8, 9],
        "b": [5],
        "count": [1, 2],
    }


def test_grown_in_one_and_frozen_whole_in_the_other(delta, merge):
    one = delta("one", {"ent": 5, "rel": 2}, {"w": [8, 9]}, momentum)
    other = delta("other", {"ent": 4, "rel": 3}, {"w": None}, momentum, mark=2.0)
    found = merge(one, other)
    assert found["ent"].tolist() == OLD["ent"].tolist() + [[1, 1]]
    assert found["rel"].tolist() == OLD["rel"].tolist() + [[2, 2]]
    assert sorted(name for name in found if "Momentum" in name) == [
        "ent/Momentum",
        "rel/Momentum",
        "w/Momentum",
    ]
    assert found["ent/Momentum"].shape == (5, 2) and found["rel/Momentum"].shape == (3, 2)


def test_slots_of_one_optimizer_in_one_and_of_another_in_the_other(delta, merge):
    keys = {"ent": (list("abcd"), list("abcdx"))}, {"ent": (list("abcd"), list("abcdy"))}
    one = delta("one", {"ent": 5}, {}, adagrad(0.5), vocabularies=keys[0])
    other = delta("other", {"ent": 5}, {}, momentum, mark=2.0, vocabularies=keys[1])
    found = merge(one, other)
    assert found["ent"][4:].tolist() == [[1, 1], [2, 2]]
    assert found["ent/Adagrad"].tolist() == [[0.5, 0.5]] * 6
    assert found["ent/Momentum"].tolist() == [[0, 0]] * 6


@pytest.mark.parametrize("policy", ["first", "last", "mean"])
@pytest.mark.parametrize("turned", [False, True])
def test_a_key_in_two_deltas_of_which_one_has_no_such_slot(delta, merge, policy, turned):
    keys = {"ent": (list("abcd"), list("abcdx"))}, {"ent": (list("abcd"), list("abcdxyz"))}
    one = delta("one", {"ent": 5}, {}, adagrad(0.5), vocabularies=keys[0])
    other = delta("other", {"ent": 7}, {}, momentum, mark=2.0, vocabularies=keys[1])
    deltas = [other, one] if turned else [one, other]
    found = merge(*deltas, policy=policy)
    of_x = {"mean": 1.5}.get(policy, 1.0 if (policy == "first") != turned else 2.0)
    assert sorted(found["ent"][4:, 0].tolist()) == sorted([of_x, 2, 2])
    assert found["ent/Adagrad"].tolist() == [[0.5, 0.5]] * 7
    assert found["ent/Momentum"].tolist() == [[0, 0]] * 7


def test_slots_that_start_at_different_numbers(delta, merge, refused):
    one = delta("one", {"ent": 5}, {"w": None}, adagrad(0.1))
    other = delta("other", {"rel": 3}, {"w": None}, adagrad(0.5))
    text = refused(one, other)
    assert "the initial value of w/Adagrad is 0.1" in text and "0.5 in the other" in text
    assert one in text and other in text and "policy='first' or 'last'" in text
    assert np.allclose(merge(one, other, policy="first")["w/Adagrad"], 0.1)
    assert np.allclose(merge(one, other, policy="last")["w/Adagrad"], 0.5)


def test_a_table_that_grew_here_and_was_trained_whole_there(delta, refused):
    one = delta("one", {"ent": 5})
    other = delta("other", {}, {"ent": OLD["ent"] + 1})
    for deltas in ((one, other), (other, one)):
        text = refused(*deltas, policy="last")
        assert "ent grew in one delta and was trained whole in another" in text and other in text


@pytest.mark.parametrize("name, value", [("w", [8, 9]), ("text", [b"x", b"yy"])])
def test_trained_to_the_same_in_both(delta, merge, name, value):
    found = merge(
        delta("one", {"ent": 5}, {name: value}), delta("other", {"rel": 3}, {name: value})
    )
    assert found[name].tolist() == value


@pytest.mark.parametrize(
    "name, first, last, mean",
    [
        ("w", [8, 9], [10, 12], [9, 10.5]),
        ("count", [2**60 + 1, -3], [2**60 + 3, 0], [2**60 + 2, -2]),
        ("count", [2**63 - 1, 2**53 + 1], [2**63 - 3, 2**53 + 1], [2**63 - 2, 2**53 + 1]),
        ("wave", [1 + 4j, 2], [3, 2 + 2j], [2 + 2j, 2 + 1j]),
        ("text", [b"x", b"y"], [b"z", b"y"], None),
        ("flag", [True, True], [False, True], None),
    ],
)
def test_trained_to_different_values(delta, merge, refused, name, first, last, mean):
    one = delta("one", {"ent": 5}, {name: first})
    other = delta("other", {"rel": 3}, {name: last})
    assert f"trained {name} to different values" in refused(one, other)
    assert merge(one, other, policy="first")[name].tolist() == first
    assert merge(one, other, policy="last")[name].tolist() == last
    if mean is None:
        with pytest.raises(ValueError, match=f"{name} is of .*, which has no mean"):
            merge(one, other, policy="mean")
    else:
        assert merge(one, other, policy="mean")[name].tolist() == mean


def test_rows_of_tables_that_are_means(delta, merge):
    keys = {"ent": (list("abcd"), list("abcdx"))}
    one = delta("one", {"ent": 5}, {}, momentum, vocabularies=keys)
    other = delta("other", {"ent": 5}, {}, momentum, mark=2.0, vocabularies=keys)
    assert merge(one, other, policy="mean")["ent"][4:].tolist() == [[1.5, 1.5]]
    assert merge(one, other, policy="first")["ent"][4:].tolist() == [[1, 1]]
    assert merge(one, other, policy="last")["ent"][4:].tolist() == [[2, 2]]


def test_the_frozen_part_of_every_delta_is_checked(delta, refused, write_checkpoint):
    one = delta("one", {"ent": 5}, {"w": None})
    # The base is replaced by one in which a variable differs that the second delta alone froze.
    changed = dict(OLD, b=np.float32([6]))
    write_checkpoint(changed, name="base.ckpt")
    other = delta("other", {"rel": 3}, {"b": None})
    write_checkpoint(OLD, name="base.ckpt")
    text = refused(one, other, policy="last")
    assert other in text and "of b" in text and "the frozen rows differ" in text
    assert other in refused(other, one, policy="last")


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int64])
def test_means_of_small_integers_by_many(dtype):
    """Their rests do not fit in 8 bits."""
    rows = np.array([[15]], dtype), np.zeros(1, int)
    picks = [(rows[1], rows[1])] * 16
    assert Policy("mean").combined("ent", [rows[0]] * 16, picks, 1).tolist() == [[15]]
