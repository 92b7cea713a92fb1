"""ComplEx, DistMult and TransE, written as a TF1 script writes them.

Nothing here knows that a table can gain rows. Whoever builds a model under `with
pe.growing(checkpoint):` gets one whose old rows are frozen; whoever builds it elsewhere gets the
plain one.

Every model answers two questions, `(head, relation, ?)` and `(?, relation, tail)`. The second is
asked as `(tail, inverse of the relation, ?)`, and the inverse has a row of its own in a third
table, so both are answered in the same way: a query vector is made from the two things that are
known, and is compared with every entity's row.
"""

import numpy as np
import tensorflow.compat.v1 as tf

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

    def scores(self, query):
        """The scores of every entity for the queries [b, width]: [b, num_entities]."""
        return tf.matmul(query, self.entity, transpose_b=True)

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
    """`score(h, r, t) = -sum_k |h_k + r_k - t_k|` (Bordes et al. 2013)."""

    def query(self, entity, relation):
        return entity + relation

    def scores(self, query):
        difference = tf.expand_dims(query, 1) - tf.expand_dims(self.entity, 0)
        return -tf.reduce_sum(tf.abs(difference), axis=2)

    @staticmethod
    def numpy_scores(query, rows):
        return np.stack([-np.sum(np.abs(one - rows), axis=1) for one in query])


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

        # One against all: which of all entities is the tail, and which is the head?
        loss, step = 0.0, tf.cast(tf.train.get_or_create_global_step(), tf.int32)
        for side, target in enumerate([features["tail"], features["head"]]):
            query = queries[side]
            if flags.dropout:
                query = _dropout(query, flags.dropout, tf.stack([flags.seed, 2 * step + side]))
            loss += tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(
                    labels=target, logits=model.scores(query)
                )
            )
        if flags.n3:
            rows = head, relation, inverse, tail
            cubes = sum(tf.reduce_sum(model.cubes(some), axis=1) for some in rows)
            loss += flags.n3 * tf.reduce_mean(cubes)
        return loss, ranking.Ranking(features, queries, model.entity, model.numpy_scores)

    build.tables = {"entity": "entities", "relation": "relations", "inverse": "relations"}
    return build


def _dropout(values, rate, seed):
    """Dropout by its seed alone, so that a stopped run continues with the same masks."""
    kept = tf.random.stateless_uniform(tf.shape(values), seed=seed) >= rate
    return tf.where(kept, values / (1.0 - rate), tf.zeros_like(values))


complex_model, distmult, transe = map(_builder, (ComplEx, DistMult, TransE))
