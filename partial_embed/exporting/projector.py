"""Tables as a log directory of TensorBoard's Embedding Projector.

projector/
  projector_config.pbtxt        which files belong to which table
  0-model-ent.tensors.tsv       a row a line
  0-model-ent.metadata.tsv      its key, and the generation it came in where that is known

Texts, since TensorBoard takes a file of numbers for a text wherever it can be read as one.
"""

import json
import os

from partial_embed.exporting.format import Format
from partial_embed.exporting.rows_as_text import lines_of_rows
from partial_embed.exporting.table import file_name


def write(tables, path, options):
    """Writes a directory; see `Format`."""
    del options
    os.mkdir(path)
    entries = []
    for number, table in enumerate(tables):
        keys, generations = table.row_keys("\t\n\r"), table.generation_of_rows()
        name = file_name(number, table)
        files = [f"{name}.tensors.tsv", f"{name}.metadata.tsv"]
        lines = (line + "\n" for line in lines_of_rows(table.array(), "\t"))
        _write_text(os.path.join(path, files[0]), lines)
        # A single column has no title; two columns must.
        if generations is not None:
            rows = (f"{key}\t{generation}\n" for key, generation in zip(keys, generations))
            _write_text(os.path.join(path, files[1]), rows, first="key\tgeneration\n")
        else:
            _write_text(os.path.join(path, files[1]), (key + "\n" for key in keys))
        # JSON writes texts as this format reads them, ASCII alone.
        shape = "".join(f"  tensor_shape: {size}\n" for size in table.shape)
        entries.append(
            f"embeddings {{\n  tensor_name: {json.dumps(table.name)}\n{shape}"
            f"  tensor_path: {json.dumps(files[0])}\n  metadata_path: {json.dumps(files[1])}\n}}\n"
        )
    _write_text(os.path.join(path, "projector_config.pbtxt"), entries)


def _write_text(path, texts, first=""):
    with open(path, "w", encoding="utf-8", newline="\n") as stream:
        stream.write(first)
        stream.writelines(texts)


PROJECTOR = Format(
    write,
    "directory",
    {"float16", "bfloat16", "float32"},
    most_tables=None,
    is_two_dimensional=True,
    holds_keys=True,
)
