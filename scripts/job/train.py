"""A training job: a base model, or the new rows of one."""

import os
from typing import List, NamedTuple, Optional

import tensorflow.compat.v1 as tf
from absl import logging

import partial_embed as pe
from job import batches as job_batches
from job import cluster as job_cluster
from job import directory, generations, graph, hooks, inputs, projector, questions
from job.config import LATEST, check
from job.history import History, Moment
from job.loop import Loop
from job.progress import Progress


class Result(NamedTuple):
    """What a job gives.

    Attributes:
      checkpoint: the newest; None if there was nothing to do.
      history: list of `Moment`s, those of earlier parts of an interrupted run included.
      metrics: the answers at the end, about the test examples included.
      seconds: of the steps alone, without evaluations and saves.
      finished: False if it was asked to stop before the end.
      published: the path of the generation, None without `--publish`.
      told: what is to be said if there was nothing new to train.
    """

    checkpoint: Optional[str] = None
    history: List[Moment] = []
    metrics: dict = {}
    seconds: float = 0.0
    finished: bool = True
    published: Optional[str] = None
    told: str = ""


def train(
    config,
    asked=None,
    should_stop=lambda: False,
    label="",
    more_hooks=(),
    started=None,
    cluster=None,
):
    """Trains a base model, or the new rows of one; goes on where an earlier run was stopped.

    Args:
      config: a `Config`.
      asked: a dict of names to `Question`s, asked every `eval_every` epochs. By default how
        well the valid examples are answered and, by a grown model, the old and the new ones.
      should_stop: a function that is called after every step. Once it returns something true, a
        checkpoint is saved and the training ends.
      label: what each line begins with.
      more_hooks: session hooks of the caller's.
      started: a function that is called with the directory of the run before it begins.
      cluster: the `Cluster` of which this process is a worker; None on one machine. Only its chief
        evaluates, saves, publishes and writes into the directory of the run, which all see.

    Returns:
      A `Result`; of a worker that is not the chief it is empty.
    """
    check(config)
    if not config.checkpoint_dir:
        config = config._replace(checkpoint_dir=generations.default_directory(config.publish))
    if config.early_stopping and cluster and len(cluster.workers) > 1:
        raise ValueError(
            f"--early_stopping={config.early_stopping} keeps the weights that were evaluated, and "
            "several workers move them meanwhile. Give it one worker, with any number of servers."
        )
    member = job_cluster.Member(cluster) if cluster else job_cluster.ALONE
    label = label or member.label
    if not member.is_chief:
        return _train(config, asked, should_stop, label, (), None, member)
    with directory.locked(config.checkpoint_dir):
        result = _train(config, asked, should_stop, label, more_hooks, started, member)
    if result.finished:
        member.dismiss_servers()
    return result


def _train(config, asked, should_stop, label, more_hooks, started, member):
    grew_from = generations.of(config)
    if config.grow_from == LATEST:
        config = config._replace(grow_from=grew_from)
    given = inputs.read(config, label)
    config, base, data = given.config, given.base, given.data
    if data.pipeline and member.worker[1] > 1:
        raise ValueError(
            "The batches of a pipeline have no numbers by which several workers could divide them. "
            "Give it one worker, with any number of servers."
        )
    if given.told and config.require_new:
        raise ValueError(given.told)
    if given.told:
        return Result(told=given.told)
    learned, replayed = inputs.to_learn(config, base, data)
    settings = inputs.settings(config, base, data, learned, replayed)
    # What all members must have in common.
    common = dict(settings, epochs=config.epochs, min_slice_bytes=config.min_slice_bytes)
    common.update(member.size)
    if member.is_chief:
        generations.forget_another_run(config, settings)
        directory.open_run(config.checkpoint_dir, settings, data)
        if member.in_cluster:
            directory.write_json(os.path.join(config.checkpoint_dir, directory.JOB), common)
    elif not directory.join_run(config.checkpoint_dir, common, should_stop):
        return Result(finished=not should_stop())
    if started:
        started(config.checkpoint_dir)

    with tf.Graph().as_default(), tf.device(member.placement()):
        # The seeds of the initializers; everything random after them follows from the seed and the
        # step alone.
        tf.set_random_seed(config.seed)
        if data.pipeline:
            batches = job_batches.Pipeline(config, data)
        else:
            place = config.checkpoint_dir if member.is_chief else None
            normalizers = inputs.normalizers(config, data, place, settings.get("base_checksum"))
            batches = job_batches.Arrays(config, data.columns, learned, replayed, normalizers)
        run = _Run(config, base, data, batches, asked, label, member)
        if not member.is_chief:
            return run.help(should_stop)
        result = run.take(should_stop, more_hooks)
    if not (config.publish and result.finished):
        return result
    published = generations.publish(config, grew_from, data)
    newest = os.path.join(published, os.path.basename(result.checkpoint))
    return result._replace(checkpoint=newest, published=published)


class _Run:
    """One run: its graph, its hooks, its end."""

    def __init__(self, config, base, data, batches, asked, label, member):
        self._config, self._data, self._batches, self._label = config, data, batches, label
        self._member = member
        self._graph = graph.build(config, base, data, batches, member)
        self._asked = {"valid": asked} if asked is not None else self._splits(bool(base.checkpoint))
        if config.early_stopping and not self._asked.get("valid"):
            raise ValueError(
                f"--early_stopping={config.early_stopping} looks at the valid examples, and the "
                "data has none."
            )
        member.meet(self._graph.global_step)
        metrics = self._graph.metrics
        names = metrics if isinstance(metrics, dict) else getattr(metrics, "names", ())
        if config.early_stopping and names:
            questions.check_watch(config.watch, names)
        self._position = hooks.Position(
            self._graph, batches.per_epoch, config.epochs, *member.worker
        )
        self._save = hooks.Save(
            self._position, self._graph, config.checkpoint_dir, config.save_every
        )
        self._proof = [pe.FrozenRowsHook()] if base.checkpoint else []

    def _splits(self, grows):
        """The questions about the valid and the test examples, by split."""
        if self._data.pipeline:
            return {split: {split: questions.Question(split)} for split in self._batches.splits}
        ranks = callable(self._graph.metrics)
        return {
            split: questions.of_split(self._data, split, grows, ranks)
            for split in ("valid", "test")
        }

    def take(self, should_stop, more_hooks):
        """Takes all steps that are left, and returns a `Result`."""
        config, position = self._config, self._position
        place = config.checkpoint_dir
        newest = tf.train.latest_checkpoint(place)
        done = tf.train.load_checkpoint(newest).get_tensor("global_step") if newest else 0
        history = History(os.path.join(place, directory.HISTORY), done)
        finished = directory.read_json(os.path.join(place, directory.RESULT))
        if finished and finished["epochs"] == config.epochs:
            checkpoint = os.path.join(place, finished["checkpoint"])
            return Result(checkpoint, history.moments, finished["metrics"])
        if position.total and done > position.total:
            logging.warning(
                "The weights have learned for %d steps already, and --epochs=%d are %d: no epoch "
                "is taken back.",
                done,
                config.epochs,
                position.total,
            )
        progress = Progress(position.total, done, self._label)
        writer = tf.summary.FileWriter(place)
        evaluate = hooks.Evaluate(
            position,
            self._save,
            self._graph,
            self._batches,
            self._data,
            self._asked.get("valid", {}),
            config,
            history,
            writer,
            progress,
            self._label,
        )
        show = hooks.ShowProgress(position, progress, config.batch_size)
        loop = Loop(self._graph, self._batches, position, should_stop)
        scaffold = tf.train.Scaffold(saver=self._graph.saver)
        with tf.train.MonitoredSession(
            self._member.creating(scaffold, place),
            hooks=[position, *self._proof, show, self._save, evaluate, *more_hooks],
        ) as monitored:
            metrics = None
            while metrics is None and not position.stopping:
                loop.run(monitored)
                metrics = self._finish_in(monitored, evaluate, history)
        writer.close()
        if position.stopping:
            return Result(self._save.newest, history.moments, {}, position.seconds, finished=False)
        result = {
            "checkpoint": os.path.basename(self._save.newest),
            "epochs": config.epochs,
            "metrics": metrics,
        }
        directory.write_json(os.path.join(place, directory.RESULT), result)
        return Result(self._save.newest, history.moments, metrics, position.seconds)

    def help(self, should_stop):
        """Takes steps as a worker that is not the chief, until the chief ends the training."""
        position = self._position
        show = hooks.ShowProgress(
            position, Progress(position.total, 0, self._label), self._config.batch_size
        )
        loop = Loop(self._graph, self._batches, position, should_stop)
        with tf.train.MonitoredSession(
            self._member.creating(None, None),
            hooks=[position, show, job_cluster.Follow(self._member.workers)],
        ) as monitored:
            loop.run(monitored)
            monitored.run_step_fn(lambda step_context: self._member.workers.leave(position.session))
        return Result(seconds=position.seconds, finished=not position.stopping)

    def _finish_in(self, monitored, evaluate, history):
        """What `_finish` returns; None if there is more to do first, or the run is to stop."""
        at_end = self._position.session

        def finish(step_context):
            del step_context  # which has the first session for ever
            session = self._position.session
            # Another one has not come to the end: it began with the newest checkpoint.
            return self._finish(session, evaluate, history) if session is at_end else None

        return None if self._position.stopping else monitored.run_step_fn(finish)

    def _finish(self, session, evaluate, history):
        position = self._position
        self._member.wait(session)
        position.look(session)
        if not position.step:
            raise ValueError("The pipeline of --data has no train examples: it ended at once.")
        if not history.is_at(position.step):
            evaluate.ask(session, position.mean_loss())
            evaluate.stop_in_vain(session)
        best = history.best(self._config.watch) if self._config.early_stopping else None
        moment = best or history.moments[-1]
        if moment.step != position.step:
            self._graph.saver.restore(
                session, os.path.join(self._config.checkpoint_dir, hooks.BEST)
            )
            position.step = moment.step
            logging.info("%sThe weights are those of epoch %d.", self._label, moment.epoch)
        self._save.save(session, whole=True)
        projector.write(self._config.checkpoint_dir, self._graph.tables, self._data)
        found = evaluate.answers(session, self._asked.get("test", {}))
        for name, its in found.items():
            text = "".join(f"  {key} {value:.4f}" for key, value in its.items())
            logging.info("%s%s%s", self._label, name, text)
        return dict(moment.metrics, **found)
