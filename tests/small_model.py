"""A small model that grows, for the tests of savers, merges and faults.

A table `model/ent` [rows, 4] and a weight `model/W` [4, 2], softmax over two classes.
"""

import contextlib

import numpy as np
import tensorflow.compat.v1 as tf
from written import written

import partial_embed as pe

OPTIMIZERS = {
    "GradientDescent": lambda: tf.train.GradientDescentOptimizer(0.5),
    "Momentum": lambda: tf.train.MomentumOptimizer(0.5, 0.9),
    "Adagrad": lambda: tf.train.AdagradOptimizer(0.5),
    "RMSProp": lambda: tf.train.RMSPropOptimizer(0.1, momentum=0.5),
    "CenteredRMSProp": lambda: tf.train.RMSPropOptimizer(0.1, centered=True),
    "Adam": lambda: tf.train.AdamOptimizer(0.1),
    "Ftrl": lambda: tf.train.FtrlOptimizer(0.1),
    "Adadelta": lambda: tf.train.AdadeltaOptimizer(0.1),
}
OLD, NEW, WIDTH = 6, 9, 4


@contextlib.contextmanager
def _nothing():
    yield


class Model:
    """The graph; `checkpoint` and what follows are for `pe.growing`.

    Args:
        rows: rows of the table.
        optimizer: name of one of `OPTIMIZERS`.
        checkpoint: what the table grows from; None for the plain script.
        inside: whether the optimizer is made inside the variable scope.
        average: whether there is an `ExponentialMovingAverage` as well.
    """

    def __init__(
        self,
        rows,
        optimizer="Adam",
        checkpoint=None,
        inside=False,
        use_resource=False,
        average=False,
        partitioner=None,
        **growing,
    ):
        self.ids = tf.placeholder(tf.int32, [None])
        self.labels = tf.placeholder(tf.int32, [None])
        self._global_step = tf.train.get_or_create_global_step()
        with tf.variable_scope("model", use_resource=use_resource):
            with pe.growing(checkpoint, **growing) if checkpoint else _nothing():
                self.table = tf.get_variable("ent", [rows, WIDTH], partitioner=partitioner)
                self.weight = tf.get_variable("W", [WIDTH, 2])
            logits = tf.matmul(tf.nn.embedding_lookup(self.table, self.ids, "div"), self.weight)
            self.loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels=self.labels, logits=logits)
            )
            if inside:
                self._train(optimizer, average)
        if not inside:
            self._train(optimizer, average)

    def _train(self, optimizer, average):
        self.step = OPTIMIZERS[optimizer]().minimize(self.loss, global_step=self._global_step)
        if average:
            with tf.control_dependencies([self.step]):
                mean = tf.train.ExponentialMovingAverage(0.9)
                self.step = mean.apply(tf.trainable_variables())

    def train(self, session, steps=3, ids=(1, 7, 7, 3)):
        """Trains on one batch."""
        labels = np.arange(len(ids)) % 2
        for _ in range(steps):
            session.run(self.step, {self.ids: ids, self.labels: labels})


def train_base(prefix, optimizer="Adam", rows=OLD, steps=2, **arguments):
    """Trains the plain script and saves it with a plain Saver; returns (prefix, values)."""

    def write(prefix):
        with tf.Graph().as_default(), tf.Session() as session:
            tf.set_random_seed(2)
            model = Model(rows, optimizer, **arguments)
            session.run(tf.global_variables_initializer())
            model.train(session, steps, ids=(0, 1, 2, 4))
            tf.train.Saver().save(session, prefix, write_meta_graph=False)
            return values(session)

    key = "small model", optimizer, rows, steps, tuple(sorted(arguments.items()))
    return str(prefix), written(key, write, str(prefix))


def values(session):
    """Returns {name: array} of all variables of the default graph."""
    return session.run({variable.op.name: variable for variable in tf.global_variables()})


def grow(session, checkpoint, rows=NEW, optimizer="Adam", **arguments):
    """The grown model, initialized and trained; returns (model, its Saver)."""
    model = Model(rows, optimizer, checkpoint, **arguments)
    saver = pe.Saver()
    session.run(tf.global_variables_initializer())
    model.train(session)
    return model, saver


def plain_values(prefix, *arguments, **keywords):
    """What the plain script has after a plain Saver restored every variable of it.

    Returns:
        Two dicts: before, as initialized; and after.
    """
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(3)
        model = Model(*arguments, **keywords)
        session.run(tf.global_variables_initializer())
        before = values(session)
        tf.train.Saver().restore(session, prefix)
        after = values(session)
        model.train(session, 1)  # It goes on.
        return before, after


def assert_same(found, expected):
    """Asserts that two dicts of arrays are the same, bit for bit."""
    assert sorted(found) == sorted(expected)
    for name, array in expected.items():
        other = np.asarray(found[name])
        assert (other.shape, other.dtype) == (np.shape(array), np.asarray(array).dtype), name
        assert other.tobytes() == np.asarray(array).tobytes(), (name, other, array)
