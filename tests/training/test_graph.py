"""How values flow through a graph: above a tensor, after it, into a variable."""

import pytest
import tensorflow.compat.v1 as tf

from partial_embed.training.graph import blocked_by, find_writers, source, upstream, users


@pytest.fixture(params=[False, True], ids=["ref", "resource"])
def variable(request):
    return tf.get_variable("variable", [4, 2], use_resource=request.param)


def test_upstream_follows_values_and_if_asked_what_is_waited_for(graph):
    one, other = tf.constant(1.0, name="one"), tf.constant(2.0, name="other")
    with tf.control_dependencies([other]):
        total = tf.add(one, one, name="total")
    assert {op.name for op in upstream([total])} == {"total", "one", "other"}
    assert {op.name for op in upstream([total], control=False)} == {"total", "one"}
    assert upstream([]) == set()


def test_users_are_found_past_ops_that_keep_values():
    values = tf.constant([1.0, 2.0])
    tf.square(tf.reshape(tf.identity(values), [2, 1]), name="square")
    tf.exp(values, name="exp")
    assert {op.name for op in users(values)} == {"square", "exp"}


def test_the_source_of_what_is_read_is_the_variable(variable):
    assert source(tf.identity(tf.convert_to_tensor(variable))) is variable.op
    doubled = 2 * variable
    assert source(doubled) is doubled.op


def test_what_stops_a_gradient_is_named_only_on_the_way_to_the_loss(variable):
    rows = tf.gather(variable, [0])
    loss = tf.reduce_sum(tf.stop_gradient(rows, name="stop"))
    tf.argmax(rows, name="elsewhere")
    above = upstream([loss], control=False)
    assert blocked_by(variable.op, above) == ["stop"]
    assert blocked_by(variable.op, upstream([rows], control=False)) == []


def test_writers_are_those_that_do_not_load(variable, graph):
    tf.train.Saver([variable])
    zero = tf.zeros([4, 2])
    tf.assign_sub(variable, zero)
    tf.assign(variable, zero)
    tf.scatter_nd_update(tf.get_variable("other", [3, 2]), [[0]], [[1.0, 1.0]])
    writers = find_writers(graph.get_operations())
    types = {name: [op.type.replace("VariableOp", "") for op in writers[name]] for name in writers}
    other = types.pop("other")
    assert types == {"variable": ["AssignSub", "Assign"]}
    assert [kind.replace("Resource", "") for kind in other] == ["ScatterNdUpdate"]
