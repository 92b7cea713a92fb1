"""The audit names what did not come of the checkpoint, what moves old scores, and padding."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe


@pytest.fixture
def base(write_checkpoint, row_numbers):
    return write_checkpoint(
        {
            "table": row_numbers([4, 2])[::-1].copy(),  # the last row is zeros
            "weight": np.ones([2], np.float32),
            "mean": np.ones([2], np.float32),
            "gone": np.ones([3], np.float32),
        }
    )


def script(base, weight=lambda: tf.get_variable("weight", [2]), **arguments):
    with tf.variable_scope("", custom_getter=pe.growing(base, **arguments)):
        table = tf.get_variable("table", [6, 2])
        mean = tf.get_variable("mean", [2], initializer=tf.zeros_initializer(), trainable=False)
        rows = tf.nn.embedding_lookup(table, [0, 5])
        loss = tf.reduce_sum(rows * weight() - mean)
    tf.assign(mean, tf.reduce_mean(rows, 0), name="update")
    pe.minimize(tf.train.GradientDescentOptimizer(0.1), loss)
    return loss


def test_what_the_base_holds_and_was_not_loaded(base):
    loss = script(base, weight=lambda: tf.Variable(tf.ones([2]), name="weight"))
    findings = {f.subject: f for f in pe.audit(loss, show=None).findings}
    assert f"though {base} holds it" in findings["weight"].problem
    assert "nobody took gone, weight of it" in findings[base].problem


def test_state_that_moves(base, caplog):
    loss = script(base)
    findings = {f.subject: f for f in pe.audit(loss, show=None).findings}
    assert "own updates move it (update)" in findings["mean"].problem
    assert "hold='mean'" in findings["mean"].remedy
    pe.FrozenRowsHook().begin()
    assert "the script's own updates move mean" in caplog.text


def test_state_that_is_held_does_not_move(base):
    with pe.growing(base, hold="mean"):
        table = tf.get_variable("table", [6, 2])
        mean = tf.get_variable("mean", [2], initializer=tf.zeros_initializer(), trainable=False)
        tf.assign(mean, mean + 1.0)
        loss = tf.reduce_sum(tf.nn.embedding_lookup(table, [0, 5]) - mean)
    assert "mean" not in {f.subject for f in pe.audit(loss, show=None).findings}


def test_a_last_row_that_is_padding(base):
    loss = script(base)
    findings = {f.subject: f for f in pe.audit(loss, show=None).findings}
    assert "row 3, the last old one, is all zeros" in findings["table"].problem
    assert "row 5 here" in findings["table"].remedy


def test_updates_that_are_made_after_growing_was_closed_are_not_held(write_checkpoint):
    base = write_checkpoint({"ent": np.ones([2, 2], np.float32), "mean": np.ones(2, np.float32)})

    def update(mean):
        return tf.assign_add(mean, [1.0, 1.0])

    with pe.growing(base, hold="mean", show=None):
        table = tf.get_variable("ent", [3, 2])
        mean = tf.get_variable("mean", [2], initializer=tf.zeros_initializer(), trainable=False)
        held = update(mean)
    loss = tf.reduce_sum(tf.gather(table, [0, 2]) + mean)
    assert not pe.audit(loss, show=None).findings
    moving = update(mean)
    (found,) = pe.audit(loss, show=None).findings
    assert found.subject == "mean" and moving.op.name in found.problem
    assert held.op.name not in found.problem.replace(moving.op.name, "")
