"""A training run: a base model from a directory of triples, or the new rows of one that is there already."""

import collections
import os
import time
import zlib

import numpy as np
import tensorflow.compat.v1 as tf
from absl import logging

import partial_embed as pe
from knowledge_graph import evaluation, models, runs, triples
from knowledge_graph.progress import Progress

OPTIMIZERS = {
    "GradientDescent": tf.train.GradientDescentOptimizer,
    "Momentum": tf.train.MomentumOptimizer,
    "Adagrad": tf.train.AdagradOptimizer,
    "RMSProp": tf.train.RMSPropOptimizer,
    "Adam": tf.train.AdamOptimizer,
    "Ftrl": tf.train.FtrlOptimizer,
    "Adadelta": tf.train.AdadeltaOptimizer,
}
WITH_MOMENTUM = ("Momentum", "RMSProp")

# What the flags of `scripts/train.py` say; there each of them is explained.
Config = collections.namedtuple(
    "Config",
    "data_dir checkpoint_dir grow_from model dimension optimizer learning_rate momentum batch_size epochs seed dropout "
    "n3 save_every eval_every",
)
Config.__new__.__defaults__ = (None, "complex", 128, "Adam", 0.01, None, 256, 100, 0, 0.0, 0.0, 10, 10)

# One line of the history: the mean loss of the epoch, and a dict from the name of a question to `evaluation.Metrics`.
Moment = collections.namedtuple("Moment", ["epoch", "loss", "metrics"])

# checkpoint: the newest. history: list of `Moment`. seconds: of the steps alone, without evaluations and saves.
# entity_before, entity: the whole entity table when this call began and when it ended.
# finished: False if it was asked to stop before the last epoch.
Result = collections.namedtuple("Result", "checkpoint history seconds entity_before entity finished")

# A question that is asked again and again: how well are these triples answered, by these candidates (None: by all)?
Question = collections.namedtuple("Question", ["triples", "candidates"])


def check(config):
    """Raises a `ValueError` for settings that make no sense, alone or together."""
    if config.model not in models.MODELS:
        raise ValueError("--model={} is none of {}.".format(config.model, ", ".join(sorted(models.MODELS))))
    if config.optimizer not in OPTIMIZERS:
        raise ValueError("--optimizer={} is none of {}.".format(config.optimizer, ", ".join(OPTIMIZERS)))
    for name in ("dimension", "batch_size", "epochs", "save_every", "eval_every"):
        if getattr(config, name) < 1:
            raise ValueError("--{} must be at least 1, found {}.".format(name, getattr(config, name)))
    if not config.learning_rate > 0:
        raise ValueError("--learning_rate must be positive, found {}.".format(config.learning_rate))
    if not 0 <= config.dropout < 1:
        raise ValueError("--dropout must be at least 0 and less than 1, found {}.".format(config.dropout))
    if not 0 <= config.seed < 2**31:
        raise ValueError("--seed must be at least 0 and less than 2^31, found {}.".format(config.seed))
    if config.n3 < 0:
        raise ValueError("--n3 must not be negative, found {}.".format(config.n3))
    if config.n3 and config.model == "transe":
        raise ValueError("--n3 is a penalty for complex and distmult; --model=transe has no use for it.")
    if config.momentum is not None and config.optimizer not in WITH_MOMENTUM:
        raise ValueError(
            "--momentum is for --optimizer=Momentum or RMSProp; {} has no use for it.".format(config.optimizer)
        )
    if config.grow_from:
        base = config.grow_from if os.path.isdir(config.grow_from) else os.path.dirname(config.grow_from)
        if os.path.realpath(base) == os.path.realpath(config.checkpoint_dir):
            raise ValueError(
                "--grow_from and --checkpoint_dir are the same directory, {}; the grown model needs its own.".format(
                    config.checkpoint_dir
                )
            )


def train(config, questions=None, should_stop=None, label=""):
    """Trains a base model, or the new rows of a grown one, and goes on where an earlier run was stopped.

    Args:
      config: a `Config`.
      questions: a dict from names to `Question`s, asked every `eval_every` epochs. By default how well the valid triples
        are answered and, of a grown model, the old ones by the old entities and the new ones by all.
      should_stop: a function that is called after every step. Once it returns something true, a checkpoint is saved and
        the training ends.
      label: what the progress line begins with.

    Returns:
      A `Result`.
    """
    check(config)
    base = runs.read_base(config.grow_from) if config.grow_from else runs.NOTHING
    dataset = triples.read_dataset(config.data_dir, base.entities, base.relations)
    facts = _facts_to_learn(config, base, dataset)
    if questions is None:
        questions = default_questions(dataset, base)
    known = evaluation.KnownTriples(dataset.train, dataset.valid, dataset.test)
    resume_from = runs.open_run(config.checkpoint_dir, _settings(config, base, facts), dataset)

    with tf.Graph().as_default():
        # The seeds of the initializers; everything random after them follows from the seed and the step alone.
        tf.set_random_seed(config.seed)
        graph = _build(config, base, dataset)
        hooks = [pe.FrozenRowsHook()] if base.checkpoint else []
        scaffold = tf.train.Scaffold(saver=graph.saver)
        with tf.train.SingularMonitoredSession(
            hooks, scaffold, checkpoint_filename_with_path=resume_from
        ) as monitored:
            return _run(config, graph, monitored.raw_session(), facts, known, questions, should_stop, label)


def default_questions(dataset, base=runs.NOTHING):
    """The questions about the valid triples; none if there are no such triples."""
    found = {"valid": Question(dataset.valid, None)}
    if base.checkpoint:
        is_new = triples.touches_new(dataset.valid, len(base.entities), len(base.relations))
        found["valid_old"] = Question(dataset.valid[~is_new], np.arange(len(base.entities)))
        found["valid_new"] = Question(dataset.valid[is_new], None)
    return {name: question for name, question in found.items() if len(question.triples)}


def _facts_to_learn(config, base, dataset):
    """The train triples, and of a run that grows only those that can move a new row."""
    if not base.checkpoint:
        return dataset.train
    runs.check_prefix("Entity", base.entities, dataset.entities, base.checkpoint)
    runs.check_prefix("Relation", base.relations, dataset.relations, base.checkpoint)
    for name in ("model", "dimension"):
        if name in base.settings and base.settings[name] != getattr(config, name):
            raise ValueError(
                "--{}={} does not fit the checkpoint {}, which has {}={}.".format(
                    name, getattr(config, name), base.checkpoint, name, base.settings[name]
                )
            )
    if len(dataset.entities) == len(base.entities) and len(dataset.relations) == len(base.relations):
        raise ValueError(
            "There is nothing new to train: {} has the {} entities and {} relations that {} has learned.".format(
                config.data_dir, len(base.entities), len(base.relations), base.checkpoint
            )
        )
    is_new = triples.touches_new(dataset.train, len(base.entities), len(base.relations))
    if not np.any(is_new):
        raise ValueError(
            "There is nothing new to train: no triple of {} has one of the new entities or relations.".format(
                os.path.join(config.data_dir, "train.txt")
            )
        )
    return dataset.train[is_new]


def _settings(config, base, facts):
    names = "model dimension optimizer learning_rate momentum batch_size seed dropout n3"
    settings = {name: getattr(config, name) for name in names.split()}
    settings["old_entities"] = len(base.entities)
    settings["old_relations"] = len(base.relations)
    settings["train_triples"] = len(facts)
    settings["train_checksum"] = zlib.crc32(facts.tobytes())
    return settings


_Graph = collections.namedtuple(
    "_Graph", "triples entity tail_query head_query numpy_scores loss train_op global_step saver"
)


def _build(config, base, dataset):
    sizes = len(dataset.entities), len(dataset.relations), config.dimension
    # The one place that knows about growing.
    if base.checkpoint:
        with pe.growing(base.checkpoint):
            model = models.MODELS[config.model](*sizes)
    else:
        model = models.MODELS[config.model](*sizes)

    global_step = tf.train.get_or_create_global_step()
    facts = tf.placeholder(tf.int32, [None, 3], name="triples")
    head = tf.nn.embedding_lookup(model.entity, facts[:, 0])
    relation = tf.nn.embedding_lookup(model.relation, facts[:, 1])
    inverse = tf.nn.embedding_lookup(model.inverse, facts[:, 1])
    tail = tf.nn.embedding_lookup(model.entity, facts[:, 2])
    tail_query = model.query(head, relation)
    head_query = model.query(tail, inverse)

    # One against all: which of all entities is the tail, and which is the head?
    loss = 0.0
    for side, (query, target) in enumerate([(tail_query, facts[:, 2]), (head_query, facts[:, 0])]):
        if config.dropout:
            query = _dropout(query, config.dropout, tf.stack([config.seed, 2 * tf.cast(global_step, tf.int32) + side]))
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=target, logits=model.scores(query))
        loss += tf.reduce_mean(losses)
    if config.n3:
        cubes = sum(tf.reduce_sum(model.cubes(rows), axis=1) for rows in (head, relation, inverse, tail))
        loss += config.n3 * tf.reduce_mean(cubes)

    optimizer_arguments = {}
    if config.optimizer == "Momentum" or config.momentum is not None:
        optimizer_arguments["momentum"] = 0.9 if config.momentum is None else config.momentum
    optimizer = OPTIMIZERS[config.optimizer](config.learning_rate, **optimizer_arguments)
    if base.checkpoint:
        train_op = pe.minimize(optimizer, loss, global_step=global_step)
    else:
        train_op = optimizer.minimize(loss, global_step=global_step)
    saver = pe.Saver(max_to_keep=3)
    return _Graph(
        facts, model.entity, tail_query, head_query, model.numpy_scores, loss, train_op, global_step, saver
    )


def _dropout(values, rate, seed):
    """Dropout that depends on nothing but its seed, so that a run that was stopped goes on with the same masks."""
    kept = tf.random.stateless_uniform(tf.shape(values), seed=seed) >= rate
    return tf.where(kept, values / (1.0 - rate), tf.zeros_like(values))


def _run(config, graph, session, facts, known, questions, should_stop, label):
    steps_per_epoch = -(-len(facts) // config.batch_size)
    total = steps_per_epoch * config.epochs
    step = int(session.run(graph.global_step))
    if step:
        logging.info("Continuing in %s after step %d of %d.", config.checkpoint_dir, step, total)
    entity_before = session.run(graph.entity)
    writer = tf.summary.FileWriter(config.checkpoint_dir)
    # Steps after the checkpoint that an earlier run wrote down, and that are now done again, disappear.
    writer.add_session_log(tf.SessionLog(status=tf.SessionLog.START), global_step=step)
    progress = Progress(total, step, label)
    history = []
    seconds = 0.0

    def queries(asked):
        return session.run([graph.tail_query, graph.head_query], {graph.triples: asked})

    def ask(epoch, loss):
        table = session.run(graph.entity)
        metrics = {
            name: evaluation.evaluate(
                question.triples, queries, table, graph.numpy_scores, known, question.candidates
            )
            for name, question in questions.items()
        }
        history.append(Moment(epoch, loss, metrics))
        for name in metrics:
            _write_scalar(writer, "mrr/" + name, metrics[name].mrr, step)
        progress.clear()
        logging.info(
            "%sepoch %d of %d%s%s",
            label,
            epoch,
            config.epochs,
            "" if loss is None else "  loss {:.4f}".format(loss),
            "".join("  {} MRR {:.4f}".format(name, metrics[name].mrr) for name in metrics),
        )

    def save():
        return graph.saver.save(session, os.path.join(config.checkpoint_dir, "model.ckpt"), step)

    saved = tf.train.latest_checkpoint(config.checkpoint_dir)
    ask(step // steps_per_epoch, None)
    stopped = False
    while step < total and not stopped:
        epoch, first = divmod(step, steps_per_epoch)
        # The order of an epoch depends on nothing that happened before, and neither does the place within it.
        order = np.random.RandomState([config.seed, epoch]).permutation(len(facts))
        losses = []
        for batch in range(first, steps_per_epoch):
            rows = order[batch * config.batch_size : (batch + 1) * config.batch_size]
            began = time.time()
            _, loss = session.run([graph.train_op, graph.loss], {graph.triples: facts[rows]})
            seconds += time.time() - began
            step += 1
            losses.append(loss)
            if not np.isfinite(loss):
                raise FloatingPointError(
                    "The loss is {} at step {}: the training diverged; a smaller --learning_rate may help.".format(
                        loss, step
                    )
                )
            progress.update(
                step,
                "epoch {}/{}  loss {:.4f}".format(epoch + 1, config.epochs, loss),
                config.batch_size,
                "triples",
            )
            stopped = bool(should_stop and should_stop())
            if stopped:
                break
        epoch = step // steps_per_epoch
        mean_loss = float(np.mean(losses))
        _write_scalar(writer, "loss", mean_loss, step)
        last = stopped or step == total
        if last or epoch % config.eval_every == 0:
            ask(epoch, mean_loss)
        if last or epoch % config.save_every == 0:
            saved = save()
            writer.flush()
    progress.clear()
    writer.close()
    return Result(saved, history, seconds, entity_before, session.run(graph.entity), step >= total)


def _write_scalar(writer, tag, value, step):
    writer.add_summary(tf.Summary(value=[tf.Summary.Value(tag=tag, simple_value=value)]), step)
