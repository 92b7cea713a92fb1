"""What a variable's first value says about it: a counter, data, state, or weights."""

import inspect

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed.table.row_init import RowInit

COUNTER, DATA, STATE, WEIGHTS = "a counter", "data", "state", "weights"
# What makes other values each time, so that the script's are worth no more than learned ones.
_RANDOM = ("Random", "Truncated", "Stateless", "Multinomial", "ParameterizedTruncatedNormal")
_VARIABLES = ("Variable", "VariableV2", "VarHandleOp", "ReadVariableOp")
_FEEDS = ("Placeholder", "PlaceholderWithDefault", "PyFunc", "PyFuncStateless", "ReadFile")


def kind_of(name, shape, dtype, trainable, initializer, collections):
    """Returns what a variable is, judged by how the script makes it.

    A scalar that counts is a counter. What does not train and starts from
    numbers that the script has (features, an adjacency matrix, a learning rate) is
    data; what starts at zeros, ones or anywhere is state, as moving statistics are.

    Args:
        name: str, its full name.
        shape: `tf.TensorShape`.
        dtype: `tf.DType`.
        trainable: False if the script says that it does not train.
        initializer: what the script gives: a tensor, array, callable or None.
        collections: list of keys, or None.

    Returns:
        COUNTER, DATA, STATE or WEIGHTS.
    """
    steps = tf.GraphKeys.GLOBAL_STEP in (collections or ()) or name.endswith("global_step")
    if shape.rank == 0 and (dtype.is_integer or dtype == tf.bool or steps):
        return COUNTER
    if trainable is not False:
        return WEIGHTS
    return _judge_start(initializer, shape, dtype)


def needs_no_shape(initializer):
    """Returns whether an initializer is a function that makes the first value, whatever is asked.

    `tf.get_variable` takes the shape from what such a function returns.
    """
    if not callable(initializer) or isinstance(initializer, type):
        return False
    try:
        parameters = inspect.signature(initializer).parameters.values()
    except (TypeError, ValueError):  # written in another language than Python
        return False
    return all(parameter.default is not parameter.empty for parameter in parameters)


def _judge_start(initializer, shape, dtype):
    if initializer is None or isinstance(initializer, RowInit):
        return STATE
    values = getattr(initializer, "value", initializer)  # of tf.constant_initializer
    if isinstance(values, (np.ndarray, list, tuple, int, float)):
        return _judge_values(np.asarray(values), shape)
    if not callable(initializer):
        return _judge(tf.convert_to_tensor(initializer), shape)
    with tf.Graph().as_default():  # in which nothing of it stays
        try:
            start = initializer() if isinstance(initializer, type) else initializer
            return _judge(tf.convert_to_tensor(start(shape.as_list(), dtype=dtype)), shape)
        except (TypeError, ValueError):  # made of tensors of the script's own graph
            return DATA


def _judge(tensor, shape):
    types, todo, seen = set(), [tensor.op], set()
    while todo:
        op = todo.pop()
        if op not in seen:
            seen.add(op)
            types.add(op.type)
            todo += [value.op for value in op.inputs]
    if any(kind.startswith(_RANDOM) or kind in _VARIABLES for kind in types):
        return STATE
    if any(kind in _FEEDS or kind.startswith("Iterator") for kind in types):
        return DATA
    # Of a large table of equal numbers, the number.
    value = tf.get_static_value(tensor.op.inputs[1] if tensor.op.type == "Fill" else tensor)
    return DATA if value is None else _judge_values(value, shape)


def _judge_values(values, shape):
    first = np.ravel(values)[:1]
    # A lone number is a rate or a weight that the script sets.
    return STATE if shape.rank and bool((values == first).all()) else DATA
