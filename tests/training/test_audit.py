"""audit: why rows do not change, and what changes those that should stay; said before step 0."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe


@pytest.fixture(params=[False, True], ids=["ref", "resource"], autouse=True)
def use_resource(request):
    """Every test, with both kinds of variables."""
    with tf.variable_scope(tf.get_variable_scope(), use_resource=request.param):
        yield request.param


@pytest.fixture
def base(write_checkpoint, row_numbers):
    """A checkpoint of `embedding` [4, 2], `other` [3, 2] and `weight` [2, 2]."""
    return write_checkpoint(
        {
            "embedding": row_numbers([4, 2]),
            "other": row_numbers([3, 2]),
            "weight": np.eye(2, dtype=np.float32),
        }
    )


@pytest.fixture
def table(base):
    """`embedding`: rows 0 to 3 frozen, 4 and 5 new."""
    return pe.get_embedding("embedding", [6, 2], checkpoint=base)


def loss_of(table, ids=(0, 4, 5)):
    rows = tf.nn.embedding_lookup(table, tf.constant(ids, tf.int32))
    return tf.reduce_mean(tf.square(rows - 1.0))


def sgd():
    return tf.train.GradientDescentOptimizer(0.1)


def quiet(loss, **arguments):
    return pe.audit(loss, show=None, **arguments)


def report(audit, name):
    """The report of one variable; there is exactly one."""
    (found,) = [report for report in audit.variables if report.name == name + ":0"]
    return found


def only_finding(audit):
    (found,) = audit.findings
    return found


# --- healthy graphs -----------------------------------------------------------


def test_a_healthy_graph_before_there_is_a_training_op(table):
    found = quiet(loss_of(table), optimizer=sgd(), ids=[0, 4, 5])
    assert found.findings == []
    assert report(found, "embedding/frozen") == pe.VariableReport(
        "embedding/frozen:0", [4, 2], False, "", "4 frozen rows of embedding"
    )
    assert report(found, "embedding/trainable") == pe.VariableReport(
        "embedding/trainable:0", [2, 2], True, "sparse", "rows that are in the batch"
    )
    assert len(found.variables) == 2


OPTIMIZERS = {
    "sgd": sgd,
    "momentum": lambda: tf.train.MomentumOptimizer(0.1, 0.9),
    "adagrad": lambda: tf.train.AdagradOptimizer(0.1),
    "adam": lambda: tf.train.AdamOptimizer(0.1),
    "rmsprop": lambda: tf.train.RMSPropOptimizer(0.1),
    "ftrl": lambda: tf.train.FtrlOptimizer(0.1),
    "adadelta": lambda: tf.train.AdadeltaOptimizer(0.1),
}


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_a_healthy_graph_with_training_op_and_savers(name, table):
    loss = loss_of(table)
    pe.minimize(OPTIMIZERS[name](), loss, global_step=tf.train.get_or_create_global_step())
    tf.train.ExponentialMovingAverage(0.9).apply([table.frozen, table.trainable])
    pe.Saver()
    tf.train.Saver()
    tf.train.Saver(sharded=True, name="other")
    tf.global_variables_initializer()
    found = quiet(loss, ids=[4])
    assert found.findings == []
    assert report(found, "embedding/trainable").trains


def test_adam_is_said_to_move_earlier_rows(table):
    found = quiet(loss_of(table), optimizer=tf.train.AdamOptimizer())
    assert "Adam goes on moving" in report(found, "embedding/trainable").why


@pytest.mark.parametrize("batch", [1, 8], ids=["halves apart", "joined"])
def test_whole_gradients_are_dense(table, batch):
    loss = tf.reduce_sum(table.matmul([[1.0, 2.0]] * batch))
    found = quiet(loss, optimizer=sgd())
    assert report(found, "embedding/trainable")[2:] == (True, "dense", "all of it at every step")
    assert found.findings == []


def test_scattered_rows_and_partitions(base):
    scattered = pe.get_embedding("embedding", [6, 2], checkpoint=base, trainable_rows=[1, 3])
    divided = pe.get_embedding(
        "other", [4, 2], checkpoint=base, partitioner=tf.fixed_size_partitioner(2)
    )
    loss = loss_of(scattered) + loss_of(divided, [0, 3])
    pe.minimize(sgd(), loss)
    found = quiet(loss, ids={"embedding": [0, 3], divided: [3]})
    assert found.findings == []
    names = [(item.name, item.why) for item in found.variables if not item.trains]
    assert names == [
        ("embedding/frozen:0", "2 frozen rows of embedding"),
        ("other/frozen/part_0:0", "2 frozen rows of other"),
        ("other/frozen/part_1:0", "1 frozen rows of other"),
    ]
    finding = only_finding(quiet(loss, ids={"embedding": [0, 2]}))
    assert "none of the 2 ids of the sample is of a row that trains (1, 3-5)" in finding.problem
    # 0 and 1 are no numbers of new rows counted from 0 where those lie scattered.
    assert "Feed batches" in finding.remedy


def test_a_constraint_on_new_rows_is_no_surprise(base):
    table = pe.get_embedding("embedding", [6, 2], checkpoint=base, constraint=tf.nn.relu)
    loss = tf.reduce_sum(table.matmul([[1.0, 2.0]]))
    pe.minimize(sgd(), loss)
    assert quiet(loss).findings == []


def test_lookups_in_branches_write_nothing(table):
    rows = pe.lookup_cond(table, tf.constant([0]), tf.placeholder_with_default(True, []))
    loss = tf.reduce_sum(rows)
    pe.minimize(sgd(), loss)
    assert quiet(loss).findings == []


# --- new rows that will not change --------------------------------------------


def test_the_loss_does_not_reach_the_table(table):
    fetched = tf.placeholder(tf.float32, [None, 2])  # the value of sess.run
    table.lookup([4])
    weight = tf.get_variable("free", [2, 2])
    found = quiet(tf.reduce_sum(tf.matmul(fetched, weight)), optimizer=sgd())
    assert report(found, "embedding/trainable")[3:] == ("none", "the loss does not reach it")
    assert report(found, "free").gradient == "dense"
    finding = only_finding(found)
    assert finding.subject == "embedding/trainable:0"
    assert finding.problem == "new rows will not change: the loss does not reach it"
    assert "not on a copy, another table, or a fetched value" in finding.remedy


BLOCKS = {
    "StopGradient": lambda rows: tf.stop_gradient(rows, name="StopGradient"),
    "ArgMax": lambda rows: tf.cast(tf.argmax(rows, name="ArgMax"), tf.float32),
    "to_ids": lambda rows: tf.cast(tf.cast(rows, tf.int32, name="to_ids"), tf.float32),
    "PyFunc": lambda rows: tf.py_func(lambda x: x, [rows], tf.float32, name="PyFunc"),
    # TensorFlow has no gradient for it, and tf.gradients fails.
    "DeepCopy": lambda rows: tf.raw_ops.DeepCopy(x=rows, name="DeepCopy"),
}


@pytest.mark.parametrize("block", sorted(BLOCKS))
def test_no_gradient_passes_an_op_in_between(block, table):
    weight = tf.get_variable("free", [])
    found = quiet(weight * tf.reduce_sum(BLOCKS[block](table.lookup([4]))), optimizer=sgd())
    item = report(found, "embedding/trainable")
    assert item.gradient == "none"
    assert item.why.startswith("no gradient passes ")
    assert block in item.why
    assert report(found, "free").gradient == "dense"
    assert only_finding(found).problem == "new rows will not change: " + item.why


def test_shapes_are_not_named_beside_what_stops_the_gradient(table):
    rows = table.lookup(tf.placeholder(tf.int32, [None]))
    loss = tf.reduce_sum(tf.stop_gradient(rows, name="stop")) * tf.cast(tf.size(rows), tf.float32)
    found = quiet(loss, optimizer=sgd())
    assert report(found, "embedding/trainable").why == "no gradient passes stop"


def test_the_table_is_not_in_the_var_list(table):
    weight = tf.get_variable("free", [])
    found = quiet(weight * loss_of(table), optimizer=sgd(), var_list=[weight])
    item = report(found, "embedding/trainable")
    assert item[2:] == (False, "sparse", "not in the var_list; rows that are in the batch")
    finding = only_finding(found)
    assert finding.problem == "new rows will not change: not in the var_list"
    assert "minimize(optimizer, loss)" in finding.remedy
    assert quiet(weight * loss_of(table), var_list=table).findings == []


def test_no_training_op_updates_the_table(table):
    weight = tf.get_variable("free", [])
    loss = weight * loss_of(table)
    sgd().minimize(loss, var_list=[weight])
    found = quiet(loss)
    assert report(found, "free").trains
    assert not report(found, "embedding/trainable").trains
    assert only_finding(found).problem == "new rows will not change: no training op updates it"


def test_what_minimize_leaves_out_is_not_said_to_train(table):
    weight = tf.get_variable("free", [])
    loss = weight * loss_of(table)
    pe.minimize(tf.train.AdamOptimizer(), loss)
    found = quiet(loss)
    assert found.findings == []
    assert report(found, "free")[2:4] == (False, "dense")
    assert report(found, "free").why == "no training op updates it; all of it at every step"


def test_loading_a_variable_by_assignment_is_no_training(table):
    weight = tf.get_variable("free", [])
    tf.assign(weight, tf.placeholder(tf.float32, []))
    found = quiet(weight * loss_of(table))
    assert found.findings == []
    assert report(found, "embedding/trainable").trains


def test_a_table_that_the_script_made_untrainable(base):
    table = pe.get_embedding("embedding", [6, 2], checkpoint=base, trainable=False)
    problem = only_finding(quiet(loss_of(table), optimizer=sgd())).problem
    assert problem == "new rows will not change: not trainable"


def test_nothing_new(base):
    table = pe.get_embedding("embedding", [4, 2], checkpoint=base)
    weight = tf.get_variable("free", [])
    finding = only_finding(quiet(weight * loss_of(table, [0, 3]), optimizer=sgd(), ids=[0, 3]))
    assert finding.subject == "embedding"
    assert finding.problem == "it has no new rows, so nothing of it trains"
    assert "more rows than the checkpoint holds" in finding.remedy


def test_nothing_new_under_growing(base):
    with pe.growing(base):
        whole = tf.get_variable("embedding", [4, 2])
    found = quiet(loss_of(whole, [0, 3]))
    assert report(found, "embedding").why == "frozen whole by growing"
    assert found.findings[0][:2] == ("the graph", "it has no table with new rows")


# --- ids ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ids, problem, remedy",
    [
        ([1, 4, 6], "ids 6 are outside the table of 6 rows", "count from 1: subtract 1"),
        ([0, 4, 6], "ids 6 are outside the table of 6 rows", "Ids go from 0 to 5;"),
        ([4, -1, 9, 8], "ids -1, 8-9 are outside the table of 6 rows", "Ids go from 0 to 5;"),
        ([0, 1, 0], "none of the 3 ids of the sample is of a row that trains (4-5)", "add 4."),
        ([[2], [3]], "none of the 2 ids of the sample is of a row that trains", "Feed batches"),
        ([], "none of the 0 ids of the sample is of a row that trains", "Feed batches"),
    ],
)
def test_ids_of_a_sample(ids, problem, remedy, table):
    finding = only_finding(quiet(loss_of(table), optimizer=sgd(), ids=np.array(ids)))
    assert finding.subject == "embedding"
    assert problem in finding.problem
    assert remedy in finding.remedy


def test_ids_of_several_tables(table, base):
    other = pe.get_embedding("other", [5, 2], checkpoint=base)
    loss = loss_of(table) + loss_of(other)
    found = quiet(loss, optimizer=sgd(), ids={"embedding": [4], other: [2]})
    assert only_finding(found).subject == "other"
    with pytest.raises(ValueError, match=r"has 2 tables \(embedding, other\); give ids as a dict"):
        quiet(loss, ids=[4])
    with pytest.raises(ValueError, match="No table 'ent'; there are: embedding, other"):
        quiet(loss, ids={"ent": [4]})
    # One of them named: the other is not looked at.
    found = quiet(loss, optimizer=sgd(), embeddings=other, ids=[4])
    assert found.findings == []
    assert [item.name for item in found.variables if "frozen" in item.name] == ["other/frozen:0"]


# --- what writes to frozen rows -------------------------------------------------

WRITES = {
    "assign": lambda v: tf.assign(v, tf.zeros([4, 2])),
    "assign_sub": lambda v: tf.assign_sub(v, 0.01 * v),  # weight decay by hand
    "scatter_update": lambda v: tf.scatter_update(v, [0], [[1.0, 1.0]]),
    "scatter_nd_add": lambda v: tf.scatter_nd_add(v, [[0]], [[1.0, 1.0]]),
    "slice": lambda v: v[:1].assign([[1.0, 1.0]]),
    "normalised": lambda v: tf.assign(v, tf.nn.l2_normalize(v, 1)),
    "clipped": lambda v: v.assign(tf.clip_by_norm(v, 1.0, axes=[1])),
    "constraint": lambda v: v.assign(tf.keras.constraints.NonNeg()(tf.convert_to_tensor(v))),
    "placeholder": lambda v: tf.assign(v, tf.placeholder(tf.float32, [4, 2])),
    "branch": lambda v: tf.cond(
        tf.placeholder_with_default(True, []),
        lambda: tf.identity(tf.assign(v, tf.zeros([4, 2]))),
        lambda: tf.zeros([4, 2]),
    ),
}


@pytest.mark.parametrize("name", sorted(WRITES))
def test_an_op_that_writes_to_frozen_rows(name, table):
    loss = loss_of(table)
    pe.minimize(sgd(), loss)
    WRITES[name](table.frozen)
    finding = only_finding(quiet(loss))
    assert finding.subject == "embedding/frozen:0"
    assert "can write to frozen rows" in finding.problem
    assert "Let it write to new rows only" in finding.remedy


def test_a_moving_average_that_takes_the_place_of_the_rows(table):
    loss = loss_of(table)
    average = tf.train.ExponentialMovingAverage(0.9)
    with tf.control_dependencies([pe.minimize(sgd(), loss)]):
        average.apply([table.frozen])
    assert quiet(loss).findings == []
    tf.assign(table.frozen, average.average(table.frozen), name="swap_in")
    assert "the op swap_in (Assign" in only_finding(quiet(loss)).problem


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_a_second_optimizer_that_was_given_the_frozen_variable(name, table):
    loss = loss_of(table)
    pe.minimize(sgd(), loss)
    gradient = tf.ones([4, 2])
    OPTIMIZERS[name]().apply_gradients([(gradient, table.frozen)])
    finding = only_finding(quiet(loss))
    assert finding.subject == "embedding/frozen:0"
    assert "Apply" in finding.problem
    assert "Leave it out of the var_list" in finding.remedy


def test_a_frozen_variable_in_the_var_list(table):
    given = [table, table.frozen]
    found = quiet(loss_of(table), optimizer=sgd(), var_list=given)
    finding = only_finding(found)
    assert finding[:2] == ("embedding/frozen:0", "it holds frozen rows, and is to be trained")
    assert not report(found, "embedding/frozen").trains


def test_variables_frozen_whole_by_growing(base):
    with pe.growing(base, train="other"):
        table = tf.get_variable("embedding", [6, 2])
        other = tf.get_variable("other", [3, 2])
        weight = tf.get_variable("weight", [2, 2])
    loss = tf.reduce_sum(tf.matmul(table.lookup([4]) + tf.gather(other, [0]), weight))
    sgd().minimize(loss)
    found = quiet(loss)
    assert found.findings == []
    assert report(found, "weight") == pe.VariableReport(
        "weight:0", [2, 2], False, "", "frozen whole by growing"
    )
    assert report(found, "other")[2:4] == (True, "sparse")
    tf.assign(weight, tf.clip_by_value(weight, 0.0, 1.0))
    assert only_finding(quiet(loss)).subject == "weight:0"


def test_variables_frozen_whole_in_partitions(base):
    halves = tf.fixed_size_partitioner(2)
    with tf.variable_scope(tf.get_variable_scope(), partitioner=halves), pe.growing(base):
        table = tf.get_variable("embedding", [6, 2])
        other = tf.get_variable("other", [3, 2])
        tf.get_variable("weight", pe.meta_graph.Checkpoint(base).shapes["weight"])
    loss = loss_of(table) + tf.reduce_sum(tf.nn.embedding_lookup(other, [0], "div"))
    found = quiet(loss, optimizer=sgd())
    assert found.findings == []
    assert report(found, "other/part_1").why == "frozen whole by growing"


def test_two_optimizers_on_the_new_rows(table):
    loss = loss_of(table)
    pe.minimize(sgd(), loss)
    pe.minimize(tf.train.AdagradOptimizer(0.1), loss, name="again")
    finding = only_finding(quiet(loss))
    assert finding.subject == "embedding/trainable:0"
    assert finding.problem.startswith("several ops write to it: ")
    assert "again/" in finding.problem


def test_an_initializer_that_was_replaced_is_no_write(base):
    table = pe.get_embedding("embedding", [6, 2], num_frozen_rows=4)
    loss = loss_of(table)
    pe.minimize(sgd(), loss)
    tf.train.init_from_checkpoint(base, {"embedding": table.frozen})
    assert quiet(loss).findings == []
    # As tf.train.warm_start does it where vocabularies differ.
    table.frozen._initializer_op = tf.assign(table.frozen, tf.ones([4, 2])).op
    assert quiet(loss).findings == []


def test_functions_and_new_values_that_only_read(table):
    loss = loss_of(table)
    pe.minimize(sgd(), loss)
    tf.tensor_scatter_update(tf.convert_to_tensor(table.frozen), [[0]], [[9.0, 9.0]])
    assert quiet(loss).findings == []


def test_functions_say_what_they_write(table, use_resource):
    if not use_resource or tf.__version__.startswith("1."):
        pytest.skip("branches as functions: resource variables, on TensorFlow 2")
    loss = loss_of(table)
    pe.minimize(sgd(), loss)
    wanted = tf.placeholder_with_default(True, [])
    was_on = tf.control_flow_v2_enabled()
    tf.enable_control_flow_v2()
    try:
        tf.cond(wanted, lambda: table.frozen[0], lambda: table.trainable[0])
        assert quiet(loss).findings == []
        zero = tf.zeros([4, 2])
        tf.cond(wanted, lambda: table.frozen.assign(zero).op, tf.no_op)
        assert only_finding(quiet(loss)).subject == "embedding/frozen:0"
    finally:
        if not was_on:
            tf.disable_control_flow_v2()


# --- whole tables and constants -------------------------------------------------

WHOLE_READS = {
    "L2Loss": lambda e: tf.nn.l2_loss(e, name="L2Loss"),
    "decay": lambda e: 0.01 * tf.reduce_sum(tf.square(tf.convert_to_tensor(e), name="decay")),
    "norm": lambda e: tf.reduce_sum(tf.nn.l2_normalize(e, 1, name="norm")[4]),
    "scores": lambda e: tf.reduce_sum(tf.matmul([[1.0, 2.0]], e, False, True, name="scores")),
}


@pytest.mark.parametrize("rows", [None, [1]], ids=["tail", "scattered"])
@pytest.mark.parametrize("name", sorted(WHOLE_READS))
def test_weight_decay_and_other_whole_reads(name, rows, base):
    table = pe.get_embedding("embedding", [6, 2], checkpoint=base, trainable_rows=rows)
    found = quiet(loss_of(table) + WHOLE_READS[name](table), optimizer=sgd())
    finding = only_finding(found)
    assert finding.subject == "embedding"
    assert finding.problem.startswith("it is read whole (")
    assert name in finding.problem
    assert finding.problem.endswith("6 rows at every step, though only new ones learn")
    assert "for weight decay take the rows of the batch" in finding.remedy


def test_a_whole_read_beside_the_loss_is_no_cost_of_it(table):
    tf.nn.l2_loss(table)
    assert quiet(loss_of(table), optimizer=sgd()).findings == []


def test_constants_that_hold_a_table(table):
    random = np.random.RandomState(0)
    loss = loss_of(table)
    rows = tf.constant(random.rand(6, 2).astype(np.float32), name="rows")
    # The shape of a table alone says little: targets, a table of zeros.
    loss += tf.reduce_sum(tf.square(table.lookup([0, 1, 2, 3, 4, 5]) - rows))
    tf.gather(tf.zeros([6, 2]), [0])
    assert quiet(loss, optimizer=sgd()).findings == []
    tf.nn.embedding_lookup(rows, [3])
    finding = only_finding(quiet(loss, optimizer=sgd()))
    assert finding[:2] == (
        "rows",
        "a constant of the graph holds 12 numbers, as many as a table",
    )
    assert "row_init.values_from" in finding.remedy


def test_the_array_that_a_script_hands_to_get_variable(table):
    tf.get_variable("copy", initializer=np.arange(12, dtype=np.float32).reshape([6, 2]))
    assert "as many as a table" in only_finding(quiet(loss_of(table), optimizer=sgd())).problem


def test_large_constants_of_any_shape(table):
    tf.constant(np.random.RandomState(0).rand(1000, 300).astype(np.float32), name="large")
    tf.constant(np.arange(1 << 18), name="triples")  # ids are no table
    finding = only_finding(quiet(loss_of(table), optimizer=sgd()))
    assert finding[:2] == ("large", "a constant of the graph holds 300000 numbers")


def test_equal_numbers_are_stored_once_however_many(table):
    """An optimizer's initial values."""
    weight = tf.get_variable("weight", [10000, 64])
    loss = loss_of(table) + tf.reduce_sum(weight)
    pe.minimize(tf.train.AdagradOptimizer(0.1), loss, var_list=[weight])
    tf.constant(0.5, shape=[1000, 300])
    assert tf.get_default_graph().as_graph_def().ByteSize() < 1 << 17
    assert quiet(loss).findings == []


# --- what is printed ------------------------------------------------------------


def test_the_table_that_is_printed(table, capsys):
    found = pe.audit(loss_of(table), optimizer=sgd())
    printed = capsys.readouterr().out
    assert printed == str(found) + "\n"
    assert printed.splitlines() == [
        "variable               shape   trains  gradient  why",
        "embedding/frozen:0     [4, 2]  no                4 frozen rows of embedding",
        "embedding/trainable:0  [2, 2]  yes     sparse    rows that are in the batch",
        "",
        "All is well: new rows train, old rows stay.",
    ]
    pe.audit(loss_of(table), optimizer=sgd(), ids=[0], var_list=[])
    assert capsys.readouterr().out.splitlines()[3:] == [
        "",
        "1. embedding/trainable:0: new rows will not change: not in the var_list",
        "   Add the table's .trainable to the var_list, or use minimize(optimizer, loss).",
        "",
        "2. embedding: none of the 1 ids of the sample is of a row that trains (4-5)",
        "   The ids of new rows seem to count from 0: add 4.",
    ]


def test_an_audit_from_outside_the_graph_and_twice(table):
    loss, graph = loss_of(table), tf.get_default_graph()
    pe.minimize(sgd(), loss)
    with tf.Graph().as_default() as other:
        first = quiet(loss)
        assert quiet(loss) == first
        assert other.get_operations() == []
    assert first.findings == []
    assert tf.get_default_graph() is graph


def test_what_is_no_variable_is_refused(table):
    with pytest.raises(TypeError, match=r"embedding\.trainable"):
        quiet(loss_of(table), var_list=[table.lookup([4])])


def test_a_clip_beside_an_optimizer_of_others_is_no_training(table):
    other = tf.get_variable("other", [2])
    loss = loss_of(table) + tf.reduce_sum(other)
    clip = table.trainable.assign_sub(tf.nn.relu(table.trainable - 1.0))
    assert not quiet(loss).findings  # It may be how it trains.
    tf.train.AdamOptimizer(0.1).minimize(loss, var_list=[other])
    assert "no training op updates it" in only_finding(quiet(loss)).problem
    del clip
