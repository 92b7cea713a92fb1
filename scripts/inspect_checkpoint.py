"""What a checkpoint holds: tables, rows, dtypes, slices, optimizer slots, step.

    python scripts/inspect_checkpoint.py run/model.ckpt-50
    python scripts/inspect_checkpoint.py run/ --tensor=embedding --rows=0:5

PATH is a checkpoint prefix, a directory, or its `checkpoint` file; any format
that TensorFlow has written since 0.12. A table comes out, one line a tensor. For
a table that grew, the rows of each generation are shown; for a delta, what it
belongs to.
"""

import numpy as np
import quiet  # before all that imports TensorFlow
from absl import app, flags

from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.growth import DELTA_KEY, read_delta, read_generations
from partial_embed.files.index import slice_counts
from partial_embed.files.runs import describe_runs

FLAGS = flags.FLAGS
flags.DEFINE_string("rows", None, "Rows to print, like 0:5, of --tensor or of every table.")
flags.DEFINE_string("tensor", None, "The one tensor to show.")


def table_of(name, names):
    """Returns the variable whose optimizer slot `name` is, or None.

    Slots are named after their variable, with the optimizer's scope before it.
    """
    parts = name.split("/")
    for stop in range(len(parts) - 1, 0, -1):
        for start in range(stop):
            owner = "/".join(parts[start:stop])
            if owner in names:
                return owner
    return None


def columns(rows):
    """Returns rows of texts as lines with aligned columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths)) for row in rows]
    return [line.rstrip() for line in lines]


def parse_rows(text):
    """Returns the slice that `2:5` or `7` means.

    Raises:
        ValueError: if it means none.
    """
    try:
        numbers = [int(part) if part else None for part in text.split(":")]
    except ValueError:
        numbers = []
    if len(numbers) == 1 and numbers[0] is not None:
        return slice(numbers[0], numbers[0] + 1)
    if len(numbers) == 2:
        return slice(*numbers)
    raise ValueError(f"--rows={text}: expected START:STOP, like 0:5, or one row.")


def describe(path, tensor=None, rows=None):
    """Returns the lines that describe a checkpoint; see the flags."""
    checkpoint = Checkpoint(path)
    chosen = slice(0, 0) if rows is None else parse_rows(rows)
    names = sorted(checkpoint.shapes)
    if tensor is not None:
        checkpoint.expect(tensor)
        names = [tensor]
    is_delta = DELTA_KEY in checkpoint
    lines = [checkpoint.prefix + (", a delta" if is_delta else "")]
    if "global_step" in checkpoint:
        lines.append(f"step {int(checkpoint.read('global_step'))}")
    slices = slice_counts(checkpoint.prefix)
    listing = [
        [
            name,
            str(list(checkpoint.shapes[name])),
            checkpoint.dtypes[name].name,
            str(slices.get(name) or ""),
            table_of(name, checkpoint.shapes) or "",
        ]
        for name in names
        if name != DELTA_KEY
    ]
    lines += ["", *columns([["tensor", "shape", "dtype", "slices", "slot of"], *listing])]
    for name, entry in sorted(read_generations(checkpoint).items()):
        lines += ["", f"{name}: {entry['rows']} rows"]
        for number, runs in enumerate(entry["generations"]):
            lines.append(f"  generation {number}: rows {describe_runs(runs)}")
    tables = read_delta(checkpoint)["tables"] if is_delta else {}
    for name, entry in sorted(tables.items()):
        trained = describe_runs(entry["trainable"])
        lines += [
            "",
            f"{name}: rows {trained} of {entry['rows']}, grown from {entry['base']}",
            f"  fingerprint of the frozen rows: {entry['frozen']}",
        ]
    for name in names if rows is not None else []:
        if len(checkpoint.shapes[name]) > 1 and (tensor or not table_of(name, checkpoint.shapes)):
            value = checkpoint.read(name)
            lines += ["", f"{name}[{rows}]"]
            for number in range(len(value))[chosen]:
                row = np.array2string(value[number], precision=6, threshold=20, max_line_width=100)
                lines.append(f"{number:>8}  " + row.replace("\n", "\n" + " " * 10))
    return lines


@quiet.command
def main(path):
    print("\n".join(describe(path, FLAGS.tensor, FLAGS.rows)))


if __name__ == "__main__":
    app.run(main)
