"""Lookups inside `tf.while_loop`: gradients of rows that were looked up, and of no other.

TensorFlow collects what the turns of a loop add to a gradient in a list that begins with zeros for
row 0. Of one whole table that is an old row; of those that train it is the first new one, which
momentum would move without being asked for. So that first entry is left out behind the loop.
"""

import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import enter_gradient, outside_of_loop

_ENTER = "PartialEmbedEnter"


def without_first_entry(graph):
    """Returns a context in which what is brought into a loop has gradients without that entry."""
    return graph.gradient_override_map({"Enter": _ENTER, "RefEnter": _ENTER})


@tf.RegisterGradient(_ENTER)
def _gradient(op, gradient):
    collected = enter_gradient(op, gradient)
    if collected is gradient or not isinstance(collected, tf.IndexedSlices):
        return collected
    with outside_of_loop():
        parts = collected.values[1:], collected.indices[1:]
        return tf.IndexedSlices(*parts, dense_shape=collected.dense_shape)
