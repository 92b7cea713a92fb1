"""NumPy files: np.load, and every bit."""

import io

import numpy as np
import pytest

import partial_embed as pe

DATA = [
    ("v2_adam", "adam.npz", "embedding"),
    ("v1_adam", "adam.npz", "embedding"),
    ("v2_sliced_adam", "adam.npz", "embedding"),
    ("v2_resource", "adam.npz", "embedding"),
    ("v1_sliced", "sliced.npz", "embedding"),
    ("v2_float16", "float16.npz", "embedding"),
    ("v1_float16", "float16.npz", "embedding"),
    ("v2_float64", "float64.npz", "embedding"),
]


@pytest.mark.parametrize("folder_name, arrays, name", DATA)
def test_what_tensorflow_1_wrote(data, folder, same_bits, folder_name, arrays, name):
    pe.export(data(folder_name), folder("e.npy"), tables=name)
    with np.load(data(arrays)) as true:
        assert same_bits(np.load(folder("e.npy")), true[name])
    assert same_bits(np.load(folder("e.npy"), mmap_mode="r"), np.load(folder("e.npy")))


@pytest.mark.parametrize("shape", [[], [3], [1, 1], [2, 0], [2, 3, 4]])
@pytest.mark.parametrize("dtype", ["float32", "int32", "int64", "bool", "complex64", "uint8"])
def test_shapes_and_dtypes(write_checkpoint, folder, same_bits, shape, dtype):
    values = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    pe.export(write_checkpoint({"e": values}), folder("e.npy"), tables="e")
    assert same_bits(np.load(folder("e.npy")), values)
    buffer = io.BytesIO()
    np.save(buffer, values)
    with open(folder("e.npy"), "rb") as stream:
        assert stream.read() == buffer.getvalue()
