"""What is asked of a model again and again: how well does it answer these examples?"""

from typing import NamedTuple, Optional, Union

import numpy as np
import tensorflow.compat.v1 as tf

from job import data as job_data


class Question(NamedTuple):
    """Examples, or the name of a pipeline's split, and the sizes of the vocabularies that count.

    `sizes` None: all keys. With the sizes of the base, a model that ranks has the old keys as
    candidates, and scores as it did before it grew. `num_old` None: those keys are old that the
    base of the run has.
    """

    examples: Union[dict, str]
    sizes: Optional[dict] = None
    num_old: Optional[dict] = None


def of_split(data, split, grows, ranks):
    """The questions about a split: all of it and, of a model that grows, old and new examples.

    Of one that ranks old examples twice: among the old keys, and with the new ones as candidates.

    Returns:
      A dict of names to `Question`s, without those that have no examples.
    """
    examples = data.splits.get(split)
    if not examples:
        return {}
    found = {split: Question(examples)}
    if grows:
        is_new = data.is_new(examples)
        found[split + "_old"] = Question(job_data.take(examples, ~is_new), data.sizes(old=True))
        if ranks:
            found[split + "_old_all"] = Question(found[split + "_old"].examples)
        found[split + "_new"] = Question(job_data.take(examples, is_new))
    return {name: asked for name, asked in found.items() if job_data.size(asked.examples)}


def answer(question, graph, batches, session, data):
    """Asks a `Question`: a dict of the names of metrics to floats."""
    if callable(graph.metrics):
        sizes = data.sizes() if question.sizes is None else question.sizes
        data = data._replace(num_old=question.num_old or data.num_old)
        found = graph.metrics(session, question.examples, sizes, data)
        return {name: float(value) for name, value in found.items()}
    session.run(graph.reset_metrics)
    updates = [update for _, update in graph.metrics.values()]
    for values in batches.once(session, question.examples):
        try:
            session.run(updates, {graph.training: False, **dict(zip(batches.feeds, values))})
        except tf.errors.OutOfRangeError:
            break
    values = session.run({name: value for name, (value, _) in graph.metrics.items()})
    return {name: float(value) for name, value in values.items()}


def check_watch(watch, names):
    """Raises a `ValueError` unless `min:name` or `max:name` names one of the metrics."""
    if watch.partition(":")[2] not in names:
        raise ValueError(
            f"--watch={watch} names no metric of the valid examples; there are "
            f"{', '.join(sorted(names))}."
        )


def is_better(watch, one, other):
    """Whether one dict of metrics is better than another (None: than nothing) by `min:name`."""
    direction, _, name = watch.partition(":")
    check_watch(watch, one)
    if not np.isfinite(one[name]):
        return False
    if other is None:
        return True
    return one[name] < other[name] if direction == "min" else one[name] > other[name]
