"""Scores against all rows, and the softmax over them: plain TensorFlow on one whole table."""

import functools

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe

PLANS = [
    {"num_frozen_rows": 7},
    {"num_frozen_rows": 0},
    {"num_frozen_rows": 11},
    {"trainable_rows": [1, 4, 9]},
    {"num_frozen_rows": 7, "partitioner": tf.fixed_size_partitioner(3)},
]


def make(plan, use_resource, dtype=tf.float32, scale=1.0):
    """Returns (a grown table, its values, x as a placeholder, labels)."""
    random = np.random.RandomState(0)
    values = (scale * random.randn(11, 4)).astype(dtype.as_numpy_dtype)
    with tf.variable_scope("", use_resource=use_resource):
        table = pe.get_embedding("table", [11, 4], dtype, initializer=values, **plan)
    x = tf.placeholder(dtype, [None, 4])
    return table, values, x, {x: (scale * random.randn(5, 4)).astype(dtype.as_numpy_dtype)}


LABELS = [0, 10, 4, 9, 6]


@pytest.mark.parametrize("scores_at_once", [1, 12, 1 << 22])
@pytest.mark.parametrize("use_resource", [False, True])
@pytest.mark.parametrize("plan", PLANS)
def test_values_and_gradients_are_those_of_one_table(
    start, monkeypatch, plan, use_resource, scores_at_once
):
    monkeypatch.setattr("partial_embed.table.log_sum_exp._SCORES", scores_at_once)
    table, values, x, feeds = make(plan, use_resource)
    whole = tf.constant(values)
    wanted = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=LABELS, logits=tf.matmul(x, whole, transpose_b=True)
    )
    weights = tf.constant([1.0, -2.0, 0.5, 3.0, 1.0])
    of_x, of_rows = tf.gradients(wanted * weights, [x, whole])
    found = table.softmax_cross_entropy(x, LABELS)
    cached = table.softmax_cross_entropy(x, LABELS, table.frozen_log_sum_exp(tf.stop_gradient(x)))
    trains = [] if table.trainable is None else [table.trainable]
    gradients = tf.gradients(found * weights, [x, *trains])
    of_cached = tf.gradients(cached * weights, trains)
    session = start()
    wanted, of_x, of_rows, found, cached, gradients, of_cached = session.run(
        [wanted, of_x, of_rows, found, cached, gradients, of_cached], feeds
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(cached, found)
    np.testing.assert_allclose(gradients[0], of_x, rtol=1e-4, atol=1e-5)
    rows = table.plan.trainable_rows
    for gradient in gradients[1:] + of_cached:
        np.testing.assert_allclose(dense(gradient, len(rows)), of_rows[rows], rtol=1e-4, atol=1e-5)


def dense(gradient, count, width=4):
    if isinstance(gradient, np.ndarray):
        return gradient
    found = np.zeros([count, width], np.float32)
    np.add.at(found, gradient.indices, gradient.values)
    return found


def distance(x, rows):
    """Less the squared distance, by norms and one product."""
    squares = tf.reduce_sum(x**2, 1)[:, tf.newaxis] + tf.reduce_sum(rows**2, 1)
    return 2 * tf.matmul(x, rows, transpose_b=True) - squares


@pytest.mark.parametrize("scores_at_once", [12, 1 << 22])
@pytest.mark.parametrize("plan", PLANS)
def test_any_score(start, monkeypatch, plan, scores_at_once):
    monkeypatch.setattr("partial_embed.table.log_sum_exp._SCORES", scores_at_once)
    table, values, x, feeds = make(plan, True, tf.float64)
    whole = tf.constant(values)
    wanted = tf.reduce_logsumexp(distance(x, whole), 1)
    of_x, of_rows = tf.gradients(wanted**2, [x, whole])
    found = table.log_sum_exp(x, score=distance)
    trains = [] if table.trainable is None else [table.trainable]
    gradients = tf.gradients(found**2, [x, *trains])
    known = table.frozen_log_sum_exp(tf.stop_gradient(x), distance)
    cached = table.log_sum_exp(x, known, distance)
    wanted, of_x, of_rows, found, cached, gradients = start().run(
        [wanted, of_x, of_rows, found, cached, gradients], feeds
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    np.testing.assert_array_equal(cached, found)
    np.testing.assert_allclose(gradients[0], of_x, rtol=1e-10, atol=1e-12)
    for gradient in gradients[1:]:
        rows = table.plan.trainable_rows
        found = dense(gradient, len(rows))
        np.testing.assert_allclose(found, of_rows[rows], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-20, 30.0, 1e18])
def test_scores_of_any_size(start, scale):
    """Where exp would overflow, or all scores are nearly equal."""
    table, values, x, feeds = make({"num_frozen_rows": 7}, True, tf.float64, np.sqrt(scale))
    found = start().run(
        [table.frozen_log_sum_exp(x), table.softmax_cross_entropy(x, LABELS)], feeds
    )
    scores = np.float64(feeds[x]) @ values.T
    highest = scores[:, :7].max(1)
    known = highest + np.log(np.exp(scores[:, :7] - highest[:, None]).sum(1))
    np.testing.assert_allclose(found[0], known, rtol=1e-12)
    highest = scores.max(1)
    everything = highest + np.log(np.exp(scores - highest[:, None]).sum(1))
    np.testing.assert_allclose(
        found[1], everything - scores[range(5), LABELS], rtol=1e-9, atol=1e-9 * scale
    )


def test_an_empty_batch_and_a_table_with_no_frozen_row(start):
    table, _, x, _ = make({"num_frozen_rows": 7}, False)
    none = np.zeros([0, 4], np.float32)
    session = start()
    assert session.run(table.frozen_log_sum_exp(x), {x: none}).shape == (0,)
    assert session.run(table.softmax_cross_entropy(x, tf.zeros([0], tf.int32)), {x: none}).size == 0
    alone = pe.get_embedding("alone", [3, 4], num_frozen_rows=0)
    assert np.isneginf(start().run(alone.frozen_log_sum_exp(tf.ones([2, 4])))).all()


def test_a_kernel_is_refused(numbered):
    kernel = numbered((4, 6), 4, axis=1)
    refusing = kernel.frozen_log_sum_exp, kernel.log_sum_exp
    for call in (*refusing, lambda x: kernel.softmax_cross_entropy(x, [0])):
        with pytest.raises(ValueError, match=r"needs a table \[rows, d\] that grows by rows"):
            call(tf.ones([1, 4]))


def test_new_rows_train_as_by_the_whole_softmax(start):
    """With the cached normaliser a step costs the new rows, and is the same step."""
    table, values, x, feeds = make({"num_frozen_rows": 7}, True)
    cached = tf.placeholder(tf.float32, [None])
    loss = tf.reduce_sum(table.softmax_cross_entropy(x, LABELS, cached))
    train = pe.minimize(tf.train.GradientDescentOptimizer(0.1), loss)
    whole = tf.get_variable("whole", initializer=values)
    logits = tf.matmul(x, whole, transpose_b=True)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=LABELS, logits=logits)
    new = tf.concat([tf.zeros([7, 4]), tf.ones([4, 4])], 0)
    (gradient,) = tf.gradients(losses, whole)
    plain = tf.assign_sub(whole, 0.1 * gradient * new)
    session = start()
    frozen = session.run(table.frozen_log_sum_exp(x), feeds)
    for _ in range(20):
        session.run([train, plain], {**feeds, cached: frozen})
    np.testing.assert_allclose(*session.run([table, whole]), rtol=1e-5, atol=1e-6)


def copied_by_matmul(table, batch):
    """The static shapes of what `table.matmul` joins for a batch."""
    graph = tf.get_default_graph()
    before = len(graph.get_operations())
    table.matmul(tf.placeholder(tf.float32, [batch, 4]))
    made = graph.get_operations()[before:]
    return [op.outputs[0].shape.as_list() for op in made if op.type == "ConcatV2"]


@pytest.mark.parametrize("axis", [0, 1])
def test_scores_are_copied_or_for_a_large_batch_the_table(axis):
    shape = [11, 4] if axis == 0 else [4, 11]
    table = pe.get_embedding("table", shape, num_frozen_rows=7, axis=axis)
    assert copied_by_matmul(table, 3) == [[3, 11]]
    assert copied_by_matmul(table, None) == [[None, 11]]
    assert copied_by_matmul(table, 4) == [shape]


def test_halves_on_two_devices_are_not_joined():
    devices = iter(["/job:ps/task:0", "/job:ps/task:1"])
    with tf.device(lambda op: next(devices) if op.type.startswith("Var") else ""):
        table = pe.get_embedding("table", [11, 4], num_frozen_rows=7)
    assert len({variable.device for variable in table.variables}) == 2
    assert copied_by_matmul(table, 16) == [[16, 11]]


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("use_resource", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("batch", [3, 16, None])
def test_scores_and_gradients_are_those_of_the_whole_table(
    start, same_bits, plan, use_resource, axis, batch
):
    """Halves apart or joined; of the second order as well."""
    values = np.random.RandomState(0).randn(11, 4)
    shape, values = ([11, 4], values) if axis == 0 else ([4, 11], values.T)
    if axis and "partitioner" in plan:
        pytest.skip("columns are not partitioned")
    with tf.variable_scope("", use_resource=use_resource):
        table = pe.get_embedding(
            "table", shape, tf.float64, initializer=values.copy(), axis=axis, **plan
        )
    x = tf.random.stateless_normal([batch or 5, 4], [1, 2], dtype=tf.float64)
    upstream = tf.random.stateless_normal([batch or 5, 11], [3, 4], dtype=tf.float64)
    x = x if batch else tf.placeholder_with_default(x, [None, 4])
    whole = tf.constant(values)
    trains = [] if table.trainable is None else [table.trainable]
    scores = table.matmul(x), tf.matmul(x, whole, transpose_b=axis == 0)
    found = tf.gradients(scores[0] ** 3, [x, *trains], upstream)
    wanted = tf.gradients(scores[1] ** 3, [x, whole], upstream)
    again = tf.gradients(tf.reduce_sum(found[0] ** 2), [x, *trains])
    of_again = tf.gradients(tf.reduce_sum(wanted[0] ** 2), [x, whole])
    scores, *pairs = start().run([scores, (found, wanted), (again, of_again)])
    np.testing.assert_allclose(*scores, rtol=1e-12, atol=1e-12)
    assert batch != 16 or same_bits(*scores)
    for found, wanted in pairs:
        np.testing.assert_allclose(found[0], wanted[0], rtol=1e-10, atol=1e-10)
        for gradient in found[1:]:
            its = np.take(wanted[1], table.plan.trainable_rows, axis)
            np.testing.assert_allclose(gradient, its, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("axis", [0, 1])
def test_scores_of_complex_numbers_and_gradients_of_some(start, axis):
    """A product's gradient has a conjugate; one of rows that were taken of it is sparse."""
    values = np.random.RandomState(0).randn(11, 4) * (1 + 2j)
    values = values if axis == 0 else values.T
    arguments = dict(initializer=values.copy(), num_frozen_rows=7, axis=axis)
    table = pe.get_embedding("table", values.shape, tf.complex128, **arguments)
    x, whole = tf.constant(np.random.RandomState(1).randn(5, 4) * (2 - 1j)), tf.constant(values)
    pairs = []
    for scores, rows in (
        (table.matmul(x), table.trainable),
        (tf.matmul(x, whole, transpose_b=axis == 0), whole),
    ):
        some = tf.gather(scores, [0, 2])
        ones = tf.ones_like(some)
        pairs += [tf.gradients(tf.abs(some) ** 2, [x, rows]), tf.gradients(some, [x, rows], ones)]
    found = start().run(pairs)
    for its, wanted in zip(found[:2], found[2:]):
        np.testing.assert_allclose(its[0], wanted[0], rtol=1e-12)
        np.testing.assert_allclose(its[1], np.take(wanted[1], range(7, 11), axis), rtol=1e-12)


def test_scores_in_branches_and_loops(start):
    """Where the gradient is made in a function of its own, which may know no shapes."""
    tf.enable_control_flow_v2()
    try:
        values = np.random.RandomState(0).randn(11, 4)
        table = pe.get_embedding(
            "table", [11, 4], tf.float64, initializer=values, num_frozen_rows=7, use_resource=True
        )
        x = tf.constant(x_of(5))
        always = tf.placeholder_with_default(True, [])
        scores = [
            tf.cond(always, lambda: table.matmul(x), lambda: tf.zeros([5, 11], tf.float64)),
            tf.while_loop(
                lambda n, _: n < 1,
                lambda n, its: (n + 1, its + table.matmul(x)),
                [0, tf.zeros([5, 11], tf.float64)],
            )[1],
        ]
        gradients = [tf.gradients(its**2, table.trainable)[0] for its in scores]
    finally:
        tf.disable_control_flow_v2()
    for gradient in start().run(gradients):
        wanted = 2 * (x_of(5) @ values.T).T @ x_of(5)
        np.testing.assert_allclose(gradient, wanted[7:], rtol=1e-10)


def x_of(batch):
    return np.random.RandomState(1).randn(batch, 4)


MASKS = [-np.inf, -1e9]


def scores_but(masked, by, x, rows):
    """The product, less where the first number of a row says that it is no candidate."""
    mask = tf.where_v2(rows[:, 0] < masked, tf.cast(by, x.dtype), tf.zeros([], x.dtype))
    return tf.matmul(x, rows, transpose_b=True) + mask


@pytest.mark.parametrize("by", MASKS)
def test_a_batch_for_which_no_frozen_row_is_a_candidate(start, by):
    """The new rows' sum is what is left, to the last digit, and so are the gradients."""
    values = np.random.RandomState(0).randn(11, 4).astype(np.float32)
    values[:, 0] = [-1] * 7 + [1] * 4
    table = pe.get_embedding("table", [11, 4], initializer=values, num_frozen_rows=7)
    x, whole = tf.constant(values[:5] + 1), tf.constant(values)
    score = functools.partial(scores_but, 0, by)
    wanted = tf.reduce_logsumexp(score(x, whole), 1)
    known = table.frozen_log_sum_exp(tf.stop_gradient(x), score)
    found = [table.log_sum_exp(x, None, score), table.log_sum_exp(x, known, score)]
    of_x, of_rows = tf.gradients(wanted, [x, whole])
    gradients = [tf.gradients(one, [x, table.trainable]) for one in found]
    wanted, found, of_x, of_rows, gradients = start().run([wanted, found, of_x, of_rows, gradients])
    for one, its in zip(found, gradients):
        np.testing.assert_allclose(one, wanted, rtol=1e-5)
        np.testing.assert_allclose(its[0], of_x, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(its[1], of_rows[7:], rtol=1e-4, atol=1e-6)


def test_halves_of_many_rows(start):
    """Of which the largest number is 65504."""
    values = np.zeros([70000, 2], np.float16)
    table = pe.get_embedding(
        "table", [70000, 2], tf.float16, initializer=values, num_frozen_rows=69999
    )
    x = tf.ones([2, 2], tf.float16)
    found = table.softmax_cross_entropy(x, [0, 69999])
    found, gradient = start().run([found, tf.gradients(found, table.trainable)[0]])
    np.testing.assert_allclose(found, np.log(70000), rtol=1e-3)
    np.testing.assert_allclose(dense(gradient, 1, 2), [[-1, -1]], rtol=1e-2)


@pytest.mark.parametrize("plan", PLANS[:3:2])
@pytest.mark.parametrize("given", [0, [0], [[0], [1], [2], [3]], [0, 1, 2, 3, 4]])
def test_what_is_not_one_for_each_of_the_batch_is_refused(start, plan, given):
    """Four labels or sums for a batch of four: whatever else there is would be broadcast."""
    table = make(plan, True)[0]
    x, open_x = tf.ones([4, 4]), tf.placeholder_with_default(tf.ones([4, 4]), None)
    known = tf.constant(given, tf.float32)
    calls = {
        "labels": lambda x, its: table.softmax_cross_entropy(x, tf.cast(its, tf.int32)),
        "frozen_log_sum_exp": lambda x, its: table.softmax_cross_entropy(x, [0] * 4, its),
    }
    session = start()
    for name, call in calls.items():
        with pytest.raises(ValueError, match=rf"^{name} must be \[batch\], as x is \[batch, d\]; "):
            call(x, known)
        with pytest.raises(tf.errors.InvalidArgumentError, match=rf"{name} must be \[batch\], as"):
            session.run(call(open_x, tf.placeholder_with_default(known, None)))
    for x, shape in ((tf.ones([4]), r"\(4,\)"), (tf.ones([4, 5]), r"\(4, 5\)")):
        with pytest.raises(ValueError, match=rf"x for table must be \[batch, 4\]; it .*{shape}"):
            table.log_sum_exp(x)
