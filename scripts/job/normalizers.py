"""What a model needs to know of frozen rows for each question, computed once for each question.

A softmax over all rows of a table that grows is a sum over frozen rows and a sum over new ones. For
a question that is itself made of frozen rows, the first sum never changes. So it is computed before
the question is asked for the first time, is kept, and is fed from then on: an old example costs
what the new rows cost, however many old ones there are, and nothing is left out.
"""

import os
from typing import Any, NamedTuple, Tuple

import numpy as np
import tensorflow.compat.v1 as tf
from absl import logging

from job import arrays as job_arrays

NORMALIZERS = "normalizers.npz"
_AT_ONCE = 1024  # questions
_PROBES = 64


class _Asked(NamedTuple):
    columns: Tuple[str, ...]
    known: Any  # what is fed: [batch], NaN where it is to be computed
    frozen: Any  # of those that are computed


class Normalizers:
    """What `features["normalizers"]` is.

    Args:
      columns: dict of a column's name to its vocabulary, or None for numbers.
      frozen: dict of a vocabulary's name to bools: whether the rows of the base's keys stand still.
      directory: where they are kept; None: nowhere.
      base: what tells the base from any other.
    """

    def __init__(self, columns=None, frozen=None, directory=None, base=None):
        self._columns, self._frozen = columns or {}, frozen or {}
        self._path = directory and os.path.join(directory, NORMALIZERS)
        self._base = str(base)
        self._asked, self._kept = [], []

    def __call__(self, columns, query, table, score):
        """Returns `log(sum_r exp(score(query, r)))` over all rows r of a table that grew: [batch].

        Args:
          columns: names of the columns that `query` is made of, and of nothing else but rows of
            the base. The sums of questions in which all their keys are old are kept.
          query: tensor [batch, d].
          table: a `PartialEmbedding`.
          score: function of queries [b, d] and rows [r, d] that returns scores [b, r].

        Raises:
          ValueError: if a column is not one of keys.
        """
        for name in columns:
            if not self._columns.get(name, "rows"):
                raise ValueError(f"{name} holds numbers; a question is made of columns of keys.")
        missing = tf.fill(tf.shape(query)[:1], tf.constant(np.nan, query.dtype))
        known = tf.placeholder_with_default(missing, [None], "normalizers")
        is_old = tf.logical_not(tf.is_nan(known))
        places = [tf.cast(tf.where(some)[:, 0], tf.int32) for some in (is_old, ~is_old)]
        old, other = (tf.gather(query, place) for place in places)
        frozen = table.frozen_log_sum_exp(other, score)
        sums = [
            # Nothing of an old question trains.
            table.log_sum_exp(tf.stop_gradient(old), tf.gather(known, places[0]), score),
            table.log_sum_exp(other, frozen, score),
        ]
        self._asked.append(_Asked(tuple(columns), known, frozen))
        self._kept.append((np.zeros([0], np.int64), np.zeros([0], query.dtype.as_numpy_dtype)))
        return tf.dynamic_stitch(places, sums)

    @property
    def feeds(self):
        """The placeholders, in the order of what `of` returns."""
        return [asked.known for asked in self._asked]

    def of(self, examples):
        """What is fed for some examples: a list of arrays [n], NaN where it is not known."""
        found = []
        for asked, (keys, values) in zip(self._asked, self._kept):
            key, is_old = self._key(asked, examples)
            place = np.minimum(np.searchsorted(keys, key), max(0, len(keys) - 1))
            fed = np.full([len(key)], np.nan, values.dtype)
            if len(keys):
                hit = is_old & (keys[place] == key)
                fed[hit] = values[place[hit]]
            found.append(fed)
        return found

    def open(self, session, feature_feeds):
        """Takes what an earlier run kept, if it is what this one would compute.

        Args:
          session: in which the tables are loaded.
          feature_feeds: dict of columns to their placeholders.
        """
        if not (self._asked and self._path and os.path.exists(self._path)):
            return
        try:
            arrays = job_arrays.read(self._path)
        except ValueError:
            logging.warning("%s cannot be read, and is computed again.", self._path)
            return
        if str(arrays.get("base")) != self._what():
            return
        numbers = range(len(self._asked))
        kept = [(arrays[f"keys/{number}"], arrays[f"values/{number}"]) for number in numbers]
        for asked, (keys, values) in zip(self._asked, kept):
            some = keys[:: max(1, len(keys) // _PROBES)]
            now = self._compute(session, feature_feeds, asked, self._examples(asked, some))
            # They are logarithms: what differs by .01 is a sum of 1% more.
            if not np.allclose(now, values[np.isin(keys, some)], rtol=1e-5, atol=1e-4):
                logging.warning("%s is of another model, and is computed again.", self._path)
                return
        self._kept = kept

    def fill(self, session, feature_feeds, examples):
        """Computes what is not known yet of some examples, and keeps it in memory and on disk."""
        missing = []
        for asked, (keys, _) in zip(self._asked, self._kept):
            key, is_old = self._key(asked, examples)
            missing.append(np.setdiff1d(key[is_old], keys))
        total = sum(map(len, missing))
        if not total:
            return
        logging.info(
            "%d questions are of frozen rows alone: sums over frozen rows are taken.", total
        )
        for number, (asked, wanted) in enumerate(zip(self._asked, missing)):
            values = self._compute(session, feature_feeds, asked, self._examples(asked, wanted))
            keys, known = self._kept[number]
            keys, known = np.concatenate([keys, wanted]), np.concatenate([known, values])
            order = np.argsort(keys)
            self._kept[number] = keys[order], known[order]
        if self._path:
            arrays = {"base": np.array(self._what())}
            for number, (keys, values) in enumerate(self._kept):
                arrays[f"keys/{number}"], arrays[f"values/{number}"] = keys, values
            job_arrays.write(self._path, arrays)

    def _what(self):
        """What tells these sums from those of another base, or of other questions."""
        return " ".join([self._base, *(",".join(asked.columns) for asked in self._asked)])

    def _compute(self, session, feature_feeds, asked, examples):
        others = [other.known for other in self._asked if other is not asked]
        found = [np.zeros([0], asked.known.dtype.as_numpy_dtype)]
        for start in range(0, len(next(iter(examples.values()))), _AT_ONCE):
            some = {name: values[start : start + _AT_ONCE] for name, values in examples.items()}
            zeros = np.zeros_like(next(iter(some.values())))
            feeds = {feed: some.get(name, zeros) for name, feed in feature_feeds.items()}
            feeds.update({other: zeros for other in others})  # which need not be computed then
            found.append(session.run(asked.frozen, feeds))
        return np.concatenate(found)

    def _key(self, asked, examples):
        """One number for each question, and whether all its rows stand still."""
        shape = self._shape(asked)
        columns = np.stack([examples[name] for name in asked.columns])
        is_old = np.all(columns < np.array(shape)[:, None], axis=0)
        columns = columns * is_old
        for name, rows in zip(asked.columns, columns):
            is_old &= self._frozen[self._columns[name]][rows]
        return np.ravel_multi_index(columns, shape), is_old

    def _examples(self, asked, keys):
        """The columns of questions, by their numbers."""
        return dict(zip(asked.columns, np.unravel_index(keys, self._shape(asked))))

    def _shape(self, asked):
        return [len(self._frozen[self._columns[name]]) for name in asked.columns]
