"""Filtered link prediction: where does the true entity rank among the candidates?

Every triple asks twice, for its head and for its tail. Candidates that make another known triple
are left out ("filtered"), and a candidate that ties with the true one counts as half above it, so
that a model that gives everything the same score is no better than chance.
"""

import collections

import numpy as np

Metrics = collections.namedtuple(
    "Metrics", ["mrr", "hits_at_1", "hits_at_3", "hits_at_10", "num_ranks"]
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


def ranks(scores, targets, excluded):
    """Ranks one target per row of scores.

    Args:
      scores: floats [b, c].
      targets: for each row, the column of the true entity.
      excluded: for each row, a list of columns that do not count.

    Returns:
      Floats [b]: 1 + candidates with a higher score + half of the other candidates with the same
      score.
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
    scores[rows, targets] = true[:, 0]
    return 1.0 + np.sum(scores > true, axis=1) + (np.sum(scores == true, axis=1) - 1) / 2.0


def summarize(values):
    """Turns ranks into `Metrics`."""
    values = np.asarray(values, np.float64)
    if not len(values):
        raise ValueError("There is no triple to evaluate.")
    hits = [float(np.mean(values <= place)) for place in (1, 3, 10)]
    return Metrics(float(np.mean(1.0 / values)), *hits, len(values))


def evaluate(triples, queries, table, score, known, candidates=None):
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

    Returns:
      `Metrics` over both sides of all triples.
    """
    if candidates is None:
        candidates = np.arange(len(table))
    candidates = np.sort(np.asarray(candidates, np.int64))
    column = np.full([len(table)], -1, np.int64)
    column[candidates] = np.arange(len(candidates))
    # Float64, because there nearly equal scores stay different: a tie is then a tie of the rows.
    rows = np.asarray(table, np.float64)[candidates]
    found = []
    for side, (query, target, other, answers) in enumerate(
        zip(
            queries(triples),
            (triples[:, 2], triples[:, 0]),
            (triples[:, 0], triples[:, 2]),
            (known.tails, known.heads),
        )
    ):
        columns = column[target]
        if np.any(columns < 0):
            raise ValueError(
                f"The {('tail', 'head')[side]} {target[np.argmin(columns)]} of a triple is not "
                "among the candidates."
            )
        excluded = []
        for one, relation in zip(other.tolist(), triples[:, 1].tolist()):
            columns_of_answers = column[list(answers(one, relation))]
            excluded.append(columns_of_answers[columns_of_answers >= 0])
        found.append(ranks(score(np.asarray(query, np.float64), rows), columns, excluded))
    return summarize(np.concatenate(found))
