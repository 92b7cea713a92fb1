"""Proof that frozen rows did not change: a hash a row, before and after."""

import hashlib

import numpy as np
import tensorflow.compat.v1 as tf
from absl import logging

from partial_embed._tensorflow import PartitionedVariable
from partial_embed.embedding import embeddings_in, frozen_variables_in, parts_of
from partial_embed.plan import describe_runs, to_runs

_CHUNK_BYTES = 1 << 24


def row_hashes(values):
    """Returns `sum_j weight[j] * bits(values[i, j]) mod 2**64`, one number for each row i.

    The weights are odd, so a row in which one element changed, by whatever bit,
    always gets another hash; the weights are fixed, so hashes can be stored.

    Args:
        values: array [rows, ...] of any dtype.

    Returns:
        uint64 array [rows].
    """
    values = np.ascontiguousarray(values)
    count = values.shape[0]
    if not values.size:
        return np.zeros(count, np.uint64)
    raw = values.reshape([count, -1]).view(np.uint8)
    raw = raw.view(np.uint32 if raw.shape[1] % 4 == 0 else np.uint8)
    width = raw.shape[1]
    weights = np.random.RandomState(0).randint(0, 2**63, size=width, dtype=np.uint64)
    weights = weights * np.uint64(2) + np.uint64(1)
    hashes = np.empty(count, np.uint64)
    step = max(1, _CHUNK_BYTES // (8 * width))
    for start in range(0, count, step):
        chunk = raw[start : start + step].astype(np.uint64)
        chunk *= weights
        chunk.sum(axis=1, out=hashes[start : start + step])
    return hashes


def fingerprint(hashes):
    """Returns a short hex text that stands for rows with these hashes, in this order."""
    return hashlib.blake2b(hashes.view(np.uint8), digest_size=16).hexdigest()


def frozen_name(variable):
    """Returns the name by which `FrozenRows` knows a variable that is frozen whole."""
    return variable.name if isinstance(variable, PartitionedVariable) else variable.op.name


class RowReader:
    """Reads a variable a few rows at a time, so that no second copy of it is needed."""

    def __init__(self, variable):
        shape = variable.shape.as_list() or [1]
        self._rows = shape[0]
        row_bytes = max(1, int(np.prod(shape[1:])) * variable.dtype.base_dtype.size)
        self._step = max(1, _CHUNK_BYTES // row_bytes)
        with tf.name_scope(None, "frozen_rows"), variable.graph.colocate_with(variable.op):
            self._start = tf.placeholder(tf.int64, [], name="start")
            value = tf.reshape(tf.convert_to_tensor(variable), shape)
            self._chunk = value[self._start : self._start + self._step]

    def hashes(self, session):
        """Returns the `row_hashes` of the variable as it is in a session."""
        found = [
            row_hashes(session.run(self._chunk, {self._start: start}))
            for start in range(0, self._rows, self._step)
        ]
        return np.concatenate(found) if found else np.zeros(0, np.uint64)


class FrozenRows:
    """What is frozen in a graph: `record` it, train, `verify`.

    That is the frozen rows of tables, and variables that `growing` froze whole.
    Costs 8 bytes a row, and one pass over the rows at each end.

    Args:
        embeddings: list of `PartialEmbedding`s; default: all in the default
            graph, and the frozen variables beside them.
    """

    def __init__(self, embeddings=None):
        everything = embeddings is None
        embeddings = embeddings_in() if everything else list(embeddings)
        # name -> (its variables in order of rows, which rows of it they are)
        self._parts = {e.table_name: (e.frozen_parts, e.plan.frozen_rows()) for e in embeddings}
        for variable, _ in frozen_variables_in() if everything else []:
            parts = parts_of(variable)
            count = sum((part.shape.as_list() or [1])[0] for part in parts)
            self._parts[frozen_name(variable)] = (parts, np.arange(count))
        self._readers = {
            name: [RowReader(part) for part in parts] for name, (parts, _) in self._parts.items()
        }
        self._recorded = None
        if not self._parts:
            logging.warning("Nothing is frozen in this graph, so nothing is proved about it.")

    def hashes(self, session):
        """Returns {name: uint64 array, the hash of each frozen row} as a session has them."""
        return {
            name: np.concatenate(
                [np.zeros(0, np.uint64)] + [reader.hashes(session) for reader in readers]
            )
            for name, readers in self._readers.items()
        }

    def record(self, session):
        """Remembers the rows as they are now; returns self."""
        self._recorded = self.hashes(session)
        return self

    def verify(self, session):
        """Returns how many rows were compared, all bit-identical to the recorded ones.

        Raises:
            RuntimeError: if a row changed; names table and rows.
        """
        if self._recorded is None:
            raise RuntimeError("Nothing to compare with: call record(session) before training.")
        for name, now in self.hashes(session).items():
            parts, rows = self._parts[name]
            changed = rows[self._recorded[name] != now]
            if len(changed):
                raise RuntimeError(
                    "{} of {} frozen rows of {} changed: rows {}. Something wrote to {} beside "
                    "the optimizer: an assign, a constraint, a restore.".format(
                        len(changed),
                        len(rows),
                        name,
                        describe_runs(to_runs(changed)),
                        " and ".join(part.name for part in parts),
                    )
                )
        return sum(len(rows) for _, rows in self._parts.values())


def record_frozen_rows(session, embeddings=None):
    """Remembers the frozen rows as a session has them now, for a plain session loop.

        frozen = pe.record_frozen_rows(session)
        ...                                       # train
        frozen.verify(session)                    # RuntimeError if a bit changed

    Args:
        session: a `tf.Session` whose variables are initialized; its graph is
            not finalized.
        embeddings: list of `PartialEmbedding`s; default: all in the graph.

    Returns:
        A `FrozenRows`.
    """
    with session.graph.as_default():
        return FrozenRows(embeddings).record(session)
