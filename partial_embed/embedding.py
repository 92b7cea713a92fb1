"""One table, two variables: `PartialEmbedding` and the builder `get_embedding`."""

import functools

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import PartitionedVariable, TensorLike
from partial_embed.checkpoint import Checkpoint, refuse_nonfinite, restore, slice_spec
from partial_embed.initializers import for_rows
from partial_embed.manifest import rows_of_generation
from partial_embed.plan import plan_rows, row_indices
from partial_embed.row_init import OldRows, RowInit
from partial_embed.vocabulary import check_vocabulary

# Keys of graph collections. Not strings, so that export_meta_graph leaves them out.
_EMBEDDINGS = ("partial_embed", "embeddings")
FROZEN_VARIABLES = ("partial_embed", "frozen_variables")


def embeddings_in(graph=None):
    """Returns the list of all `PartialEmbedding`s of a graph, in order of creation."""
    return (graph or tf.get_default_graph()).get_collection(_EMBEDDINGS)


def frozen_variables_in(graph=None):
    """Returns [(variable, its `Checkpoint`), ...]: frozen whole by `growing`, in order."""
    return (graph or tf.get_default_graph()).get_collection(FROZEN_VARIABLES)


class PartialEmbedding(TensorLike):
    """A table [rows, ...] whose old rows are frozen and whose new rows train.

    `embedding` of 6 rows, 4 of them trained before:

        embedding/frozen     0 1 2 3           trainable=False, loaded
        embedding/trainable          4 5       trainable=True, its rows 0 and 1
        checkpoint           0 1 2 3 4 5       one tensor, `embedding`

    Ids count over the whole table. It can stand wherever a legacy script puts
    the variable: `tf.nn.embedding_lookup(e, ids)`, `tf.gather`, `tf.matmul`,
    `sess.run(e)`. Lookups cost what the batch costs; whatever needs all rows at
    once joins the two variables and costs the whole table.

    Attributes:
        frozen: variable [num_frozen_rows, ...], or a `PartitionedVariable`;
            None if no row is frozen.
        trainable: variable of the other rows; None if no row trains.
        num_frozen_rows: int.
        plan: the `RowPlan` that says which row is where.
        source: the `Checkpoint` it grew from, or None.
        tensor_name: str, the table's name in that checkpoint.
        trainable_keys: list of str, the vocabulary's keys of the trainable rows; or None.
        table_name: str, `name` without the `:0`: the table's name on disk.
    """

    def __init__(self, table_name, plan, frozen, trainable, source=None, tensor_name=None):
        self.table_name = table_name
        self.plan = plan
        self.frozen = frozen
        self.trainable = trainable
        self.source = source
        self.tensor_name = tensor_name or table_name
        self.trainable_keys = None
        self.num_frozen_rows = plan.num_frozen_rows
        example = trainable if trainable is not None else self.frozen_parts[0]
        self._dtype = example.dtype.base_dtype
        self._shape = tf.TensorShape([plan.num_rows]).concatenate(example.shape[1:])
        self._graph = example.graph
        # What sess.run(e) fetches, under the name that the variable would have.
        with tf.control_dependencies(None), tf.name_scope(None):
            self._snapshot = tf.identity(self.value(), name=table_name)
        tf.add_to_collection(_EMBEDDINGS, self)

    def __repr__(self):
        return (
            "<PartialEmbedding {!r} shape={} dtype={} frozen rows={}; pass its .trainable ({}) "
            "to optimizers>".format(
                self.name,
                self.shape.as_list(),
                self.dtype.name,
                self.num_frozen_rows,
                getattr(self.trainable, "name", None),
            )
        )

    name = property(lambda self: self.table_name + ":0")
    shape = property(lambda self: self._shape)
    dtype = property(lambda self: self._dtype)
    graph = property(lambda self: self._graph)
    op = property(lambda self: self._snapshot.op)
    device = property(lambda self: self._snapshot.device)

    @property
    def frozen_parts(self):
        """The frozen variable's partitions: a list of variables, in order of rows."""
        if self.frozen is None:
            return []
        return list(self.frozen) if isinstance(self.frozen, PartitionedVariable) else [self.frozen]

    @property
    def variables(self):
        """All variables of the table, frozen ones first."""
        return self.frozen_parts + ([] if self.trainable is None else [self.trainable])

    def offsets(self):
        """Returns [(variable, row at which it begins), ...] of [frozen; trainable]."""
        found, offset = [], 0
        for variable in self.variables:
            found.append((variable, offset))
            offset += variable.shape.as_list()[0]
        return found

    @property
    def initializer(self):
        """Op that loads the frozen rows and initializes the others."""
        return tf.group(*[variable.initializer for variable in self.variables])

    def get_shape(self):
        """Returns the shape of the whole table, a `tf.TensorShape`."""
        return self._shape

    # --- O(batch) -------------------------------------------------------------

    def locate(self, ids):
        """Returns where rows are: (trains, row in frozen, row in trainable).

        Args:
            ids: int32 or int64 tensor [n], checked.

        Returns:
            A bool tensor [n] and two id tensors [n]; of the two, the one of
            the other half is meaningless.
        """
        plan = self.plan
        if plan.contiguous or not len(plan.trainable_rows):
            first = tf.constant(plan.num_frozen_rows, ids.dtype)
            return ids >= first, ids, ids - first
        rows = tf.constant(plan.trainable_rows, ids.dtype)
        position = tf.cast(tf.searchsorted(rows, ids), ids.dtype)
        # One row more than there is, for ids beyond the last trainable one.
        padded = tf.constant(np.append(plan.trainable_rows, plan.num_rows), ids.dtype)
        return tf.equal(tf.gather(padded, position), ids), ids - position, position

    def lookup(self, ids, name=None):
        """Returns the rows `ids`: `whole_table[ids]`, reading no other row.

        Gradients reach the trainable rows that are in the batch, and no other.

        Args:
            ids: int32 or int64 tensor of any shape, from 0 to rows - 1; old and
                new mixed, repeated, or none at all.
            name: name of the result.

        Returns:
            Tensor of shape `ids.shape + shape[1:]`.

        Raises:
            TypeError: if ids are not int32 or int64.
            tf.errors.InvalidArgumentError: when the step runs, if an id is
                negative or too large; names the ids and the number of rows.
        """
        with tf.name_scope(name, self.table_name.replace("/", "_") + "_lookup") as scope:
            # embedding_lookup asks for colocation with the table, of which the
            # halves may be on two devices.
            with self._graph.colocate_with(None, ignore_existing=True):
                ids = as_ids(ids, self.table_name)
                flat = checked_ids(tf.reshape(ids, [-1]), self.plan.num_rows, self.table_name)
                shape = tf.concat([tf.shape(ids), self._shape.as_list()[1:]], 0)
                rows = tf.reshape(self._lookup_flat(flat), shape, name=scope or None)
                rows.set_shape(ids.shape.concatenate(self._shape[1:]))
                return rows

    def _lookup_flat(self, ids):
        if self.trainable is None:
            return gather_rows(self.frozen, ids)
        # Of no ids at all, 1.15 expects one row from dynamic_stitch.
        if self.frozen is None or ids.shape.num_elements() == 0:
            return gather_rows(self.trainable, ids)
        trains, in_frozen, in_trainable = self.locate(ids)
        # Partition and stitch, not two gathers and a choice: a choice sends a
        # zero gradient to a row that was not asked for, and momentum moves it.
        half = tf.cast(trains, tf.int32)
        places = tf.dynamic_partition(tf.range(tf.size(ids)), half, 2)
        rows = [
            gather_rows(self.frozen, tf.dynamic_partition(in_frozen, half, 2)[0]),
            gather_rows(self.trainable, tf.dynamic_partition(in_trainable, half, 2)[1]),
        ]
        return tf.dynamic_stitch(places, rows)

    def sparse_read(self, indices, name=None):
        """What `tf.gather` and `tf.nn.embedding_lookup` call: `lookup`."""
        return self.lookup(indices, name=name)

    def matmul(self, x, name=None):
        """Returns `matmul(x, whole_table, transpose_b=True)`, without joining the halves.

        The scores of a batch against all rows. Costs one product with every
        row, but no copy of the table; gradients reach the trainable rows only.

        Args:
            x: tensor [batch, d], for a table [rows, d].
            name: name of the result.

        Returns:
            Tensor [batch, rows].

        Raises:
            ValueError: if the table is not of rank 2.
        """
        if self._shape.rank != 2:
            raise ValueError(
                "matmul needs a table of rank 2, {} has shape {}.".format(
                    self.table_name, self._shape.as_list()
                )
            )
        with tf.name_scope(name, self.table_name.replace("/", "_") + "_matmul"):
            x = tf.convert_to_tensor(x, self._dtype)
            scores = [tf.matmul(x, part, transpose_b=True) for part in self.variables]
            scores = scores[0] if len(scores) == 1 else tf.concat(scores, 1)
            return scores if self._in_order else tf.gather(scores, self._order(), axis=1)

    # --- O(table) -------------------------------------------------------------

    @property
    def _in_order(self):
        """Whether the variables one after the other are the table."""
        return self.trainable is None or self.frozen is None or bool(
            np.array_equal(
                self.plan.trainable_rows, np.arange(self.num_frozen_rows, self.plan.num_rows)
            )
        )

    def _order(self):
        """For each row of the table, its row in [frozen; trainable]."""
        trains, in_frozen, in_trainable = self.locate(tf.range(self.plan.num_rows))
        return tf.where_v2(trains, in_trainable + self.num_frozen_rows, in_frozen)

    def value(self, name=None):
        """Returns the whole table as one tensor: a copy, at the whole table's cost."""
        with self._graph.colocate_with(None, ignore_existing=True):
            parts = [tf.convert_to_tensor(variable) for variable in self.variables]
            if len(parts) == 1:
                return tf.identity(parts[0], name=name)
            joined = tf.concat(parts, 0, name=name)
            return joined if self._in_order else tf.gather(joined, self._order())

    read_value = value

    def initialized_value(self):
        """Returns the whole table as it is when initialized, as a tensor."""
        parts = [variable.initialized_value() for variable in self.variables]
        joined = parts[0] if len(parts) == 1 else tf.concat(parts, 0)
        return joined if self._in_order else tf.gather(joined, self._order())

    def eval(self, session=None):
        """Returns the whole table as a numpy array, in the given or default session."""
        return self._snapshot.eval(session=session)

    def _as_graph_element(self):
        return self._snapshot

    # --- not possible on a table with frozen rows -------------------------------

    def _refuse(self, *unused_args, **unused_kwargs):
        raise TypeError(
            "{} holds {} frozen rows and cannot be assigned to as a whole. Assign to its new rows, "
            "{}.trainable, whose row i is row {} of the table.".format(
                self.name,
                self.num_frozen_rows,
                self.table_name,
                "{} + i".format(self.num_frozen_rows)
                if self.plan.contiguous
                else "plan.trainable_rows[i]",
            )
        )

    assign = assign_add = assign_sub = load = count_up_to = _refuse
    scatter_update = scatter_add = scatter_sub = scatter_nd_update = scatter_nd_add = _refuse
    scatter_nd_sub = scatter_mul = scatter_div = scatter_min = scatter_max = _refuse
    batch_scatter_update = _refuse


def _overload(operator):
    def apply(self, *args, **kwargs):
        return getattr(tf.Tensor, operator)(self.value(), *args, **kwargs)

    apply.__name__ = operator
    return apply


for _operator in tf.Tensor.OVERLOADABLE_OPERATORS:
    if _operator not in ("__eq__", "__ne__"):  # a table is equal to itself alone
        setattr(PartialEmbedding, _operator, _overload(_operator))
PartialEmbedding.__array_priority__ = 100  # numpy leaves `array * e` to the table


def _to_tensor(embedding, dtype=None, name=None, as_ref=False):
    del as_ref
    if dtype is not None and not embedding.dtype.is_compatible_with(dtype):
        return NotImplemented
    return embedding.value(name=name)


tf.register_tensor_conversion_function(PartialEmbedding, _to_tensor)


def as_ids(ids, what):
    ids = tf.convert_to_tensor(ids, name="ids")
    if ids.dtype.base_dtype not in (tf.int32, tf.int64):
        if ids.shape.num_elements() == 0:  # [] becomes float32
            return tf.zeros(ids.shape, tf.int32)
        raise TypeError(
            "Ids of {} must be int32 or int64, got {} ({}). Cast them: tf.cast(ids, "
            "tf.int64).".format(what, ids.dtype.base_dtype.name, ids.name)
        )
    return ids


def checked_ids(ids, num_rows, what):
    """Returns `ids` after an op that fails if one is not from 0 to `num_rows` - 1."""
    bad = tf.boolean_mask(ids, tf.logical_or(ids < 0, ids >= tf.constant(num_rows, ids.dtype)))
    message = "{} has {} rows, so ids go from 0 to {}. Ids outside (up to 20):".format(
        what, num_rows, num_rows - 1
    )
    check = tf.Assert(tf.equal(tf.size(bad), 0), [message, bad], summarize=20)
    with tf.control_dependencies([check]):
        return tf.identity(ids)


def gather_rows(variable, ids):
    """Returns rows of one variable, or of one partitioned in the order of its rows."""
    if isinstance(variable, PartitionedVariable):
        return tf.nn.embedding_lookup(variable, ids, partition_strategy="div")
    with variable.graph.colocate_with(variable.op):
        return tf.gather(variable, ids)


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
    **kwargs
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
        vocabulary: a `Vocabulary` from `align_vocabularies`: rows follow keys.
            Keys that are new train, keys that vanished are dropped.
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
    **kwargs
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
            "The table {} needs a shape [rows, ...] of known numbers, got {}.".format(name, shape)
        )
    shape, dtype = shape.as_list(), tf.as_dtype(dtype or tf.float32).base_dtype
    existing = [e for e in embeddings_in() if e.table_name == name]
    if existing and reuse:
        if existing[0].shape.as_list() != shape or existing[0].dtype != dtype:
            raise ValueError(
                "The table {} exists with shape {} {} and cannot be reused as {} {}.".format(
                    name, existing[0].shape.as_list(), existing[0].dtype.name, shape, dtype.name
                )
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
                "{}: give checkpoint= or num_frozen_rows=, not both; the checkpoint says how many "
                "rows are old.".format(name)
            )
        checkpoint_rows, source = _old_rows(
            name, shape, dtype, checkpoint, tensor_name, vocabulary, generation
        )
    elif vocabulary is not None or generation is not None:
        raise ValueError("{}: vocabulary= and generation= need checkpoint=.".format(name))
    elif num_frozen_rows is None and trainable_rows is None:
        raise ValueError(
            "{}: nothing says which rows are frozen. Give checkpoint=, num_frozen_rows= or "
            "trainable_rows=.".format(name)
        )
    elif num_frozen_rows is not None and not 0 <= num_frozen_rows <= shape[0]:
        raise ValueError(
            "{}: num_frozen_rows must be from 0 to {}, the rows of the table; got {}.".format(
                name, shape[0], num_frozen_rows
            )
        )
    plan = plan_rows(name, shape[0], checkpoint_rows, num_frozen_rows, trainable_rows, source)
    if initializer is None:
        floating = dtype.is_floating
        initializer = tf.glorot_uniform_initializer() if floating else tf.zeros_initializer()

    def make_initializer(rows):
        return _rows_initializer(
            initializer, plan, rows, checkpoint, tensor_name, shape, dtype, allow_nonfinite, name,
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
            **common
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
            **common
        )
    parts = frozen if isinstance(frozen, PartitionedVariable) else []
    if any(part.shape.as_list()[1:] != shape[1:] for part in parts):
        raise ValueError(
            "The partitioner of {} divides {} along another axis than its rows. Partition axis "
            "0.".format(name, shape)
        )
    embedding = PartialEmbedding(name, plan, frozen, new, checkpoint, tensor_name)
    if vocabulary is not None:
        embedding.trainable_keys = [vocabulary.new_keys[row] for row in plan.trainable_rows]
    if plan.contiguous:
        # Plain Savers now write and read both as slices of one tensor.
        for variable, offset in embedding.offsets():
            extent = variable.shape.as_list()
            variable._set_save_slice_info(
                tf.Variable.SaveSliceInfo(name, shape, [offset] + [0] * len(shape[1:]), extent)
            )
    return embedding


def _old_rows(name, shape, dtype, checkpoint, tensor_name, vocabulary, generation):
    """Returns (rows taken from the checkpoint, see `RowPlan.source`), checked."""
    checkpoint.expect(tensor_name)
    held = checkpoint_rows = (checkpoint.shapes[tensor_name] or [0])[0]
    kept = None
    if generation is not None:
        kept = rows_of_generation(checkpoint.prefix, tensor_name, generation)
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
            "The table {} has {} rows, generation {} of {} in {} has {}. Ask for as many or "
            "more.".format(name, shape[0], generation, tensor_name, checkpoint.prefix,
                           checkpoint_rows)
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
        wanted = {plan.num_rows: new_rows, len(rows): np.searchsorted(rows, new_rows)}
        given = values.shape.as_list()
        if given[1:] != row_shape or given[0] not in wanted:
            raise ValueError(
                "The initial values of {} have shape {}; expected the rows of its new part, {}, "
                "or of the whole table, {}.".format(name, given, [len(new_rows)] + row_shape, shape)
            )
        return tf.gather(values, row_indices(wanted[given[0]]))

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
        return refuse_nonfinite(value, "{} of {}".format(tensor_name, checkpoint.prefix))

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
