"""A `.keras` file as a source of tensors: what its layers hold, by their names."""

import json
import os
import shutil
import zipfile

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed.exporting.keras_file import LAYERS, METADATA, WEIGHTS
from partial_embed.files.regular import expect_file

_ALIGNMENT = 64  # bytes
_MOST_METADATA = 1 << 20  # bytes
# How many times larger than what is stored values may be that are read. Keras packs nothing.
_MOST_EXPANSION = 100


class KerasSource:
    """The variables of the layers in a `.keras` file; see `sources`.

    A layer of one variable, as an Embedding is, gives that its name; the variables of others are
    called `layer/0`, `layer/1` in the order that Keras keeps. State of optimizers is left out. A
    file that `export` wrote has the names that tables had before.

    Args:
        path: path of the file.
        directory: path of a directory, in which its weights are unpacked.

    Raises:
        ValueError: if it is no such file, or points to others.
    """

    generations, vocabulary = {}, None

    def __init__(self, path, directory):
        self.label = os.path.abspath(path)
        self.files = [self.label]
        self._state = os.stat(path)
        expect_file(path)
        try:
            import h5py
        except ImportError as error:
            raise ValueError(f"{path} is read by h5py, which is not installed.") from error

        weights = os.path.join(directory, "weights.h5")
        try:
            with zipfile.ZipFile(path) as archive:
                weighs = archive.getinfo(WEIGHTS)
                _expect_stored(WEIGHTS, weighs.file_size, weighs.compress_size)
                with archive.open(METADATA) as packed:
                    known = _names_in(packed.read(_MOST_METADATA))
                with archive.open(WEIGHTS) as packed, open(weights, "wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked, 1 << 20)
        except (KeyError, zipfile.BadZipFile, NotImplementedError) as error:
            raise ValueError(f"{path} is no .keras file of Keras 3: {error}.") from error
        try:
            self._file = h5py.File(weights, "r")
        except OSError as error:
            raise ValueError(f"{path} is damaged: {WEIGHTS} in it is no HDF5 file.") from error
        found = {}
        _collect(h5py, self._file, "", found)
        self._datasets = {}
        for name, dataset in found.items():
            called = known.get(name, name)
            self._datasets[name if called in self._datasets else called] = dataset
        self.shapes = {name: list(data.shape) for name, data in self._datasets.items()}
        self.dtypes = {name: _dtype_of(data) for name, data in self._datasets.items()}

    def is_state(self, name):
        """Returns whether a name is that of the state of an optimizer: none is taken along."""
        del name
        return False

    def expect_whole(self, names):
        """Does nothing: a dataset is whole."""

    def read(self, name):
        """Returns the values of a tensor as an array."""
        dataset = self._datasets[name]
        values = _aligned(dataset.shape, dataset.dtype)
        if values.size:
            dataset.read_direct(values)
        return values.view(self.dtypes[name].as_numpy_dtype) if values.ndim else values

    def tensor(self, name):
        """Returns a tensor of the default graph that reads the values when it runs."""
        # Not stateless: TensorFlow would read it once more, to see whether it is a small constant.
        return tf.py_func(lambda: self.read(name), [], self.dtypes[name])

    def check(self):
        """Raises ValueError if another was put in its place since it was opened."""
        now = os.stat(self.label)
        if (now.st_ino, now.st_mtime_ns) != (self._state.st_ino, self._state.st_mtime_ns):
            raise ValueError(f"{self.label} was replaced while it was read. Start again.")

    def close(self):
        """Lets go of the unpacked weights."""
        self._file.close()


def _aligned(shape, dtype):
    """Returns an array where TensorFlow wants one to begin, which it then takes without a copy."""
    size = int(np.prod(shape)) * dtype.itemsize
    raw = np.empty(size + _ALIGNMENT, np.uint8)
    first = -raw.ctypes.data % _ALIGNMENT
    return raw[first : first + size].view(dtype).reshape(shape)


def _names_in(metadata):
    """Returns {layer: name of the table it was} where `export` wrote the file, else {}."""
    try:
        names = json.loads(metadata.decode("utf-8"))[LAYERS]
        return {str(layer): str(name) for layer, name in names.items()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}


def _dtype_of(dataset):
    if dataset.attrs.get("dtype") == "bfloat16":
        return tf.bfloat16
    return tf.as_dtype(dataset.dtype)


def _collect(h5py, group, path, found):
    """Adds {name: dataset} of a group to `found`."""
    for name in sorted(group):
        _expect_own(group, name, path, h5py)
        place = f"{path}/{name}" if path else name
        member = group[name]
        if not isinstance(member, h5py.Group) or place == "optimizer":
            continue
        if name != "vars":
            _collect(h5py, member, place, found)
            continue
        for number in member:
            _expect_own(member, number, place, h5py)
        numbers = [number for number in sorted(member, key=_as_number)]
        layer = member.attrs.get("name", path)
        layer = layer.decode("utf-8") if isinstance(layer, bytes) else str(layer)
        for number in numbers:
            called = layer if len(numbers) == 1 else f"{layer}/{number}"
            found[called if called not in found else f"{path}/{number}"] = member[number]


def _as_number(text):
    return (int(text), text) if text.isdigit() else (-1, text)


def _expect_stored(what, size, stored):
    """Raises ValueError if values would take far more room than what they are stored in."""
    if size > _MOST_EXPANSION * max(stored, 1 << 16):
        raise ValueError(
            f"{what} of the .keras file is {stored} bytes that unpack to {size}, as no file of "
            "Keras does. It is not read."
        )


def _expect_own(group, name, path, h5py):
    """Raises ValueError if a member's values stand in another file, which is not to be read."""
    link = group.get(name, getlink=True)
    own = isinstance(link, h5py.HardLink)
    if own and isinstance(group[name], h5py.Dataset):
        dataset = group[name]
        own = not (dataset.is_virtual or dataset.external)
        size = int(np.prod(dataset.shape, dtype=float)) * dataset.dtype.itemsize
        _expect_stored(f"{path}/{name}", size, dataset.id.get_storage_size() if own else size)
    if not own:
        raise ValueError(
            f"{path}/{name} of the .keras file points to another place, as no file of Keras does. "
            "It is not read."
        )
