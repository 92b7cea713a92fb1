"""What stands beside or inside a checkpoint about growth: generations, and deltas.

A whole checkpoint is plain; the growth record `<prefix>.growth.json` beside it
says which rows of each table came in which generation. A delta is a checkpoint
of new rows only, and says in a tensor of its own, the manifest, what it belongs
to. Both may come from elsewhere, and are checked whole before they are believed.
"""

import hashlib
import json

import numpy as np
import tensorflow.compat.v1 as tf
from absl import logging

from partial_embed.files.checkpoint import RECORD_SUFFIX, index_checksum
from partial_embed.files.index import expect_data
from partial_embed.files.json_checks import (
    FORMAT,
    at,
    count_of,
    damage,
    expect_disjoint,
    get,
    length_of,
    parse,
    runs_between,
    runs_of_rows,
)
from partial_embed.files.nearest import short
from partial_embed.files.runs import from_runs
from partial_embed.files.tensors import read_tensors

VOCABULARY_SUFFIX = ".vocabulary.txt"
# The tensor by which a checkpoint is known to be a delta, and what its rows are named.
DELTA_KEY = "partial_embed/delta"
DELTA_ROWS = "/delta_rows"


def growth_text(tables, prefix):
    """Returns the text of a growth record, with checksums of what it says and of whom.

    Args:
        tables: dict of name to `{"rows": int, "generations": [runs, ...]}`, see `to_runs`,
            "axis", along which rows are counted, where that is not 0, "vocabulary",
            the `keys_fingerprint` of the keys of its rows, where it has one, "grew_from", the
            checksum of the index of the checkpoint whose rows it holds, where that is known, and
            "untrained", a list of the generations whose rows nobody has trained.
        prefix: prefix of the checkpoint it is about.
    """
    content = {"format": FORMAT, "checksum": _checksum(tables), "tables": tables}
    return json.dumps(dict(content, index=index_checksum(prefix)))


def read_generations(checkpoint):
    """Returns {table: {"rows": int, "generations": [runs, ...]}} of a checkpoint, {} if plain.

    A record of another checkpoint, as one is that a plain Saver has replaced
    since, counts as none, and a warning says so.

    Args:
        checkpoint: a `Checkpoint`.

    Raises:
        ValueError: if the record is damaged or of a newer format.
    """
    path = checkpoint.prefix + RECORD_SUFFIX
    if checkpoint.record is None:
        return {}
    if checkpoint.generations is None:
        checkpoint.generations = _read_generations(checkpoint, path)
    return checkpoint.generations


def _read_generations(checkpoint, path):
    content = parse(checkpoint.record, path)
    with damage(path):
        tables = get(content, "tables", dict)
        if content.get("checksum") != _checksum(tables):
            raise ValueError("its checksum is another")
        if get(content, "index", str) != checkpoint.index_checksum:
            logging.warning(
                "%s is of another checkpoint than the one that stands beside it now, so nothing "
                "is known of its generations. Remove it.",
                path,
            )
            return {}
        for name, entry in tables.items():
            with at(f"table {name}"):
                shape = checkpoint.shapes.get(name)
                if shape is None:
                    raise ValueError("the checkpoint holds no such tensor")
                _check_generations(entry, _rows_of(entry, shape))
    return tables


def rows_of_generation(checkpoint, name, generation):
    """Returns the rows that a table had in a generation, as int64 row numbers of it now.

    Args:
        checkpoint: a `Checkpoint` with a growth record beside it.
        name: name of the table.
        generation: int, 0 for the rows of the first base.

    Raises:
        ValueError: if there is no such generation; says which there are.
    """
    entry = read_generations(checkpoint).get(name)
    known = len(entry["generations"]) if entry else 0
    if not 0 <= generation < known:
        there = f"it knows 0 to {known - 1}" if known else "its record does not name that"
        if checkpoint.record is None:
            there = f"no {RECORD_SUFFIX} stands beside it"
        raise ValueError(
            f"The checkpoint {checkpoint.prefix} knows no generation {generation} of {name}: "
            f"{there}."
        )
    runs = [run for part in entry["generations"][: generation + 1] for run in part]
    return np.sort(from_runs(runs))


def untrained_rows(checkpoint, name, generation=None):
    """Returns the rows that hold first values alone, of all generations or of later ones than one.

    Args:
        checkpoint: a `Checkpoint`.
        name: name of the table.
        generation: int, or None.

    Raises:
        ValueError: if rows that were trained came between the generation and those.
    """
    entry = read_generations(checkpoint).get(name, {})
    later = entry.get("untrained", ())
    later = [number for number in later if generation is None or number > generation]
    if generation is not None and later and min(later) > generation + 1:
        raise ValueError(
            f"generation={generation} of {name} in {checkpoint.prefix} would leave out rows that "
            f"were trained since. To train what grow_checkpoint added, say "
            f"generation={min(later) - 1}, or nothing."
        )
    return np.sort(from_runs([run for part in later for run in entry["generations"][part]]))


def follows_keys(checkpoint, name):
    """Returns whether the growth record knows that the rows of a table follow keys."""
    return "vocabulary" in read_generations(checkpoint).get(name, {})


def expect_keys(prefix, name, entry, keys):
    """Raises ValueError if a table's entry says that its rows are of other keys than these.

    Args:
        prefix: prefix of the checkpoint.
        name: the table's name there.
        entry: dict, what a growth record or a manifest says of the table.
        keys: `keys_fingerprint` of the keys its rows are thought to have, or None.
    """
    if keys is None and "vocabulary" in entry:
        raise ValueError(
            f"The rows of {name} in {prefix} follow keys, and here no vocabulary was given for it. "
            "Give the one that it was saved with."
        )
    if entry.get("vocabulary", keys) != keys:
        raise ValueError(
            f"The rows of {name} in {prefix} are of other keys, or in another order, than the "
            "vocabulary given for it says. Give the one that it was saved with."
        )


def delta_text(tables, unchanged):
    """Returns the text of a delta's manifest.

    Args:
        tables: dict of name to a dict: "base" and "base_name" (checkpoint and
            tensor the frozen rows came from), "rows", "checkpoint_rows" (taken from
            the base), "base_rows" (that it has), "trainable" (runs of row numbers,
            in the order of the delta's rows), "source" (see `RowPlan`, as runs of
            kept rows, or None), "frozen" (fingerprint of the frozen rows), "slots"
            (name to initial value), "keys" (of the trainable rows, or None),
            "generations", and "axis" as in a growth record.
        unchanged: dict of name to {"base": prefix, "base_name": tensor, "frozen": fingerprint,
            "slots": as above} of the variables that were frozen whole.
    """
    return json.dumps({"format": FORMAT, "tables": tables, "unchanged": unchanged})


def read_delta(checkpoint):
    """Returns the manifest of a delta as a dict, see `delta_text`.

    Args:
        checkpoint: the delta, a `Checkpoint`.

    Raises:
        ValueError: if it is damaged or of a newer format.
    """
    if checkpoint.dtypes[DELTA_KEY] != tf.string or checkpoint.shapes[DELTA_KEY]:
        raise ValueError(f"{checkpoint.prefix} is damaged: {DELTA_KEY} is no text.")
    (text,) = read_tensors(checkpoint.prefix, [(DELTA_KEY, "", tf.string)])
    manifest = parse(text, checkpoint.prefix)
    with damage(checkpoint.prefix):
        tables = get(manifest, "tables", dict)
        unchanged = get(manifest, "unchanged", dict)
        slots = set()
        for kind, entries in (("table", tables), ("variable", unchanged)):
            for name, entry in entries.items():
                with at(f"{kind} {name}"):
                    _check_frozen(entry)
                    if kind == "table":
                        _check_table(name, entry, checkpoint)
                    taken = slots | set(tables) | set(unchanged)
                    if taken & set(entry["slots"]):
                        raise ValueError(f"the name of the slot {min(taken & set(entry['slots']))}")
                    slots.update(entry["slots"])
        both = set(tables) & set(unchanged)
        if both:
            raise ValueError(f"{min(both)} is a table and frozen whole")
        rows = {name + DELTA_ROWS for name in slots | set(tables)}
        unnamed = [n for n in checkpoint.shapes if n.endswith(DELTA_ROWS) and n not in rows]
        if unnamed:
            raise ValueError(f"it does not name {min(unnamed)}")
    return manifest


def expect_base(checkpoint):
    """Raises ValueError if tables cannot grow from it: a delta, with slices or data missing."""
    checkpoint.expect_whole(checkpoint.shapes)
    if DELTA_KEY in checkpoint:
        tables = read_delta(checkpoint)["tables"]
        bases = ", ".join(sorted({str(entry["base"]) for entry in tables.values()}))
        raise ValueError(
            f"{checkpoint.prefix} is a delta: it holds new rows of {', '.join(sorted(tables))}, "
            "and not the rows they stand beside. Grow from what "
            f"merge_checkpoint({bases!r}, {checkpoint.prefix!r}, output) writes; or grow from "
            f"{bases} again and restore the delta with Saver.restore."
        )
    expect_data(checkpoint.prefix, checkpoint.index_checksum)


# --- checks: each raises ValueError that says what is wrong, and `_at` and `_damage` where ------


def _check_frozen(entry):
    if not isinstance(entry, dict):
        raise ValueError("no entry, but " + short(entry))
    get(entry, "base", str, type(None))
    get(entry, "base_name", str)
    get(entry, "frozen", str)
    for slot, initial in get(entry, "slots", dict).items():
        number = isinstance(initial, (int, float)) and not isinstance(initial, bool)
        if not (initial is None or number):
            raise ValueError(f"the initial value of {slot}: {short(initial)}")


def _check_table(name, entry, delta):
    rows, held = count_of(entry, "rows"), count_of(entry, "checkpoint_rows")
    base_rows = count_of(entry, "base_rows")
    trainable = runs_of_rows(entry, "trainable", rows)
    # Of a table that only lost or moved rows there are none.
    trains = length_of(trainable) or name + DELTA_ROWS in delta
    for tensor in (name, *entry["slots"]) if trains else entry["slots"]:
        if not delta.shapes.get(tensor + DELTA_ROWS):
            raise ValueError(f"no tensor {tensor + DELTA_ROWS} of rows")
    count = _rows_of(entry, delta.shapes[name + DELTA_ROWS]) if trains else 0
    if length_of(trainable) != count or (trainable[1:, 0] < trainable[:-1, 1]).any():
        raise ValueError(f"trainable: expected {count} rows in ascending order")
    # The frozen rows are all in the base, of which there is no more than it says.
    if held > base_rows or rows - count > held:
        raise ValueError(f"{rows} rows, {count} of them new, of {held} of {base_rows}")
    if get(entry, "source", list, type(None)) is not None:
        source = runs_between(entry, "source", -1, base_rows)
        if length_of(source) != rows:
            raise ValueError(f"source: expected a row of the base, or -1, for each of {rows} rows")
        held = np.maximum(source, 0)
        expect_disjoint(held[held[:, 0] < held[:, 1]], "source")
        # A run can begin with -1, of a row that is not in the base, and go on with row 0.
        new = (np.cumsum(source[:, 1] - source[:, 0]) - (source[:, 1] - source[:, 0]))[
            source[:, 0] < 0
        ]
        run = np.searchsorted(trainable[:, 0], new, side="right") - 1
        if (run < 0).any() or (new >= trainable[run, 1]).any():
            raise ValueError("source: a row that is not in the base, and does not train")
    keys = get(entry, "keys", list, type(None))
    if keys is not None and (len(keys) != count or not all(isinstance(key, str) for key in keys)):
        raise ValueError(f"keys: expected {count} texts")
    _check_generations(entry, rows)


def _check_generations(entry, rows):
    """Checks that generations are runs that divide the rows of a table among them."""
    if count_of(entry, "rows") != rows:
        raise ValueError(f"rows: expected {rows}, found {entry['rows']}")
    generations = get(entry, "generations", list)
    for key in ("vocabulary", "grew_from"):
        if key in entry:
            get(entry, key, str)
    for number in get(entry, "untrained", list) if "untrained" in entry else ():
        if type(number) is not int or not 0 <= number < len(generations):
            raise ValueError(f"untrained: there is no generation {short(number)}")
    runs = [runs_of_rows({"": part}, "", rows) for part in generations]
    whole = np.concatenate([np.zeros([0, 2], np.int64), *runs])
    expect_disjoint(whole, "generations")
    if length_of(whole) != rows:
        raise ValueError(f"generations: they hold {length_of(whole)} rows of {rows}")


def _rows_of(entry, shape):
    axis = count_of(entry, "axis") if isinstance(entry, dict) and "axis" in entry else 0
    if axis and axis >= len(shape):
        raise ValueError(f"axis: {axis}, of a tensor of {len(shape)}")
    return shape[axis] if shape else 0


def _checksum(tables):
    text = json.dumps(tables, sort_keys=True)
    return hashlib.blake2b(text.encode("utf-8"), digest_size=8).hexdigest()
