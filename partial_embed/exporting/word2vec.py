"""A table as word vectors, of word2vec's text format (.vec, .txt) or its binary one (.bin).

Both begin with a line `rows columns`. Then follow, for each row, its key, a space, and its
numbers: as text with spaces between them, or as the bytes of float32. gensim, fastText's tools
and the C program read them.
"""

import os

from partial_embed.exporting.format import Format
from partial_embed.exporting.rows_as_text import float32_blocks, lines_of_rows

_WHITE_SPACE = " \t\n\r\v\f"
BINARY_ENDINGS, TEXT_ENDINGS = (".bin",), (".vec", ".txt")


def write(tables, path, options):
    """Writes one table; see `Format`."""
    ending = os.path.splitext(options.output)[1].lower()
    if ending not in BINARY_ENDINGS + TEXT_ENDINGS:
        raise ValueError(
            f"{options.output} does not say which word2vec format is wanted: .vec and .txt are "
            "text, .bin is binary."
        )
    (table,) = tables
    keys = table.row_keys(_WHITE_SPACE)
    values = table.array()
    with open(path, "wb") as stream:
        stream.write("{} {}\n".format(*values.shape).encode("ascii"))
        if ending in TEXT_ENDINGS:
            for key, line in zip(keys, lines_of_rows(values, " ")):
                stream.write(f"{key} {line}\n".encode())
            return
        for block in float32_blocks(values):
            for row in block.astype("<f4", copy=False):
                stream.write(next(keys).encode("utf-8") + b" " + row.tobytes() + b"\n")


WORD2VEC = Format(
    write,
    "file",
    {"float16", "bfloat16", "float32"},
    most_tables=1,
    is_two_dimensional=True,
    holds_keys=True,
)
