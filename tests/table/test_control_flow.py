"""Lookups inside branches and loops, in both of TensorFlow's kinds of control flow."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe


@pytest.fixture(params=[False, True], ids=["v1", "v2"])
def control_flow(request):
    before = tf.control_flow_v2_enabled()
    (tf.enable_control_flow_v2 if request.param else tf.disable_control_flow_v2)()
    yield
    (tf.enable_control_flow_v2 if before else tf.disable_control_flow_v2)()


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
def test_lookups_in_branches_and_loops(control_flow, use_resource):
    with tf.Graph().as_default(), tf.Session() as session:
        table = pe.get_embedding("table", [8, 3], num_frozen_rows=5, use_resource=use_resource)
        ids, as_is = tf.placeholder(tf.int32, [None]), tf.placeholder(tf.bool, [])
        branch = tf.cond(
            as_is, lambda: tf.nn.embedding_lookup(table, ids), lambda: table.lookup(ids + 1)
        )
        _, total = tf.while_loop(
            lambda i, _: i < 3,
            lambda i, so_far: (
                i + 1,
                so_far + tf.reduce_sum(tf.nn.embedding_lookup(table, [i, i + 5])),
            ),
            [0, 0.0],
        )
        loss = tf.reduce_sum(branch) + total
        step = tf.train.GradientDescentOptimizer(1.0).minimize(loss)
        session.run(tf.global_variables_initializer())
        start = session.run(table)
        np.testing.assert_array_equal(
            session.run(branch, {ids: [1, 6], as_is: True}), start[[1, 6]]
        )
        np.testing.assert_array_equal(
            session.run(branch, {ids: [1, 6], as_is: False}), start[[2, 7]]
        )
        np.testing.assert_allclose(
            session.run(total), start[[0, 1, 2, 5, 6, 7]].sum(), rtol=0, atol=1e-5
        )
        session.run(step, {ids: [1, 6], as_is: True})
        moved = session.run(table) - start
        np.testing.assert_array_equal(moved[:5], 0)
        # Each new row once in the loop, row 6 once more in the branch.
        expected = np.repeat([[-1.0], [-2.0], [-1.0]], 3, axis=1)
        np.testing.assert_allclose(moved[5:], expected, rtol=0, atol=1e-6)
