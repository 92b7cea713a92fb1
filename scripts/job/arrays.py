"""A file of named arrays, read whole or not at all."""

import os
import zipfile
import zlib

import numpy as np

_CONTENTS = "contents"  # the names of all arrays, so that none can be missed


def write(path, arrays):
    """Writes a dict of names to arrays; a reader sees the old file or the new one."""
    with open(path + ".part", "wb") as file:
        np.savez_compressed(file, **arrays, **{_CONTENTS: np.array(sorted(arrays))})
    os.replace(path + ".part", path)


def read(path):
    """What `write` wrote.

    Raises:
      ValueError: if the file is damaged, or none of these.
    """
    try:
        with open(path, "rb") as file:  # which numpy leaves open if it is no archive
            archive = np.load(file, allow_pickle=False)
            arrays = {name: archive[name] for name in archive.files}
        contents = arrays.pop(_CONTENTS).tolist()
    except (
        *(ValueError, OSError, KeyError, EOFError, AttributeError),
        *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError),  # of what zip found
    ) as error:
        raise ValueError(f"{path} is damaged, or no file of arrays: {error}.") from error
    if contents != sorted(arrays):
        raise ValueError(f"{path} is damaged: arrays are missing.")
    return arrays
