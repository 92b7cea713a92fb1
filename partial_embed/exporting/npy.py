"""A table as a NumPy file: `np.load` reads it, and `mmap_mode="r"` does without memory."""

import numpy as np

from partial_embed.exporting.format import FLOATS, INTEGERS, Format


def write(tables, path, options):
    """Writes one array; see `Format`."""
    del options
    with open(path, "wb") as stream:  # np.save would put an ending after a name of its own
        np.save(stream, np.asarray(tables[0].array(), order="C"), allow_pickle=False)


NPY = Format(
    write,
    "file",
    (FLOATS - {"bfloat16"}) | INTEGERS | {"bool", "complex64", "complex128"},
    most_tables=1,
    is_two_dimensional=False,
    holds_keys=False,
)
