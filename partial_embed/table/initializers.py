"""Initial values: contrib's xavier, and new rows that start as rows of a whole table."""

import inspect
import math
from collections import namedtuple

import numpy as np
import tensorflow.compat.v1 as tf

# What TensorFlow's own initializers read of a partitioned variable's slice, so
# that rows are drawn with the scale of the whole table they belong to.
RowsOfTable = namedtuple("RowsOfTable", ["full_shape", "var_offset"])


class xavier_initializer:
    """`tf.contrib.layers.xavier_initializer(uniform, seed, dtype)`, value for value.

    With `n = (fan_in + fan_out) / 2`, draws from `U(-sqrt(3/n), sqrt(3/n))`, or,
    if not uniform, from a normal of standard deviation `sqrt(1.3/n)` truncated
    at two of them. `tf.glorot_normal_initializer` uses another deviation.

    Args:
        uniform: bool, which of the two.
        seed: int or None, the seed of the random op.
        dtype: float dtype of the values unless the variable asks for another.

    Raises:
        TypeError: if dtype is not a float type.

    Example:
        >>> weight = tf.get_variable("W", [4, 2], initializer=pe.xavier_initializer(uniform=False))
        >>> values = pe.xavier_initializer(seed=1)([300, 100])
        >>> bool(abs(tf.Session().run(values)).max() <= (3 / 200) ** 0.5)
        True

    Source: Glorot and Bengio (2010), "Understanding the difficulty of training
    deep feedforward neural networks"; the constant 1.3 is contrib's.
    """

    def __init__(self, uniform=True, seed=None, dtype=tf.float32):
        if not tf.as_dtype(dtype).is_floating:
            raise TypeError(f"xavier_initializer needs a float dtype, got {dtype}.")
        self._uniform = uniform
        self._seed = seed
        self._dtype = tf.as_dtype(dtype)

    def __call__(self, shape, dtype=None, partition_info=None):
        dtype = self._dtype if dtype is None else tf.as_dtype(dtype)
        shape = tf.TensorShape(shape).as_list()
        # contrib looks at the shape it is asked for; rows of a growing table are
        # the exception, for two new rows must not be drawn as a [2, d] table is.
        whole = partition_info.full_shape if isinstance(partition_info, RowsOfTable) else shape
        if not whole:
            fan_in = fan_out = 1.0
        else:
            receptive_field = float(np.prod(whole[:-2]))
            fan_in = receptive_field * (whole[-2] if len(whole) > 1 else whole[-1])
            fan_out = receptive_field * whole[-1]
        mean_fan = (fan_in + fan_out) / 2.0
        if self._uniform:
            limit = math.sqrt(3.0 / mean_fan)
            return tf.random_uniform(shape, -limit, limit, dtype, seed=self._seed)
        stddev = math.sqrt(1.3 / mean_fan)
        return tf.truncated_normal(shape, 0.0, stddev, dtype, seed=self._seed)


def for_rows(initializer, full_shape, offset):
    """Returns an initializer that draws rows as rows of the whole table.

    Args:
        initializer: a TensorFlow initializer, its class, or a callable of (shape, dtype).
        full_shape: list of ints, the shape of the whole table.
        offset: list of ints, where in it these rows begin.
    """
    if inspect.isclass(initializer):
        initializer = initializer()
    info = RowsOfTable(list(full_shape), list(offset))

    def initialize(shape, dtype=None, partition_info=None):
        del partition_info  # ours takes its place
        if "partition_info" in inspect.signature(initializer).parameters:
            return initializer(shape, dtype=dtype, partition_info=info)
        return initializer(shape, dtype=dtype)

    return initialize
