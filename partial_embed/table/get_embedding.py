"""`get_embedding`: makes a table's two variables, and loads the old rows."""

import functools

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import PartitionedVariable, variable_store
from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.finite import refuse_nonfinite
from partial_embed.files.growth import refuse_delta, rows_of_generation
from partial_embed.files.runs import row_indices
from partial_embed.files.tensors import restore, slice_spec
from partial_embed.table.embedding import PartialEmbedding, embeddings_in
from partial_embed.table.initializers import for_rows
from partial_embed.table.on_disk import Whole, in_slices
from partial_embed.table.plan import plan_rows
from partial_embed.table.row_init import OldRows, RowInit
from partial_embed.table.vocabulary import Vocabulary, align_vocabularies, check_vocabulary


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
            that generation; see `Saver`.
        partitioner: divides the frozen variable along its rows.
        allow_nonfinite: load rows that hold NaN or Inf, instead of failing.
        **kwargs: more arguments of `tf.get_variable`. A regularizer sees the
            trainable rows only.

    Returns:
        A `PartialEmbedding`.

    Raises:
        ValueError: if name, shape or dtype do not fit the checkpoint, or the
            arguments each other. Says what was expected and what was found.
    """
    given = dict(
        checkpoint=None if checkpoint is None else Checkpoint(checkpoint),
        tensor_name=tensor_name,
        num_frozen_rows=num_frozen_rows,
        trainable_rows=trainable_rows,
        vocabulary=vocabulary,
        generation=generation,
        allow_nonfinite=allow_nonfinite,
    )
    if checkpoint is not None:
        refuse_delta(given["checkpoint"])
    if vocabulary is not None and not isinstance(vocabulary, Vocabulary):
        given["vocabulary"] = align_vocabularies(*vocabulary)
    scope = tf.get_variable_scope()
    outer = scope.custom_getter

    def custom_getter(getter, *args, **arguments):
        if outer is not None:
            getter = functools.partial(outer, getter)
        return create(getter, *args, **dict(arguments, **given))

    # As a custom getter, create() gets what the scope decides: full name, reuse,
    # partitioner, regularizer. Set and not entered: entering a scope again
    # would also restart its count of default names.
    scope.set_custom_getter(custom_getter)
    try:
        return tf.get_variable(
            name, shape, dtype, initializer=initializer, partitioner=partitioner, **kwargs
        )
    finally:
        scope.set_custom_getter(outer)


def create(
    getter,
    name,
    shape=None,
    dtype=tf.float32,
    initializer=None,
    checkpoint=None,
    tensor_name=None,
    num_frozen_rows=None,
    trainable_rows=None,
    vocabulary=None,
    generation=None,
    allow_nonfinite=False,
    reuse=None,
    partitioner=None,
    regularizer=None,
    constraint=None,
    collections=None,
    trainable=None,
    **kwargs,
):
    """Makes a `PartialEmbedding` with a variable getter; see `get_embedding`.

    Args:
        getter: what a custom getter is given to make variables with.
        name: full name of the table, scopes included.
        trainable: False if the new rows do not train either.
    """
    shape = tf.TensorShape(shape if shape is not None else np.shape(initializer))
    if not shape.is_fully_defined() or shape.rank < 1:
        raise ValueError(
            f"The table {name} needs a shape [rows, ...] of known numbers, got {shape}."
        )
    shape, dtype = shape.as_list(), tf.as_dtype(dtype or tf.float32).base_dtype
    existing = [e for e in embeddings_in() if e.table_name == name]
    if existing and reuse:
        if existing[0].shape.as_list() != shape or existing[0].dtype != dtype:
            raise ValueError(
                f"The table {name} exists with shape {existing[0].shape.as_list()} "
                f"{existing[0].dtype.name} and cannot be reused as {shape} {dtype.name}."
            )
        return existing[0]
    if existing or (reuse is True):
        raise ValueError(
            "The table {} {}. Did you mean reuse={} in the variable scope?".format(
                name,
                "already exists" if existing else "does not exist, and the scope says reuse",
                "tf.AUTO_REUSE",
            )
        )
    tensor_name = tensor_name or name
    checkpoint_rows, source = 0, None
    if checkpoint is not None:
        if num_frozen_rows is not None:
            raise ValueError(
                f"{name}: give checkpoint= or num_frozen_rows=, not both; the checkpoint says how "
                "many "
                "rows are old."
            )
        checkpoint_rows, source = _old_rows(
            name, shape, dtype, checkpoint, tensor_name, vocabulary, generation
        )
    elif vocabulary is not None or generation is not None:
        raise ValueError(f"{name}: vocabulary= and generation= need checkpoint=.")
    elif num_frozen_rows is None and trainable_rows is None:
        raise ValueError(
            f"{name}: nothing says which rows are frozen. Give checkpoint=, num_frozen_rows= or "
            "trainable_rows=."
        )
    elif num_frozen_rows is not None and (
        int(num_frozen_rows) != num_frozen_rows or not 0 <= num_frozen_rows <= shape[0]
    ):
        raise ValueError(
            f"{name}: num_frozen_rows must be from 0 to {shape[0]}, the rows of the table; got "
            f"{num_frozen_rows}."
        )
    plan = plan_rows(name, shape[0], checkpoint_rows, num_frozen_rows, trainable_rows, source)
    if initializer is None:
        floating = dtype.is_floating
        initializer = tf.glorot_uniform_initializer() if floating else tf.zeros_initializer()

    if not callable(initializer):
        given = list(np.shape(initializer) or tf.convert_to_tensor(initializer).shape.as_list())
        new_part = [len(plan.trainable_rows)] + shape[1:]
        if given not in (new_part, shape):
            raise ValueError(
                f"The initial values of {name} have shape {given}; expected the rows that train, "
                f"{new_part}, or the "
                f"whole table, {shape}."
            )

    def make_initializer(rows):
        return _rows_initializer(
            initializer,
            plan,
            rows,
            checkpoint,
            tensor_name,
            shape,
            dtype,
            allow_nonfinite,
            name,
            vocabulary and vocabulary.new_keys,
        )

    common = dict(kwargs, dtype=dtype, reuse=reuse)
    frozen = new = None
    if plan.num_frozen_rows:
        frozen = getter(
            name + "/frozen",
            shape=[plan.num_frozen_rows] + shape[1:],
            initializer=make_initializer(plan.frozen_rows()),
            trainable=False,
            partitioner=partitioner,
            collections=_without_trainable(collections),
            **common,
        )
    if len(plan.trainable_rows):
        new = getter(
            name + "/trainable",
            shape=[len(plan.trainable_rows)] + shape[1:],
            initializer=make_initializer(plan.trainable_rows),
            trainable=trainable,
            regularizer=regularizer,
            constraint=constraint,
            collections=collections,
            **common,
        )
    parts = frozen if isinstance(frozen, PartitionedVariable) else []
    if any(part.shape.as_list()[1:] != shape[1:] for part in parts):
        raise ValueError(
            f"The partitioner of {name} divides {shape} along another axis than its rows. "
            "Partition axis "
            "0."
        )
    embedding = PartialEmbedding(name, plan, frozen, new, checkpoint, tensor_name)
    if vocabulary is not None:
        embedding.trainable_keys = [vocabulary.new_keys[row] for row in plan.trainable_rows]
    if in_slices(embedding):
        # Plain Savers now write and read both as slices of one tensor.
        for variable, offset in embedding.offsets():
            extent = variable.shape.as_list()
            variable._set_save_slice_info(
                tf.Variable.SaveSliceInfo(name, shape, [offset] + [0] * (len(shape) - 1), extent)
            )
    else:
        tf.add_to_collection(tf.GraphKeys.SAVEABLE_OBJECTS, Whole(embedding, name))
    # A scope that asks for it again, here or later, is given this object.
    variable_store()[name] = embedding
    return embedding


def _old_rows(name, shape, dtype, checkpoint, tensor_name, vocabulary, generation):
    """Returns (rows taken from the checkpoint, see `RowPlan.source`), checked."""
    checkpoint.expect(tensor_name)
    held = checkpoint_rows = (checkpoint.shapes[tensor_name] or [0])[0]
    kept = None
    if generation is not None:
        kept = rows_of_generation(checkpoint, tensor_name, generation)
        checkpoint_rows = len(kept)
        if np.array_equal(kept, np.arange(len(kept))):
            kept = None
    # Rows may be dropped by a vocabulary or a generation, and not otherwise.
    drops = vocabulary is not None or generation is not None
    max_rows = max(shape[0], held) if drops else shape[0]
    checkpoint.check(tensor_name, dtype, [max_rows] + shape[1:])
    if vocabulary is not None:
        check_vocabulary(vocabulary, name, shape[0], checkpoint_rows)
        source = vocabulary.source
    elif checkpoint_rows > shape[0]:
        raise ValueError(
            f"The table {name} has {shape[0]} rows, generation {generation} of {tensor_name} in "
            f"{checkpoint.prefix} has {checkpoint_rows}. Ask for as many or "
            "more."
        )
    else:
        source = None
    if kept is None:
        return checkpoint_rows, source
    if source is None:
        source = np.where(np.arange(shape[0]) < checkpoint_rows, np.arange(shape[0]), -1)
    return held, np.where(source >= 0, kept[np.maximum(source, 0)], -1)


def _without_trainable(collections):
    return collections and [key for key in collections if key != tf.GraphKeys.TRAINABLE_VARIABLES]


def _rows_initializer(
    initializer, plan, rows, checkpoint, tensor_name, shape, dtype, allow_nonfinite, name, keys
):
    """Returns an initializer for one variable: the rows `rows` of the table."""

    def draw(new_rows, row_shape):
        if isinstance(initializer, RowInit):
            old = OldRows(name, plan, checkpoint, tensor_name, keys)
            values = initializer.new_rows(old, new_rows, row_shape, dtype)
            values.set_shape([len(new_rows)] + row_shape)
            return values
        if callable(initializer):
            offset = int(new_rows[0]) if len(new_rows) else 0
            return for_rows(initializer, shape, offset)([len(new_rows)] + row_shape, dtype)
        values = tf.convert_to_tensor(initializer, dtype)
        of_all_rows = values.shape.as_list()[0] == plan.num_rows
        return tf.gather(
            values, row_indices(new_rows if of_all_rows else np.searchsorted(rows, new_rows))
        )

    def load(source_rows, row_shape):
        full, part = list(checkpoint.shapes[tensor_name]), [len(source_rows)] + row_shape
        if (np.diff(source_rows) == 1).all():
            offset = [int(source_rows[0])] + [0] * len(row_shape)
            spec = "" if part == full else slice_spec(full, offset, part)
            value = restore(checkpoint.prefix, tensor_name, dtype, spec, part)
        else:
            value = restore(checkpoint.prefix, tensor_name, dtype, shape=full)
            value = tf.gather(value, row_indices(source_rows))
        if allow_nonfinite:
            return value
        return refuse_nonfinite(value, f"{tensor_name} of {checkpoint.prefix}")

    def initialize(shape_of_part, dtype=None, partition_info=None):
        del dtype
        start = partition_info.var_offset[0] if partition_info is not None else 0
        part, row_shape = rows[start : start + shape_of_part[0]], list(shape_of_part[1:])
        sources = plan.source_of(part)
        old, new = np.flatnonzero(sources >= 0), np.flatnonzero(sources < 0)
        if not len(old):
            return draw(part, row_shape)
        if not len(new):
            return load(sources, row_shape)
        values = [load(sources[old], row_shape), draw(part[new], row_shape)]
        return tf.dynamic_stitch([tf.cast(row_indices(at), tf.int32) for at in (old, new)], values)

    return initialize
