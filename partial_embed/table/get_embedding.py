"""`get_embedding`: the explicit way to make a table."""

import functools

import tensorflow.compat.v1 as tf

from partial_embed.table.make_table import find_or_make


def get_embedding(
    name,
    shape,
    dtype=tf.float32,
    initializer=None,
    checkpoint=None,
    tensor_name=None,
    num_frozen_rows=None,
    trainable_rows=None,
    vocabulary=None,
    generation=None,
    axis=None,
    partitioner=None,
    allow_nonfinite=False,
    **kwargs,
):
    """Makes (or, where the scope says reuse, finds) the table `name` [rows, ...].

    The rows that `checkpoint` holds are loaded by the variable's own
    initializer and frozen; the others are drawn by `initializer` and train.

    Args:
        name: name of the table in the current variable scope, and on disk.
        shape: list of ints, the whole table: [old + new rows, d, ...].
        dtype: dtype of the table, the checkpoint's if there is one.
        initializer: initializer for the new rows, drawn as rows of the whole
            table; one of `row_init`; or an array of the new rows, or of all
            rows. Default: the scope's.
        checkpoint: prefix, directory or `Checkpoint` that holds the old rows.
        tensor_name: the table's name there, if it is another.
        num_frozen_rows: int, instead of a checkpoint: how many rows are old.
            They too start from `initializer`, until a Saver restores them.
        trainable_rows: ids of old rows that train as well (without checkpoint
            and num_frozen_rows: of the only ones that train).
        vocabulary: a `Vocabulary` from `align_vocabularies`, or the paths (old,
            new) of two: rows follow keys. Keys that are new train, keys that vanished are dropped.
        generation: int, take only the rows that the checkpoint's table had in
            that generation, see `Saver`; and, to train, those that `grow_checkpoint` has
            added since.
        axis: int, along which the table grows: 1 for a kernel [d, vocabulary], whose
            "rows" are columns. Default: the one along which it is longer than in the
            checkpoint, else the first.
        partitioner: divides the frozen variable along its rows.
        allow_nonfinite: load rows that hold NaN or Inf, instead of failing.
        **kwargs: more arguments of `tf.get_variable`. A regularizer sees the
            trainable rows only.

    Returns:
        A `PartialEmbedding`.

    Raises:
        ValueError: if name, shape or dtype do not fit the checkpoint, or the
            arguments each other. Says what was expected and what was found.

    Example:
        >>> table = pe.get_embedding(
        ...     "person",
        ...     [7, 4],
        ...     checkpoint="base.ckpt",
        ...     tensor_name="embedding",
        ...     trainable_rows=[1],
        ... )
        >>> table.num_frozen_rows, table.trainable.shape.as_list()
        (4, [3, 4])
    """
    options = dict(
        checkpoint=checkpoint,
        tensor_name=tensor_name,
        num_frozen_rows=num_frozen_rows,
        trainable_rows=trainable_rows,
        vocabulary=vocabulary,
        generation=generation,
        axis=axis,
        allow_nonfinite=allow_nonfinite,
    )
    scope = tf.get_variable_scope()
    outer = scope.custom_getter

    def custom_getter(getter, name, **arguments):
        if outer is not None:
            getter = functools.partial(outer, getter)
        return find_or_make(getter, name, options, **arguments)

    # As a custom getter it is given what the scope decides: full name, reuse,
    # partitioner, regularizer. Set and not entered: entering a scope again
    # would also restart its count of default names.
    scope.set_custom_getter(custom_getter)
    try:
        return tf.get_variable(
            name, shape, dtype, initializer=initializer, partitioner=partitioner, **kwargs
        )
    finally:
        scope.set_custom_getter(outer)
