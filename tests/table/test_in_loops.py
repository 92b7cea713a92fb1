"""Lookups inside loops: new rows learn as in one whole table, and none moves unasked."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe

OLD, NEW, WIDTH = 5, 8, 8


@pytest.fixture
def folder(tmp_path):
    return lambda name: str(tmp_path / name)


def turns(table, ids):
    start = [0, tf.zeros([WIDTH])]
    return tf.while_loop(
        lambda i, _: i < tf.size(ids),
        lambda i, sums: (i + 1, tf.tanh(sums) + tf.nn.embedding_lookup(table, ids[i])),
        start,
    )[1]


def nested(table, ids):
    def inner(place):
        return tf.map_fn(lambda i: tf.gather(table, i) * 2.0, ids[place:], dtype=tf.float32)

    return tf.while_loop(
        lambda i, _: i < 2,
        lambda i, sums: (i + 1, tf.tanh(sums) + tf.reduce_sum(inner(i), 0)),
        [0, tf.zeros([WIDTH])],
    )[1]


def in_a_branch(table, ids):
    return tf.map_fn(
        lambda i: tf.cond(
            i < OLD, lambda: tf.zeros([WIDTH]), lambda: tf.nn.embedding_lookup(table, i)
        ),
        ids,
        dtype=tf.float32,
    )


def inside_and_outside(table, ids):
    both = (
        tf.nn.embedding_lookup(table, ids),
        tf.map_fn(lambda i: tf.nn.embedding_lookup(table, [i, i]), ids, dtype=tf.float32),
    )
    return tf.reduce_sum(both[0]) + tf.reduce_sum(tf.square(both[1]))


OPTIMIZERS = {
    "momentum": lambda: tf.train.MomentumOptimizer(0.05, 0.9),
    "rmsprop": lambda: tf.train.RMSPropOptimizer(0.05, momentum=0.5),
    "adam": lambda: tf.train.AdamOptimizer(0.05),
}


def without_old_rows(pairs):
    """Returns the gradients of one whole table without those of old rows."""
    found = []
    for gradient, variable in pairs:
        new = tf.reshape(tf.where(gradient.indices >= OLD), [-1])
        values, indices = (tf.gather(its, new) for its in (gradient.values, gradient.indices))
        found.append((tf.IndexedSlices(values, indices, gradient.dense_shape), variable))
    return found


@pytest.mark.parametrize("resource", [False, True])
@pytest.mark.parametrize("looked_up", [turns, nested, in_a_branch, inside_and_outside])
def test_new_rows_learn_as_in_one_whole_table(folder, same_bits, looked_up, resource):
    if resource and looked_up is in_a_branch and tf.__version__.startswith("1."):
        pytest.skip("TensorFlow 1 has no gradient of it, of a plain variable neither")
    values = np.random.RandomState(0).uniform(-1, 1, [NEW, WIDTH]).astype(np.float32)
    with tf.Graph().as_default(), tf.Session() as session:
        tf.get_variable("embedding", initializer=values[:OLD])
        session.run(tf.global_variables_initializer())
        base = tf.train.Saver().save(session, folder("base"))

    def train(optimizer, growing):
        with tf.Graph().as_default(), tf.Session() as session:
            ids = tf.placeholder(tf.int32, [None])
            with tf.variable_scope("", use_resource=resource):
                if growing:
                    with pe.growing(base, show=None):
                        table = tf.get_variable("embedding", initializer=values)
                else:
                    table = tf.get_variable("embedding", initializer=values)
            loss = tf.reduce_sum(tf.square(looked_up(table, ids) - 0.3))
            pairs = optimizer.compute_gradients(loss)
            step = optimizer.apply_gradients(pairs if growing else without_old_rows(pairs))
            session.run(tf.global_variables_initializer())
            found = []
            for batch in ([5, 6], [0, 7, 1, 7], [6, 0, 2]):
                session.run(step, {ids: batch})
                found.append(session.run(table))
            return found

    for optimizer in OPTIMIZERS.values():
        grown, whole = train(optimizer(), True), train(optimizer(), False)
        assert all(same_bits(grown[n], whole[n]) for n in range(3))
        assert same_bits(grown[2][:OLD], values[:OLD]) and not same_bits(grown[2], values)


def test_a_row_that_no_turn_looked_up_does_not_move(folder, same_bits):
    with tf.Graph().as_default(), tf.Session() as session:
        tf.get_variable("embedding", [OLD, WIDTH])
        session.run(tf.global_variables_initializer())
        base = tf.train.Saver().save(session, folder("base"))
    with tf.Graph().as_default(), tf.Session() as session:
        table = pe.get_embedding("embedding", [NEW, WIDTH], checkpoint=base)
        ids = tf.placeholder(tf.int32, [None])
        loss = tf.reduce_sum(tf.square(turns(table, ids) - 0.3))
        step = pe.minimize(OPTIMIZERS["momentum"](), loss)
        session.run(tf.global_variables_initializer())
        session.run(step, {ids: [5, 6]})  # so that the first new row has momentum
        before = session.run(table.trainable)
        session.run(step, {ids: [0, 7, 1]})
        after = session.run(table.trainable)
        assert same_bits(before[:2], after[:2]) and not same_bits(before, after)
