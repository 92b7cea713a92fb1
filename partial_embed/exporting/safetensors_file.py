"""Tables as a safetensors file, one after the other: `safetensors.numpy.load_file` reads it.

The file is the length of its header in 8 bytes, the header (JSON: dtype, shape and place of each
tensor), and the tensors' bytes. It is written here and not by that library, which wants all
tables in memory at once.
"""

import json
import struct

import numpy as np

from partial_embed.exporting.format import Format

_DTYPES = {
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "complex64": "C64",
    "bool": "BOOL",
}
_DTYPES.update((f"int{bits}", f"I{bits}") for bits in (8, 16, 32, 64))
_DTYPES.update((f"uint{bits}", f"U{bits}") for bits in (8, 16, 32, 64))


def write(tables, path, options):
    """Writes one tensor a table; see `Format`."""
    del options
    header, end = {}, 0
    # The widest first: each then begins at a multiple of its width, as memory maps like it.
    tables = sorted(tables, key=lambda table: -table.dtype.size)
    for table in tables:
        if table.name == "__metadata__":
            raise ValueError(
                "safetensors keeps the name __metadata__ to itself. Give the tensor another by "
                "names=."
            )
        begin, end = end, end + table.dtype.size * int(np.prod(table.shape))
        header[table.name] = {
            "dtype": _DTYPES[table.dtype.name],
            "shape": table.shape,
            "data_offsets": [begin, end],
        }
    text = json.dumps(header).encode("utf-8")
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for table in tables:
            values = table.array()
            little = values.dtype.newbyteorder("<") if values.dtype.kind != "V" else values.dtype
            _write_bytes(stream, np.ascontiguousarray(values.astype(little, copy=False)))


def _write_bytes(stream, values):
    if values.size:  # A view of no bytes has no shape.
        stream.write(values.reshape([-1]).view(np.uint8).data)


SAFETENSORS = Format(
    write, "file", set(_DTYPES), most_tables=None, is_two_dimensional=False, holds_keys=False
)
