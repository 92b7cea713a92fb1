"""Sparse lookups of a grown table: one variable's values and gradients, at the batch's cost."""

import functools
import itertools
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from sampling import pairwise

import partial_embed as pe
from partial_embed.training.graph import upstream

SOAK = bool(os.environ.get("PARTIAL_EMBED_SOAK"))
ROWS, FROZEN, WIDTH = 11, 7, 8
CELLS = [[0, 0], [0, 1], [0, 2], [1, 0], [2, 1], [2, 2]]


def bags(ids, shape=(3, 3)):
    return tf.SparseTensor(CELLS, tf.cast(ids, tf.int64), shape)


def weights(values=(0.5, 2.0, 1.0, 3.0, 0.25, 1.5)):
    return tf.SparseTensor(CELLS, list(values), [3, 3])


FORMS = {"sparse": tf.nn.embedding_lookup_sparse, "safe": tf.nn.safe_embedding_lookup_sparse}


CASES = list(FORMS), ["sum", "mean", "sqrtn"], [None, weights], [None, 1.0], [False, True]


def cases():
    for case in itertools.product(*CASES) if SOAK else pairwise(*CASES):
        form, combiner, given, max_norm, use_resource = case
        label = f"{form}-{combiner}-{'weights' if given else 'plain'}-{max_norm}"
        yield pytest.param(*case, id=label + ("-resource" if use_resource else "-ref"))


@pytest.fixture
def twins(write_checkpoint, random):
    """Returns `make(use_resource=False)`: a grown table and one whole variable of its values."""

    def make(use_resource=False, trainable_rows=None):
        values = random.randn(ROWS, WIDTH).astype(np.float32)
        prefix = write_checkpoint({"embedding": values[:FROZEN]}, use_resource=use_resource)
        rows = {"embedding": trainable_rows} if trainable_rows else None
        with pe.growing(prefix, trainable_rows=rows):
            grown = tf.get_variable("embedding", initializer=values, use_resource=use_resource)
        whole = tf.get_variable("whole", initializer=values, use_resource=use_resource)
        return grown, whole

    return make


def drop_frozen(gradient, trains):
    keep = tf.reshape(tf.where(tf.gather(trains, gradient.indices)), [-1])
    values, indices = tf.gather(gradient.values, keep), tf.gather(gradient.indices, keep)
    return tf.IndexedSlices(values, indices, gradient.dense_shape)


def reads_whole_tables(tensor, shape):
    """The ops of a tensor that hand a whole table on, a variable's own reference not counted."""
    found = []
    for op in upstream([tensor]):
        if op.type not in ("VariableV2", "Identity", "VarHandleOp"):
            found += [o.name for o in op.outputs if o.shape.rank == 2 and o.shape[0] == shape[0]]
    return found


@pytest.mark.parametrize("form, combiner, given, max_norm, use_resource", list(cases()))
def test_they_train_as_one_whole_variable(
    twins, start, same_bits, form, combiner, given, max_norm, use_resource
):
    grown, whole = twins(use_resource, trainable_rows=[2] if combiner == "mean" else None)
    ids = tf.placeholder(tf.int64, [None])
    results, steps = [], []
    for table in (grown, whole):
        rows = FORMS[form](
            table, bags(ids), given and given(), combiner=combiner, max_norm=max_norm
        )
        assert rows.shape.as_list() in ([None, WIDTH], [3, WIDTH])
        optimizer = tf.train.MomentumOptimizer(0.1, 0.9)
        loss = tf.reduce_sum(tf.square(rows - 0.1))
        variable = table.trainable if table is grown else whole
        ((gradient, _),) = optimizer.compute_gradients(loss, [variable])
        assert isinstance(gradient, tf.IndexedSlices)
        if table is whole:
            trains = np.isin(np.arange(ROWS), grown.plan.trainable_rows)
            gradient = drop_frozen(gradient, tf.constant(trains))
        results.append(rows)
        steps.append(optimizer.apply_gradients([(gradient, variable)]))
    assert reads_whole_tables(results[0], [ROWS]) == []
    session = start()
    before = session.run(grown)
    for batch in ([9, 0, 9, 2, 8, 3], [1, 1, 2, 3, 4, 0], [10, 9, 8, 8, 8, 7]):
        found, expected = session.run(results, {ids: batch})
        assert same_bits(found, expected)
        session.run(steps, {ids: batch})
    after, expected = session.run([grown, whole])
    frozen, trained = grown.plan.frozen_rows(), grown.plan.trainable_rows
    assert same_bits(after[frozen], before[frozen])
    np.testing.assert_allclose(after[trained], expected[trained], rtol=1e-5, atol=1e-6)
    assert (after[trained] != before[trained]).any(axis=1).all()


def test_safe_lookups_of_empty_bags_and_ids_to_leave_out(twins, start, same_bits):
    tables = twins()
    cells = [[0, 0, 0], [0, 1, 0], [1, 1, 1], [1, 1, 2]]
    ids = tf.SparseTensor(cells, tf.constant([-1, 8, 3, 10], tf.int64), [2, 2, 3])
    given = tf.SparseTensor(cells, [1.0, 2.0, 0.0, 0.5], [2, 2, 3])
    results = [
        [
            tf.nn.safe_embedding_lookup_sparse(table, ids, given, default_id=default)
            for table in tables
        ]
        for default in (None, 0, 9)
    ]
    for found, expected in start().run(results):
        assert same_bits(found, expected)


@pytest.mark.parametrize("table_of", [lambda e: e, lambda e: [e]], ids=["alone", "in a list"])
@pytest.mark.parametrize("form", FORMS)
def test_half_precision_and_lists(numbered, start, form, table_of):
    table = numbered(dtype=tf.float16)
    rows = FORMS[form](table_of(table), bags([0, 5, 5, 1, 4, 4]), None, combiner="sum")
    assert start().run(rows)[:, 0].tolist() == [10, 1, 8]


@pytest.mark.parametrize("device", ["", "/cpu:0"])
@pytest.mark.parametrize("form, use_resource", [("sparse", True), ("safe", False)])
def test_ragged_ids(twins, start, same_bits, form, use_resource, device):
    """Of which some TensorFlows make sums by a way of their own, and older ones none."""
    ids = tf.constant([9, 0, 9, 2, 8, 3], tf.int64)
    ragged = tf.RaggedTensor.from_row_lengths(ids, [3, 1, 2])
    look_up = functools.partial(FORMS[form], combiner="mean")
    grown, whole = twins(use_resource)
    with tf.device(device):
        try:
            expected = look_up(whole, ragged, None)
        except (AttributeError, TypeError):
            pytest.skip(f"TensorFlow {tf.__version__} takes no ragged bags")
        results = [look_up(grown, ragged, None), expected]
    gradients = [tf.gradients(results[0], grown.trainable)[0], tf.gradients(expected, whole)[0]]
    assert reads_whole_tables(results[0], [ROWS]) == []
    (found, expected), (of_new, of_all) = start().run([results, gradients])
    assert same_bits(found, expected)
    summed = np.zeros([2, ROWS, WIDTH], np.float32)
    np.add.at(summed[0], of_new.indices + FROZEN, of_new.values)
    np.add.at(summed[1], of_all.indices, of_all.values)
    assert same_bits(summed[0, FROZEN:], summed[1, FROZEN:])


@pytest.mark.parametrize("form", FORMS)
def test_ids_outside_are_named(numbered, start, form):
    rows = FORMS[form](numbered(), bags([0, 5, 6, 1, 4, 4]), None, combiner="sum")
    with pytest.raises(tf.errors.InvalidArgumentError, match="embedding has 6 rows"):
        start().run(rows)


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
def test_in_branches_and_loops(twins, start, same_bits, use_resource):
    """Also of a tensor that was made of the table elsewhere."""
    results = []
    for table in twins(use_resource):
        made = tf.convert_to_tensor(table)

        def look_up(i=0, table=table):
            ids = bags(tf.stack([i, 9, 8, 8, 1, 2]))
            return tf.nn.safe_embedding_lookup_sparse(table, ids, combiner="sum")

        def gather(i, made=made):
            return tf.gather(made, [i, 9])

        one = tf.constant(1, tf.int64)
        total = tf.while_loop(
            lambda i, _: i < 3,
            lambda i, sums: (i + 1, sums + look_up(i) + tf.reduce_sum(gather(i))),  # noqa: B023
            [tf.constant(0, tf.int64), tf.zeros([3, WIDTH])],
        )[1]
        results.append(
            [
                tf.cond(tf.equal(one, 1), look_up, lambda: tf.zeros([3, WIDTH])),
                tf.cond(tf.equal(one, 1), lambda: gather(one), lambda: made[:2]),  # noqa: B023
                total,
                tf.map_fn(gather, tf.constant([1, 10]), tf.float32),
            ]
        )
    for found, expected in zip(*start().run(results)):
        assert same_bits(found, expected)


def test_a_tensor_of_the_table_keeps_its_values_when_the_table_changes(numbered, start):
    table = numbered(use_resource=True)
    before = tf.convert_to_tensor(table)
    with tf.control_dependencies([before]):
        change = tf.assign(table.trainable, tf.zeros([2, 2]))
    with tf.control_dependencies([change]):
        rows = tf.gather(before, [5, 0])
    assert start().run(rows).tolist() == [[5, 5], [0, 0]]


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
def test_gradients_of_a_tensor_made_of_the_table(twins, start, same_bits, use_resource):
    """It is a tensor as any: rows that are gathered from it are its rows."""
    results = []
    for table in twins(use_resource):
        made = tf.convert_to_tensor(table)
        rows = tf.reduce_sum(tf.square(tf.gather(made, [0, 9, 9])))
        both = rows + tf.reduce_sum(tf.square(tf.matmul(made, made, transpose_a=True)))
        gradients = [tf.gradients(loss, made)[0] for loss in (rows, both)]
        results.append([tf.convert_to_tensor(gradient) for gradient in gradients])
    for found, expected in zip(*start().run(results)):
        assert same_bits(found, expected)
