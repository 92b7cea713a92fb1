"""Proof that frozen rows did not change: a hash a row, before and after.

In a plain session loop by `record_frozen_rows(session)` and `verify(session)`, in a
MonitoredSession by `FrozenRowsHook`.
"""

import numpy as np
import tensorflow.compat.v1 as tf
from absl import logging

from partial_embed._tensorflow import PartitionedVariable
from partial_embed.files.hashes import (
    can_hash,
    digest_of,
    digest_text,
    fingerprint,
    hash_rows,
    row_hashes,
)
from partial_embed.files.runs import describe_runs, to_runs
from partial_embed.table.embedding import (
    divides_rows,
    embeddings_in,
    frozen_variables_in,
    parts_of,
    whole_value,
)
from partial_embed.table.report import listed
from partial_embed.training.graph import expect_open, find_writers
from partial_embed.training.writers import moving_state, refuse_writers


class FrozenRows:
    """What is frozen in a graph: `record` it, train, `verify`.

    That is the frozen rows of tables, and variables that `growing` froze whole.
    Costs 12 bytes a row (16 in double precision), and one pass over the rows at each end.

    Args:
        embeddings: list of `PartialEmbedding`s; default: all in the default
            graph, and the frozen variables beside them.

    Example:
        >>> table = pe.get_embedding("embedding", [7, 4], checkpoint="base.ckpt")
        >>> session = tf.Session()
        >>> session.run(tf.global_variables_initializer())
        >>> frozen = pe.FrozenRows().record(session)
        >>> session.run(table.frozen.assign_add(tf.ones([5, 4])).op)
        >>> frozen.verify(session)
        Traceback (most recent call last):
        RuntimeError: 5 of 5 frozen rows of embedding changed: rows 0-4. ...
    """

    def __init__(self, embeddings=None):
        expect_open("a FrozenRowsHook, which such a session takes")
        everything = embeddings is None
        embeddings = embeddings_in() if everything else list(embeddings)
        # name -> (its variables in order of rows, which rows of it they are)
        self._parts = {e.table_name: (e.frozen_parts, e.plan.frozen_rows()) for e in embeddings}
        hashed = {e.table_name: e.frozen_parts for e in embeddings}
        for variable, _, _ in frozen_variables_in() if everything else []:
            count = (variable.get_shape().as_list() or [1])[0]
            parts = parts_of(variable)
            self._parts[frozen_name(variable)] = (parts, range(count))
            hashed[frozen_name(variable)] = [variable] if divides_rows(variable) else parts
        axes = {e.table_name: e.plan.axis for e in embeddings}
        self._hashes, self._digests = {}, {}
        for name, parts in hashed.items():
            if parts:
                self._add_ops(name, [_value_of(part) for part in parts], axes.get(name, 0))
        self._recorded = None
        if not self._parts:
            logging.warning("Nothing is frozen in this graph, so nothing is proved about it.")

    def _add_ops(self, name, values, axis):
        """Adds the ops that hash the rows of these tensors, each where it is; of texts the rows."""
        with tf.name_scope(None, "frozen_rows"):
            if can_hash(values[0].dtype):
                self._hashes[name] = [hash_rows(value, axis) for value in values]
                self._digests[name] = digest_of(values, axis)
            else:
                texts = [_rows_first(value, axis) for value in values]
                self._hashes[name] = self._digests[name] = texts

    def digests(self, session):
        """Returns {name: text that stands for its frozen rows} as a session has them."""
        found = {name: fingerprint(np.zeros(0, np.uint64)) for name in self._parts}
        for name, digest in session.run(self._digests).items():
            text = isinstance(digest, list)
            found[name] = fingerprint(_of_texts(digest)) if text else digest_text(digest)
        return found

    def _hashes_in(self, session):
        """Returns {name: array, one entry or several for each frozen row}."""
        return {
            name: _of_texts(parts) if _is_text(self._hashes[name]) else np.concatenate(parts)
            for name, parts in session.run(self._hashes).items()
        }

    def record(self, session):
        """Remembers the rows as they are now; returns self."""
        self._recorded = self._hashes_in(session)
        return self

    def verify(self, session):
        """Returns how many rows were compared, all bit-identical to the recorded ones.

        Raises:
            RuntimeError: if a row changed; names table and rows.
        """
        if self._recorded is None:
            raise RuntimeError("Nothing to compare with: call record(session) before training.")
        for name, now in self._hashes_in(session).items():
            parts, rows = self._parts[name]
            places = np.unique(np.nonzero(self._recorded[name] != now)[0])
            if len(places):
                changed = np.asarray(rows)[places]
                raise RuntimeError(
                    f"{len(changed)} of {len(rows)} frozen rows of {name} changed: rows "
                    f"{describe_runs(to_runs(changed))}. Something wrote to "
                    f"{' and '.join(part.name for part in parts)} beside the optimizer: an "
                    "assign, a constraint, a restore."
                )
        return sum(len(rows) for _, rows in self._parts.values())


def frozen_name(variable):
    """Returns the name by which `FrozenRows` knows a variable that is frozen whole."""
    return variable.name if isinstance(variable, PartitionedVariable) else variable.op.name


def record_frozen_rows(session, embeddings=None):
    """Remembers the frozen rows as a session has them now, for a plain session loop.

    Args:
        session: a `tf.Session` whose variables are initialized; its graph is
            not finalized.
        embeddings: list of `PartialEmbedding`s; default: all in the graph.

    Returns:
        A `FrozenRows`, whose `verify(session)` compares them.

    Example:
        >>> table = pe.get_embedding("embedding", [7, 4], checkpoint="base.ckpt")
        >>> step = pe.minimize(tf.train.AdamOptimizer(), tf.reduce_sum(table.lookup([0, 6])))
        >>> session = tf.Session()
        >>> session.run(tf.global_variables_initializer())
        >>> frozen = pe.record_frozen_rows(session)
        >>> session.run(step)
        >>> frozen.verify(session)  # raises RuntimeError if a bit changed
        5
    """
    with session.graph.as_default():
        return FrozenRows(embeddings).record(session)


class FrozenRowsHook(tf.train.SessionRunHook):
    """Proves that the frozen rows are bit-identical at the end of a run.

    Hashes every frozen row when the session is made and when it ends. If the
    session is made again (after a preemption), the rows it restored are
    compared too.

    Args:
        embeddings: list of `PartialEmbedding`s; default: all in the graph.

    Raises:
        RuntimeError: at the end, if a row changed; names table and rows.

    Example:
        >>> table = pe.get_embedding("embedding", [7, 4], checkpoint="base.ckpt")
        >>> step = pe.minimize(tf.train.AdamOptimizer(), tf.reduce_sum(table.lookup([0, 6])))
        >>> with tf.train.MonitoredTrainingSession(hooks=[pe.FrozenRowsHook()]) as session:
        ...     session.run(step)
    """

    def __init__(self, embeddings=None):
        self._embeddings = embeddings
        self._frozen_rows = None
        self._recorded = False

    def begin(self):
        """Adds to the graph what reads the rows; ValueError if an op of it can write to them."""
        refuse_writers()
        self._frozen_rows = FrozenRows(self._embeddings)
        self._recorded = False
        moving = moving_state(find_writers(tf.get_default_graph().get_operations()))
        if moving:
            logging.warning(
                "Old rows stay, and what they are worth may not: the script's own updates move %s. "
                "growing(..., hold=...) holds them.",
                listed([name for name, _, _ in moving]),
            )

    def after_create_session(self, session, coord):
        """Records the rows of the first session, and compares those of later ones."""
        del coord
        if self._recorded:
            self._frozen_rows.verify(session)
        else:
            self._frozen_rows.record(session)
            self._recorded = True

    def end(self, session):
        """Compares the rows with the recorded ones."""
        count = self._frozen_rows.verify(session)
        logging.info("FrozenRowsHook: 0 of %d frozen rows changed.", count)


def _value_of(variable):
    """Returns a variable's rows, as a tensor that says on which device they are."""
    with tf.name_scope(None, "frozen_rows"), tf.device(parts_of(variable)[0].device):
        # An identity, for what reads a resource does not say where it is.
        divided = isinstance(variable, PartitionedVariable)
        return tf.identity(variable) if divided else whole_value(variable)


def _rows_first(value, axis):
    with tf.device(value.device):
        if not axis:
            return tf.reshape(value, value.shape.as_list() or [1])
        return tf.transpose(value, [axis] + [at for at in range(value.shape.rank) if at != axis])


def _is_text(hashes):
    return hashes[0].dtype == tf.string


def _of_texts(parts):
    return np.concatenate([row_hashes(part) for part in parts])
