"""`FrozenRowsHook`: a run that changed a frozen row fails."""

import tensorflow.compat.v1 as tf
from absl import logging

from partial_embed.frozen_rows import FrozenRows


class FrozenRowsHook(tf.train.SessionRunHook):
    """Proves that the frozen rows are bit-identical at the end of a run.

    Hashes every frozen row when the session is made and when it ends. If the
    session is made again (after a preemption), the rows it restored are
    compared too.

    Args:
        embeddings: list of `PartialEmbedding`s; default: all in the graph.

    Raises:
        RuntimeError: at the end, if a row changed; names table and rows.
    """

    def __init__(self, embeddings=None):
        self._embeddings = embeddings
        self._frozen_rows = None
        self._recorded = False

    def begin(self):
        self._frozen_rows = FrozenRows(self._embeddings)
        self._recorded = False

    def after_create_session(self, session, coord):
        del coord
        if self._recorded:
            self._frozen_rows.verify(session)
        else:
            self._frozen_rows.record(session)
            self._recorded = True

    def end(self, session):
        count = self._frozen_rows.verify(session)
        logging.info("FrozenRowsHook: 0 of %d frozen rows changed.", count)
