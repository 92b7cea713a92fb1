"""What every lookup does: check ids, divide them between two variables, gather rows of one."""

import functools
from collections import namedtuple

import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import PartitionedVariable, place_of_ops

Divided = namedtuple("Divided", ["shape", "rows", "places"])
Divided.__doc__ = """Ids of a table, divided between its variables.

Attributes:
    shape: int32 vector, the shape of what is looked up: `ids.shape + row_shape`.
    rows: list of id vectors, row numbers in each variable.
    places: list of int32 vectors, where each variable's rows belong among the
        flattened ids, as `tf.dynamic_stitch` takes them; empty for one variable.
"""


def as_ids(ids, what, num_rows):
    """Returns ids as an int32 or int64 tensor.

    Args:
        ids: what a lookup was given.
        what: str, the table, for errors.
        num_rows: int, its rows.

    Raises:
        TypeError: if they are of another dtype, or cannot name all rows.
    """
    ids = tf.convert_to_tensor(ids, name="ids")
    if ids.dtype.base_dtype not in (tf.int32, tf.int64):
        if ids.shape.num_elements() == 0:  # [] becomes float32
            return tf.zeros(ids.shape, tf.int32)
        raise TypeError(
            f"Ids of {what} must be int32 or int64, got {ids.dtype.base_dtype.name} ({ids.name}). "
            "Cast them: tf.cast(ids, tf.int64)."
        )
    if num_rows > ids.dtype.max:
        raise TypeError(
            f"{what} has {num_rows} rows, more than int32 can count. Feed int64 ids ({ids.name})."
        )
    return ids


def ids_outside(what, num_rows):
    """Returns what the failing step says of a table that has no such rows."""
    return (
        f"{what} has {num_rows} rows, so ids go from 0 to {num_rows - 1}. Ids outside (up to 20):"
    )


def find_outside(ids, num_rows):
    """Returns (whether all `ids`, [n], are from 0 to `num_rows` - 1, those that are not)."""
    outside = tf.not_equal(ids, tf.clip_by_value(ids, 0, num_rows - 1))
    bad = tf.gather_nd(ids, tf.where_v2(outside))
    return tf.equal(tf.size(bad), 0), bad


def after_check(tensors, message, all_inside, bad):
    """Returns tensors, after an op that fails, with a message, if not `all_inside`."""
    # Raw, for tf.Assert adds a tf.cond.
    check = tf.raw_ops.Assert(condition=all_inside, data=[message, bad], summarize=20)
    with tf.control_dependencies([check]):
        return tf.raw_ops.IdentityN(input=tensors)


def locate(ids, trainable_rows):
    """Returns where rows of a table are: (trains, row in frozen, row in trainable).

    Args:
        ids: int32 or int64 tensor [n], checked.
        trainable_rows: tensor of that dtype: the rows that train, [k], ascending;
            or the first of them, [], if all after it train.

    Returns:
        A bool tensor [n] and two id tensors [n]; of the two, the one of the other
        half is meaningless.
    """
    if trainable_rows.shape.rank == 0:
        return ids >= trainable_rows, ids, ids - trainable_rows
    # Raw, for tf.searchsorted of TF 1.15 fails where there are no ids.
    rows, values = trainable_rows[tf.newaxis], ids[tf.newaxis]
    position = tf.raw_ops.LowerBound(sorted_inputs=rows, values=values, out_type=ids.dtype)[0]
    # One row more than there is, for ids beyond the last trainable one.
    padded = tf.concat([trainable_rows, tf.constant([-1], ids.dtype)], 0)
    return tf.equal(tf.gather(padded, position), ids), ids - position, position


def trainable_rows_of(plan, dtype):
    """Returns the `trainable_rows` of `locate` for a `RowPlan`."""
    return tf.constant(plan.num_frozen_rows if plan.in_order else plan.trainable_rows, dtype)


class IdDivider:
    """Divides ids between the variables of a table; the same tensor only once.

    Once in each place of a graph: what one branch computes is not there in
    another, and what waits for an op must not make another lookup wait.
    """

    def __init__(self, plan, row_shape, what):
        """Takes the table's `RowPlan`, the shape of one of its rows, and its name."""
        self._plan, self._row_shape = plan, row_shape
        self._message = ids_outside(what, plan.num_rows)
        self._made = {}

    def __call__(self, ids):
        """Returns ids, an int32 or int64 tensor of any shape, as `Divided`."""
        place, dtype = place_of_ops(), ids.dtype.base_dtype
        if (place, dtype) not in self._made:
            self._made[place, dtype] = self._constants(dtype)
        if (place, id(ids)) not in self._made:
            message, arguments = self._made[place, dtype]
            divide = _dividing_function(*[(a.dtype, a.shape.rank) for a in arguments])
            divided, *found = divide(ids, *arguments)
            divided = divided._replace(rows=after_check(divided.rows, message, *found))
            # With ids, that their number be no other tensor's.
            self._made[place, id(ids)] = divided, ids
        return self._made[place, id(ids)][0]

    def _constants(self, dtype):
        plan = self._plan
        arguments = [tf.constant(plan.num_rows, dtype), tf.constant(self._row_shape, tf.int32)]
        if 0 < plan.num_frozen_rows < plan.num_rows:
            arguments.append(trainable_rows_of(plan, dtype))
        return tf.constant(self._message), arguments


@functools.lru_cache(maxsize=None)
def _dividing_function(*arguments):
    """One function of all ops between ids and gathers, so that a graph has one op for them.

    Of none that can fail: of functions that are stopped because another one
    failed, TensorFlow may say that they were cancelled, and not why.

    Args:
        *arguments: for each of the function's arguments but ids (dtype, rank).
    """

    def divide(ids, num_rows, row_shape, *trainable_rows):
        shape = tf.concat([tf.shape(ids), row_shape], 0)
        ids = tf.reshape(ids, [-1])
        rows, places = [ids], []
        if trainable_rows:  # and so two variables
            trains, in_frozen, in_trainable = locate(ids, *trainable_rows)
            half = tf.cast(trains, tf.int32)
            frozen, _ = tf.dynamic_partition(in_frozen, half, 2)
            _, trainable = tf.dynamic_partition(in_trainable, half, 2)
            rows = [frozen, trainable]
            places = tf.dynamic_partition(tf.range(tf.size(ids)), half, 2)
        return (Divided(shape, rows, places),) + find_outside(ids, num_rows)

    ids = tf.TensorSpec(None, arguments[0][0])
    others = [tf.TensorSpec([None] * rank, dtype) for dtype, rank in arguments]
    with tf.Graph().as_default():  # in none of the script's devices and scopes
        return tf.wrap_function(divide, [ids] + others, name="partial_embed_divide")


def gather_rows(variable, ids):
    """Returns rows of one variable, or of one partitioned in the order of its rows."""
    if isinstance(variable, PartitionedVariable):
        return tf.nn.embedding_lookup(variable, ids, partition_strategy="div")
    return beside(variable, lambda: tf.gather(variable, ids))


def beside(variable, make):
    """Returns what `make()` makes, where the variable is: only its result goes elsewhere."""
    graph = tf.get_default_graph()
    if graph is not variable.graph:  # the body of a branch or a loop
        return make()
    with graph.colocate_with(variable.op):
        return make()
