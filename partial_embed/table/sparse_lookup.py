"""Sparse lookups of a table, `tf.nn.embedding_lookup_sparse` and its safe kin, at a batch's cost.

They make one tensor of the table first, of which `tf.gather` then takes rows: that tensor looks
them up, and is never computed.
"""

import os
import sys

import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import place_of_ops

# Says nothing, and is no device's name. TensorFlow 2 sums rows of a tensor that is where the ids
# are without gathering them, and reads all of it.
_ANYWHERE = "/task:*"


def somewhere(value):
    """Returns the value as a tensor whose device is no other's, though it may be on any."""
    with tf.device(None), tf.device(lambda _: _ANYWHERE):
        return tf.identity(value)


def gather_in_table(value, table):
    """Returns `value`, all of `table`; of one that a lookup makes, `tf.gather` looks rows up.

    One that a script makes is a tensor as any: it may be asked for a gradient.
    """
    if not _is_made_by_a_lookup():
        return value
    place = place_of_ops()

    def sparse_read(ids, name=None):
        # What changes the table may come between the two, or wait for the value.
        if place_of_ops() != place or value.consumers():
            raise AttributeError("sparse_read")  # By which tf.gather knows a tensor.
        return table.lookup(ids, name=name)

    value.sparse_read = sparse_read
    return value


def _is_made_by_a_lookup():
    """Returns whether lookups of TensorFlow's are among the callers."""
    frame = sys._getframe(2)
    while frame and os.path.basename(frame.f_code.co_filename) != "embedding_ops.py":
        frame = frame.f_back
    return frame is not None
