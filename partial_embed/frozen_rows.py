"""Proof that frozen rows did not change: a hash a row, before and after."""

import hashlib

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed.embedding import embeddings_in
from partial_embed.plan import to_runs

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
    return hashlib.blake2b(hashes.tobytes(), digest_size=16).hexdigest()


class RowReader:
    """Reads a variable a few rows at a time, so that no second copy of it is needed."""

    def __init__(self, variable):
        self._rows, row_shape = variable.shape.as_list()[0], variable.shape.as_list()[1:]
        row_bytes = max(1, int(np.prod(row_shape)) * variable.dtype.base_dtype.size)
        self._step = max(1, _CHUNK_BYTES // row_bytes)
        with tf.name_scope(None, "frozen_rows"), variable.graph.colocate_with(variable.op):
            self._start = tf.placeholder(tf.int64, [], name="start")
            value = tf.convert_to_tensor(variable)
            self._chunk = value[self._start : self._start + self._step]

    def hashes(self, session):
        """Returns the `row_hashes` of the variable as it is in a session."""
        found = [
            row_hashes(session.run(self._chunk, {self._start: start}))
            for start in range(0, self._rows, self._step)
        ]
        return np.concatenate(found) if found else np.zeros(0, np.uint64)


class FrozenRows:
    """The frozen rows of some tables: `record` them, train, `verify`.

    Costs 8 bytes a row, and one pass over the rows at each end.

    Args:
        embeddings: list of `PartialEmbedding`s; default: all in the default graph.
    """

    def __init__(self, embeddings=None):
        if embeddings is None:
            embeddings = embeddings_in()
        self.embeddings = list(embeddings)
        self._readers = {
            e.table_name: [RowReader(part) for part in e.frozen_parts] for e in self.embeddings
        }
        self._recorded = None

    def hashes(self, session, embedding):
        """Returns the hashes of one table's frozen rows, uint64 [num_frozen_rows]."""
        found = [reader.hashes(session) for reader in self._readers[embedding.table_name]]
        return np.concatenate(found) if found else np.zeros(0, np.uint64)

    def record(self, session):
        """Remembers the rows as they are now; returns self."""
        self._recorded = {e.table_name: self.hashes(session, e) for e in self.embeddings}
        return self

    def verify(self, session):
        """Returns how many rows were compared, all bit-identical to the recorded ones.

        Raises:
            RuntimeError: if a row changed; names table and rows.
        """
        if self._recorded is None:
            raise RuntimeError("Nothing to compare with: call record(session) before training.")
        compared = 0
        for embedding in self.embeddings:
            before = self._recorded[embedding.table_name]
            changed = np.flatnonzero(before != self.hashes(session, embedding))
            compared += len(before)
            if len(changed):
                rows = embedding.plan.frozen_rows()[changed]
                raise RuntimeError(
                    "{} of {} frozen rows of {} changed: rows {}{}. Something wrote to {} beside "
                    "the optimizer: an assign, a constraint, a restore.".format(
                        len(rows),
                        len(before),
                        embedding.table_name,
                        ", ".join(
                            str(start) if stop == start + 1 else "{}-{}".format(start, stop - 1)
                            for start, stop in to_runs(rows)[:10]
                        ),
                        ", ..." if len(to_runs(rows)) > 10 else "",
                        " and ".join(part.name for part in embedding.frozen_parts),
                    )
                )
        return compared


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
