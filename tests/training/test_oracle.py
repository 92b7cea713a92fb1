"""The promise everything rests on: new rows learn what they would have learned in one whole table.

The oracle is plain TensorFlow: one variable with all rows, the gradient's slices of frozen
rows dropped, the others kept in their order. Both are trained side by side, on the same
batches, by the same optimizer, and must have the same bits in the end.
"""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe

# Eight numbers a row, for TensorFlow 1.15 takes the square roots of Adam eight at a time, and
# those that are left over at the end of a variable by another instruction, which rounds otherwise.
ROWS, FROZEN, WIDTH = 11, 7, 8

OPTIMIZERS = {
    "GradientDescent": lambda: tf.train.GradientDescentOptimizer(0.1),
    "Momentum": lambda: tf.train.MomentumOptimizer(0.1, 0.9),
    "Nesterov": lambda: tf.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True),
    "Adagrad": lambda: tf.train.AdagradOptimizer(0.1),
    "RMSProp": lambda: tf.train.RMSPropOptimizer(0.01, momentum=0.9),
    "CenteredRMSProp": lambda: tf.train.RMSPropOptimizer(0.01, momentum=0.9, centered=True),
    "Adam": lambda: tf.train.AdamOptimizer(0.05),
    "Ftrl": lambda: tf.train.FtrlOptimizer(
        0.1, l1_regularization_strength=0.01, l2_regularization_strength=0.01
    ),
    "Adadelta": lambda: tf.train.AdadeltaOptimizer(1.0),
    "ProximalGradientDescent": lambda: tf.train.ProximalGradientDescentOptimizer(
        0.1, l2_regularization_strength=0.01
    ),
    "ProximalAdagrad": lambda: tf.train.ProximalAdagradOptimizer(
        0.1, l1_regularization_strength=0.01
    ),
}


class Model:
    """Placeholders, and a loss that looks rows of a table up three times."""

    def __init__(self):
        self.one = tf.placeholder(tf.int64, [None], name="one")
        self.pairs = tf.placeholder(tf.int32, [None, 2], name="pairs")
        self.targets = tf.placeholder(tf.float32, [None, WIDTH], name="targets")

    def loss(self, table, weight):
        first = tf.matmul(tf.nn.embedding_lookup(table, self.one), weight)
        pairs = tf.nn.embedding_lookup(table, self.pairs)
        # A second lookup of the same ids, so that gradients of three are added up.
        again = tf.nn.embedding_lookup(table, self.one)
        return (
            tf.reduce_sum(tf.square(first - self.targets))
            + tf.reduce_sum(tf.sigmoid(tf.reduce_sum(pairs[:, 0] * pairs[:, 1], axis=1)))
            + 0.1 * tf.reduce_sum(tf.square(tf.square(again)))
        )

    def feed(self, one, pairs, random):
        one = np.asarray(one, np.int64)
        targets = random.randn(len(one), WIDTH).astype(np.float32)
        return {self.one: one, self.pairs: np.reshape(pairs, [-1, 2]), self.targets: targets}


def batches(model, random, trainable):
    """Yields feeds: mixed with repeats, then what is special, then mixed again."""
    frozen = np.setdiff1d(np.arange(ROWS), trainable)

    def draw(ids, count):
        return random.choice(ids, count)

    everything = np.arange(ROWS)
    for _ in range(12):
        yield model.feed(draw(everything, 9), draw(everything, 8), random)
    for _ in range(3 if len(frozen) else 0):
        yield model.feed(draw(frozen, 6), draw(frozen, 4), random)  # Old ids only.
    yield model.feed([], [], random)
    yield model.feed([], draw(everything, 4), random)
    yield model.feed(np.repeat(trainable[-1:], 7), [], random)  # One new id, seven times.
    yield model.feed(draw(trainable, 5), frozen[:4] if len(frozen) > 3 else [], random)
    yield model.feed(trainable[:1], [], random)
    for size in (1, 2, 30, 5, 64):
        yield model.feed(draw(everything, size), draw(everything, 2 * size), random)


def train_the_oracle(optimizer, loss, variables, trainable):
    """Returns the op that trains a whole table, the first variable, but for its frozen rows."""
    table = variables[0]
    is_trainable = tf.constant(np.isin(np.arange(ROWS), trainable))
    gradients = []
    for gradient, variable in optimizer.compute_gradients(loss, variables):
        if variable is not table:
            gradients.append((gradient, variable))
            continue
        assert isinstance(gradient, tf.IndexedSlices)
        keep = tf.reshape(tf.where(tf.gather(is_trainable, gradient.indices)), [-1])
        values, indices = tf.gather(gradient.values, keep), tf.gather(gradient.indices, keep)
        gradients.append((tf.IndexedSlices(values, indices, gradient.dense_shape), variable))
    return optimizer.apply_gradients(gradients)


def compare(start, same_bits, optimizer, use_resource, trainable, **arguments):
    """Trains a partial table and the oracle; checks the tables, the weights and all slots."""
    random = np.random.RandomState(7)
    values = (random.randn(ROWS, WIDTH) * 0.5).astype(np.float32)
    weight_values = (random.randn(WIDTH, WIDTH) * 0.5).astype(np.float32)
    with tf.variable_scope("", use_resource=use_resource):
        partial = pe.get_embedding("partial", [ROWS, WIDTH], initializer=values, **arguments)
        whole = tf.get_variable("whole", initializer=values)
        weights = [
            tf.get_variable(name, initializer=weight_values)
            for name in ("partial_weight", "whole_weight")
        ]
    model = Model()
    optimizers = [OPTIMIZERS[optimizer](), OPTIMIZERS[optimizer]()]
    losses = [model.loss(partial, weights[0]), model.loss(whole, weights[1])]
    steps = [
        pe.minimize(optimizers[0], losses[0], var_list=[weights[0]]),
        train_the_oracle(optimizers[1], losses[1], [whole, weights[1]], trainable),
    ]
    frozen = np.setdiff1d(np.arange(ROWS), trainable)
    slots = [
        (optimizers[0].get_slot(partial.trainable, name), optimizers[1].get_slot(whole, name))
        for name in optimizers[1].get_slot_names()
    ]
    session = start()
    for feed in batches(model, random, trainable):
        both_losses, _ = session.run([losses, steps], feed)
        assert same_bits(*both_losses)
    after, expected = session.run([partial, whole])
    assert same_bits(after[trainable], expected[trainable])
    assert same_bits(after[frozen], values[frozen])
    assert (after[trainable] != values[trainable]).all()
    assert same_bits(*session.run(weights))
    for partial_slot, whole_slot in slots:
        found, wanted = session.run([partial_slot, whole_slot])
        assert same_bits(found, wanted[trainable])


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_new_rows_match_the_oracle_bit_for_bit(start, same_bits, optimizer, use_resource):
    new = np.arange(FROZEN, ROWS)
    compare(start, same_bits, optimizer, use_resource, new, num_frozen_rows=FROZEN)


@pytest.mark.parametrize("optimizer", ["GradientDescent", "Momentum", "Adam"])
def test_scattered_rows_match_the_oracle(start, same_bits, optimizer):
    rows = np.array([0, 3, 4, 9])
    compare(start, same_bits, optimizer, True, rows, trainable_rows=rows.tolist())


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
def test_partitioned_frozen_rows_match_the_oracle(start, same_bits, use_resource):
    compare(
        start,
        same_bits,
        "Momentum",
        use_resource,
        np.arange(FROZEN, ROWS),
        num_frozen_rows=FROZEN,
        partitioner=tf.fixed_size_partitioner(3),
    )


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
def test_a_table_without_old_rows_is_the_whole_table(start, same_bits, use_resource):
    compare(start, same_bits, "Adam", use_resource, np.arange(ROWS), num_frozen_rows=0)


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
def test_a_grown_table_matches_a_whole_one_that_started_the_same(
    start, same_bits, write_checkpoint, use_resource
):
    """The script's own compute_gradients and apply_gradients, under growing."""
    random = np.random.RandomState(3)
    old = random.randn(FROZEN, WIDTH).astype(np.float32)
    prefix = write_checkpoint({"embedding": old}, use_resource=not use_resource)
    model = Model()
    weight = tf.constant(random.randn(WIDTH, WIDTH).astype(np.float32))
    xavier = pe.xavier_initializer(seed=4)
    with pe.growing(prefix):
        table = tf.get_variable(
            "embedding", [ROWS, WIDTH], initializer=xavier, use_resource=use_resource
        )
    optimizer = tf.train.AdamOptimizer(0.05)
    train = optimizer.apply_gradients(optimizer.compute_gradients(model.loss(table, weight)))
    session = start()
    first = session.run(table)
    assert same_bits(first[:FROZEN], old)
    feeds = list(batches(model, random, np.arange(FROZEN, ROWS)))
    for feed in feeds:
        session.run(train, feed)
    grown = session.run(table)

    whole = tf.get_variable("whole", initializer=first, use_resource=use_resource)
    other = tf.train.AdamOptimizer(0.05)
    oracle = train_the_oracle(other, model.loss(whole, weight), [whole], np.arange(FROZEN, ROWS))
    session = start()
    for feed in feeds:
        session.run(oracle, feed)
    assert same_bits(grown, session.run(whole))


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
def test_an_old_batch_moves_nothing_under_momentum(numbered, start, same_bits, use_resource):
    table = numbered(use_resource=use_resource)
    ids = tf.placeholder(tf.int32, [None])
    train = pe.minimize(
        tf.train.MomentumOptimizer(0.1, 0.9), tf.reduce_sum(tf.square(table.lookup(ids)))
    )
    session = start()
    session.run(train, {ids: [0, 4, 4, 5]})
    before = session.run(tf.global_variables())
    session.run(train, {ids: [0, 3, 3]})
    session.run(train, {ids: []})
    assert all(map(same_bits, before, session.run(tf.global_variables())))
    # The first new row is where a wrong construction sends the zeros of old ids.
    session.run(train, {ids: [5, 0, 1]})
    after = session.run(table.trainable)
    assert same_bits(after[0], before[1][0])
    assert (after[1] != before[1][1]).all()


@pytest.mark.parametrize("optimizer", ["GradientDescent", "Adam"])
@pytest.mark.parametrize(
    "loss_of",
    [
        tf.nn.l2_loss,
        lambda table: tf.reduce_sum(tf.nn.l2_normalize(table, 1) * tf.range(8.0)),
        lambda table: tf.reduce_sum(tf.matmul(tf.ones([2, 8]), table, transpose_b=True) ** 2),
    ],
    ids=["decay", "normalize", "scores"],
)
def test_whole_reads_of_scattered_tables_match_the_oracle(start, same_bits, optimizer, loss_of):
    values = np.random.RandomState(0).randn(8, 8).astype(np.float32)
    rows, others = [1, 4, 6], [0, 2, 3, 5, 7]
    partial = pe.get_embedding("partial", [8, 8], initializer=values, trainable_rows=rows)
    whole = tf.get_variable("whole", initializer=values)
    keep = tf.constant(np.isin(np.arange(8), rows)[:, None] & np.ones([8, 8], bool))
    one, other = OPTIMIZERS[optimizer](), OPTIMIZERS[optimizer]()
    ((gradient, _),) = other.compute_gradients(loss_of(whole), [whole])
    steps = [
        one.minimize(loss_of(partial), var_list=[partial.trainable]),
        other.apply_gradients([(tf.where(keep, gradient, tf.zeros_like(gradient)), whole)]),
    ]
    session = start()
    for _ in range(5):
        session.run(steps)
    after, expected = session.run([partial, whole])
    assert same_bits(after[rows], expected[rows])
    assert same_bits(after[others], values[others])
    assert (after[rows] != values[rows]).any()
