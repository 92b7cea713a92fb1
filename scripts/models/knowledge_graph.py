"""ComplEx, DistMult and TransE, written as a TF1 script writes them.

Whoever builds a model under `with pe.growing(checkpoint):` gets one whose old rows are frozen;
whoever builds it elsewhere gets the plain one. Nothing here need know that a table can gain rows;
`cross_entropy` asks, since a sum over frozen rows can be known before.

Every model answers two questions, `(head, relation, ?)` and `(?, relation, tail)`. The second is
asked as `(tail, inverse of the relation, ?)`, and the inverse has a row of its own in a third
table, so both are answered in the same way: a query vector is made from the two things that are
known, and is compared with every entity's row.
"""

import numpy as np
import tensorflow.compat.v1 as tf

import partial_embed as pe
from models import (
    hyperparameters,  # noqa: F401 (defines the flags)
    ranking,
)


class DistMult:
    """`score(h, r, t) = sum_k h_k r_k t_k` (Yang et al. 2015)."""

    columns_per_dimension = 1
    stddev = 0.1

    def __init__(self, num_entities, num_relations, dimension):
        width = dimension * self.columns_per_dimension
        initializer = tf.random_normal_initializer(stddev=self.stddev)
        self.entity = tf.get_variable("entity", [num_entities, width], initializer=initializer)
        self.relation = tf.get_variable("relation", [num_relations, width], initializer=initializer)
        self.inverse = tf.get_variable("inverse", [num_relations, width], initializer=initializer)

    def query(self, entity, relation):
        """What to look for: [b, width], from rows of entities and of relations, [b, width] each."""
        return entity * relation

    def scores(self, query, rows=None):
        """The scores of entities' rows [c, width], or of every entity, for queries [b, width]."""
        return tf.matmul(query, self.entity if rows is None else rows, transpose_b=True)

    def pairs(self, query, rows):
        """The score of one row for each query, [b, width] both: [b]."""
        return tf.reduce_sum(query * rows, axis=1)

    def cubes(self, rows):
        """What the N3 penalty (Lacroix et al. 2018) sums: `|x|^3` of each dimension of the rows."""
        return tf.abs(rows) ** 3

    @staticmethod
    def numpy_scores(query, rows):
        """The scores of the rows [c, width] for the queries [b, width], in numpy: [b, c]."""
        return np.matmul(query, rows.T)


class ComplEx(DistMult):
    """`score(h, r, t) = Re(sum_k h_k r_k conj(t_k))` of complex numbers (Trouillon et al. 2016).

    A row holds the real parts first and then the imaginary ones.
    """

    columns_per_dimension = 2

    def query(self, entity, relation):
        entity_re, entity_im = tf.split(entity, 2, axis=1)
        relation_re, relation_im = tf.split(relation, 2, axis=1)
        return tf.concat(
            [
                entity_re * relation_re - entity_im * relation_im,
                entity_re * relation_im + entity_im * relation_re,
            ],
            axis=1,
        )

    def cubes(self, rows):
        real, imaginary = tf.split(rows, 2, axis=1)
        return (real**2 + imaginary**2) ** 1.5


class TransE(DistMult):
    """`score(h, r, t) = -|h + r - t|`, the Euclidean norm (Bordes et al. 2013).

    By `|q - t|^2 = |q|^2 - 2 q.t + |t|^2`: norms, and one product for all candidates, where their
    differences would be [b, c, width].
    """

    def query(self, entity, relation):
        return entity + relation

    def scores(self, query, rows=None):
        rows = self.entity if rows is None else rows
        norms = tf.expand_dims(_squares(query), 1) + _squares(rows)
        return _less_root(norms - 2 * tf.matmul(query, rows, transpose_b=True))

    def pairs(self, query, rows):
        return _less_root(_squares(query - rows))

    @staticmethod
    def numpy_scores(query, rows):
        norms = np.sum(query**2, axis=1)[:, None] + np.sum(rows**2, axis=1)
        return -np.sqrt(np.maximum(norms - 2 * np.matmul(query, rows.T), 0) + _LEAST)


_LEAST = 1e-6  # of a squared distance: at 0 the root has no derivative


def _squares(rows):
    return tf.reduce_sum(tf.square(rows), axis=1)


def _less_root(squares):
    return -tf.sqrt(tf.maximum(squares, 0.0) + _LEAST)


def _builder(model_class):
    def build(features, sizes, flags):
        """Builds the model, as `--model` wants it: see docs/training.md."""
        if flags.n3 and model_class is TransE:
            raise ValueError(
                "--n3 is a penalty for complex and distmult; --model=transe has no use for it."
            )
        model = model_class(sizes["entities"], sizes["relations"], flags.dimension)
        head = tf.nn.embedding_lookup(model.entity, features["head"])
        relation = tf.nn.embedding_lookup(model.relation, features["relation"])
        inverse = tf.nn.embedding_lookup(model.inverse, features["relation"])
        tail = tf.nn.embedding_lookup(model.entity, features["tail"])
        queries = [model.query(head, relation), model.query(tail, inverse)]

        # Which of all entities, or of those drawn, is the tail, and which is the head?
        loss, step = 0.0, tf.cast(tf.train.get_or_create_global_step(), tf.int32)
        for side, (target, rows) in enumerate([(features["tail"], tail), (features["head"], head)]):
            query, seed = queries[side], tf.stack([flags.seed, 2 * step + side])
            if flags.dropout:
                query = _dropout(query, flags.dropout, seed)
            if flags.negatives:
                drawn = draw(flags.negatives, sizes["entities"], seed)
                loss += tf.nn.sparse_softmax_cross_entropy_with_logits(
                    labels=tf.zeros_like(target),
                    logits=logits_of_drawn(model, query, target, rows, drawn),
                )
            else:
                columns = ("tail" if side else "head"), "relation"
                known = None if flags.dropout else features["normalizers"]
                loss += cross_entropy(model, query, target, rows, columns, known)
        if flags.n3:
            rows = head, relation, inverse, tail
            loss += flags.n3 * sum(tf.reduce_sum(model.cubes(some), axis=1) for some in rows)
        loss = tf.reduce_mean(features["example_weight"] * loss)
        return loss, ranking.Ranking(features, queries, model.entity, model.numpy_scores)

    build.tables = {"entity": "entities", "relation": "relations", "inverse": "relations"}
    build.replay = 1.0
    return build


def cross_entropy(model, query, target, rows, columns, normalizers):
    """Of the softmax over all entities: [b].

    Args:
      model: one of those above.
      query: [b, width], made of the `columns`.
      target: the right answers, [b], and `rows` their rows, [b, width].
      columns: names of features.
      normalizers: what knows the sums over frozen rows for old questions, see
        `job.normalizers`; None if the same question does not always have the same query.
    """
    if not isinstance(model.entity, pe.PartialEmbedding):
        logits = model.scores(query)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=target, logits=logits)

    if normalizers:
        whole = normalizers(columns, query, model.entity, model.scores)
    else:
        whole = model.entity.log_sum_exp(query, None, model.scores)
    return whole - model.pairs(query, rows)


def draw(number, size, seed):
    """Numbers below `size`, by the seed alone: int32 [number]."""
    uniform = tf.random.stateless_uniform([number], seed=seed, dtype=tf.float64)
    return tf.cast(uniform * size, tf.int32)


def logits_of_drawn(model, query, target, rows, drawn):
    """The scores of the right answer, whose row is given, and of those drawn: [b, 1 + drawn].

    Where the right answer is among those drawn, it does not count there.
    """
    right = tf.expand_dims(model.pairs(query, rows), 1)
    wrong = model.scores(query, tf.nn.embedding_lookup(model.entity, drawn))
    same = tf.equal(tf.expand_dims(target, 1), tf.expand_dims(drawn, 0))
    return tf.concat([right, tf.where(same, tf.fill(tf.shape(wrong), -1e9), wrong)], axis=1)


def _dropout(values, rate, seed):
    """Dropout by its seed alone, so that a stopped run continues with the same masks."""
    kept = tf.random.stateless_uniform(tf.shape(values), seed=seed) >= rate
    return tf.where(kept, values / (1.0 - rate), tf.zeros_like(values))


complex_model, distmult, transe = map(_builder, (ComplEx, DistMult, TransE))
