"""What a checkpoint holds: tables, rows, dtypes, slices, optimizer slots, step.

    python scripts/inspect_checkpoint.py run/model.ckpt-50
    python scripts/inspect_checkpoint.py run/ --tensor=embedding --rows=0:5

PATH is a checkpoint prefix, a directory, or its `checkpoint` file; any format
that TensorFlow has written since 0.12. For a table that grew, the rows of each
generation are shown; for a delta, what it belongs to.
"""

import sys

import numpy as np
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
        lines.append("step {}".format(int(checkpoint.read("global_step"))))
    listing = [("tensor", "shape", "dtype", "slices", "slot of")]
    slices = slice_counts(checkpoint.prefix)
    for name in names:
        if name != DELTA_KEY:
            listing.append(
                (
                    name,
                    str(list(checkpoint.shapes[name])),
                    checkpoint.dtypes[name].name,
                    str(slices.get(name) or ""),
                    table_of(name, checkpoint.shapes) or "",
                )
            )
    lines += [""] + columns(listing)
    for name, entry in sorted(read_generations(checkpoint).items()):
        lines += ["", "{}: {} rows".format(name, entry["rows"])]
        for number, runs in enumerate(entry["generations"]):
            lines.append(f"  generation {number}: rows {describe_runs(runs)}")
    if is_delta:
        for name, entry in sorted(read_delta(checkpoint)["tables"].items()):
            lines += [
                "",
                "{}: rows {} of {}, grown from {}".format(
                    name, describe_runs(entry["trainable"]), entry["rows"], entry["base"]
                ),
                "  fingerprint of the frozen rows: {}".format(entry["frozen"]),
            ]
    for name in names if rows is not None else []:
        if len(checkpoint.shapes[name]) > 1 and (tensor or not table_of(name, checkpoint.shapes)):
            value = checkpoint.read(name)
            lines += ["", f"{name}[{rows}]"]
            first = range(len(value))[chosen].start
            for number, row in enumerate(value[chosen], first):
                text = np.array2string(row, precision=6, threshold=20, max_line_width=100)
                lines.append("{:>8}  {}".format(number, text.replace("\n", "\n" + " " * 10)))
    return lines


def main(argv):
    if len(argv) != 2:
        raise app.UsageError("Expected one checkpoint: a prefix, directory or state file.")
    try:
        print("\n".join(describe(argv[1], FLAGS.tensor, FLAGS.rows)))
    except (ValueError, OSError) as error:
        sys.exit(f"inspect_checkpoint: {error}")


if __name__ == "__main__":
    app.run(main)
