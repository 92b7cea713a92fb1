"""nonfinite_rows: the rows that hold NaN or Inf, and no others."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from partial_embed.files.finite import nonfinite_rows

DTYPES = [np.float16, tf.bfloat16.as_numpy_dtype, np.float32, np.float64, np.complex64]


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_that_are_no_numbers(dtype):
    values = np.ones([9, 2, 3], dtype)
    values[1, 0, 0], values[3, 1, 2], values[8, 0, 1] = np.nan, np.inf, -np.inf
    values[5, 0, :2] = np.inf, -np.inf
    assert nonfinite_rows(values).tolist() == [1, 3, 5, 8]
    assert nonfinite_rows(values[:, 0, 0]).tolist() == [1, 5]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_whose_sum_is_too_large(dtype):
    values = np.full([4, 70], np.finfo(dtype).max, dtype)
    values[2, 3] = np.inf
    assert nonfinite_rows(values).tolist() == [2]


def test_what_holds_no_floating_numbers():
    for values in (np.ones([3, 2], np.int32), np.array([b"a"], object), np.zeros([0, 2])):
        assert nonfinite_rows(values).tolist() == []
