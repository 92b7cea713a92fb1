"""The lookup of the original question: one flag says which half a whole batch is in."""

import tensorflow.compat.v1 as tf

from partial_embed.table.embedding import PartialEmbedding
from partial_embed.table.lookup import after_check, as_ids, find_outside, gather_rows, ids_outside


def lookup_cond(embedding, ids, is_new, name=None):
    """Returns `tf.cond(is_new, trainable[ids], frozen[ids])`.

    The whole batch is of new rows, or the whole batch is of old ones, and ids
    count from 0 in each. `PartialEmbedding.lookup` needs no such flag.

    The branches choose ids, of which one half gets none, and the rows are read
    after them. Gathers inside the branches would give the same values, but then
    the half that was not chosen gets a gradient of zeros, which momentum turns
    into movement.

    Args:
        embedding: a `PartialEmbedding`.
        ids: int32 or int64 tensor of any shape, row numbers in the chosen half.
        is_new: bool scalar: True for the trainable rows, False for the frozen.
        name: name of the result.

    Returns:
        Tensor of shape `ids.shape + embedding.shape[1:]`.

    Raises:
        TypeError: if ids are not int32 or int64, or is_new is not bool.
        ValueError: if is_new is no scalar, or the table lacks one of the halves.
        tf.errors.InvalidArgumentError: when the step runs, if an id is outside
            the chosen half; names it and the number of rows.

    Example:
        >>> table = pe.get_embedding("embedding", [7, 4], checkpoint="base.ckpt")
        >>> is_new = tf.placeholder(tf.bool, [])
        >>> rows = pe.lookup_cond(table, [1, 0], is_new)
        >>> session = tf.Session()
        >>> session.run(tf.global_variables_initializer())
        >>> session.run(rows, {is_new: False})[:, 0].tolist()
        [1.0, 0.0]
    """
    if not isinstance(embedding, PartialEmbedding):
        raise TypeError(
            f"lookup_cond needs a PartialEmbedding, as get_embedding returns, got {embedding!r}."
        )
    if embedding.plan.axis:
        raise ValueError(
            f"lookup_cond looks up rows, and {embedding.table_name} has grown along axis "
            f"{embedding.plan.axis}. Use lookup(ids)."
        )
    if embedding.frozen is None or embedding.trainable is None:
        raise ValueError(
            f"lookup_cond chooses between frozen and new rows, but {embedding.table_name} has "
            f"{embedding.num_frozen_rows} of the one and "
            f"{embedding.shape.as_list()[0] - embedding.num_frozen_rows} of "
            "the other. Use lookup(ids)."
        )
    with tf.name_scope(name, embedding.table_name.replace("/", "_") + "_lookup_cond"):
        ids = as_ids(ids, embedding.table_name, embedding.shape.as_list()[0])
        is_new = tf.convert_to_tensor(is_new, name="is_new")
        if is_new.dtype.base_dtype != tf.bool:
            raise TypeError(f"is_new must be a bool scalar, got {is_new.dtype.name}.")
        if is_new.shape.rank not in (0, None):
            raise ValueError(
                "is_new must be a bool scalar for the whole batch, got shape "
                f"{is_new.shape.as_list()}. For batches that "
                "mix old and new rows use lookup(ids)."
            )
        flat = tf.reshape(ids, [-1])
        new_ids = tf.cond(is_new, lambda: tf.identity(flat), lambda: flat[:0])
        old_ids = tf.cond(is_new, lambda: flat[:0], lambda: tf.identity(flat))
        rows = []
        for variable, half_ids, half in (
            (embedding.frozen, old_ids, "frozen"),
            (embedding.trainable, new_ids, "trainable"),
        ):
            count = variable.get_shape().as_list()[0]
            message = ids_outside(f"The {half} half of {embedding.table_name}", count)
            (checked,) = after_check([half_ids], message, *find_outside(half_ids, count))
            rows.append(gather_rows(variable, checked))
        shape = tf.concat([tf.shape(ids), embedding.shape.as_list()[1:]], 0)
        rows = tf.reshape(tf.concat(rows, 0), shape)
        rows.set_shape(ids.shape.concatenate(embedding.shape[1:]))
        return rows
