"""A grown table in the middle of a script: every use has the value and the gradient of a variable.

The uses of test_embedding, and those that only scripts have, on tables made by `get_embedding` and
by `growing`, whose trainable rows are at the end or anywhere.
"""

import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from absl import logging
from test_embedding import USES, sparse_ids

import partial_embed as pe

SOAK = bool(os.environ.get("PARTIAL_EMBED_SOAK"))
ROWS, WIDTH = 6, 4


def bags(ids, shape=(5, 3)):
    """Ids of five bags, of which the fourth and the last are empty."""
    cells = [[0, 0], [0, 1], [1, 0], [2, 2]]
    return tf.SparseTensor(cells, tf.constant(ids, tf.int64), shape)


def weights(values=(0.5, 2.0, 1.0, 3.0)):
    return tf.SparseTensor([[0, 0], [0, 1], [1, 0], [2, 2]], list(values), [5, 3])


def sparse(function, combiner, with_weights, **arguments):
    def use(e):
        given = weights() if with_weights else None
        return function(e, bags([0, 5, 4, 1]), given, combiner=combiner, **arguments)

    return use


MORE_USES = {
    "embedding_lookup by mod": lambda e: tf.nn.embedding_lookup(e, [5, 0], "mod"),
    "embedding_lookup by div": lambda e: tf.nn.embedding_lookup(e, [5, 0], "div"),
    "embedding_lookup of int64": lambda e: tf.nn.embedding_lookup(e, np.array([5, 1], np.int64)),
    "embedding_lookup of one id": lambda e: tf.nn.embedding_lookup(e, 4),
    "embedding_lookup of rank 3": lambda e: tf.nn.embedding_lookup(e, [[[0, 5]], [[4, 1]]]),
    "embedding_lookup of no id": lambda e: tf.nn.embedding_lookup(e, tf.zeros([0], tf.int32)),
    "max_norm in a list": lambda e: tf.nn.embedding_lookup([e], [[5], [1]], max_norm=1.0),
    "max_norm of rank 3": lambda e: tf.nn.embedding_lookup(e, [[[4], [1]]], max_norm=1.0),
    "sparse with max_norm": sparse(tf.nn.embedding_lookup_sparse, "mean", False, max_norm=1.0),
    "safe with a default": sparse(tf.nn.safe_embedding_lookup_sparse, "mean", False, default_id=5),
    "safe with max_norm": sparse(tf.nn.safe_embedding_lookup_sparse, "sum", False, max_norm=1.0),
    "safe of a list": lambda e: tf.nn.safe_embedding_lookup_sparse([e], sparse_ids([1, 5, 4, 4])),
    "safe, with ids that are left out": lambda e: tf.nn.safe_embedding_lookup_sparse(
        e, bags([0, -1, 4, 5]), weights([1.0, 1.0, 0.0, 2.0]), combiner="sum"
    ),
    "gather_nd": lambda e: tf.gather_nd(e, [[5, 0], [0, 3]]),
    "gather of a batch": lambda e: tf.gather(tf.gather(e, [5, 1]), [0], axis=0),
    "strides": lambda e: e[::-2, 1:3],
    "a new axis": lambda e: e[None, 2:, tf.newaxis],
    "the last rows": lambda e: e[-2:],
    "a mask": lambda e: tf.boolean_mask(e, [True, False, False, True, True, True]),
    "norms": lambda e: tf.norm(e, axis=1),
    "normalised": lambda e: tf.nn.l2_normalize(e, 1),
    "sum of squares": lambda e: tf.reduce_sum(e**2),
    "distance to all": lambda e: tf.reduce_sum(tf.abs(e[5] - e), 1),
    "clipped": lambda e: tf.clip_by_norm(e, 1.0, axes=[1]),
    "scores": lambda e: tf.matmul(tf.ones([2, WIDTH]), e, transpose_b=True),
    "reshaped": lambda e: tf.reshape(e, [-1]),
    "stacked": lambda e: tf.stack([e, e]),
    "unstacked": lambda e: tf.unstack(e)[5],
    "split": lambda e: tf.split(e, 2)[1],
    "tiled": lambda e: tf.tile(e, [1, 2]),
    "padded": lambda e: tf.pad(e, [[1, 0], [0, 0]]),
    "where": lambda e: tf.where(np.eye(ROWS, WIDTH) > 0, e, tf.zeros([ROWS, WIDTH])),
    "transposed": tf.transpose,
    "dense layer": lambda e: tf.nn.relu(tf.tensordot(e, tf.ones([WIDTH, 3]), 1)),
    "map": lambda e: tf.map_fn(lambda i: tf.gather(e, i), tf.constant([5, 0]), dtype=tf.float32),
    "cond": lambda e: tf.cond(tf.constant(True), lambda: tf.gather(e, [5]), lambda: e[:1]),
    "accumulated": lambda e: tf.add_n([tf.convert_to_tensor(e), e * 2.0]),
    "einsum": lambda e: tf.einsum("ij,kj->ik", tf.gather(e, [5, 0]), e),
}
for _combiner in ("sum", "mean", "sqrtn"):
    for _weighted in (False, True):
        _label = "{} {}".format(_combiner, "with weights" if _weighted else "without weights")
        MORE_USES["sparse " + _label] = sparse(tf.nn.embedding_lookup_sparse, _combiner, _weighted)
        MORE_USES["safe " + _label] = sparse(
            tf.nn.safe_embedding_lookup_sparse, _combiner, _weighted
        )


@pytest.fixture
def values(random):
    return random.randn(ROWS, WIDTH).astype(np.float32)


def by_get_embedding(values, write_checkpoint, frozen, trainable, **arguments):
    prefix = write_checkpoint({"embedding": values[:frozen]})
    return pe.get_embedding(
        "embedding",
        [ROWS, WIDTH],
        checkpoint=prefix,
        trainable_rows=trainable or None,
        initializer=values,
        **arguments,
    )


def by_growing(values, write_checkpoint, frozen, trainable, **arguments):
    prefix = write_checkpoint({"embedding": values[:frozen]})
    rows = {"embed*": trainable} if trainable else None
    with pe.growing(prefix, trainable_rows=rows):
        return tf.get_variable("embedding", initializer=values, **arguments)


WHICH = {
    "contiguous": dict(frozen=4, trainable=[]),
    "scattered": dict(frozen=6, trainable=[4, 1]),
    "scattered and new": dict(frozen=5, trainable=[1]),
}


CASES = [
    (by_growing, "contiguous", True),
    (by_growing, "scattered", False),
    (by_get_embedding, "scattered and new", True),
]
# Graphs of all uses are large: two ways to make a table, and two to lie, are in two of three.
large_graphs = pytest.mark.parametrize(
    "twins",
    CASES if SOAK else CASES[::2],
    ids=lambda case: f"{case[0].__name__} {case[1]}",
    indirect=True,
)


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0].__name__} {case[1]}")
def twins(request, values, write_checkpoint):
    """A table that trains in part, and one whole variable."""
    make, which, use_resource = request.param
    table = make(values, write_checkpoint, use_resource=use_resource, **WHICH[which])
    whole = tf.get_variable("whole", initializer=values, use_resource=use_resource)
    return table, whole


@large_graphs
def test_every_use(twins, start, same_bits):
    table, whole = twins
    assert isinstance(table, pe.PartialEmbedding)
    # test_embedding has its uses on tables of every kind that get_embedding makes.
    uses = dict(USES, **MORE_USES) if SOAK else MORE_USES
    results = {name: [use(table), use(whole)] for name, use in uses.items()}
    gradients = {}
    for name, (partial, expected) in results.items():
        assert partial.shape.as_list() == expected.shape.as_list(), name
        pair = [
            tf.gradients(tf.reduce_sum(tf.square(tf.cast(rows, tf.float32))), variable)[0]
            for rows, variable in ((partial, table.trainable), (expected, whole))
        ]
        assert (pair[0] is None) == (pair[1] is None), name
        if pair[0] is not None:
            gradients[name] = [tf.convert_to_tensor(gradient) for gradient in pair]
    assert set(uses) - set(gradients) <= {"compared", "shape"}
    session = start()
    found, learned = session.run([results, gradients])
    for name, (partial, expected) in found.items():
        assert same_bits(partial, expected), name
    for name, (partial, expected) in learned.items():
        # A sum over all rows has another order where rows stand elsewhere.
        np.testing.assert_allclose(
            partial, expected[table.plan.trainable_rows], rtol=1e-6, atol=1e-6, err_msg=name
        )


@large_graphs
def test_training_through_every_use_at_once(twins, start, same_bits, values):
    table, whole = twins
    del whole
    losses = [
        tf.reduce_mean(tf.square(tf.cast(use(table), tf.float32))) for use in MORE_USES.values()
    ]
    optimizer = tf.train.MomentumOptimizer(0.01, 0.9)
    trained = [v for v in tf.trainable_variables() if v.op.name != "whole"]
    assert trained == [table.trainable]
    step = optimizer.minimize(tf.add_n(losses), var_list=trained)
    session = start()
    for _ in range(3):
        session.run(step)
    after = session.run(table)
    frozen = table.plan.frozen_rows()
    assert same_bits(after[frozen], values[frozen])
    trainable = table.plan.trainable_rows
    assert (after[trainable] != values[trainable]).any(axis=1).all()


def test_sampled_losses(twins, start):
    """The table as the output layer, and its biases a table of rank 1."""
    table, whole = twins
    biases = tf.get_variable("biases", initializer=np.arange(6, dtype=np.float32) / 10.0)
    inputs = tf.constant(np.linspace(-1, 1, 2 * WIDTH).reshape([2, WIDTH]), tf.float32)
    labels = tf.constant([[5], [1]], tf.int64)
    sampled = (tf.constant([0, 5, 4], tf.int64), tf.ones([2, 1]), tf.ones([3]))
    cases = []
    for function in (tf.nn.sampled_softmax_loss, tf.nn.nce_loss):
        for strategy in ("mod", "div"):
            arguments = {"partition_strategy": strategy, "remove_accidental_hits": False}
            results = [
                function(e, biases, labels, inputs, 3, ROWS, sampled_values=sampled, **arguments)
                for e in (table, whole)
            ]
            gradients = [
                tf.convert_to_tensor(tf.gradients(results[0], table.trainable)[0]),
                tf.convert_to_tensor(tf.gradients(results[1], whole)[0]),
            ]
            cases.append([results, gradients])
    for (found, expected), (gradient, full) in start().run(cases):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        np.testing.assert_allclose(gradient, full[table.plan.trainable_rows], rtol=1e-5, atol=1e-6)


def test_what_scripts_ask_a_variable(twins, start, values):
    table, whole = twins
    assert table.name == "embedding:0"
    assert table.op.name == "embedding"
    assert table.op.outputs[0].name == table.name
    assert table.get_shape().as_list() == [ROWS, WIDTH]
    assert table.shape[0] == whole.shape[0]
    assert int(table.get_shape()[1]) == WIDTH
    assert table.dtype.base_dtype == whole.dtype.base_dtype
    assert table.graph is whole.graph is tf.get_default_graph()
    assert table.device == whole.device
    session = start()
    with session.as_default():
        assert (table.eval() == values).all()
        assert (tf.convert_to_tensor(table).eval() == values).all()
    fetched = session.run({"table": table, "pair": [table, tf.shape(table)[0]]})
    assert (fetched["table"] == values).all()
    assert fetched["pair"][1] == ROWS
    assert (session.run(table.value()) == session.run(table.read_value())).all()
    assert tf.get_default_graph().get_tensor_by_name("embedding:0") is not None
    # In a summary, in a print, in a comparison of one run with another.
    tf.summary.histogram("table", table)
    assert session.run(tf.reduce_all(tf.equal(table, whole)))


WRITES = {
    "scatter_update": lambda e: tf.scatter_update(e, [0], tf.zeros([1, WIDTH])),
    "scatter_add": lambda e: tf.scatter_add(e, [5], tf.zeros([1, WIDTH])),
    "scatter_sub": lambda e: tf.scatter_sub(e, [5], tf.zeros([1, WIDTH])),
    "scatter_mul": lambda e: tf.scatter_mul(e, [5], tf.zeros([1, WIDTH])),
    "scatter_div": lambda e: tf.scatter_div(e, [5], tf.ones([1, WIDTH])),
    "scatter_min": lambda e: tf.scatter_min(e, [5], tf.zeros([1, WIDTH])),
    "scatter_max": lambda e: tf.scatter_max(e, [5], tf.zeros([1, WIDTH])),
    "scatter_nd_update": lambda e: tf.scatter_nd_update(e, [[5]], tf.zeros([1, WIDTH])),
    "scatter_nd_add": lambda e: tf.scatter_nd_add(e, [[5]], tf.zeros([1, WIDTH])),
    "scatter_nd_sub": lambda e: tf.scatter_nd_sub(e, [[5]], tf.zeros([1, WIDTH])),
    "the method scatter_update": lambda e: e.scatter_update(
        tf.IndexedSlices(tf.zeros([1, WIDTH]), [0])
    ),
}


def test_writes_are_refused_with_a_reason(twins):
    table, _ = twins
    for name, write in WRITES.items():
        with pytest.raises(TypeError) as error:
            write(table)
        text = str(error.value)
        assert f"embedding:0 holds {table.num_frozen_rows} frozen rows" in text, name
        assert "Write to its new rows, embedding.trainable" in text, name
    with pytest.raises((ValueError, AttributeError)):
        table[1:2].assign(tf.zeros([1, WIDTH]))  # Of a tensor: TensorFlow's own refusal.


def test_its_new_rows_can_be_assigned(twins, start, values):
    table, _ = twins
    count = len(table.plan.trainable_rows)
    assign = tf.assign(table.trainable, tf.zeros([count, WIDTH]))
    session = start()
    session.run(assign)
    after = session.run(table)
    assert not after[table.plan.trainable_rows].any()
    assert (after[table.plan.frozen_rows()] == values[table.plan.frozen_rows()]).all()


ASSIGNED = {
    "assign": tf.assign,
    "assign_add": tf.assign_add,
    "assign_sub": tf.assign_sub,
    "method": lambda e, value: e.assign(value),
    "method, as an op": lambda e, value: e.assign_add(value, read_value=False),
    "from a placeholder": lambda e, value: e.assign(
        tf.placeholder_with_default(value, [None, None]), name="pretrained"
    ),
    "clipped": lambda e, value: tf.assign(e, tf.clip_by_norm(e, 0.5, axes=[1])),
    "normalised": lambda e, value: tf.assign(e, tf.nn.l2_normalize(e, 1)),
    "a list": lambda e, value: tf.assign(e, [[1.0] * WIDTH] * ROWS),
}


def test_what_is_assigned_to_all_rows_is_taken_by_those_that_train(twins, start, same_bits, values):
    table, whole = twins
    value = tf.constant(values[::-1].copy())
    made = {kind: [assign(one, value) for one in twins] for kind, assign in ASSIGNED.items()}
    session, initialize = start(), tf.global_variables_initializer()
    frozen, trained = table.plan.frozen_rows(), table.plan.trainable_rows
    for kind, pair in made.items():
        session.run(initialize)
        found, expected = session.run(pair)
        after, wanted = session.run([table, whole])
        assert same_bits(after[frozen], values[frozen]), kind
        assert same_bits(after[trained], wanted[trained]), kind
        assert (after[trained] != values[trained]).any(axis=1).all(), kind
        assert found is None or same_bits(found, after), kind
        assert (found is None) == (expected is None), kind


def test_assignments_can_be_waited_for(twins, start, values):
    table, _ = twins
    with tf.control_dependencies([tf.assign(table, tf.zeros([ROWS, WIDTH]))]):
        rows = tf.nn.embedding_lookup(table, table.plan.trainable_rows)
        whole = tf.identity(table)
    rows, whole = start().run([rows, whole])
    assert not rows.any()
    assert (whole[table.plan.frozen_rows()] == values[table.plan.frozen_rows()]).all()


def test_an_array_is_loaded_into_rows_that_train(twins, start, same_bits, values):
    table, _ = twins
    session = start()
    table.load(values + 1, session)
    after = session.run(table)
    frozen, trained = table.plan.frozen_rows(), table.plan.trainable_rows
    assert same_bits(after[frozen], values[frozen])
    assert same_bits(after[trained], values[trained] + 1)


def test_assignments_that_do_not_fit(twins, start):
    table, _ = twins
    for wrong in (tf.zeros([2, WIDTH]), tf.zeros([ROWS]), 0.0):
        with pytest.raises(ValueError, match=r"embedding:0 has shape \[6, 4\] and was given"):
            tf.assign(table, wrong)
    with pytest.raises(ValueError, match=r"of shape \[2, 4\]. Give a whole table, or assign to"):
        table.load(np.zeros([2, WIDTH]), start())
    value = tf.placeholder(tf.float32)
    assign = tf.assign(table, value)
    with pytest.raises(tf.errors.InvalidArgumentError, match="shape"):
        start().run(assign, {value: np.zeros([2, WIDTH])})


def test_what_becomes_of_assignments_is_said_once_for_a_table(numbered, monkeypatch):
    said = []
    monkeypatch.setattr(logging, "warning", lambda text, *given: said.append(text % given))
    for table in (numbered(name="one"), numbered(name="other")):
        for _ in range(2):
            tf.assign(table, tf.zeros([6, 2]))
    assert said == [
        f"{name}:0 is assigned to as a whole: its new rows take their part of the value, its 4 "
        "frozen rows stay."
        for name in ("one", "other")
    ]


@pytest.mark.parametrize("how", ["scope", "argument"])
def test_a_table_that_the_script_has_partitioned(write_checkpoint, values, start, same_bits, how):
    prefix = write_checkpoint({"embedding": values[:4]}, partitions=2)
    divide = tf.fixed_size_partitioner(3)
    scope, argument = (divide, None) if how == "scope" else (None, divide)
    with pe.growing(prefix), tf.variable_scope("", partitioner=scope):
        table = tf.get_variable("embedding", [ROWS, WIDTH], partitioner=argument)
    assert list(table) == [table]
    assert len(table) == 1
    assert table
    total = tf.add_n([tf.nn.l2_loss(part) for part in table])
    rows = [
        tf.nn.embedding_lookup(ids, [5, 0], partition_strategy="div")
        for ids in (table, list(table))
    ]
    session = start()
    total, rows, whole, joined = session.run([total, rows, table, table.as_tensor()])
    assert same_bits(whole[:4], values[:4]) and same_bits(joined, whole)
    np.testing.assert_allclose(total, (whole**2).sum() / 2, rtol=1e-6)
    assert same_bits(rows[0], whole[[5, 0]]) and same_bits(rows[1], rows[0])


def test_a_table_that_the_script_does_not_train(write_checkpoint, values, start, same_bits):
    """Fixed word vectors: growing adds rows, and nothing trains them but by name."""
    prefix = write_checkpoint({"fixed": values[:4], "embedding": values[:4]})
    with pe.growing(prefix):
        fixed = tf.get_variable("fixed", [6, WIDTH], trainable=False)
        table = tf.get_variable("embedding", [6, WIDTH])
    loss = tf.reduce_sum(tf.square(tf.gather(fixed, [0, 5]) * tf.gather(table, [0, 5])))
    assert tf.trainable_variables() == [table.trainable]
    steps = [
        tf.train.GradientDescentOptimizer(0.1).minimize(loss),
        pe.minimize(tf.train.GradientDescentOptimizer(0.1), loss),
    ]
    session = start()
    before = session.run([fixed, table])
    session.run(steps)
    after = session.run([fixed, table])
    assert same_bits(before[0], after[0])
    assert not same_bits(before[1], after[1])
    named = pe.minimize(tf.train.GradientDescentOptimizer(0.1), loss, embeddings=[fixed])
    session.run(named)
    assert not same_bits(session.run(fixed), after[0])
