"""Every optimizer, with all that scripts do around one: old rows keep their bits, new ones learn.

Each script is written once and runs twice, with nothing changed: under `growing`, where it never
hears of two variables, and as the oracle, one whole table in plain TensorFlow of which the old
rows' gradients are dropped. After the same batches the new rows must have the same bits.

A sample of the combinations runs with every test run; `make soak` runs all.
"""

import itertools
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from sampling import pairwise
from test_oracle import FROZEN, ROWS, WIDTH, Model, batches

import partial_embed as pe

SOAK = bool(os.environ.get("PARTIAL_EMBED_SOAK"))
OPTIMIZERS = {
    "GradientDescent": tf.train.GradientDescentOptimizer,
    "Momentum": lambda rate: tf.train.MomentumOptimizer(rate, 0.9),
    "Adagrad": tf.train.AdagradOptimizer,
    "RMSProp": lambda rate: tf.train.RMSPropOptimizer(rate, momentum=0.9),
    "Adam": tf.train.AdamOptimizer,
    "Ftrl": tf.train.FtrlOptimizer,
    "Adadelta": lambda rate: tf.train.AdadeltaOptimizer(rate * 20.0),
}
NEW = np.arange(FROZEN, ROWS)


class Oracle:
    """What the script has in place of growing: a whole table whose old rows get no gradient."""

    def __init__(self, values):
        self._values = values

    def variables(self, use_resource):
        with tf.variable_scope("", use_resource=use_resource):
            table = tf.get_variable("embedding", initializer=self._values["embedding"])
            # In the checkpoint and of unchanged shape: growing freezes it.
            tf.get_variable("weight", initializer=self._values["weight"], trainable=False)
        return table

    def gradients(self, gradients):
        """Drops the old rows: out of a sparse gradient, or as zeros of a dense one."""
        kept = []
        for gradient, variable in gradients:
            if variable.op.name != "embedding":
                kept.append((gradient, variable))
            elif isinstance(gradient, tf.IndexedSlices):
                new = tf.reshape(tf.where(gradient.indices >= FROZEN), [-1])
                rows = tf.gather(gradient.values, new), tf.gather(gradient.indices, new)
                kept.append((tf.IndexedSlices(*rows, dense_shape=gradient.dense_shape), variable))
            else:
                keep = np.repeat(np.arange(ROWS)[:, None] >= FROZEN, WIDTH, axis=1)
                kept.append((tf.where(keep, gradient, tf.zeros_like(gradient)), variable))
        return kept

    def put_back(self, table):
        """The old rows as they were: dense Ftrl moves a row to 0 for a gradient of 0."""
        return tf.assign(table, tf.concat([self._values["embedding"][:FROZEN], table[FROZEN:]], 0))

    def new(self, tensor, variable):
        """Returns the part of a tensor, shaped as the variable is, that is about what trains."""
        return tensor[FROZEN:] if variable.op.name == "embedding" else tensor


class Grown:
    """Under growing the same places hold what the script has anyway."""

    def __init__(self, prefix):
        self._prefix = prefix

    def variables(self, use_resource):
        with pe.growing(self._prefix), tf.variable_scope("", use_resource=use_resource):
            table = tf.get_variable("embedding", [ROWS, WIDTH])
            tf.get_variable("weight", [WIDTH, WIDTH])
        return table

    def gradients(self, gradients):
        return gradients

    def put_back(self, table):
        return tf.no_op()

    def new(self, tensor, variable):
        return tensor


# What scripts do around an optimizer. Each returns the training ops, of which one runs for each
# batch in turn, and {name: tensor} of what else is to be compared.


def plain(side, make, loss):
    optimizer = make(0.05)
    return [optimizer.apply_gradients(side.gradients(optimizer.compute_gradients(loss)))], {}


def inside_a_scope(side, make, loss):
    with tf.variable_scope("train"), tf.name_scope("nested"):
        return plain(side, make, loss)


def clipped_by_global_norm(side, make, loss):
    optimizer = make(0.05)
    gradients, variables = zip(*side.gradients(optimizer.compute_gradients(loss)))
    gradients, _ = tf.clip_by_global_norm(gradients, 0.7)
    return [optimizer.apply_gradients(zip(gradients, variables))], {}


def accumulated(side, make, loss):
    """The gradients of two batches are added up before they are applied, for want of memory."""
    optimizer = make(0.05)
    gradients, variables = zip(*side.gradients(optimizer.compute_gradients(loss)))
    gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
    sums = [tf.Variable(tf.zeros(v.shape), trainable=False) for v in variables]
    first = tf.group(*[tf.assign(*pair) for pair in zip(sums, gradients)])
    add = tf.group(*[tf.assign_add(*pair) for pair in zip(sums, gradients)])
    apply = optimizer.apply_gradients([(s.read_value(), v) for s, v in zip(sums, variables)])
    return [first, add, apply], {}


def decayed_weights(side, make, loss):
    """L2 on everything that trains; old rows do not, so they are no part of the penalty."""
    penalty = tf.add_n([tf.nn.l2_loss(side.new(v, v)) for v in tf.trainable_variables()])
    return plain(side, make, loss + 0.05 * penalty)


def averaged(side, make, loss):
    (train,), _ = plain(side, make, loss)
    average = tf.train.ExponentialMovingAverage(0.8)
    with tf.control_dependencies([train]):
        train = average.apply(tf.trainable_variables())
    return [train], {
        "average of " + v.op.name.split("/")[0]: side.new(average.average(v), v)
        for v in tf.trainable_variables()
    }


def decaying_rate(side, make, loss):
    step = tf.train.get_or_create_global_step()
    optimizer = make(tf.train.exponential_decay(0.1, step, 2, 0.7, staircase=True))
    gradients = side.gradients(optimizer.compute_gradients(loss))
    return [optimizer.apply_gradients(gradients, global_step=step)], {"step": step}


SCRIPTS = [
    plain,
    inside_a_scope,
    clipped_by_global_norm,
    accumulated,
    decayed_weights,
    averaged,
    decaying_rate,
]


def run(side, script, make, use_resource):
    """Trains; returns ({name: value}, table before, table after)."""
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(1)
        table = side.variables(use_resource)
        scale = tf.get_variable("scale", initializer=tf.ones([WIDTH]), use_resource=use_resource)
        (weight,) = [v for v in tf.global_variables() if v.op.name == "weight"]
        model = Model()
        train, watched = script(side, make, model.loss(table, weight * scale))
        watched.update(scale=scale, weight=weight)
        put_back = side.put_back(table)
        session.run(tf.global_variables_initializer())
        before = session.run(table)
        feeds = list(batches(model, np.random.RandomState(7), NEW))
        for number, feed in enumerate(feeds[:5] + feeds[12:19] + feeds[-3:]):
            session.run(train[number % len(train)], feed)
            session.run(put_back)
        return session.run(watched), before, session.run(table)


@pytest.fixture
def old(random):
    """What the checkpoint holds."""
    return {
        "embedding": (random.randn(FROZEN, WIDTH) * 0.5).astype(np.float32),
        "weight": (random.randn(WIDTH, WIDTH) * 0.5).astype(np.float32),
    }


def combinations():
    """Of seven scripts three for every optimizer, and the other way round, no two of them alike."""
    for (number, optimizer), (place, script) in itertools.product(
        enumerate(sorted(OPTIMIZERS)), enumerate(SCRIPTS)
    ):
        distance = (place - number) % len(SCRIPTS)
        for use_resource in (False, True):
            if SOAK or (distance in (0, 1, 3) and use_resource == bool((number + distance) % 2)):
                label = f"{optimizer}-{script.__name__}-{'resource' if use_resource else 'ref'}"
                yield pytest.param(optimizer, script, use_resource, id=label)


@pytest.mark.parametrize("optimizer, script, use_resource", list(combinations()))
def test_new_rows_match_the_oracle(
    write_checkpoint, same_bits, old, optimizer, script, use_resource
):
    grown = Grown(write_checkpoint(old))
    watched, before, after = run(grown, script, OPTIMIZERS[optimizer], use_resource)
    oracle = Oracle({"embedding": before, "weight": old["weight"]})
    expected, _, whole = run(oracle, script, OPTIMIZERS[optimizer], use_resource)

    assert same_bits(after[:FROZEN], old["embedding"])
    assert same_bits(watched["weight"], old["weight"])
    assert (after[FROZEN:] != before[FROZEN:]).all()
    assert (watched["scale"] != 1.0).all()
    assert same_bits(after[FROZEN:], whole[FROZEN:])
    assert set(watched) == set(expected)
    for name in expected:
        assert same_bits(watched[name], expected[name]), name


# --- train= ---------------------------------------------------------------------------------


@pytest.fixture
def layers(write_checkpoint, row_numbers):
    return write_checkpoint(
        {
            "model/entity": row_numbers([4, 2]),
            "model/relation": row_numbers([3, 2]),
            "model/decoder/weight": np.full([2, 2], 0.5, np.float32),
            "model/decoder/bias": np.full([2], 0.25, np.float32),
        }
    )


def model_of(custom_getter=None):
    """A model of four variables in a scope, two of them in a scope inside."""
    with tf.variable_scope("model", custom_getter=custom_getter):
        entity = tf.get_variable("entity", [6, 2])
        relation = tf.get_variable("relation", [3, 2])
        with tf.variable_scope("decoder"):
            weight = tf.get_variable("weight", [2, 2])
            bias = tf.get_variable("bias", [2])
    rows = tf.nn.embedding_lookup(entity, [0, 4, 5]) * tf.nn.embedding_lookup(relation, [1, 2, 2])
    loss = tf.reduce_sum(tf.square(tf.matmul(rows + 1.0, weight) + bias - 7.0))
    return dict(entity=entity, relation=relation, weight=weight, bias=bias), loss


def minimize(optimizer, loss):
    return optimizer.minimize(loss)


def compute_and_apply(optimizer, loss):
    pairs = optimizer.compute_gradients(loss)
    return optimizer.apply_gradients(
        [(g * 0.5 if isinstance(g, tf.Tensor) else g, v) for g, v in pairs]
    )


# What `train=` gets, and what then trains beside the new rows.
TRAIN = {
    "none": ((), set()),
    "a pattern": ("model/decoder/*", {"weight", "bias"}),
    "patterns": (["*/bias", "*/relation"], {"bias", "relation"}),
    "all": ("all", {"relation", "weight", "bias"}),
}
OBEYS = list(TRAIN), ["outside", "inside", "in a scope", "custom_getter"]
OBEYS += ([minimize, compute_and_apply],)


@pytest.mark.parametrize(
    "name, place, how", list(itertools.product(*OBEYS)) if SOAK else pairwise(*OBEYS)
)
def test_the_scripts_own_training_obeys_train(layers, start, name, place, how):
    train, expected = TRAIN[name]
    optimizer = tf.train.AdamOptimizer(0.1)
    if place == "outside":
        with pe.growing(layers, train=train):
            variables, loss = model_of()
        step = how(optimizer, loss)
    elif place == "inside":
        with pe.growing(layers, train=train):
            variables, loss = model_of()
            step = how(optimizer, loss)
    elif place == "in a scope":
        with pe.growing(layers, train=train), tf.variable_scope("", reuse=tf.AUTO_REUSE):
            variables, loss = model_of()
            with tf.variable_scope("training"):
                step = how(tf.train.AdamOptimizer(0.1), loss)
    else:
        variables, loss = model_of(pe.growing(layers, train=train))
        with tf.variable_scope("model", reuse=tf.AUTO_REUSE):
            step = how(optimizer, loss)
    session = start()
    before = session.run(variables)
    session.run(step)
    after = session.run(variables)
    moved = {name for name in variables if (before[name] != after[name]).any()}
    assert moved == expected | {"entity"}
    rows = (before["entity"] != after["entity"]).any(axis=1)
    assert rows.tolist() == [False] * 4 + [True] * 2
    assert before["entity"][:4, 0].tolist() == [0, 1, 2, 3]
    assert before["weight"].tolist() == [[0.5, 0.5]] * 2
