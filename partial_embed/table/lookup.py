"""What every lookup does: check ids, gather rows of one variable."""

import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import PartitionedVariable


def as_ids(ids, what):
    ids = tf.convert_to_tensor(ids, name="ids")
    if ids.dtype.base_dtype not in (tf.int32, tf.int64):
        if ids.shape.num_elements() == 0:  # [] becomes float32
            return tf.zeros(ids.shape, tf.int32)
        raise TypeError(
            f"Ids of {what} must be int32 or int64, got {ids.dtype.base_dtype.name} ({ids.name}). "
            "Cast them: tf.cast(ids, "
            "tf.int64)."
        )
    return ids


def checked_ids(ids, num_rows, what):
    """Returns `ids` after an op that fails if one is not from 0 to `num_rows` - 1."""
    bad = tf.boolean_mask(ids, tf.logical_or(ids < 0, ids >= tf.constant(num_rows, ids.dtype)))
    message = (
        f"{what} has {num_rows} rows, so ids go from 0 to {num_rows - 1}. Ids outside (up to 20):"
    )
    check = tf.Assert(tf.equal(tf.size(bad), 0), [message, bad], summarize=20)
    with tf.control_dependencies([check]):
        return tf.identity(ids)


def gather_rows(variable, ids):
    """Returns rows of one variable, or of one partitioned in the order of its rows."""
    if isinstance(variable, PartitionedVariable):
        return tf.nn.embedding_lookup(variable, ids, partition_strategy="div")
    graph = tf.get_default_graph()
    if graph is not variable.graph:  # the body of a branch or a loop
        return tf.gather(variable, ids)
    with graph.colocate_with(variable.op):
        return tf.gather(variable, ids)
