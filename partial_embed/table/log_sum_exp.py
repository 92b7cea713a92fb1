"""The log-sum-exp of a batch's scores against rows that stand still, in blocks."""

import tensorflow.compat.v1 as tf

_SCORES = 1 << 20  # of a block, which is what is in memory at once, and in the cache


def log_sum_exp(x, variable, score):
    """Returns `log(sum_r exp(score(x, variable[r])))`, computed where the rows are, some at a time.

    A running maximum m and `sum_r exp(s_r - m)` make one number of any count of
    scores without overflow (Milakov and Gimelshein 2018, "Online normalizer
    calculation for softmax"). The gradient goes to `x` alone, and computes the
    scores again instead of keeping them.

    Args:
        x: float tensor [batch, d].
        variable: variable [rows, d] that does not train.
        score: function of x [batch, d] and rows [r, d] that returns scores [batch, r].

    Returns:
        Tensor [batch].
    """
    count = variable.shape.as_list()[0]
    wide = tf.float32 if x.dtype.size < 4 else x.dtype  # A sum of more than 65504 is inf in halves.
    with tf.device(variable.device):
        rows = tf.stop_gradient(tf.convert_to_tensor(variable))

        def over_blocks(function, x, start):
            """Passes [start, ...] through `function(rows of a block, *values)`."""
            size = tf.maximum(1, _SCORES // tf.maximum(1, tf.shape(x)[0]))
            return tf.while_loop(
                lambda first, *_: first < count,
                lambda first, *its: (first + size, *function(rows[first : first + size], *its)),
                (0, *start),
                parallel_iterations=1,
            )[1:]

        @tf.custom_gradient
        def of(x):
            def add(block, highest, total):
                scores = score(x, block)
                higher = tf.maximum(highest, tf.reduce_max(scores, 1))
                new = tf.reduce_sum(tf.cast(tf.exp(scores - higher[:, tf.newaxis]), wide), 1)
                return higher, total * tf.cast(tf.exp(highest - higher), wide) + new

            zeros = tf.zeros_like(x[:, 0])
            highest, total = over_blocks(add, x, (zeros + x.dtype.min, tf.cast(zeros, wide)))
            result = highest + tf.cast(tf.log(total), x.dtype)

            def gradient(upstream):
                finite = tf.maximum(result, x.dtype.min)  # where every score is -inf

                def add(block, found):
                    here = tf.identity(x)
                    scores = score(here, block)
                    weights = tf.exp(scores - finite[:, tf.newaxis]) * upstream[:, tf.newaxis]
                    return (found + tf.gradients(scores, here, weights)[0],)

                return over_blocks(add, x, (tf.zeros_like(x),))[0]

            return result, gradient

        return of(x)
