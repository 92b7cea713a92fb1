"""Lookups: few ops, one ids tensor divided once, in both kinds of control flow."""

import itertools
import os
import time

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from sampling import pairwise

import partial_embed as pe
from partial_embed.table.lookup import as_ids

SOAK = bool(os.environ.get("PARTIAL_EMBED_SOAK"))


@pytest.fixture(params=[False, True], ids=["v1", "v2"])
def control_flow(request):
    before = tf.control_flow_v2_enabled()
    (tf.enable_control_flow_v2 if request.param else tf.disable_control_flow_v2)()
    yield
    (tf.enable_control_flow_v2 if before else tf.disable_control_flow_v2)()


def added(function):
    """Returns the ops that a function adds to the graph."""
    before = set(tf.get_default_graph().get_operations())
    function()
    return [op for op in tf.get_default_graph().get_operations() if op not in before]


@pytest.mark.parametrize("shape", [[None], [None, 3], None])
@pytest.mark.parametrize("arguments", [dict(num_frozen_rows=4), dict(trainable_rows=[1, 3])])
def test_few_ops(numbered, arguments, shape):
    table = numbered(**arguments)
    ids = tf.placeholder(tf.int32, shape)
    added(lambda: table.lookup(tf.placeholder(tf.int32)))  # Constants, once for a table.
    first, second = added(lambda: table.lookup(ids)), added(lambda: table.lookup(ids))
    assert len(first) <= 10
    assert len(second) == len(first) - 3
    assert [op.type for op in first + second].count("PartitionedCall") == 1
    # Another table divides ids otherwise.
    other = added(lambda: numbered(name="other", num_frozen_rows=2).lookup(ids))
    assert "PartitionedCall" in {op.type for op in other}


def kinds(ops):
    """What ops are, names and what scopes give them aside."""
    found = []
    for op in ops:
        attributes = {k: v for k, v in op.node_def.attr.items() if k[0] != "_"}
        found.append((op.type, op.device, attributes, [o.shape.as_list() for o in op.outputs]))
    return found


@pytest.mark.parametrize("use_resource", [False, True])
@pytest.mark.parametrize("arguments", [dict(num_frozen_rows=4), dict(trainable_rows=[1, 3])])
def test_later_lookups_are_as_the_first(numbered, arguments, use_resource, start):
    with tf.device("/job:localhost"), tf.variable_scope("", use_resource=use_resource):
        table = numbered(**arguments)
    ids = [tf.placeholder(tf.int64, [None]) for _ in range(3)]
    with tf.device("/cpu:0"):
        added(lambda: table.lookup(tf.placeholder(tf.int64, [None])))  # Constants.
        rows = [table.lookup(some, name=f"rows{n}") for n, some in enumerate(ids[:2])]
        again = added(lambda: table.lookup(ids[2]))
        with tf.Graph().as_default(), tf.device("/job:localhost"):
            with tf.variable_scope("", use_resource=use_resource):
                other = numbered(**arguments)
            with tf.device("/cpu:0"):
                some = tf.placeholder(tf.int64, [None])
                first = added(lambda: other.lookup(some))
            # Constants are made once; of resource variables TensorFlow 1 adds what is of no use.
            once = {"Const", "Identity"}
            assert kinds(op for op in first if op.type not in once) == kinds(again)
    assert [some.op.name for some in rows] == ["rows0", "rows1"]
    found = start().run(rows, {ids[0]: [5, 0], ids[1]: [3]})
    assert [some[:, 0].tolist() for some in found] == [[5, 0], [3]]


def test_a_gradient_override_is_of_its_own_lookup(numbered, graph):
    table, kind = numbered(), {"GatherV2": "Square", "ResourceGather": "Square"}
    ids = tf.placeholder(tf.int32, [None])

    def overridden():
        ops = [op for op in added(lambda: table.lookup(ids)) if op.type in kind]
        return ["_gradient_op_type" in op.node_def.attr for op in ops]

    with graph.gradient_override_map(kind):
        assert overridden() == [True, True]
    assert overridden() == [False, False]


def test_a_tape_sees_all_lookups(numbered, start):
    with tf.variable_scope("", use_resource=True):
        table = numbered(num_frozen_rows=4)
    for ids in ([4, 5], [5, 0], [4, 4]):  # later ones are made in another way, if nobody looks
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(table.lookup(tf.constant(ids)))
        gradient = tf.convert_to_tensor(tape.gradient(loss, table.trainable))
        expected = [ids.count(row) for row in (4, 5)]
        assert start().run(gradient)[:, 0].tolist() == expected


def test_one_function_for_all_tables(numbered, graph):
    for number, rows in enumerate((10, 20, 30)):
        table = numbered((rows, 2), num_frozen_rows=rows - 2, name=f"table{number}")
        table.lookup(tf.placeholder(tf.int64, [None]))
    assert len(graph.as_graph_def().library.function) == 1


def test_devices_and_scopes_of_the_first_lookup_are_its_own(numbered, graph, start):
    with tf.device("/job:nowhere"), tf.name_scope("somewhere"):
        numbered(name="first", dtype=tf.float16).lookup(tf.placeholder(tf.int32, [None]))
    (function,) = graph.as_graph_def().library.function
    assert {node.device for node in function.node_def} == {""}
    with tf.Graph().as_default():
        rows = numbered().lookup([0, 5])
        assert start().run(rows)[:, 0].tolist() == [0, 5]


def test_what_waits_makes_no_other_lookup_wait(numbered, start):
    table = numbered()
    ids = tf.placeholder(tf.int32, [None])
    count = tf.get_variable("count", initializer=0)
    with tf.control_dependencies([tf.assign_add(count, 1)]):
        later = table.lookup(ids)
        again = table.lookup(ids)
    now = table.lookup(ids)
    session = start()
    assert session.run(now, {ids: [5]})[0, 0] == 5
    assert session.run(count) == 0
    assert session.run([later, again], {ids: [5]})[1][0, 0] == 5
    assert session.run(count) == 1


def test_the_same_number_in_two_graphs_is_not_the_same_tensor(numbered, start):
    """Each graph has a tensor `ids:0`, as functions and branches have."""
    for row in (0, 5):
        with tf.Graph().as_default():
            rows = numbered().lookup(tf.constant([row], name="ids"))
            assert start().run(rows)[0, 0] == row


@pytest.mark.parametrize("use_resource", [False, True])
def test_branches_and_loops(control_flow, use_resource):
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


def look_everywhere(look, ids, flag):
    """One ids tensor in and outside branches, loops, and branches of loops, several times each."""

    def twice(factor):
        return look(ids) * factor + look(ids) ** 2

    def in_branch(i):
        rows = tf.cond(i < 1, lambda: twice(5.0), lambda: look(ids) * 0.5)
        # In its first kind of loops TensorFlow cannot add up sparse gradients of a branch.
        return rows if tf.control_flow_v2_enabled() else tf.stop_gradient(rows)

    def in_loop(factor):
        return (
            tf.while_loop(
                # In the condition too, of which a loop has one more run than of its body.
                lambda i, _: tf.logical_and(i < 3, tf.reduce_sum(look(ids)) > -1e9),
                lambda i, so_far: (
                    i + 1,
                    so_far + twice(tf.cast(i, tf.float32)) + in_branch(i),
                ),
                [0, tf.zeros([2, 3])],
            )[1]
            * factor
        )

    branch = tf.cond(flag, lambda: twice(2.0), lambda: twice(3.0) + in_loop(0.25))
    inside = in_loop(1.0)
    return twice(7.0) + branch + inside + look(ids)


EVERYWHERE = [False, True], [dict(num_frozen_rows=5), dict(trainable_rows=[1, 6])], [False, True]


@pytest.mark.parametrize(
    "control_flow, arguments, use_resource",
    list(itertools.product(*EVERYWHERE)) if SOAK else pairwise(*EVERYWHERE),
    indirect=["control_flow"],
)
def test_one_ids_tensor_everywhere(control_flow, random, arguments, use_resource):
    values = random.randn(8, 3).astype(np.float32)
    with tf.Graph().as_default(), tf.Session() as session:
        with tf.variable_scope("", use_resource=use_resource):
            table = pe.get_embedding("table", [8, 3], initializer=values, **arguments)
            whole = tf.get_variable("whole", initializer=values)
        ids = tf.placeholder(tf.int32, [2])
        chosen = tf.placeholder(tf.bool, [])
        results = [
            look_everywhere(lambda ids, e=e: tf.nn.embedding_lookup(e, ids), ids, chosen)
            for e in (table, whole)
        ]
        gradients = [
            tf.convert_to_tensor(tf.gradients(results[0], table.trainable)[0]),
            tf.convert_to_tensor(tf.gradients(results[1], whole)[0]),
        ]
        session.run(tf.global_variables_initializer())
        for flag in (False, True):
            for batch in ([1, 6], [6, 6], [0, 4]):
                (found, expected), (gradient, full) = session.run(
                    [results, gradients], {ids: batch, chosen: flag}
                )
                np.testing.assert_array_equal(found, expected)
                rows = table.plan.trainable_rows
                np.testing.assert_allclose(gradient, full[rows], rtol=1e-6, atol=1e-6)
            # And not that a function was cancelled because of it, which may be said now and then.
            for _ in range(10):
                with pytest.raises(
                    tf.errors.InvalidArgumentError, match="table has 8 rows(.|\n)*9"
                ):
                    session.run(results[0], {ids: [0, 9], chosen: flag})


def test_an_exported_graph_is_plain_tensorflow(numbered, start, tmp_path):
    rows = numbered().lookup(tf.placeholder(tf.int32, [None], name="ids"), name="rows")
    session = start()
    tf.train.Saver().save(session, str(tmp_path / "model.ckpt"))
    frozen = tf.graph_util.convert_variables_to_constants(
        session, tf.get_default_graph().as_graph_def(), [rows.op.name]
    )
    for restore in (True, False):
        with tf.Graph().as_default(), tf.Session() as session:
            if restore:
                saver = tf.train.import_meta_graph(str(tmp_path / "model.ckpt.meta"))
                saver.restore(session, str(tmp_path / "model.ckpt"))
            else:
                tf.import_graph_def(frozen, name="")
            assert session.run("rows:0", {"ids:0": [5, 0]})[:, 0].tolist() == [5, 0]
            with pytest.raises(tf.errors.InvalidArgumentError, match="embedding has 6 rows"):
                session.run("rows:0", {"ids:0": [6]})


def test_ids_that_cannot_name_all_rows():
    ids = tf.placeholder(tf.int32, [None], name="few")
    assert as_ids(ids, "table", 2**31 - 1) is ids
    with pytest.raises(TypeError, match="table has 2147483648 rows.*Feed int64 ids .few:0"):
        as_ids(ids, "table", 2**31)
    assert as_ids(tf.constant([1], tf.int64), "table", 2**40).dtype == tf.int64


def test_ragged_ids(start):
    table = pe.get_embedding("table", [6, 2], num_frozen_rows=3)
    ids = tf.ragged.constant([[0, 5], [], [3]])
    session = start()
    rows = session.run(table)
    forms = [table.lookup(ids), tf.gather(table, ids)]
    if tf.__version__[0] != "1":  # whose embedding_lookup takes no ragged ids of a variable either
        forms.append(tf.nn.embedding_lookup(table, ids))
    for found in session.run(forms):
        assert found.to_list() == [rows[[0, 5]].tolist(), [], rows[[3]].tolist()]


def test_rows_are_read_after_what_their_ids_wait_for(numbered, start):
    """As of a plain resource variable, which is read by what gathers from it."""
    with tf.variable_scope("", use_resource=True):
        table = numbered(num_frozen_rows=4)
    ids = tf.placeholder(tf.int32, [None])
    table.lookup(ids)  # Later ones are made in another way.
    late = tf.py_func(lambda: time.sleep(0.1) or np.float32(7), [], tf.float32)
    with tf.control_dependencies([tf.assign(table.frozen, tf.fill([4, 2], late)).op]):
        waiting = tf.identity(ids)
    assert start().run(table.lookup(waiting), {ids: [1]}).tolist() == [[7, 7]]
