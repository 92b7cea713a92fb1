"""A batch's scores against all rows of a table, and what is made of them, halves apart."""

import functools

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed.table.log_sum_exp import log_sum_exp
from partial_embed.table.lookup import after_check, beside

# By these names TensorFlow finds the gradients, of a MetaGraph in another process, too.
JOINED_BY_ROWS, JOINED_BY_COLUMNS = "PartialEmbedScores", "PartialEmbedKernelScores"


@tf.RegisterGradient(JOINED_BY_ROWS)
def _of_rows(op, gradient, *_):
    """Of scores, as `IdentityN` of (scores, x, whole, trainable, and which rows these are)."""
    _, x, whole, trainable, *rows = op.inputs
    gradient, its = _all_and_trainable(gradient, trainable, 0, *rows)
    of_x = tf.matmul(gradient, tf.math.conj(whole))
    of_rows = tf.matmul(its, tf.math.conj(x), transpose_a=True)
    return [None, of_x, None, of_rows] + [None] * len(rows)


@tf.RegisterGradient(JOINED_BY_COLUMNS)
def _of_columns(op, gradient, *_):
    """Likewise, of a kernel [d, rows]."""
    _, x, whole, trainable, *rows = op.inputs
    gradient, its = _all_and_trainable(gradient, trainable, 1, *rows)
    of_x = tf.matmul(gradient, whole, adjoint_b=True)
    return [None, of_x, None, tf.matmul(x, its, adjoint_a=True)] + [None] * len(rows)


def _all_and_trainable(gradient, trainable, axis, rows=None):
    """Returns the gradient of scores as a tensor, and its columns of the trainable rows."""
    gradient = tf.convert_to_tensor(gradient)
    if rows is None:  # A function may know no shapes.
        first = tf.shape(gradient)[1] - tf.shape(trainable)[axis]
        return gradient, gradient[:, first:]
    return gradient, tf.gather(gradient, rows, axis=1)


class Scoring:
    """What a `PartialEmbedding` of rank 2 does with a batch and all of its rows."""

    def matmul(self, x, name=None):
        """Returns the scores of a batch against all rows.

        That is `matmul(x, whole_table, transpose_b=True)`, and of a kernel
        [d, rows] `matmul(x, kernel)`, equal to rounding; gradients reach the
        trainable rows only, and cost what these cost (where a MetaGraph is imported,
        once `pe.PartialEmbedding` was named there). What is copied is told by the
        batch: scores [batch, rows] of halves apart, or from a batch of d on, known
        when the graph is built, the table itself.

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
                return beside(parts[-1], functools.partial(self._product_joined, x))
            scores = [
                beside(part, functools.partial(tf.matmul, x, part, transpose_b=across))
                for part in parts
            ]
            scores = scores[0] if len(scores) == 1 else tf.concat(scores, 1)
            return scores if self.plan.in_order else tf.gather(scores, self._order(), axis=1)

    def joins_for(self, x):
        """Whether to join the halves is cheaper than to join their scores of x, on one device."""
        batch, width = x.shape.with_rank_at_least(1).as_list()[0], self.shape[1 - self.plan.axis]
        one_device = len({variable.device for variable in self.variables}) == 1
        return batch is not None and batch >= width and one_device

    def _product_joined(self, x):
        values = [tf.convert_to_tensor(part) for part in self.variables]
        whole, across = self._join(values), self.plan.axis == 0
        scores = tf.matmul(x, whole, transpose_b=across)
        if self.trainable is None:
            return scores
        order = [] if self.plan.in_order else [tf.constant(self.plan.trainable_rows)]
        name = JOINED_BY_ROWS if across else JOINED_BY_COLUMNS
        with tf.get_default_graph().gradient_override_map({"IdentityN": name}):
            return tf.raw_ops.IdentityN(input=[scores, x, whole, values[-1], *order])[0]

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
            x = self._batch(x, score)
            parts = [log_sum_exp(x, part, score or _product) for part in self.frozen_parts]
            if not parts:
                return tf.fill(tf.shape(x)[:1], tf.constant(-np.inf, self.dtype), name=scope)
            if len(parts) == 1:
                return tf.identity(parts[0], name=scope)
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
            ValueError: if the table is not [rows, d], or `frozen_log_sum_exp` not [batch].
            tf.errors.InvalidArgumentError: if only the step that runs can tell that.
        """
        self._expect_rows("log_sum_exp")
        with tf.name_scope(name, self.table_name.replace("/", "_") + "_log_sum_exp") as scope:
            x = self._batch(x, score)
            if frozen_log_sum_exp is None:
                known = self.frozen_log_sum_exp(x, score)
            else:
                known = tf.convert_to_tensor(frozen_log_sum_exp, self.dtype)
                known = _one_each(known, known, x, "frozen_log_sum_exp")
            if self.trainable is None:
                return tf.identity(known, name=scope)
            new = beside(self.trainable, lambda: (score or _product)(x, self.trainable))
            if not self.frozen_parts:
                return tf.reduce_logsumexp(new, 1, name=scope)
            # The frozen rows are one candidate, with a score that may be far below all others.
            return tf.reduce_logsumexp(tf.concat([known[:, tf.newaxis], new], 1), 1, name=scope)

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
            ValueError: if the table is not [rows, d], or the labels are not [batch].
            tf.errors.InvalidArgumentError: when the step runs, if only that can tell,
                or a label names no row.
        """
        self._expect_rows("softmax_cross_entropy")
        with tf.name_scope(name, self.table_name.replace("/", "_") + "_cross_entropy") as scope:
            x, labels = self._batch(x), tf.convert_to_tensor(labels)
            rows = _one_each(self.lookup(labels), labels, x, "labels")
            right = tf.reduce_sum(x * rows, 1)
            return tf.subtract(self.log_sum_exp(x, frozen_log_sum_exp), right, name=scope)

    def _expect_rows(self, what):
        if self.shape.rank != 2 or self.plan.axis:
            raise ValueError(
                f"{what} needs a table [rows, d] that grows by rows; {self.table_name} has shape "
                f"{self.shape.as_list()} and grows along axis {self.plan.axis}."
            )

    def _batch(self, x, score=None):
        """Returns x as a tensor; a score of the caller's takes an x of any width."""
        x, width = tf.convert_to_tensor(x, self.dtype), None if score else self.shape[1]
        if not x.shape.is_compatible_with([None, width]):
            raise ValueError(
                f"x for {self.table_name} must be [batch, {width or 'd'}]; it has shape {x.shape}."
            )
        return x


def _one_each(value, given, x, what):
    """Returns a tensor, after a check that what was `given` is [batch]: nothing is broadcast."""
    batch = x.shape.with_rank(2)[:1]
    wanted = f"{what} must be [batch], as x is [batch, d]"
    if not given.shape.is_compatible_with(batch):
        raise ValueError(f"{wanted}; it has shape {given.shape}, and the batch is {batch}.")
    if given.shape.is_fully_defined() and batch.is_fully_defined():
        return value
    fits = tf.equal(tf.rank(given), 1) & tf.equal(tf.size(given), tf.shape(x)[0])
    shapes = tf.concat([tf.shape(given), tf.shape(x)], 0)
    return after_check([value], f"{wanted}. Its shape, and that of x:", fits, shapes)[0]


def _product(x, rows):
    return tf.matmul(x, rows, transpose_b=True)
