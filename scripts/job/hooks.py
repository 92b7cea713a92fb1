"""Session hooks of a run: each sees the last step of a stretch, in the order given here."""

import os
import time

import numpy as np
import tensorflow.compat.v1 as tf
from absl import logging

from job.history import Moment
from job.questions import answer

BEST = "best.ckpt"
_STEPS_OF_AN_EPOCH = 1000  # of a pipeline, whose epochs nobody knows


class Position(tf.train.SessionRunHook):
    """Where a run is. It comes first, and the other hooks and the loop read it.

    Args:
      graph: the `Graph`.
      per_epoch: batches of an epoch, None if nobody knows.
      epochs: how many there are to be.
      worker, workers: of how many that take steps this is which.

    Attributes:
      step, total: done by all, and to do (None if nobody knows).
      next: the number of the batch that comes next here; no other worker takes it.
      epoch, epochs: the same in epochs.
      loss: of the last step.
      session: the plain session; another one, if that is lost with a parameter server.
      seconds: what the steps took, without evaluations and saves.
      stopping: whether somebody asked the run to stop.
      in_vain: whether early stopping ends it.
    """

    def __init__(self, graph, per_epoch, epochs, worker=0, workers=1):
        self._graph = graph
        self._worker, self._workers = worker, workers
        self._per_epoch = per_epoch or _STEPS_OF_AN_EPOCH
        self.total = per_epoch * epochs if per_epoch else None
        self.epochs = epochs if per_epoch else None
        self.step, self.loss, self.seconds = 0, None, 0.0
        self.session = None
        self.stopping = self.in_vain = False
        self._losses, self._began = [], 0.0

    def after_create_session(self, session, coord):
        del coord
        self.session = session
        self.look(session)
        self.next = self.step + self._worker
        self._losses = []
        self.begin_stretch()

    def look(self, session):
        """Reads how many steps are done."""
        self.step = int(session.run(self._graph.global_step))

    def begin_stretch(self):
        """Called when all hooks have seen what was done so far."""
        self._seen = self.step

    def before_run(self, run_context):
        self._began = time.time()
        return tf.train.SessionRunArgs([self._graph.loss, self._graph.counted])

    def after_run(self, run_context, run_values):
        self.seconds += time.time() - self._began
        self.advance(*run_values.results)

    def advance(self, loss, before):
        """Counts a step.

        Args:
          loss: of the batch.
          before: how many steps were done before it; of all steps, only this one has this number.

        Raises:
          FloatingPointError: if the loss is no number.
        """
        self.step = int(before) + 1
        # As far ahead as there are workers: each number is taken, and by one worker only.
        self.next = int(before) + self._workers
        self.loss = loss
        self._losses.append(loss)
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"The loss is {loss} at step {self.step}: the training diverged; a smaller "
                "--learning_rate may help."
            )

    @property
    def epoch(self):
        return self.step // self._per_epoch

    def ends_epoch(self, every=1, steps=0):
        """Whether an epoch, one of so many, ended in this stretch, or will in some more steps."""
        length = self._per_epoch * every
        return (self.step + steps) // length != self._seen // length

    def is_epoch_end(self, every):
        """Whether an epoch, one of so many, ends with the last step."""
        return self.step % (self._per_epoch * every) == 0

    @property
    def at_end(self):
        """Whether all is done."""
        return self.total is not None and self.next >= self.total

    def mean_loss(self):
        """The mean of the losses since this was asked last; None if there were none."""
        losses, self._losses = self._losses, []
        return float(np.mean(losses)) if losses else None


class ShowProgress(tf.train.SessionRunHook):
    """Shows how far the run is."""

    def __init__(self, position, progress, batch_size):
        self._position, self._progress, self._batch_size = position, progress, batch_size

    def after_run(self, run_context, run_values):
        position, of = self._position, f"/{self._position.epochs}" if self._position.epochs else ""
        epoch = position.epoch + (not position.is_epoch_end(1))
        text = f"epoch {epoch}{of}  loss {position.loss:.4f}"
        self._progress.update(position.step, text, self._batch_size, "examples")

    def end(self, session):
        self._progress.clear()


class Save(tf.train.SessionRunHook):
    """Saves every so many epochs, and when the run is asked to stop; at the end, all of it.

    Attributes:
      newest: the checkpoint that was saved last, None if none was.
    """

    def __init__(self, position, graph, directory, every):
        self._position, self._graph, self._every = position, graph, every
        self._directory = directory
        self.newest = None

    def after_run(self, run_context, run_values):
        position = self._position
        if position.stopping or position.ends_epoch(self._every) and not position.at_end:
            self.save(run_context.session)

    def save(self, session, name=None, whole=False):
        """Saves, unless a weight is no number.

        Args:
          session: the plain session.
          name: of the checkpoint, without the step; None for one on the way, or with `whole` the
            finished one. Another name is not counted as the newest.
          whole: whether all of a run that grows is saved; otherwise what training can change.
        """
        if not session.run(self._graph.finite):
            raise FloatingPointError(
                f"A weight is not finite at step {self._position.step}: the training diverged; a "
                "smaller --learning_rate may help."
            )
        saver = self._graph.whole_saver if whole else self._graph.saver
        if name:
            prefix = os.path.join(self._directory, name)
            return saver.save(session, prefix, write_state=False, write_meta_graph=False)
        name = "model.ckpt" if saver is self._graph.whole_saver else "delta.ckpt"
        prefix = os.path.join(self._directory, name)
        self.newest = saver.save(session, prefix, self._position.step)
        return self.newest


class Evaluate(tf.train.SessionRunHook):
    """Asks questions every so many epochs, writes the answers down, and stops a run in vain.

    Args:
      position, save: the hooks `Position` and `Save`.
      graph, batches, data: of the run.
      questions: dict of names to `Question`s.
      config: the `Config`.
      history: the `History`.
      writer: a `tf.summary.FileWriter`.
      progress: a `Progress`.
      label: what each line begins with.
    """

    def __init__(
        self,
        position,
        save,
        graph,
        batches,
        data,
        questions,
        config,
        history,
        writer,
        progress,
        label,
    ):
        self._position, self._save, self._graph, self._batches = position, save, graph, batches
        self._data, self._questions, self._config, self._history = data, questions, config, history
        self._writer, self._progress, self._label = writer, progress, label

    def after_create_session(self, session, coord):
        del coord
        if self._position.step:
            logging.info(
                "Continuing in %s after step %d%s.",
                self._config.checkpoint_dir,
                self._position.step,
                f" of {self._position.total}" if self._position.total else "",
            )
        # Steps after the checkpoint that an earlier run wrote down, and that are now done again,
        # disappear.
        self._writer.add_session_log(
            tf.SessionLog(status=tf.SessionLog.START), global_step=self._position.step
        )
        if self._position.step:
            self._catch_up(session)
        elif self._config.eval_at_start:
            self.ask(session, None)

    def _catch_up(self, session):
        """Does what an earlier run did not come to after its newest checkpoint."""
        position, history, watch = self._position, self._history, self._config.watch
        due = position.is_epoch_end(self._config.eval_every) or position.at_end
        if due and not history.is_at(position.step):
            self.ask(session, None)
        if not self._config.early_stopping:
            return
        # With other flags, evaluations can be better whose weights were not kept.
        path, kept = os.path.join(self._config.checkpoint_dir, BEST), 0
        if tf.train.checkpoint_exists(path):
            kept = int(tf.train.load_checkpoint(path).get_tensor("global_step"))
        for history.first in (0, kept, position.step):
            best = history.best(watch)
            if best is None or best.step in (kept, position.step):
                break
        if history.is_at(position.step):
            self.stop_in_vain(session)

    def after_run(self, run_context, run_values):
        position = self._position
        if not position.ends_epoch():
            return
        loss = position.mean_loss()
        self._write({"loss": loss})
        norms = run_context.session.run(self._graph.norms)
        self._write({f"norm_of_new_rows/{name}": norm for name, norm in norms.items()})
        if position.ends_epoch(self._config.eval_every) or position.at_end:
            self.ask(run_context.session, loss)
            self.stop_in_vain(run_context.session)

    def answers(self, session, questions):
        """Returns a dict of the questions' names to their metrics."""
        return {
            name: answer(question, self._graph, self._batches, session, self._data)
            for name, question in questions.items()
        }

    def ask(self, session, loss):
        """Asks all questions, and says what the answers are."""
        position = self._position
        metrics = self.answers(session, self._questions)
        self._history.add(Moment(position.step, position.epoch, loss, metrics))
        self._write(
            {f"{name}/{of}": value for of, its in metrics.items() for name, value in its.items()}
        )
        self._writer.flush()
        self._progress.clear()
        of = f" of {position.epochs}" if position.epochs else ""
        said = "" if loss is None else f"  loss {loss:.4f}"
        for name, its in metrics.items():
            said += f"  {name}" + "".join(f" {key} {value:.4f}" for key, value in its.items())
        logging.info("%sepoch %d%s%s", self._label, position.epoch, of, said)

    def stop_in_vain(self, session):
        """With early stopping: keeps the weights if they are the best so far, or else may stop."""
        if not self._config.early_stopping:
            return
        since = self._history.since_best(self._config.watch)
        if not since:
            self._save.save(session, BEST)
        elif since >= self._config.early_stopping:
            logging.info("%sNo better for %d evaluations: stopped.", self._label, since)
            self._position.in_vain = True

    def _write(self, values):
        values = [tf.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._writer.add_summary(tf.Summary(value=values), self._position.step)
