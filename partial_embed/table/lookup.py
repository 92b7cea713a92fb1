"""What every lookup does: check ids, divide them between two variables, gather rows of one."""

import functools
import inspect
import re
from collections import namedtuple

import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import PartitionedVariable, is_watched, place_of_ops
from partial_embed.files.tensors import a_function, fail_unless
from partial_embed.table.in_loops import without_first_entry

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
    with tf.control_dependencies([fail_unless(message, all_inside, bad)]):
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


# As it is without what warns of arguments that are no more, which asks Python for the signature of
# a function at each call, and takes half as long as the call.
_CREATE_OP = tf.Graph.create_op
_PLAIN_CREATE_OP = inspect.unwrap(_CREATE_OP)


class Again:
    """Makes an op with whatever TensorFlow has for that, and then more of its kind at less cost.

    For one place of a graph. Asking what an op is, what its inputs may be and what its attributes
    are takes longer than making it, and of the second one all of that is known.

    Args:
        make: function of (tensors, name) that makes an op, and returns an output of it, or it;
            what inputs it has besides the tensors is the same for all tensors.
    """

    def __init__(self, make):
        self._make, self._first, self._known = make, None, None

    def __call__(self, tensors, name=None):
        """Returns the `tf.Operation` made of a list of tensors."""
        if self._first and not self._known:  # Many are made once.
            self._known = self._learn(*self._first)
        if not self._known or is_watched():
            made = self._make(tensors, name)
            op = getattr(made, "op", made)
            self._first = op, tensors
            return op
        kind, inputs, options, default_name = self._known
        inputs = [tensors[i] if isinstance(i, int) else i for i in inputs]
        graph = tf.get_default_graph()
        made_by = type(graph).create_op  # which may be another's by now
        create_op = _PLAIN_CREATE_OP if made_by is _CREATE_OP else made_by
        return create_op(graph, kind, inputs, name=name or default_name, **options)

    def _learn(self, op, tensors):
        inputs = [_position(tensor, tensors) for tensor in op.inputs]
        if {i for i in inputs if isinstance(i, int)} != set(range(len(tensors))):
            return None  # They come to it by other ops, as into a loop.
        # Those with an underscore are of the scopes that an op is made in.
        attributes = {k: v for k, v in op.node_def.attr.items() if not k.startswith("_")}
        options = dict(dtypes=[output.dtype for output in op.outputs], attrs=attributes)
        return op.type, inputs, options, re.sub(r"_\d+$", "", op.name.split("/")[-1])


def _position(tensor, tensors):
    return next((place for place, other in enumerate(tensors) if other is tensor), tensor)


Makers = namedtuple("Makers", ["divide", "check", "pass_on", "gathers", "stitch"])
Makers.__doc__ = "The `Again`s of a lookup in one place of a graph, one of `gathers` a variable."


class Rows:
    """Reads rows of a table from its variables; the same ids are divided only once.

    Once in each place of a graph: what one branch computes is not there in
    another, and what waits for an op must not make another lookup wait.

    Args:
        plan: the table's `RowPlan`.
        row_shape: list of ints, the shape of one of its rows.
        what: str, its name.
        halves: list of its variables, of which the frozen one can be partitioned.
    """

    def __init__(self, plan, row_shape, what, halves):
        self._plan, self._row_shape, self._halves = plan, row_shape, halves
        self._message = ids_outside(what, plan.num_rows)
        self._made = {}

    def __call__(self, ids, name):
        """Returns the rows `ids`, an int32 or int64 tensor of any shape."""
        place, dtype = place_of_ops(), ids.dtype.base_dtype
        if (place, dtype) not in self._made:
            self._made[place, dtype] = self._makers(dtype)
        makers = self._made[place, dtype]
        if (place, id(ids)) not in self._made:
            # With ids, that their number be no other tensor's.
            self._made[place, id(ids)] = self._divide(ids, makers), ids
        divided = self._made[place, id(ids)][0]
        rows = [_gather_again(*some) for some in zip(makers.gathers, self._halves, divided.rows)]
        # Partition and stitch, not two gathers and a choice: a choice sends a
        # zero gradient to a row that was not asked for, and momentum moves it.
        flat = len(rows) == 2 and ids.shape.rank == 1
        if len(rows) == 2:
            rows = makers.stitch(divided.places + rows, name if flat else None).outputs
        return rows[0] if flat else tf.reshape(rows[0], divided.shape, name=name)

    def _divide(self, ids, makers):
        shape, *parts, all_inside, bad = makers.divide([ids]).outputs
        number = len(self._halves)
        with tf.control_dependencies([makers.check([all_inside, bad])]):
            rows = makers.pass_on(parts[:number]).outputs
        return Divided(shape, rows, parts[number:])

    def _makers(self, dtype):
        plan = self._plan
        arguments = [tf.constant(plan.num_rows, dtype), tf.constant(self._row_shape, tf.int32)]
        if len(self._halves) == 2:
            arguments.append(trainable_rows_of(plan, dtype))
        message = tf.constant(self._message)
        function = _dividing_function(*[(a.dtype, a.shape.rank) for a in arguments])
        return Makers(
            Again(lambda ids, _: function(*ids, *arguments)[0].shape),
            Again(lambda found, _: fail_unless(message, *found)),
            Again(lambda rows, _: tf.raw_ops.IdentityN(input=rows)[0]),
            [Again(lambda ids, _, half=half: _gather_op(half, *ids)) for half in self._halves],
            Again(lambda both, name: tf.dynamic_stitch(both[:2], both[2:], name=name)),
        )


def _gather_op(variable, ids):
    op = gather_rows(variable, ids).op
    # Of resource variables TensorFlow 1 gives what hands rows on, and not what gathers them.
    return op.inputs[0].op if op.type == "Identity" else op


def _gather_again(again, variable, ids):
    if isinstance(variable, PartitionedVariable) or variable.graph is not tf.get_default_graph():
        return gather_rows(variable, ids)
    return beside(variable, lambda: again([ids]).outputs[0])


@functools.lru_cache(maxsize=None)
def _dividing_function(*arguments):
    """One function of all ops between ids and gathers, so that a graph has one op for them.

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
    name = "_".join(f"{dtype.name}_{rank}" for dtype, rank in arguments)
    return a_function(divide, [ids] + others, f"divide_{name}")


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
    with graph.colocate_with(variable.op), without_first_entry(graph):
        return make()
