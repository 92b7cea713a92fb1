"""Moving averages of new rows: saved whole, put in place, and their names are no table's."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe

OLD, NEW = 4, 6


def make(rows, checkpoint=None, how="growing"):
    if checkpoint is None:
        return tf.get_variable("ent", [rows, 2])
    if how == "get_embedding":
        return pe.get_embedding("ent", [rows, 2], checkpoint=checkpoint)
    with pe.growing(checkpoint):
        return tf.get_variable("ent", [rows, 2])


def train(table, variable, rows):
    """Returns (the average, an op that trains and averages)."""
    loss = tf.reduce_sum(tf.square(tf.nn.embedding_lookup(table, [0, rows - 1]) - 1))
    step = tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss, var_list=[variable])
    ema = tf.train.ExponentialMovingAverage(0.5)
    with tf.control_dependencies([step]):
        return ema, ema.apply([variable])


@pytest.fixture
def averaged(folder):
    """A base that was averaged as it was trained."""
    with tf.Graph().as_default(), tf.Session() as session:
        table = make(OLD)
        _, step = train(table, table, OLD)
        session.run(tf.global_variables_initializer())
        for _ in range(3):
            session.run(step)
        return tf.train.Saver().save(session, folder("base"))


@pytest.fixture(params=["growing", "get_embedding"])
def grown(request, averaged, session):
    """(table, average, values of the table and of the average) of a table that was trained."""
    table = make(NEW, averaged, request.param)
    ema, step = train(table, table.trainable, NEW)
    session.run(tf.global_variables_initializer())
    for _ in range(3):
        session.run(step)
    found = session.run([table.snapshot, ema.average(table.trainable)])
    assert (found[0][OLD:] != found[1]).any()
    return table, ema, found


def test_its_names_are_no_names_of_a_table(grown):
    # Once taken for the table's own: it was restored, and the average was not.
    table, ema, _ = grown
    for names in (ema.variables_to_restore(), {"other": table.trainable}):
        with pytest.raises(ValueError, match="a part of the table ent, and on disk that is one"):
            pe.Saver(names)
    pe.Saver({"other": table})
    pe.Saver({"ent": table.trainable})


def test_a_plain_saver_of_its_names_finds_no_half(grown, session, folder):
    table, ema, found = grown
    saver, whole = tf.train.Saver(ema.variables_to_restore()), pe.Saver().save(session, folder("w"))
    with pytest.raises(tf.errors.NotFoundError, match="ent/(frozen|trainable)"):
        saver.restore(session, whole)
    np.testing.assert_array_equal(session.run(table), found[0])
    own = saver.save(session, folder("own"))
    session.run(tf.global_variables_initializer())
    saver.restore(session, own)
    np.testing.assert_array_equal(session.run(table), found[0])


def test_putting_it_in_place(grown, session, folder, plain_restore):
    table, ema, (rows, average) = grown
    saver = pe.Saver()
    whole = saver.save(session, folder("whole"))
    names = {"ent": [NEW, 2], "ent/ExponentialMovingAverage": [NEW, 2]}
    np.testing.assert_array_equal(plain_restore(whole, names)["ent"], rows)
    after = plain_restore(whole, names)["ent/ExponentialMovingAverage"]
    np.testing.assert_array_equal(after[OLD:], average)
    swap = tf.assign(table.trainable, ema.average(table.trainable))
    session.run(tf.global_variables_initializer())
    saver.restore(session, whole)
    session.run(swap)
    expected = np.concatenate([rows[:OLD], average])
    np.testing.assert_array_equal(session.run(table), expected)
    found = plain_restore(saver.save(session, folder("swapped")), {"ent": [NEW, 2]})
    np.testing.assert_array_equal(found["ent"], expected)


def test_variables_by_their_own_names(grown, session, folder):
    # As scripts make a list of all; slots were saved under names that no plain script has.
    saved = pe.Saver({v.op.name: v for v in tf.global_variables()}).save(session, folder("named"))
    assert dict(tf.train.list_variables(saved)) == dict.fromkeys(
        ["ent", "ent/Momentum", "ent/ExponentialMovingAverage"], [NEW, 2]
    )


def test_contribs_swapping_saver_refuses(averaged, session):
    contrib = pytest.importorskip("tensorflow.contrib.opt")
    table = make(NEW, averaged)
    optimizer = contrib.MovingAverageOptimizer(tf.train.GradientDescentOptimizer(0.1), 0.5)
    loss = tf.reduce_sum(tf.nn.embedding_lookup(table, [0, 5]))
    optimizer.minimize(loss, var_list=[table.trainable])
    # It knows of no slices that have no average. Whatever it says, it says when it is made.
    with pytest.raises(ValueError, match="Slices must all be from the same tensor: ent != ent/Exp"):
        optimizer.swapping_saver()
