"""Filtered link prediction: where does the true entity rank among the candidates?

Every triple asks twice, for its head and for its tail. Candidates that make another known triple
are left out ("filtered"), and a candidate that ties with the true one counts as half above it, so
that a model that gives everything the same score is no better than chance.
"""

import collections

import numpy as np
import tensorflow.compat.v1 as tf

COLUMNS = ("head", "relation", "tail")
Metrics = collections.namedtuple(
    "Metrics", ["mrr", "hits_at_1", "hits_at_3", "hits_at_10", "outranked", "num_ranks"]
)


class KnownTriples:
    """Which entities are known to answer a question.

    Args:
      *parts: arrays [n, 3] of triples; usually train, valid and test.
    """

    def __init__(self, *parts):
        self._tails = collections.defaultdict(set)
        self._heads = collections.defaultdict(set)
        for head, relation, tail in np.concatenate(parts).tolist():
            self._tails[head, relation].add(tail)
            self._heads[tail, relation].add(head)

    def tails(self, head, relation):
        """The set of known tails."""
        return self._tails[head, relation]

    def heads(self, tail, relation):
        """The set of known heads."""
        return self._heads[tail, relation]


def compare(scores, targets, excluded):
    """Compares the true entity of each question with all other candidates.

    Args:
      scores: floats [b, c].
      targets: for each row, the column of the true entity.
      excluded: for each row, a list of columns that do not count.

    Returns:
      Bools [b, c]: which candidates have a higher score than the true entity; and which others the
      same.
    """
    scores = np.array(scores)
    if not np.all(np.isfinite(scores)):
        raise FloatingPointError(
            "Some scores are not finite numbers: the training diverged; a smaller learning rate "
            "may help."
        )
    rows = np.arange(len(scores))
    true = scores[rows, targets][:, None]
    for row, columns in enumerate(excluded):
        scores[row, columns] = -np.inf
    scores[rows, targets] = -np.inf
    return scores > true, scores == true


def ranks(higher, equal):
    """`1 + candidates above + half of the others that tie`, by what `compare` says: floats [b]."""
    return 1.0 + np.sum(higher, axis=1) + np.sum(equal, axis=1) / 2.0


def summarize(values, outranked=0.0):
    """Turns ranks, and the part of them in which a new row is above the answer, into `Metrics`."""
    values = np.asarray(values, np.float64)
    if not len(values):
        raise ValueError("There is no triple to evaluate.")
    hits = [float(np.mean(values <= place)) for place in (1, 3, 10)]
    return Metrics(float(np.mean(1.0 / values)), *hits, float(np.mean(outranked)), len(values))


class Ranking:
    """What a model that ranks gives as its metrics: a function of a session and a question.

    Args:
      features: dict of head, relation, tail: the placeholders.
      queries: the model's tail queries and head queries, [b, width] each.
      table: the rows of all entities, [num_entities, width], as tensor or variable.
      score: a function of queries [b, width] and rows [c, width] that returns scores [b, c], in
        numpy.

    Attributes:
      names: of the metrics.
    """

    names = Metrics._fields[:-1]

    def __init__(self, features, queries, table, score):
        self._columns = [features[name] for name in COLUMNS]
        self._queries, self._score = queries, score
        self._table = tf.convert_to_tensor(table)  # A variable in parts cannot be fetched.
        self._known = None

    def __call__(self, session, examples, sizes, data):
        """Ranks the answers of triples among the first `sizes["entities"]` entities.

        Triples of any split of `data` are known.
        """
        if self._known is None:
            self._known = KnownTriples(*(_triples(split) for split in data.splits.values()))
        metrics = evaluate(
            _triples(examples),
            lambda asked: session.run(self._queries, dict(zip(self._columns, asked.T))),
            session.run(self._table),
            self._score,
            self._known,
            np.arange(sizes["entities"]),
            data.num_old["entities"] or None,
        )
        return {name: getattr(metrics, name) for name in self.names}


def _triples(examples):
    return np.stack([examples[name] for name in COLUMNS], axis=1)


def evaluate(triples, queries, table, score, known, candidates=None, num_old=None, block=1 << 22):
    """Evaluates a model on triples.

    Args:
      triples: an array [n, 3].
      queries: a function of the triples that returns their tail queries and their head queries,
        each [n, width].
      table: the rows of all entities, [num_entities, width].
      score: a function of queries [b, width] and rows [c, width] that returns scores [b, c].
      known: `KnownTriples`, which are left out of the candidates.
      candidates: ids of the entities that can be an answer; all by default. Nothing of the other
        rows is looked at, so the same candidates with the same rows have the same scores to the
        last bit, however long the table is.
      num_old: entities from this one on are new, see `outranked`; None: none is.
      block: how many scores are held at a time.

    Returns:
      `Metrics` over both sides of all triples. `outranked` is in which part of the questions some
      new row is above the true entity: interference, if the question is an old one.
    """
    if candidates is None:
        candidates = np.arange(len(table))
    candidates = np.sort(np.asarray(candidates, np.int64))
    column = np.full([len(table)], -1, np.int64)
    column[candidates] = np.arange(len(candidates))
    # Float64, because there nearly equal scores stay different: a tie is then a tie of the rows.
    rows = np.asarray(table, np.float64)[candidates]
    first_new = len(candidates) if num_old is None else np.searchsorted(candidates, num_old)
    at_a_time = max(1, block // len(candidates))
    found = []
    for start in range(0, len(triples), at_a_time):
        some = triples[start : start + at_a_time]
        for side, query in enumerate(queries(some)):
            other, target = (some[:, 0], some[:, 2]) if side == 0 else (some[:, 2], some[:, 0])
            answers = known.tails if side == 0 else known.heads
            columns = column[target]
            if np.any(columns < 0):
                raise ValueError(
                    f"The {('tail', 'head')[side]} {target[np.argmin(columns)]} of a triple is not "
                    "among the candidates."
                )
            excluded = []
            for one, relation in zip(other.tolist(), some[:, 1].tolist()):
                columns_of_answers = column[list(answers(one, relation))]
                excluded.append(columns_of_answers[columns_of_answers >= 0])
            scores = score(np.asarray(query, np.float64), rows)
            higher, equal = compare(scores, columns, excluded)
            by_new = np.any(higher[:, first_new:], axis=1)
            found.append((start, side, ranks(higher, equal), by_new))
    found.sort(key=lambda part: (part[1], part[0]))  # so that a mean does not depend on the block
    parts = [np.concatenate(part) for part in zip(*(part[2:] for part in found))]
    return summarize(*parts or [[]])
