"""One table, two variables: `PartialEmbedding`."""

from collections import namedtuple

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import PartitionedVariable, VariableLike
from partial_embed.files.hashes import keys_fingerprint
from partial_embed.table.assigning import Assignable
from partial_embed.table.lookup import (
    Rows,
    as_ids,
    gather_rows,
    locate,
    trainable_rows_of,
)
from partial_embed.table.plan import rows_of
from partial_embed.table.scoring import Scoring
from partial_embed.table.sparse_lookup import gather_in_table, somewhere

# Keys of graph collections. Not strings, so that export_meta_graph leaves them out.
_EMBEDDINGS = ("partial_embed", "embeddings")
FROZEN_VARIABLES = ("partial_embed", "frozen_variables")


FrozenVariable = namedtuple("FrozenVariable", ["variable", "checkpoint", "tensor_name"])
FrozenVariable.__doc__ = "A variable that growing froze whole, and what it was loaded from."


def embeddings_in(graph=None):
    """Returns the list of all `PartialEmbedding`s of a graph, in order of creation."""
    return (graph or tf.get_default_graph()).get_collection(_EMBEDDINGS)


def frozen_variables_in(graph=None):
    """Returns the list of `FrozenVariable`s: frozen whole by `growing`, in order."""
    return (graph or tf.get_default_graph()).get_collection(FROZEN_VARIABLES)


def parts_of(variable):
    """Returns the partitions of a variable in their order, or the variable alone."""
    return list(variable) if isinstance(variable, PartitionedVariable) else [variable]


def divides_rows(variable):
    """Returns whether the partitions of a variable hold parts of each row, not whole rows."""
    parts = parts_of(variable)
    return len(parts) > 1 and parts[0].shape.as_list()[0] == variable.get_shape().as_list()[0]


def whole_value(variable):
    """Returns a tensor of all of a variable that is no partitioned one; TensorFlow copies nothing.

    Of a resource variable it would, once rows of it were gathered: from then on whatever reads it
    gets a copy, until it is told otherwise, as TensorFlow 1 and the first of 2 cannot be.
    """
    handle = getattr(variable, "handle", None)
    forget = getattr(tf.raw_ops, "DisableCopyOnRead", None)
    first = [] if handle is None or forget is None else [forget(resource=handle)]
    with tf.control_dependencies(first):
        return variable.read_value()


class PartialEmbedding(Assignable, Scoring, VariableLike):
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
        keys: `keys_fingerprint` of the keys of all rows; None without a vocabulary.
        table_name: str, `name` without the `:0`: the table's name on disk.

    Args:
        plan: the `TablePlan` it was made by; `get_embedding` and `growing` give it.
        frozen, trainable: the variables.

    Example:
        >>> table = pe.get_embedding("embedding", [7, 4], checkpoint="base.ckpt")
        >>> table.frozen.shape.as_list(), table.trainable.shape.as_list()
        ([5, 4], [2, 4])
        >>> session = tf.Session()
        >>> session.run(tf.global_variables_initializer())
        >>> session.run(tf.nn.embedding_lookup(table, [4, 1])).tolist()
        [[4.0, 4.0, 4.0, 4.0], [1.0, 1.0, 1.0, 1.0]]
    """

    def __init__(self, plan, frozen, trainable):
        """Joins the variables that were made by a `TablePlan`; see `get_embedding`."""
        self.table_name = plan.name
        self.plan = plan.rows
        self.frozen = frozen
        self.trainable = trainable
        self.source = plan.checkpoint
        self.tensor_name = plan.tensor_name
        self.trainable_keys = plan.keys and [plan.keys[row] for row in plan.rows.trainable_rows]
        self.keys = plan.keys and keys_fingerprint(plan.keys)
        self.num_frozen_rows = plan.rows.num_frozen_rows
        self.shape = tf.TensorShape(plan.shape)
        self.dtype = plan.dtype
        self.graph = self.variables[0].graph
        halves = [half for half in (frozen, trainable) if half is not None]
        self._rows = Rows(plan.rows, plan.shape[1:], plan.name, halves)
        # What sess.run(e) fetches, under the name that the variable would have.
        with tf.control_dependencies(None):
            with tf.name_scope(f"{plan.name}/value/"):  # and not at the root, as `concat`
                # By the reads that the variables have anyway.
                value = self._join([self.graph.as_graph_element(v) for v in self.variables])
            with tf.name_scope(None):
                self.snapshot = tf.identity(value, name=plan.name)
        tf.add_to_collection(_EMBEDDINGS, self)

    def __repr__(self):
        trainable = getattr(self.trainable, "name", None)
        return (
            f"<PartialEmbedding {self.name!r} shape={self.shape.as_list()} dtype={self.dtype.name} "
            f"frozen rows={self.num_frozen_rows}; pass its .trainable ({trainable}) to optimizers>"
        )

    name = property(lambda self: f"{self.table_name}:0")
    op = property(lambda self: self.snapshot.op)
    device = property(lambda self: self.snapshot.device)

    @property
    def frozen_parts(self):
        """The frozen variable's partitions: a list of variables, in order of rows."""
        return [] if self.frozen is None else parts_of(self.frozen)

    @property
    def variables(self):
        """All variables of the table, frozen ones first."""
        return self.frozen_parts + ([] if self.trainable is None else [self.trainable])

    def offsets(self):
        """Returns [(variable, row at which it begins), ...] of [frozen; trainable]."""
        rows = [rows_of(variable, self.plan.axis) for variable in self.variables]
        return list(zip(self.variables, np.cumsum([0] + rows).tolist()))

    @property
    def initializer(self):
        """Op that loads the frozen rows and initializes the others."""
        return tf.group(*[variable.initializer for variable in self.variables])

    def get_shape(self):
        """Returns the shape of the whole table, a `tf.TensorShape`."""
        return self.shape

    # --- O(batch) -------------------------------------------------------------

    def lookup(self, ids, name=None):
        """Returns the rows `ids`: `whole_table[ids]`, reading no other row.

        Gradients reach the trainable rows that are in the batch, and no other.

        Args:
            ids: int32 or int64 tensor of any shape, or ragged, from 0 to rows - 1;
                old and new mixed, repeated, or none at all.
            name: name of the result.

        Returns:
            Tensor of shape `ids.shape + shape[1:]`.

        Raises:
            TypeError: if ids are not int32 or int64, or cannot name all rows.
            tf.errors.InvalidArgumentError: when the step runs, if an id is
                negative or too large; names the ids and the number of rows.
        """
        if isinstance(ids, tf.RaggedTensor):
            return tf.ragged.map_flat_values(self.lookup, ids)
        # embedding_lookup asks for colocation with the table, of which the
        # halves may be on two devices.
        anywhere = tf.get_default_graph().colocate_with(None, ignore_existing=True)
        default_name = self.table_name.replace("/", "_") + "_lookup"
        if self.plan.axis:  # of a kernel [d, vocabulary], both variables hold some of each
            with tf.name_scope(name, default_name) as scope, anywhere:
                rows = [gather_rows(part, ids) for part in self.variables]
                return self._join(rows, scope or None, rows[0].shape.rank - self.shape.rank)
        with tf.name_scope(name, default_name) as scope, anywhere:
            ids = as_ids(ids, self.table_name, self.plan.num_rows)
            rows = self._rows(ids, scope or None)
            rows.set_shape(ids.shape.concatenate(self.shape[1:]))
            return rows

    def sparse_read(self, indices, name=None):
        """What `tf.gather` and `tf.nn.embedding_lookup` call: `lookup`."""
        return self.lookup(indices, name=name)

    # --- O(table) -------------------------------------------------------------

    def _locate_all(self):
        return locate(tf.range(self.plan.num_rows), trainable_rows_of(self.plan, tf.int32))

    def _order(self):
        """For each row of the table, its row in [frozen; trainable]."""
        trains, in_frozen, in_trainable = self._locate_all()
        return tf.where_v2(trains, in_trainable + self.num_frozen_rows, in_frozen)

    def value(self, name=None):
        """Returns the whole table as one tensor: a copy, at the whole table's cost."""
        with tf.get_default_graph().colocate_with(None, ignore_existing=True):
            return self._join([tf.convert_to_tensor(part) for part in self.variables], name)

    read_value = value

    def initialized_value(self):
        """Returns the whole table as it is when initialized, as a tensor."""
        return self._join([variable.initialized_value() for variable in self.variables])

    def _join(self, parts, name=None, leading=0):
        """Puts values of the variables, which have so many axes more, in the order of rows."""
        axis = self.plan.axis + leading
        if len(parts) == 1:
            return tf.identity(parts[0], name=name)
        if self.plan.in_order:
            return tf.concat(parts, axis, name=name)
        if axis:
            return tf.gather(tf.concat(parts, axis), self._order(), axis=axis, name=name)
        # Stitched, for the gradient of a stitch is dense, as that of a variable is.
        trains = tf.cast(self._locate_all()[0], tf.int32)
        places = tf.dynamic_partition(tf.range(self.plan.num_rows), trains, 2)
        return tf.dynamic_stitch(places, [tf.concat(parts[:-1], 0), parts[-1]], name=name)

    def trainable_part(self, value):
        """Returns the rows of `value`, a tensor of the table's shape, that are trainable ones."""
        axis = self.plan.axis
        if self.plan.in_order:
            return value[(slice(None),) * axis + (slice(self.num_frozen_rows, None),)]
        return tf.gather(value, tf.constant(self.plan.trainable_rows), axis=axis)

    def is_initialized(self, name=None):
        """Returns a bool tensor: whether all of its variables are initialized."""
        with tf.name_scope(name, "is_initialized"):
            missing = tf.report_uninitialized_variables(self.variables)
            return tf.equal(tf.size(missing), 0)

    def eval(self, session=None):
        """Returns the whole table as a numpy array, in the given or default session."""
        return self.snapshot.eval(session=session)

    # --- not possible on a table with frozen rows -------------------------------

    def refuse(self, *unused_args, **unused_kwargs):
        """Raises the TypeError of what would write to old rows: all the methods below."""
        first = f"{self.num_frozen_rows} + i" if self.plan.contiguous else "plan.trainable_rows[i]"
        raise TypeError(
            f"{self.name} holds {self.num_frozen_rows} frozen rows and cannot be written to by "
            f"row. Write to its new rows, {self.table_name}.trainable, whose row i is row {first} "
            "of the table."
        )

    def ref(self):
        """Refused: what asks for it (an optimizer, a moving average) wants a variable."""
        if self.trainable is None:
            raise TypeError(f"No row of {self.name} trains: all are frozen. Leave it out.")
        raise TypeError(
            f"{self.name} is two variables; give {self.table_name}.trainable, the one that changes."
        )

    experimental_ref = ref

    def __iter__(self):
        raise TypeError(f"{self.name} cannot be iterated over, as no variable can.")

    count_up_to = scatter_update = scatter_add = scatter_sub = scatter_nd_update = refuse
    scatter_nd_add = refuse
    scatter_nd_sub = scatter_mul = scatter_div = scatter_min = scatter_max = refuse
    batch_scatter_update = refuse


class PartitionedEmbedding(PartialEmbedding):
    """A table for which the script asked a partitioner; of its parts it shows one, itself."""

    def __iter__(self):
        return iter([self])

    def __len__(self):
        return 1

    as_tensor = PartialEmbedding.value


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
    value = embedding.value(name=name)
    if name == "params":  # of embedding_lookup_sparse
        value = somewhere(value)
    return gather_in_table(value, embedding)


tf.register_tensor_conversion_function(PartialEmbedding, _to_tensor)
