"""A batch's scores against all rows of a table, and what is made of them, halves apart."""

import functools

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed.table.log_sum_exp import log_sum_exp
from partial_embed.table.lookup import beside


class Scoring:
    """What a `PartialEmbedding` of rank 2 does with a batch and all of its rows."""

    def matmul(self, x, name=None):
        """Returns the scores of a batch against all rows.

        That is `matmul(x, whole_table, transpose_b=True)`, and of a kernel
        [d, rows] `matmul(x, kernel)`; gradients reach the trainable rows only.
        Which of two tensors is copied is told by the batch: scores [batch, rows]
        of halves apart, equal to rounding; or from a batch of 4 d on, known when
        the graph is built, the table itself, bit for bit.

        Args:
            x: tensor [batch, d].
            name: name of the result.

        Returns:
            Tensor [batch, rows].

        Raises:
            ValueError: if the table is not of rank 2.
        """
        if self.shape.rank != 2:
            raise ValueError(
                f"matmul needs a table of rank 2, {self.table_name} has shape "
                f"{self.shape.as_list()}."
            )
        with tf.name_scope(name, self.table_name.replace("/", "_") + "_matmul"):
            x = tf.convert_to_tensor(x, self.dtype)
            across = self.plan.axis == 0
            parts = self.variables
            if len(parts) > 1 and self.joins_for(x):
                make = functools.partial(self._product_joined, x, across)
                return beside(parts[-1], make)
            scores = [
                beside(part, functools.partial(tf.matmul, x, part, transpose_b=across))
                for part in parts
            ]
            scores = scores[0] if len(scores) == 1 else tf.concat(scores, 1)
            return scores if self.plan.in_order else tf.gather(scores, self._order(), axis=1)

    def joins_for(self, x):
        """Whether to join the halves is cheaper than to join their scores of x, on one device."""
        batch, width = x.shape.with_rank_at_least(1).as_list()[0], self.shape[1 - self.plan.axis]
        # Apart, frozen rows need no product for a gradient; hence 4, which was measured.
        return (
            batch is not None
            and batch >= 4 * width
            and len({v.device for v in self.variables}) == 1
        )

    def _product_joined(self, x, across):
        whole = self._join([tf.convert_to_tensor(part) for part in self.variables])
        return tf.matmul(x, whole, transpose_b=across)

    def frozen_log_sum_exp(self, x, score=None, name=None):
        """Returns `log(sum_r exp(x . r))` over the frozen rows r: one number for each of a batch.

        One pass over the frozen rows, in blocks: memory does not grow with them.
        Frozen rows stand still, so for an x that does too it never changes, and
        what is computed once serves `log_sum_exp` and `softmax_cross_entropy` for ever.

        Args:
            x: float tensor [batch, d].
            score: function of x [batch, d] and rows [r, d] that returns scores
                [batch, r], in place of their product. It is made of these and of
                constants: what trains goes into x.
            name: name of the result.

        Returns:
            Tensor [batch]; -inf if no row is frozen. Its gradient reaches x.

        Raises:
            ValueError: if the table is not [rows, d].
        """
        self._expect_rows("frozen_log_sum_exp")
        with tf.name_scope(name, self.table_name.replace("/", "_") + "_log_sum_exp") as scope:
            x = tf.convert_to_tensor(x, self.dtype)
            parts = [log_sum_exp(x, part, score or _product) for part in self.frozen_parts]
            if not parts:
                return tf.fill(tf.shape(x)[:1], tf.constant(-np.inf, self.dtype), name=scope)
            return tf.reduce_logsumexp(tf.stack(parts, 1), 1, name=scope)

    def log_sum_exp(self, x, frozen_log_sum_exp=None, score=None, name=None):
        """Returns `log(sum_r exp(x . r))` over all rows r of the table.

        The halves are not joined. Given F, the log-sum-exp over frozen rows, it costs
        what the batch and the new rows cost, and is no approximation: the sum over
        all rows is exp(F) plus the sum over new ones, and the derivative by a new
        row's score is exp(score) by that sum, as it ever was.

        Args:
            x: float tensor [batch, d].
            frozen_log_sum_exp: tensor [batch], what `frozen_log_sum_exp(x, score)`
                gave for these x, however long ago; None: it is computed.
            score: as of `frozen_log_sum_exp`.
            name: name of the result.

        Returns:
            Tensor [batch]. Its gradients reach the trainable rows and x; a
            `frozen_log_sum_exp` that is given is a constant to x.

        Raises:
            ValueError: if the table is not [rows, d].
        """
        self._expect_rows("log_sum_exp")
        with tf.name_scope(name, self.table_name.replace("/", "_") + "_log_sum_exp") as scope:
            x = tf.convert_to_tensor(x, self.dtype)
            if frozen_log_sum_exp is None:
                frozen_log_sum_exp = self.frozen_log_sum_exp(x, score)
            known = tf.convert_to_tensor(frozen_log_sum_exp, self.dtype)
            if self.trainable is None:
                return tf.identity(known, name=scope)
            new = beside(self.trainable, lambda: (score or _product)(x, self.trainable))
            if not self.frozen_parts:
                return tf.reduce_logsumexp(new, 1, name=scope)
            # By one op, for which the frozen rows are one candidate, and the right one.
            less = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels=tf.zeros(tf.shape(known), tf.int32),
                logits=tf.concat([known[:, tf.newaxis], new], 1),
            )
            return tf.add(known, less, name=scope)

    def softmax_cross_entropy(self, x, labels, frozen_log_sum_exp=None, name=None):
        """Returns `log(sum_r exp(x . r)) - x . row[label]`, over all rows r of the table.

        The first term is `log_sum_exp`, which see for what it costs.

        Args:
            x: float tensor [batch, d].
            labels: int tensor [batch], the right rows.
            frozen_log_sum_exp: as of `log_sum_exp`.
            name: name of the result.

        Returns:
            Tensor [batch]. Its gradients reach the trainable rows and x.

        Raises:
            ValueError: if the table is not [rows, d].
        """
        self._expect_rows("softmax_cross_entropy")
        with tf.name_scope(name, self.table_name.replace("/", "_") + "_cross_entropy") as scope:
            x = tf.convert_to_tensor(x, self.dtype)
            right = tf.reduce_sum(x * self.lookup(labels), 1)
            return tf.subtract(self.log_sum_exp(x, frozen_log_sum_exp), right, name=scope)

    def _expect_rows(self, what):
        if self.shape.rank != 2 or self.plan.axis:
            raise ValueError(
                f"{what} needs a table [rows, d] that grows by rows; {self.table_name} has shape "
                f"{self.shape.as_list()} and grows along axis {self.plan.axis}."
            )


def _product(x, rows):
    return tf.matmul(x, rows, transpose_b=True)
