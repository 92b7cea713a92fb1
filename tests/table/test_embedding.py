"""PartialEmbedding: the values and gradients of one whole variable, wherever one can stand."""

import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

import partial_embed as pe
from partial_embed.table.embedding import embeddings_in

# Each example builds a graph.
EXAMPLES = 200 if os.environ.get("PARTIAL_EMBED_SOAK") else 12

# --- lookups ------------------------------------------------------------------------

IDS = [
    ("a scalar", 4),
    ("one of each half", [0, 5]),
    ("repeated", [5, 5, 0, 5, 0, 4]),
    ("old ones only", [3, 0]),
    ("new ones only", [5, 4]),
    ("a matrix", [[0, 4], [5, 1]]),
    ("of rank 4", [[[[0], [5]]]]),
    ("an empty matrix", np.zeros([3, 0], np.int32)),
    ("none", np.zeros([0], np.int64)),
]


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("ids", [ids for _, ids in IDS], ids=[name for name, _ in IDS])
def test_ids_of_every_shape(numbered, start, ids, dtype):
    ids = np.asarray(ids, dtype)
    table = numbered()
    known = table.lookup(ids)
    placeholder = tf.placeholder(tf.as_dtype(dtype))
    unknown = table.lookup(placeholder)
    expected = np.stack([ids, ids], axis=-1).astype(np.float32)
    assert known.shape.as_list() == list(expected.shape)
    assert unknown.shape.rank is None
    session = start()
    for rows in (session.run(known), session.run(unknown, {placeholder: ids})):
        assert rows.shape == expected.shape
        assert rows.tolist() == expected.tolist()


def test_python_lists(numbered, start):
    table = numbered()
    session = start()
    assert session.run(table.lookup([0, 5]))[:, 0].tolist() == [0, 5]
    assert session.run(table.lookup(5)).tolist() == [5, 5]
    assert session.run(table.lookup([])).shape == (0, 2)


def test_static_shapes(numbered):
    table = numbered((6, 3, 2))
    assert table.lookup(tf.placeholder(tf.int32, [None])).shape.as_list() == [None, 3, 2]
    assert table.lookup(tf.placeholder(tf.int32, [None, 7])).shape.as_list() == [None, 7, 3, 2]


@pytest.mark.parametrize("row_shape", [(), (3,), (3, 2)])
@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float32, tf.float64, tf.int32])
def test_ranks_and_dtypes(numbered, start, row_shape, dtype):
    table = numbered((6,) + row_shape, dtype=dtype)
    assert table.dtype == dtype
    rows = table.lookup([5, 0, 4])
    assert rows.dtype == dtype
    values = start().run(tf.cast(rows, tf.float32))
    assert values.shape == (3,) + row_shape
    assert values.reshape([3, -1])[:, 0].tolist() == [5, 0, 4]


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float64])
def test_other_float_types_train(numbered, start, dtype):
    table = numbered(dtype=dtype)
    loss = tf.reduce_sum(tf.square(table.lookup([0, 4])))
    train = pe.minimize(tf.train.GradientDescentOptimizer(0.25), loss)
    session = start()
    session.run(train)
    values = session.run(tf.cast(table, tf.float32))
    assert values[:, 0].tolist() == [0, 1, 2, 3, 2, 5]


def table_values(shape):
    return np.random.RandomState(1).randn(*shape).astype(np.float32)


@given(
    st.integers(1, 9),
    st.integers(0, 9),
    st.sampled_from([np.int32, np.int64]),
    st.lists(st.integers(0, 100), max_size=20),
)
@settings(max_examples=EXAMPLES)
@example(4, 0, np.int32, [1])
@example(4, 4, np.int32, [1, 0])
def test_contiguous_lookups_are_numpys(rows, frozen, dtype, numbers):
    ids = (np.array(numbers, np.int64) % rows).astype(dtype)
    values = table_values([rows, 2])
    with tf.Graph().as_default(), tf.Session() as session:
        table = pe.get_embedding(
            "embedding", [rows, 2], initializer=values, num_frozen_rows=min(frozen, rows)
        )
        session.run(tf.global_variables_initializer())
        found, whole = session.run([table.lookup(ids), table])
    assert (found == values[ids]).all()
    assert (whole == values).all()


@given(
    st.integers(1, 9).flatmap(
        lambda rows: st.tuples(
            st.just(rows), st.sets(st.integers(0, rows - 1)), st.lists(st.integers(0, rows - 1))
        )
    ),
    st.sampled_from([np.int32, np.int64]),
)
@settings(max_examples=EXAMPLES)
@example((5, {0, 4}, [0, 1, 2, 3, 4]), np.int32)
@example((5, set(), [4]), np.int32)
@example((3, {0, 1, 2}, [0, 2]), np.int64)
def test_scattered_lookups_are_numpys(drawn, dtype):
    rows, trainable, ids = drawn
    ids = np.array(ids, dtype)
    values = table_values([rows, 2])
    with tf.Graph().as_default(), tf.Session() as session:
        table = pe.get_embedding(
            "embedding", [rows, 2], initializer=values, trainable_rows=sorted(trainable)
        )
        session.run(tf.global_variables_initializer())
        found, whole = session.run([table.lookup(ids), table])
        if trainable:
            assert (session.run(table.trainable) == values[sorted(trainable)]).all()
    assert (found == values[ids]).all()
    assert (whole == values).all()


@pytest.mark.parametrize("ids, named", [([0, 6], "6"), ([-1], "-1"), ([[4], [99]], "99")])
@pytest.mark.parametrize("dtype", [tf.int32, tf.int64])
@pytest.mark.parametrize("num_frozen_rows", [0, 4, 6])
def test_an_id_outside_stops_the_step(numbered, start, ids, named, dtype, num_frozen_rows):
    table = numbered(num_frozen_rows=num_frozen_rows, name="entity/embedding")
    placeholder = tf.placeholder(dtype)
    lookups = [table.lookup(placeholder), tf.nn.embedding_lookup(table, placeholder)]
    session = start()
    for rows in lookups:
        with pytest.raises(tf.errors.InvalidArgumentError) as error:
            session.run(rows, {placeholder: ids})
        text = error.value.message
        assert "entity/embedding has 6 rows, so ids go from 0 to 5" in text
        assert f"[{named}]" in text


def test_an_id_outside_moves_no_row(numbered, start):
    table = numbered()
    ids = tf.placeholder(tf.int32, [None])
    loss = tf.reduce_sum(table.lookup(ids))
    train = pe.minimize(tf.train.GradientDescentOptimizer(0.5), loss)
    session = start()
    with pytest.raises(tf.errors.InvalidArgumentError):
        session.run(train, {ids: [4, 6]})
    assert session.run(table)[:, 0].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("ids", [[0.5], ["a"], [True], np.array([1, 2], np.int16)])
def test_ids_that_are_no_int32_or_int64(numbered, ids):
    table = numbered()
    with pytest.raises(TypeError, match=r"Ids of embedding must be int32 or int64.*tf.cast\(ids"):
        table.lookup(ids)


# --- the cost of a lookup ------------------------------------------------------------


def between(rows, ids):
    """Returns the ops that a lookup adds: above `rows`, not above or beside `ids`."""
    seen, pending = set(), [rows.op]
    while pending:
        op = pending.pop()
        if op not in seen and op is not ids.op:
            seen.add(op)
            pending.extend(tensor.op for tensor in op.inputs)
    return seen


@pytest.mark.parametrize("use_resource", [False, True])
@pytest.mark.parametrize("arguments", [dict(num_frozen_rows=400), dict(trainable_rows=[7, 400])])
@pytest.mark.parametrize("partitions", [1, 2])
def test_no_op_of_a_lookup_holds_all_rows(graph, use_resource, arguments, partitions):
    partitioner = tf.fixed_size_partitioner(partitions) if partitions > 1 else None
    table = pe.get_embedding(
        "embedding", [450, 2], partitioner=partitioner, use_resource=use_resource, **arguments
    )
    ids = tf.placeholder(tf.int32, [3])
    rows = tf.nn.embedding_lookup(table, ids)
    gradient = tf.gradients(tf.reduce_sum(rows), table.trainable)[0]
    assert isinstance(gradient, tf.IndexedSlices)
    variables = {variable.op for variable in table.variables}
    for op in between(rows, ids) - variables:
        # A reference variable is read by an Identity, which copies nothing.
        if op.type == "Identity" and op.inputs[0].op in variables:
            continue
        sizes = [output.shape.num_elements() for output in op.outputs]
        assert all(size is None or size < 100 for size in sizes), op
    assert {op.type for op in between(rows, ids)}.isdisjoint({"Concat", "ConcatV3", "Where"})


@pytest.mark.skipif(not hasattr(tf.raw_ops, "DisableCopyOnRead"), reason="a newer TensorFlow's")
def test_what_was_looked_up_is_not_copied_when_it_is_saved_or_hashed(start):
    """Of a resource variable TensorFlow copies all whenever it is read, once it has gathered."""
    table = pe.get_embedding("embedding", [450, 2], num_frozen_rows=400, use_resource=True)
    ids = tf.placeholder(tf.int32, [None])
    rows, read = table.lookup(ids), table.frozen.read_value()
    saver = pe.Saver()
    reads = [its.op for its in saver.builder.saveables if its.variable is table.frozen]
    reads.append(pe.FrozenRows()._hashes["embedding"][0])
    session = start()
    taken = []
    for what in [*reads, read]:
        session.run(rows, {ids: [3, 420]})
        trace, options = tf.RunMetadata(), tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
        session.run(what.op, options=options, run_metadata=trace)
        nodes = [node for device in trace.step_stats.dev_stats for node in device.node_stats]
        nodes = [node for node in nodes if node.node_name.endswith("ReadVariableOp")]
        taken.append(sum(its.total_bytes for node in nodes for its in node.memory))
    assert taken == [0, 0, 400 * 2 * 4]
    assert session.run(rows, {ids: [3]}).tolist() == session.run(table.frozen)[3:4].tolist()


@pytest.mark.parametrize("arguments", [{}, dict(trainable_rows=[3, 40])])
def test_the_graph_does_not_grow_with_the_frozen_rows(write_checkpoint, arguments):
    sizes = []
    for rows in (50, 5000):
        prefix = write_checkpoint({"embedding": np.ones([rows, 4], np.float32)})
        with tf.Graph().as_default() as graph:
            table = pe.get_embedding("embedding", [rows + 2, 4], checkpoint=prefix, **arguments)
            loss = tf.reduce_sum(table.lookup(tf.placeholder(tf.int32, [None])))
            pe.minimize(tf.train.AdamOptimizer(), loss)
            sizes.append(graph.as_graph_def().ByteSize())
    # Numbers such as 5002 take a byte or two more than 52.
    assert abs(sizes[1] - sizes[0]) < 200


# --- where a script had the variable ---------------------------------------------------


@pytest.fixture(params=["ref", "resource", "partitioned", "scattered"])
def twins(request):
    """A partial table and one whole variable with the same values, [6, 4]."""
    values = table_values([6, 4])
    arguments = dict(num_frozen_rows=4)
    if request.param == "partitioned":
        arguments.update(partitioner=tf.fixed_size_partitioner(3))
    if request.param == "scattered":
        arguments = dict(trainable_rows=[1, 4])
    resource = request.param == "resource"
    table = pe.get_embedding(
        "embedding", [6, 4], initializer=values, use_resource=resource, **arguments
    )
    whole = tf.get_variable("whole", initializer=values, use_resource=resource)
    return table, whole


def sparse_ids(ids):
    cells = [[0, 0], [0, 1], [1, 0], [3, 2]]
    return tf.SparseTensor(cells, tf.constant(ids, tf.int64), [4, 3])


USES = {
    "embedding_lookup": lambda e: tf.nn.embedding_lookup(e, [[0, 5], [4, 5]]),
    "embedding_lookup with a list": lambda e: tf.nn.embedding_lookup([e], [0, 5]),
    "embedding_lookup with max_norm": lambda e: tf.nn.embedding_lookup(e, [0, 5, 5], max_norm=0.5),
    "embedding_lookup_sparse sum": lambda e: tf.nn.embedding_lookup_sparse(
        e, sparse_ids([0, 5, 4, 5]), None, combiner="sum"
    ),
    "embedding_lookup_sparse mean": lambda e: tf.nn.embedding_lookup_sparse(
        e, sparse_ids([0, 5, 4, 5]), None, combiner="mean"
    ),
    "embedding_lookup_sparse sqrtn": lambda e: tf.nn.embedding_lookup_sparse(
        e, sparse_ids([1, 5, 4, 4]), None, combiner="sqrtn"
    ),
    "embedding_lookup_sparse with weights": lambda e: tf.nn.embedding_lookup_sparse(
        e,
        sparse_ids([1, 5, 4, 4]),
        tf.SparseTensor([[0, 0], [0, 1], [1, 0], [3, 2]], [0.5, 2.0, -1.0, 3.0], [4, 3]),
        combiner="mean",
    ),
    "safe_embedding_lookup_sparse": lambda e: tf.nn.safe_embedding_lookup_sparse(
        e, sparse_ids([1, 5, 4, 4]), combiner="mean"
    ),
    "gather": lambda e: tf.gather(e, [[5, 0]]),
    "gather of columns": lambda e: tf.gather(e, [3, 0], axis=1),
    "convert_to_tensor": tf.convert_to_tensor,
    "identity": tf.identity,
    "read_value": lambda e: e.read_value(),
    "value": lambda e: e.value(),
    "l2_normalize": lambda e: tf.nn.l2_normalize(e, 1),
    "l2_normalize of a lookup": lambda e: tf.nn.l2_normalize(tf.gather(e, [5, 1]), 1),
    "matmul": lambda e: tf.matmul(tf.ones([2, 6]), e),
    "matmul transposed": lambda e: tf.matmul(tf.ones([2, 4]), e, transpose_b=True),
    "reduce_sum": tf.reduce_sum,
    "concat": lambda e: tf.concat([e, tf.ones([1, 4])], 0),
    "l2_loss": tf.nn.l2_loss,
    "cast": lambda e: tf.cast(e, tf.float64),
    "shape": lambda e: tf.cast(tf.shape(e), tf.float32),
    "a slice": lambda e: e[1:5],
    "a row": lambda e: e[5],
    "a row at a tensor": lambda e: e[tf.constant(5)],
    "a column": lambda e: e[:, 2],
    "an element": lambda e: e[4, 1],
    "plus": lambda e: e + 1.0,
    "plus from the right": lambda e: 1.0 + e,
    "minus": lambda e: e - tf.ones([4]),
    "times numpy from the right": lambda e: np.float32(2.0) * e,
    "times an array from the right": lambda e: np.full([6, 4], 2.0, np.float32) * e,
    "divided": lambda e: e / 3.0,
    "to a power": lambda e: e**2,
    "negated": lambda e: -e,
    "absolute": abs,
    "operator matmul": lambda e: tf.ones([2, 6]) @ e,
    "compared": lambda e: tf.cast(e > 0.0, tf.float32),
}


def test_every_use_gives_what_the_whole_variable_gives(twins, start, same_bits):
    table, whole = twins
    results = {name: [use(table), use(whole)] for name, use in USES.items()}
    gradients = {}
    for name, (partial, expected) in results.items():
        assert partial.shape.as_list() == expected.shape.as_list(), name
        gradients[name] = [
            tf.gradients(tf.reduce_sum(tf.square(tf.cast(rows, tf.float32))), variable)[0]
            for rows, variable in ((partial, table.trainable), (expected, whole))
        ]
        # Not reached by the one and not by the other: a comparison, a shape.
        assert len({gradient is None for gradient in gradients[name]}) == 1, name
    reached = {
        name: [tf.convert_to_tensor(gradient) for gradient in pair]
        for name, pair in gradients.items()
        if pair[0] is not None
    }
    assert set(USES) - set(reached) == {"compared", "shape"}
    values, gradients = start().run([results, reached])
    for name, (partial, expected) in values.items():
        assert same_bits(partial, expected), name
    for name, (partial, expected) in gradients.items():
        expected_rows = expected[table.plan.trainable_rows]
        np.testing.assert_array_equal(partial, expected_rows, err_msg=name)


def test_fetched_and_evaluated(twins, start):
    table, whole = twins
    session = start()
    expected = session.run(whole)
    assert (session.run(table) == expected).all()
    assert (session.run([table, whole])[0] == expected).all()
    assert (session.run({"one": table})["one"] == expected).all()
    assert (session.run("embedding:0") == expected).all()
    assert (table.eval(session) == expected).all()
    with session.as_default():
        assert (table.eval() == expected).all()


def test_what_a_variable_says_of_itself(twins):
    table, whole = twins
    assert table.name == "embedding:0"
    assert table.op.name == "embedding"
    assert table.shape == whole.shape == table.get_shape()
    assert table.shape.as_list() == [6, 4]
    assert table.dtype == tf.float32
    assert table.graph is whole.graph
    assert table.num_frozen_rows == 4
    assert "embedding:0" in repr(table)
    assert table.trainable.name in repr(table)
    assert table == table  # noqa: PLR0124
    assert table != whole
    assert len({table, table}) == 1


def test_initialized_value(numbered):
    """For an initial value that depends on another; resource variables of 2.x have none."""
    copy = tf.get_variable("copy", initializer=numbered().initialized_value())
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run(copy)[:, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_its_own_initializer(numbered):
    table = numbered()
    with tf.Session() as session:
        session.run(table.initializer)
        assert session.run(table)[:, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_matmul_method_does_not_join_the_halves(twins, start):
    table, whole = twins
    x = tf.constant(np.random.RandomState(3).randn(3, 4), tf.float32)
    results = [table.matmul(x), tf.matmul(x, whole, transpose_b=True)]
    assert results[0].shape.as_list() == [3, 6]
    gradients = [
        tf.gradients(tf.square(results[0]), table.trainable)[0],
        tf.gradients(tf.square(results[1]), whole)[0],
    ]
    (found, expected), (gradient, full) = start().run([results, gradients])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, full[table.plan.trainable_rows], rtol=1e-5, atol=1e-5)
    assert all(
        output.shape.as_list() != [6, 4] for op in between(results[0], x) for output in op.outputs
    )


def test_matmul_needs_rank_2(numbered):
    with pytest.raises(ValueError, match=r"rank 2, embedding has shape \[6, 2, 2\]"):
        numbered((6, 2, 2)).matmul(tf.ones([1, 2]))


@pytest.mark.parametrize("method", ["count_up_to", "scatter_update", "scatter_nd_add"])
def test_single_rows_cannot_be_written_to(numbered, method):
    with pytest.raises(TypeError) as error:
        getattr(numbered(), method)(np.zeros([6, 2]))
    assert "embedding:0 holds 4 frozen rows and cannot be written to by row" in str(error.value)
    assert "embedding.trainable, whose row i is row 4 + i of the table" in str(error.value)


# --- making one -----------------------------------------------------------------------


def test_which_variables_there_are(numbered):
    table = numbered(name="model/embedding")
    assert [v.op.name for v in table.variables] == [
        "model/embedding/frozen",
        "model/embedding/trainable",
    ]
    assert tf.trainable_variables() == [table.trainable]
    assert tf.global_variables() == table.variables
    assert table.frozen.shape.as_list() == [4, 2]
    assert table.trainable.shape.as_list() == [2, 2]
    assert embeddings_in() == [table]


def test_all_frozen_and_all_new(numbered):
    whole = numbered(num_frozen_rows=6, name="whole")
    assert whole.trainable is None
    assert tf.trainable_variables() == []
    fresh = numbered(num_frozen_rows=0, name="fresh")
    assert fresh.frozen is None
    assert fresh.frozen_parts == []
    assert tf.trainable_variables() == [fresh.trainable]


def test_scopes_name_it_and_reuse_finds_it(numbered):
    with tf.variable_scope("one"), tf.variable_scope("two"):
        table = pe.get_embedding("embedding", [6, 2], num_frozen_rows=4)
    assert table.table_name == "one/two/embedding"
    with tf.variable_scope("one/two", reuse=True):
        assert pe.get_embedding("embedding", [6, 2], num_frozen_rows=4) is table
    with tf.variable_scope("one/two", reuse=tf.AUTO_REUSE):
        assert pe.get_embedding("embedding", [6, 2], num_frozen_rows=4) is table
        with pytest.raises(ValueError, match=r"specified shape \(7, 2\) and found shape \(6, 2\)"):
            pe.get_embedding("embedding", [7, 2], num_frozen_rows=4)
    with tf.variable_scope("one/two"), pytest.raises(ValueError, match="already exists.*AUTO_REUS"):
        pe.get_embedding("embedding", [6, 2], num_frozen_rows=4)
    with tf.variable_scope("new", reuse=True), pytest.raises(ValueError, match="does not exist"):
        pe.get_embedding("embedding", [6, 2], num_frozen_rows=4)
    assert len(tf.global_variables()) == 2


def test_the_scope_is_as_it_was_afterwards(numbered):
    with tf.variable_scope("scope") as scope:
        with pytest.raises(ValueError):
            pe.get_embedding("embedding", [6, 2])
        pe.get_embedding("embedding", [6, 2], num_frozen_rows=4)
        assert scope.custom_getter is None
        plain = tf.get_variable("plain", [6, 2])
    assert isinstance(plain, type(tf.get_variable("other", [6, 2])))


def test_the_custom_getter_of_the_script_still_works():
    seen = []

    def custom_getter(getter, name, *args, **kwargs):
        seen.append(name)
        return getter(name, *args, **kwargs)

    with tf.variable_scope("scope", custom_getter=custom_getter):
        pe.get_embedding("embedding", [6, 2], num_frozen_rows=4)
    assert seen == ["scope/embedding/frozen", "scope/embedding/trainable"]


def test_a_regularizer_and_a_constraint_see_the_trainable_rows(start, numbered):
    table = numbered(regularizer=tf.nn.l2_loss, constraint=lambda rows: tf.minimum(rows, 4.5))
    losses = tf.losses.get_regularization_losses()
    train = pe.minimize(tf.train.GradientDescentOptimizer(0.0), tf.reduce_sum(table.value()) * 1.0)
    session = start()
    assert session.run(losses) == [16 + 25]
    session.run(train)
    assert session.run(table)[:, 0].tolist() == [0, 1, 2, 3, 4, 4.5]


def test_collections(numbered):
    table = numbered(collections=["mine", tf.GraphKeys.GLOBAL_VARIABLES])
    assert tf.get_collection("mine") == table.variables
    with tf.variable_scope("local"):
        local = numbered(collections=[tf.GraphKeys.LOCAL_VARIABLES], name="of_a_scope")
    assert tf.local_variables() == local.variables


def test_trainable_false_trains_nothing(numbered):
    table = numbered(trainable=False)
    assert tf.trainable_variables() == []
    assert table.lookup([0, 5]).shape.as_list() == [2, 2]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(shape=[6, 2]), "nothing says which rows are frozen. Give checkpoint="),
        (dict(shape=[None, 2], num_frozen_rows=4), "shape .* of known numbers"),
        (dict(shape=[], num_frozen_rows=0), "shape .* of known numbers"),
        (dict(shape=[6, 2], num_frozen_rows=7), "must be from 0 to 6, .*; got 7"),
        (dict(shape=[6, 2], num_frozen_rows=-1), "must be from 0 to 6, .*; got -1"),
        (dict(shape=[6, 2], trainable_rows=[6]), r"must be from 0 to 5.* found \[6\]"),
        (dict(shape=[6, 2], trainable_rows=[1, 1]), r"more than once: \[1\]"),
    ],
)
def test_arguments_that_do_not_fit_each_other(arguments, message):
    with pytest.raises(ValueError, match=message):
        pe.get_embedding("embedding", **arguments)
    assert tf.global_variables() == []


def test_a_checkpoint_and_a_number_of_rows(write_checkpoint):
    prefix = write_checkpoint({"embedding": np.zeros([4, 2], np.float32)})
    with pytest.raises(ValueError, match="give checkpoint= or num_frozen_rows=, not both"):
        pe.get_embedding("embedding", [6, 2], checkpoint=prefix, num_frozen_rows=4)


def test_old_rows_that_train_as_well(write_checkpoint, row_numbers, start):
    prefix = write_checkpoint({"embedding": row_numbers([5, 2])})
    table = pe.get_embedding(
        "embedding",
        [7, 2],
        checkpoint=prefix,
        trainable_rows=[3, 1],
        initializer=tf.constant_initializer(9.0),
    )
    assert table.num_frozen_rows == 3
    train = pe.minimize(
        tf.train.GradientDescentOptimizer(0.5), tf.reduce_sum(table.lookup(list(range(7))))
    )
    session = start()
    assert session.run(table)[:, 0].tolist() == [0, 1, 2, 3, 4, 9, 9]
    assert session.run(table.trainable)[:, 0].tolist() == [1, 3, 9, 9]
    session.run(train)
    assert session.run(table)[:, 0].tolist() == [0, 0.5, 2, 2.5, 4, 8.5, 8.5]


# --- partitions, and plain savers --------------------------------------------------------


@pytest.mark.parametrize("use_resource", [False, True])
@pytest.mark.parametrize("partitions", [2, 3, 7])
def test_partitioned_frozen_rows(
    numbered, start, tmp_path, read_checkpoint, plain_restore, partitions, use_resource
):
    table = numbered(
        (9, 2), 7, partitioner=tf.fixed_size_partitioner(partitions), use_resource=use_resource
    )
    assert len(table.frozen_parts) == partitions  # 7 rows: uneven for 2 and 3.
    ids = tf.placeholder(tf.int64, [None])
    rows = table.lookup(ids)[:, 0]
    session = start()
    assert session.run(rows, {ids: range(9)}).tolist() == list(range(9))
    assert session.run(rows, {ids: [8, 3, 3, 0, 7]}).tolist() == [8, 3, 3, 0, 7]
    assert session.run(table)[:, 0].tolist() == list(range(9))
    prefix = tf.train.Saver().save(session, str(tmp_path / "model.ckpt"))
    assert tf.train.list_variables(prefix) == [("embedding", [9, 2])]
    expected = read_checkpoint(prefix)["embedding"]
    assert expected[:, 0].tolist() == list(range(9))
    plain = plain_restore(prefix, {"embedding": [9, 2]}, use_resource=use_resource)
    assert plain["embedding"].tolist() == expected.tolist()


def test_partitions_along_another_axis(numbered):
    with pytest.raises(ValueError, match="another axis than its rows. Partition axis 0"):
        pe.get_embedding(
            "embedding", [6, 4], num_frozen_rows=4, partitioner=tf.fixed_size_partitioner(2, axis=1)
        )


@pytest.mark.parametrize("use_resource", [False, True])
@pytest.mark.parametrize("num_frozen_rows", [0, 4, 6])
def test_a_plain_saver_writes_and_reads_one_table(
    numbered, start, tmp_path, plain_restore, num_frozen_rows, use_resource
):
    numbered(num_frozen_rows=num_frozen_rows, use_resource=use_resource)
    saver = tf.train.Saver()
    prefix = saver.save(start(), str(tmp_path / "model.ckpt"))
    assert tf.train.list_variables(prefix) == [("embedding", [6, 2])]
    found = plain_restore(prefix, {"embedding": [6, 2]}, use_resource=use_resource)
    assert found["embedding"][:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    with tf.Graph().as_default(), tf.Session() as session:
        table = pe.get_embedding("embedding", [6, 2], num_frozen_rows=2, use_resource=use_resource)
        tf.train.Saver().restore(session, prefix)
        assert session.run(table)[:, 0].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("use_resource", [False, True])
@pytest.mark.parametrize("rows", [{}, {"trainable_rows": [1, 5]}], ids=["last", "scattered"])
def test_a_plain_saver_that_cuts_slots_is_warned_about(numbered, caplog, use_resource, rows):
    table = numbered(use_resource=use_resource, **rows)
    with tf.variable_scope("embedding"):
        numbered(use_resource=use_resource)  # embedding/embedding, which is no slot
    tf.train.Saver()
    loss = tf.reduce_sum(table.lookup([0, 5]))
    tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    tf.train.Saver()
    tf.train.AdamOptimizer().minimize(loss, var_list=[table.trainable])
    pe.Saver()
    assert not caplog.text
    tf.train.Saver()
    slots = "embedding/trainable/Adam" if rows else "embedding/Adam"
    assert f"only the new rows of {slots}, {slots}_1, which" in caplog.text
    assert caplog.text.count("Use partial_embed.Saver") == 1


def test_of_a_table_in_a_scope_a_warning_names_its_own_slots(numbered, caplog):
    tables = [numbered(), numbered(name="model/embedding")]
    loss = tf.reduce_sum(tables[0].lookup([5])) + tf.reduce_sum(tables[1].lookup([5]))
    tf.train.AdagradOptimizer(0.1).minimize(loss)
    tf.train.Saver()
    assert "new rows of embedding/Adagrad, which" in caplog.text
    assert "new rows of model/embedding/Adagrad, which" in caplog.text


def test_a_saved_model_of_a_training_graph_loses_nothing(numbered, start, caplog, tmp_path):
    table, directory = numbered(), str(tmp_path / "exported")
    ids = tf.placeholder(tf.int32, [None], name="ids")
    rows = tf.identity(table.lookup(ids), name="rows")
    train = tf.train.AdamOptimizer().minimize(tf.reduce_sum(rows))
    session = start()
    session.run(train, {ids: [0, 5]})
    found = [session.run(v) for v in tf.global_variables()]
    tf.saved_model.simple_save(session, directory, {"ids": ids}, {"rows": rows})
    # A Saver of TensorFlow's own, that cannot be told from the script's.
    assert "(One that an export of a SavedModel makes is as it should be" in caplog.text
    with tf.Graph().as_default(), tf.Session() as other:
        tf.saved_model.load(other, ["serve"], directory)
        for value, variable in zip(found, tf.global_variables()):
            assert other.run(variable).tolist() == value.tolist()
        assert (
            other.run("rows:0", {"ids:0": [0, 5]}).tolist()
            == session.run(rows, {ids: [0, 5]}).tolist()
        )


def test_what_a_table_cannot_do_as_a_whole(numbered):
    table = numbered()
    with pytest.raises(TypeError, match="cannot be iterated over"):
        list(table)
    with pytest.raises(TypeError, match="give embedding.trainable"):
        tf.train.ExponentialMovingAverage(0.9).apply([table])


def test_it_knows_whether_it_is_initialized(numbered):
    table = numbered()
    with tf.Session() as session:
        assert not session.run(table.is_initialized())
        session.run(table.initializer)
        assert session.run(table.is_initialized())
