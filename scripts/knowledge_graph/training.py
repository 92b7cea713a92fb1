"""A training run: a base model from a directory of triples, or the new rows of one."""

import collections
import os
import time
import zlib

import numpy as np
import tensorflow.compat.v1 as tf
from absl import logging

import partial_embed as pe
from knowledge_graph import evaluation, network, runs, triples
from knowledge_graph.progress import Progress
from knowledge_graph.settings import check

# One line of the history: the mean loss of the epoch, and a dict from the name of a question to
# `evaluation.Metrics`.
Moment = collections.namedtuple("Moment", ["epoch", "loss", "metrics"])

# checkpoint: the newest. history: list of `Moment`. seconds: of the steps alone, without
# evaluations and saves. entity_before, entity: the whole entity table when this call began and when
# it ended. finished: False if it was asked to stop before the last epoch.
Result = collections.namedtuple(
    "Result", "checkpoint history seconds entity_before entity finished"
)

# A question that is asked again and again: how well are these triples answered, by these candidates
# (None: by all)?
Question = collections.namedtuple("Question", ["triples", "candidates"])


def train(config, questions=None, should_stop=None, label=""):
    """Trains a base model, or the new rows of one; goes on where an earlier run was stopped.

    Args:
      config: a `Config`.
      questions: a dict from names to `Question`s, asked every `eval_every` epochs. By default how
        well the valid triples are answered and, of a grown model, the old ones by the old entities
        and the new ones by all.
      should_stop: a function that is called after every step. Once it returns something true, a
        checkpoint is saved and the training ends.
      label: what the progress line begins with.

    Returns:
      A `Result`.
    """
    check(config)
    base = runs.read_base(config.grow_from) if config.grow_from else runs.NOTHING
    dataset = triples.read_dataset(config.data_dir, base.entities, base.relations)
    facts, old_facts = _facts_to_learn(config, base, dataset)
    if questions is None:
        questions = default_questions(dataset, base)
    known = evaluation.KnownTriples(dataset.train, dataset.valid, dataset.test)
    settings = _settings(config, base, facts, old_facts)
    resume_from = runs.open_run(config.checkpoint_dir, settings, dataset)

    with tf.Graph().as_default():
        # The seeds of the initializers; everything random after them follows from the seed and the
        # step alone.
        tf.set_random_seed(config.seed)
        graph = network.build(config, base, dataset)
        hooks = [pe.FrozenRowsHook()] if base.checkpoint else []
        scaffold = tf.train.Scaffold(saver=graph.saver)
        with tf.train.SingularMonitoredSession(
            hooks, scaffold, checkpoint_filename_with_path=resume_from
        ) as monitored:
            session = monitored.raw_session()
            batches = _Batches(config, facts, old_facts)
            return _run(config, graph, session, batches, known, questions, should_stop, label)


def default_questions(dataset, base=runs.NOTHING):
    """The questions about the valid triples; none if there are no such triples."""
    found = {"valid": Question(dataset.valid, None)}
    if base.checkpoint:
        is_new = triples.touches_new(dataset.valid, len(base.entities), len(base.relations))
        found["valid_old"] = Question(dataset.valid[~is_new], np.arange(len(base.entities)))
        found["valid_new"] = Question(dataset.valid[is_new], None)
    return {name: question for name, question in found.items() if len(question.triples)}


def _facts_to_learn(config, base, dataset):
    """The train triples that are learned, and if the run grows the others: without a new row."""
    if not base.checkpoint:
        return dataset.train, dataset.train[:0]
    runs.check_prefix("Entity", base.entities, dataset.entities, base.checkpoint)
    runs.check_prefix("Relation", base.relations, dataset.relations, base.checkpoint)
    for name in ("model", "dimension"):
        if base.settings.get(name, getattr(config, name)) != getattr(config, name):
            raise ValueError(
                f"--{name}={getattr(config, name)} does not fit the checkpoint {base.checkpoint}, "
                f"which has {name}={base.settings[name]}."
            )
    old = len(base.entities), len(base.relations)
    if (len(dataset.entities), len(dataset.relations)) == old:
        raise ValueError(
            f"There is nothing new to train: {config.data_dir} has the {old[0]} entities and "
            f"{old[1]} relations that {base.checkpoint} has learned."
        )
    is_new = triples.touches_new(dataset.train, *old)
    if not np.any(is_new):
        raise ValueError(
            f"There is nothing new to train: no triple of {config.data_dir}/train.txt has one of "
            "the new entities or relations."
        )
    return dataset.train[is_new], dataset.train[~is_new]


def _settings(config, base, facts, old_facts):
    """Everything that the weights depend on."""
    settings = dict(config._asdict())
    for name in ("data_dir", "checkpoint_dir", "grow_from", "epochs", "save_every", "eval_every"):
        del settings[name]
    settings["old_entities"] = len(base.entities)
    settings["old_relations"] = len(base.relations)
    settings["train_triples"] = len(facts)
    settings["train_checksum"] = zlib.crc32(facts.tobytes() + old_facts.tobytes())
    return settings


class _Batches:
    """Which triples are seen at which step: it depends on the seed and the step alone."""

    def __init__(self, config, facts, old_facts):
        self._config, self._facts, self._old_facts = config, facts, old_facts
        self._num_replayed = min(int(round(config.replay * len(facts))), len(old_facts))
        self.per_epoch = -(-(len(facts) + self._num_replayed) // config.batch_size)

    def after(self, step):
        """Yields the triples of each step, without end; `step` steps are done already."""
        epoch, first = divmod(step, self.per_epoch)
        while True:
            random = np.random.RandomState([self._config.seed, epoch])
            facts = self._facts
            if self._num_replayed:
                replayed = random.permutation(len(self._old_facts))[: self._num_replayed]
                facts = np.concatenate([facts, self._old_facts[replayed]])
            facts = facts[random.permutation(len(facts))]
            for start in range(
                first * self._config.batch_size, len(facts), self._config.batch_size
            ):
                yield facts[start : start + self._config.batch_size]
            epoch, first = epoch + 1, 0


def _run(config, graph, session, batches, known, questions, should_stop, label):
    total = batches.per_epoch * config.epochs
    step = int(session.run(graph.global_step))
    if step:
        logging.info("Continuing in %s after step %d of %d.", config.checkpoint_dir, step, total)
    entity_before = session.run(graph.entity)
    writer = tf.summary.FileWriter(config.checkpoint_dir)
    # Steps after the checkpoint that an earlier run wrote down, and that are now done again,
    # disappear.
    writer.add_session_log(tf.SessionLog(status=tf.SessionLog.START), global_step=step)
    progress = Progress(total, step, label)
    history = []

    def write_scalar(tag, value):
        value = tf.Summary.Value(tag=tag, simple_value=value)
        writer.add_summary(tf.Summary(value=[value]), step)

    def ask(epoch, loss):
        table = session.run(graph.entity)
        metrics = {
            name: evaluation.evaluate(
                question.triples,
                lambda asked: session.run(graph.queries, {graph.triples: asked}),
                table,
                graph.numpy_scores,
                known,
                question.candidates,
            )
            for name, question in questions.items()
        }
        history.append(Moment(epoch, loss, metrics))
        for name, found in metrics.items():
            write_scalar("mrr/" + name, found.mrr)
        progress.clear()
        said = "" if loss is None else f"  loss {loss:.4f}"
        said += "".join(f"  {name} MRR {found.mrr:.4f}" for name, found in metrics.items())
        logging.info("%sepoch %d of %d%s", label, epoch, config.epochs, said)

    saved = tf.train.latest_checkpoint(config.checkpoint_dir)
    ask(step // batches.per_epoch, None)
    losses, seconds, stopped = [], 0.0, False
    facts_of_steps = batches.after(step)
    while step < total and not stopped:
        facts = next(facts_of_steps)
        began = time.time()
        _, loss = session.run([graph.train_op, graph.loss], {graph.triples: facts})
        seconds += time.time() - began
        step += 1
        losses.append(loss)
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"The loss is {loss} at step {step}: the training diverged; a smaller "
                "--learning_rate may help."
            )
        text = f"epoch {(step - 1) // batches.per_epoch + 1}/{config.epochs}  loss {loss:.4f}"
        progress.update(step, text, config.batch_size, "triples")
        stopped = bool(should_stop and should_stop())
        epoch, rest = divmod(step, batches.per_epoch)
        if rest and not stopped:
            continue
        last = stopped or step == total
        mean_loss, losses = float(np.mean(losses)), []
        write_scalar("loss", mean_loss)
        if last or epoch % config.eval_every == 0:
            ask(epoch, mean_loss)
        if last or epoch % config.save_every == 0:
            prefix = os.path.join(config.checkpoint_dir, "model.ckpt")
            saved = graph.saver.save(session, prefix, step)
            writer.flush()
    progress.clear()
    writer.close()
    return Result(saved, history, seconds, entity_before, session.run(graph.entity), step >= total)
