"""What a checkpoint holds: tables, rows, slots, generations, and what can grow.

PATH is a checkpoint prefix, a directory, or its `checkpoint` file; any format that TensorFlow has
written since 0.12. A table comes out, one line a tensor; of tables that grew, the rows of each
generation; of a delta, what it belongs to; and of a whole one what can grow: variables that have
as many entries as each other, their slots, and files beside with a line for each.

  partial-embed inspect run/
  partial-embed inspect run/model.ckpt-50 --tensor embedding --rows 0:5
"""

import glob
import os

from partial_embed.command.columns import columns

_AXES = {0: "rows", 1: "columns"}
_VOCABULARIES = ("*.txt", "*.vocab", "*.tsv")
_MOST_BYTES = 1 << 28  # of a file whose lines are counted


def add_arguments(parser):
    parser.add_argument("path", help="prefix, directory or `checkpoint` file")
    parser.add_argument("--tensor", help="the one tensor to show")
    parser.add_argument("--rows", help="rows to print, like 0:5, of --tensor or of every table")
    parser.add_argument("--json", action="store_true", help="print it as JSON, without rows")


def run(arguments):
    """Prints what a checkpoint holds."""
    import json

    from partial_embed.files.checkpoint import Checkpoint

    checkpoint = Checkpoint(arguments.path)
    chosen = None if arguments.rows is None else parse_rows(arguments.rows)
    if arguments.tensor is not None:
        checkpoint.expect(arguments.tensor)
    found = describe(checkpoint, arguments.tensor)
    if arguments.json:
        print(json.dumps(found))
        return
    print("\n".join(lines_of(found)))
    if chosen is not None:
        print("\n".join(rows_of(checkpoint, found, chosen)))


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


def describe(checkpoint, tensor=None):
    """Returns what a checkpoint holds, as a dict that JSON can say.

    Args:
        checkpoint: `Checkpoint`.
        tensor: name of the one tensor to tell of, or None.
    """
    from partial_embed.files.growth import DELTA_KEY, read_delta, read_generations
    from partial_embed.files.index import slice_counts
    from partial_embed.saving.inventory import Inventory

    inventory, slices = Inventory(checkpoint), slice_counts(checkpoint.prefix)
    is_delta = DELTA_KEY in checkpoint
    names = sorted(checkpoint.shapes) if tensor is None else [tensor]
    has_step = checkpoint.shapes.get("global_step") == [] and (
        checkpoint.dtypes["global_step"].is_integer
    )
    return {
        "prefix": checkpoint.prefix,
        "delta": is_delta,
        "step": int(checkpoint.read("global_step")) if has_step else None,
        "tensors": [
            {
                "name": name,
                "shape": list(checkpoint.shapes[name]),
                "dtype": checkpoint.dtypes[name].name,
                "slices": slices.get(name) or None,
                "slot_of": inventory.owner(name),
            }
            for name in names
            if name != DELTA_KEY
        ],
        "generations": read_generations(checkpoint),
        "tables": read_delta(checkpoint)["tables"] if is_delta else {},
        "growable": [] if is_delta or tensor else growable(checkpoint, inventory),
    }


def growable(checkpoint, inventory):
    """Returns a list of dicts: a number of entries, what has as many, and what speaks for it.

    A number counts if it is a dimension of a variable with two axes or more: the largest, or one
    that is the number of lines of a file beside.
    """
    from partial_embed.saving.inventory import kind_of_slot

    shapes = {name: list(checkpoint.shapes[name]) for name in inventory.variables}
    files = _lines_beside(checkpoint.prefix)
    tables = [shape for shape in shapes.values() if len(shape) > 1]
    counts = {size for shape in tables for size in shape if size in (max(shape), *files.values())}
    counts -= {0, 1}
    return [
        {
            "entries": count,
            "variables": {
                name: [axis for axis, size in enumerate(shape) if size == count]
                for name, shape in shapes.items()
                if count in shape
            },
            "slots": sorted(
                {
                    kind_of_slot(slot)
                    for name, shape in shapes.items()
                    for slot in inventory.slots.get(name, ())
                    if count in shape
                }
            ),
            "vocabularies": sorted(name for name, lines in files.items() if lines == count),
        }
        for count in sorted(counts, reverse=True)
    ]


def _lines_beside(prefix):
    """Returns {name: number of lines} of the text files beside a checkpoint."""
    directory, found = os.path.dirname(prefix) or ".", {}
    for pattern in _VOCABULARIES:
        for path in glob.glob(os.path.join(glob.escape(directory), pattern)):
            if os.path.isfile(path) and os.path.getsize(path) <= _MOST_BYTES:
                with open(path, "rb") as stream:
                    content = stream.read()
                found[os.path.basename(path)] = content.rstrip(b"\n").count(b"\n") + bool(content)
    return found


def lines_of(found):
    """Returns what `describe` found, as lines."""
    from partial_embed.files.runs import describe_runs

    lines = [found["prefix"] + (", a delta" if found["delta"] else "")]
    if found["step"] is not None:
        lines.append(f"step {found['step']}")
    listing = [
        [
            its["name"],
            str(its["shape"]),
            its["dtype"],
            str(its["slices"] or ""),
            its["slot_of"] or "",
        ]
        for its in found["tensors"]
    ]
    lines += ["", *columns([["tensor", "shape", "dtype", "slices", "slot of"], *listing])]
    for name, entry in sorted(found["generations"].items()):
        lines += ["", f"{name}: {entry['rows']} {_AXES.get(entry.get('axis', 0), 'entries')}"]
        for number, runs in enumerate(entry["generations"]):
            untrained = ", not trained yet" if number in entry.get("untrained", ()) else ""
            lines.append(f"  generation {number}: rows {describe_runs(runs)}{untrained}")
    for name, entry in sorted(found["tables"].items()):
        trained = describe_runs(entry["trainable"])
        lines += [
            "",
            f"{name}: rows {trained} of {entry['rows']}, grown from {entry['base']}",
            f"  fingerprint of the frozen rows: {entry['frozen']}",
        ]
    if found["growable"]:
        listing = [
            [
                str(group["entries"]),
                ", ".join(map(_along, group["variables"].items())),
                ", ".join(group["slots"]),
                ", ".join(group["vocabularies"]),
            ]
            for group in found["growable"]
        ]
        head = ["entries", "can grow together", "slots", "files with a line for each"]
        lines += ["", *columns([head, *listing])]
    return lines


def _along(item):
    name, axes = item
    return f"{name} ({' or '.join(_AXES.get(axis, f'axis {axis}') for axis in axes)})"


def rows_of(checkpoint, found, chosen):
    """Returns lines with the chosen rows of the tensors found, slots only if asked for."""
    import numpy as np

    lines, alone = [], len(found["tensors"]) == 1
    for its in found["tensors"]:
        if len(its["shape"]) > 1 and (alone or not its["slot_of"]):
            value = checkpoint.read(its["name"])
            bounds = ":".join("" if at is None else str(at) for at in (chosen.start, chosen.stop))
            numbers = range(len(value))[chosen]
            none = "" if numbers else f": none of its {len(value)} rows"
            lines += ["", f"{its['name']}[{bounds}]{none}"]
            for number in numbers:
                row = np.array2string(value[number], precision=6, threshold=20, max_line_width=100)
                lines.append(f"{number:>8}  " + row.replace("\n", "\n" + " " * 10))
    return lines
