"""The evaluations of a run, in a file that an interrupted run goes on with."""

import json
import os
from typing import NamedTuple, Optional

from job import data as job_data
from job.questions import is_better


class Moment(NamedTuple):
    """One evaluation: after `step` steps, with the mean loss of the epoch (None if nobody knows).

    `metrics` is a dict of the names of questions to dicts of the names of metrics to floats.
    """

    step: int
    epoch: int
    loss: Optional[float]
    metrics: dict


class History:
    """The list `moments` of a run, kept in a file, a line each; the best is of step `first` on.

    Args:
      path: the file.
      step: evaluations after it are forgotten: an interrupted run makes those steps again.
    """

    def __init__(self, path, step):
        self._path, self.first = path, 0
        self.moments = []
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                lines = [line for line in file if line.endswith("\n")]
            moments = [Moment(**json.loads(line)) for line in lines]
            self.moments = [moment for moment in moments if moment.step <= step]

    def add(self, moment):
        """Adds a `Moment`; one of the same step is replaced."""
        self.moments = [known for known in self.moments if known.step < moment.step] + [moment]
        lines = (json.dumps(known._asdict(), sort_keys=True) for known in self.moments)
        job_data.write_lines(self._path, lines)

    def is_at(self, step):
        """Whether the newest evaluation was after that step."""
        return bool(self.moments) and self.moments[-1].step == step

    def best(self, watch):
        """The moment whose valid examples were answered best; None if none was."""
        found = None
        for moment in (moment for moment in self.moments if moment.step >= self.first):
            if "valid" in moment.metrics and is_better(
                watch, moment.metrics["valid"], found and found.metrics["valid"]
            ):
                found = moment
        return found

    def since_best(self, watch):
        """How many evaluations there were since the best."""
        best = self.best(watch)
        return sum(1 for moment in self.moments if best and moment.step > best.step)
