"""lookup_cond: one half of the table for the whole batch, and nothing done to the other."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64])
def test_ids_count_from_zero_in_the_chosen_half(numbered, start, dtype):
    table = numbered()  # Frozen rows 0 1 2 3, trainable rows 4 5.
    ids, is_new = tf.placeholder(dtype, [None]), tf.placeholder(tf.bool, [])
    rows = pe.lookup_cond(table, ids, is_new)[:, 0]
    session = start()
    assert session.run(rows, {ids: [0, 1, 0], is_new: True}).tolist() == [4, 5, 4]
    assert session.run(rows, {ids: [0, 3, 0], is_new: False}).tolist() == [0, 3, 0]
    assert session.run(rows, {ids: [], is_new: True}).tolist() == []


def test_ids_of_any_shape(numbered, start):
    table = numbered((6, 2, 3))
    ids = tf.placeholder(tf.int32)
    rows = pe.lookup_cond(table, ids, tf.constant(True))
    session = start()
    assert session.run(rows, {ids: 1}).tolist() == np.full([2, 3], 5).tolist()
    assert session.run(rows, {ids: [[0, 1], [1, 1]]}).shape == (2, 2, 2, 3)
    assert pe.lookup_cond(table, [[0, 1, 0]], True).shape.as_list() == [1, 3, 2, 3]


def test_an_id_of_the_other_half_stops_the_step(numbered, start):
    table = numbered()
    ids, is_new = tf.placeholder(tf.int32, [None]), tf.placeholder(tf.bool, [])
    rows = pe.lookup_cond(table, ids, is_new)
    session = start()
    trainable = "trainable half of embedding has 2 rows(.|\n)*3"
    with pytest.raises(tf.errors.InvalidArgumentError, match=trainable):
        session.run(rows, {ids: [0, 3], is_new: True})
    with pytest.raises(tf.errors.InvalidArgumentError, match="frozen half of embedding has 4 rows"):
        session.run(rows, {ids: [4], is_new: False})
    with pytest.raises(tf.errors.InvalidArgumentError, match="-1"):
        session.run(rows, {ids: [-1], is_new: False})


@pytest.mark.parametrize("use_resource", [False, True])
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: tf.train.MomentumOptimizer(0.5, 0.9),
        lambda: tf.train.RMSPropOptimizer(0.1, momentum=0.9),
    ],
    ids=["Momentum", "RMSProp"],
)
def test_an_old_batch_moves_nothing_whatever_momentum_there_is(
    numbered, start, same_bits, optimizer, use_resource
):
    table = numbered(use_resource=use_resource)
    ids, is_new = tf.placeholder(tf.int32, [None]), tf.placeholder(tf.bool, [])
    loss = tf.reduce_sum(tf.square(pe.lookup_cond(table, ids, is_new) - 1.0))
    train = pe.minimize(optimizer(), loss)
    session = start()
    for _ in range(3):
        session.run(train, {ids: [0, 1, 0], is_new: True})
    before = session.run(tf.global_variables())
    for _ in range(3):
        session.run(train, {ids: [0, 1, 0], is_new: False})
    after = session.run(tf.global_variables())
    # The slots too, so that the next new batch is not disturbed either.
    assert all(same_bits(one, other) for one, other in zip(before, after))
    assert len(before) > 2
    session.run(train, {ids: [1], is_new: True})
    moved = session.run(table) != np.concatenate(before[:2])
    assert moved.any(axis=1).tolist() == [False] * 5 + [True]


def test_arguments_are_checked(numbered):
    table = numbered()
    with pytest.raises(TypeError, match="is_new must be a bool scalar, got int32"):
        pe.lookup_cond(table, [0], 1)
    with pytest.raises(ValueError, match=r"got shape \[2\].*use lookup\(ids\)"):
        pe.lookup_cond(table, [0, 1], [True, False])
    with pytest.raises(TypeError, match="int32 or int64, got float32"):
        pe.lookup_cond(table, [0.0], True)
    with pytest.raises(ValueError, match=r"4 of the one and 0 of the other. Use lookup\(ids\)"):
        pe.lookup_cond(numbered((4, 2), name="nothing_new"), [0], True)


def test_a_plain_variable_is_no_table():
    with pytest.raises(TypeError, match="needs a PartialEmbedding"):
        pe.lookup_cond(tf.get_variable("weight", [3, 2]), [0], True)
