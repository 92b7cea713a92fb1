"""The players of TensorFlow in a contest of turns.py: forms of a step in one graph and session.

Each function takes the sizes, a `benchmark.Setting`, and returns {title: `turns.Player`, or why it
does not play}; the first title is plain TensorFlow's.
"""

import functools

import numpy as np
import quiet  # noqa: F401 (before all that imports TensorFlow)
import tensorflow.compat.v1 as tf
from forms import Tables, feed_of, look_up_bags, needs, parts_of, training_step
from job import data as job_data
from job import graph as job_graph
from job import hooks
from job.batches import Arrays
from job.config import Config
from job.directory import Base
from job.loop import Loop
from job.progress import Progress
from models import hyperparameters  # noqa: F401 (defines the flags)
from report import TITLES
from turns import Player

import partial_embed as pe

MOST_COLUMNS = 50000  # of a decoder: its batch has a number for each of them
MOST_SCORED = 1000000  # likewise of scores
MEMORY = 0.85  # the share of what is free that tables may take
STRETCH = 40  # steps of a loop


def step(at, optimizer, new, forms):
    """Forms of a training step.

    Args:
      at: the `Setting`.
      optimizer: a name of `forms.OPTIMIZERS`.
      new: which of a batch's ids are new ones: "half" or "all".
      forms: names of `forms.FORMS`.
    """
    tables, steps, players = Tables(at, optimizer), {}, {}
    shared, passing, free = {}, 0, MEMORY * free_bytes()
    for form in forms:
        title = TITLES[form]
        (which, lasting), temporary = needs(form, at, optimizer)
        after = dict(shared, **{which: lasting})
        if sum(after.values()) + max(passing, temporary) > free:
            gigabytes = (sum(after.values()) + temporary) / 1e9
            players[title] = f"needs {gigabytes:.0f} GB of {free / 1e9:.0f}"
            continue
        shared, passing = after, max(passing, temporary)
        steps[form] = training_step(tables, form)
        players[title] = None
    random, session = np.random.RandomState(0), started()

    def draw(form):
        old = random.randint(at.rows, size=0 if new == "all" else at.batch // 2)
        of_new = random.randint(at.new_rows, size=at.batch - len(old)) + at.rows
        parts = parts_of(form, old.astype(np.int32), of_new.astype(np.int32))
        return [feed_of(steps[form], ids, at.rows) for ids in parts]

    def take(form, feeds):
        for feed in feeds:
            session.run(steps[form].train, feed)

    for form in steps:
        players[TITLES[form]] = Player(*(functools.partial(do, form) for do in (draw, take)))
    return players


def sparse(at, safe):
    """`embedding_lookup_sparse` or its safe form, of bags of two ids."""
    tables, name = Tables(at, "SGD"), "`embedding_lookup_sparse`"
    name = "its safe form" if safe else name
    look_up = functools.partial(look_up_bags, safe=safe)
    steps = {
        f"{name} of {which}": training_step(tables, form, look_up)
        for form, which in (("plain", "one variable"), ("partial", "a grown table"))
    }
    random, session = np.random.RandomState(0), started()

    def draw(step):
        halves = (
            random.randint(at.rows, size=at.batch // 2),
            random.randint(at.rows, at.rows + at.new_rows, size=at.batch // 2),
        )
        return {step.ids: np.concatenate(halves)}

    return {
        title: Player(
            functools.partial(draw, step),
            lambda feed, train=step.train: session.run(train, feed),
        )
        for title, step in steps.items()
    }


def decoder(at):
    """An output layer [d, vocabulary] with its bias, and a batch of 64."""
    columns = f"{min(at.rows, MOST_COLUMNS):,} columns"
    trains = {
        f"a decoder of {columns} and its bias, all training": decode(at, "plain"),
        "a grown one": decode(at, "partial"),
        "a grown one, scored by `kernel.matmul(x)`": decode(at, "matmul"),
    }
    random, session = np.random.RandomState(0), started()

    def draw(x, labels):
        columns = min(at.rows, MOST_COLUMNS) + at.new_rows
        return {x: random.randn(64, at.dim), labels: random.randint(columns, size=64)}

    return {
        title: Player(
            functools.partial(draw, x, labels),
            lambda feed, train=train: session.run(train, feed),
        )
        for title, (x, labels, train) in trains.items()
    }


def scores(at):
    """The squared scores of a batch of 128 against all rows, of which the table alone trains."""
    old, x = min(at.rows, MOST_SCORED), tf.placeholder(tf.float32, [128, at.dim])
    shape, optimizer = [old + at.new_rows, at.dim], tf.train.GradientDescentOptimizer(0.1)
    whole = tf.get_variable("whole", shape)
    grown = pe.get_embedding("grown", shape, num_frozen_rows=old)
    products = {
        f"scores of 128 against {old:,} rows, all training": tf.matmul(x, whole, transpose_b=True),
        "against a grown table's, by `table.matmul(x)`": grown.matmul(x),
    }
    losses = [tf.reduce_mean(tf.square(product)) for product in products.values()]
    pairs = zip(losses, [whole, grown.trainable])
    trains = [optimizer.minimize(loss, var_list=[variable]) for loss, variable in pairs]
    random, session = np.random.RandomState(0), started()
    return {
        title: Player(
            lambda: random.randn(128, at.dim), lambda its, train=train: session.run(train, {x: its})
        )
        for title, train in zip(products, trains)
    }


def loop(at, model):
    """Some steps of a training job, and of a bare loop on the same graph and in the same session.

    Args:
      at: the `Setting`.
      model: "complex", on triples of UMLS's size, or "matrix_factorization", with a table of
        `at.rows` users.
    """
    sizes, data = {"head": 135, "relation": 46, "tail": 135}, "triples"
    if model == "matrix_factorization":
        sizes, data = {"user": at.rows, "item": 1000, "value": 6}, "ratings"
    columns = {name: job_data.FORMATS[data][name] for name in sizes}
    random, number = np.random.RandomState(0), 20 * at.batch
    examples = {name: random.randint(size, size=number) for name, size in sizes.items()}
    keys = {columns[name]: range(size) for name, size in sizes.items() if columns[name]}
    data = job_data.Data(keys, {name: 0 for name in keys}, columns, {"train": examples})
    config = Config(None, at.directory, model=model, batch_size=at.batch, optimizer="Adagrad")
    batches = Arrays(config, columns, examples, job_data.take(examples, slice(0)))
    graph = job_graph.build(config, Base(), data, batches)
    position, ends = hooks.Position(graph, batches.per_epoch, 1000000), [0]
    quick = [hooks.ShowProgress(position, Progress(None), at.batch)]
    steps = Loop(graph, batches, position, lambda: position.step >= ends[0])
    nothing = {"save_checkpoint_secs": None, "save_summaries_steps": None}
    nothing.update(save_summaries_secs=None, log_step_count_steps=None)
    monitored = tf.train.MonitoredTrainingSession(
        hooks=[position, *quick], scaffold=tf.train.Scaffold(saver=graph.saver), **nothing
    )

    batches.open(position.session)
    step = position.session.make_callable([graph.loss, graph.counted], batches.feeds)

    def begin():  # where the other one has ended
        position.look(position.session)
        position.next, position.stopping = position.step, False
        return position.step

    def take(first):
        ends[:] = [first + STRETCH - 1]  # One more runs with the hooks.
        steps.run(monitored)

    def take_bare(first):
        for number in range(first, first + STRETCH):
            step(*batches.feed(number))

    what = "ComplEx at UMLS's size" if model == "complex" else "ratings and a table of all rows"
    return {
        f"{STRETCH} steps of a bare loop of `make_callable`, {what}": Player(begin, take_bare),
        f"of the training job, {model}": Player(begin, take),
    }


def decode(at, form):
    """Builds a form of the output layer; returns its input, its labels and its training op."""
    old, new = min(at.rows, MOST_COLUMNS), at.new_rows
    shape, zeros = [at.dim, old + new], tf.zeros_initializer()
    with tf.variable_scope(form):
        if form == "plain":
            kernel = tf.get_variable("kernel", shape, initializer=zeros)
            bias = tf.get_variable("bias", shape[1:], initializer=zeros)
        else:
            frozen = dict(num_frozen_rows=old, initializer=zeros)
            kernel = pe.get_embedding("kernel", shape, axis=1, **frozen)
            bias = pe.get_embedding("bias", shape[1:], **frozen)
        x, labels = tf.placeholder(tf.float32, [64, at.dim]), tf.placeholder(tf.int32, [64])
        logits = kernel.matmul(x) if form == "matmul" else tf.matmul(x, kernel)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits + bias)
        trains = tf.trainable_variables(f"{form}/")
        optimizer = tf.train.GradientDescentOptimizer(0.1)
        return x, labels, optimizer.minimize(tf.reduce_mean(losses), var_list=trains)


def started():
    """Returns a session whose variables are initialized."""
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    return session


def free_bytes():
    """Returns how much memory the system could give."""
    with open("/proc/meminfo", encoding="utf-8") as lines:
        sizes = dict(line.split(":") for line in lines)
    return int(sizes["MemAvailable"].split()[0]) * 1024
