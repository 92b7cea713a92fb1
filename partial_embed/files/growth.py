"""What stands beside or inside a checkpoint about growth: generations, and deltas.

A whole checkpoint is plain; the file `<prefix>.growth.json` beside it says
which rows of each table came in which generation. A delta is a checkpoint of
new rows only, and says in a tensor of its own what it belongs to.
"""

import hashlib
import json

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed.files.publish import MANIFEST_SUFFIX
from partial_embed.files.runs import from_runs, to_runs
from partial_embed.files.tensors import read_tensors

FORMAT = 1
# The tensor by which a checkpoint is known to be a delta, and what its rows are named.
DELTA_KEY = "partial_embed/delta"
DELTA_ROWS = "/delta_rows"


def read_generations(prefix):
    """Returns {table: {"rows": int, "generations": [runs, ...]}} of a checkpoint, {} if plain.

    Raises:
        ValueError: if the manifest is damaged or of a newer format.
    """
    path = prefix + MANIFEST_SUFFIX
    if not tf.gfile.Exists(path):
        return {}
    with tf.gfile.GFile(path, "rb") as stream:
        content = _parse(stream.read(), path)
    if content.get("checksum") != _checksum(content.get("tables")):
        raise _damaged(path, "its checksum is another")
    return content["tables"]


def rows_of_generation(prefix, name, generation):
    """Returns the rows that a table had in a generation, as int64 row numbers of it now.

    Args:
        prefix: checkpoint prefix with a growth manifest beside it.
        name: name of the table.
        generation: int, 0 for the rows of the first base.

    Raises:
        ValueError: if there is no such generation; says which there are.
    """
    entry = read_generations(prefix).get(name)
    known = len(entry["generations"]) if entry else 0
    if not 0 <= generation < known:
        raise ValueError(
            "The checkpoint {} knows no generation {} of {}: {}.".format(
                prefix,
                generation,
                name,
                f"it knows 0 to {known - 1}" if known else f"no {MANIFEST_SUFFIX} stands beside it",
            )
        )
    runs = [run for part in entry["generations"][: generation + 1] for run in part]
    return np.sort(from_runs(runs))


def generations_of(embedding):
    """Returns the entry of one table: its rows by generation, this growth the last."""
    plan = embedding.plan
    known = {}
    if embedding.source is not None:
        known = read_generations(embedding.source.prefix).get(embedding.tensor_name, {})
    if plan.source is None:
        return {"rows": plan.num_rows, "generations": _grown_at_the_end(embedding, known)}
    sources = plan.source
    if known and known["rows"] >= plan.checkpoint_rows:
        older = [from_runs(runs) for runs in known["generations"]]
        older = [rows[rows < plan.checkpoint_rows] for rows in older]
        older = [rows for rows in older if len(rows)]
    else:
        older = [np.arange(max(plan.checkpoint_rows, 0))]
    generation = np.full(max(plan.checkpoint_rows, 1), -1)
    for number, rows in enumerate(older):
        generation[rows] = number
    of_row = np.where(sources >= 0, generation[np.maximum(sources, 0)], len(older))
    runs = [to_runs(np.flatnonzero(of_row == number)) for number in range(of_row.max() + 1)]
    return {"rows": plan.num_rows, "generations": runs}


def _grown_at_the_end(embedding, known):
    """Returns the runs of `generations_of`, where each row stands where it stood.

    In ends of runs: a list of all rows would take its part of a large table's memory.
    """
    plan = embedding.plan
    if embedding.source is None:
        runs = [to_runs(plan.frozen_rows()), to_runs(plan.trainable_rows)]
        return [part for part in runs if part]
    held = plan.checkpoint_rows
    older = [[[0, held]]]
    if known and known["rows"] >= held:
        older = [
            [[start, min(stop, held)] for start, stop in part if start < held]
            for part in known["generations"]
        ]
    return [part for part in older if part] + (
        [[[held, plan.num_rows]]] if plan.num_rows > held else []
    )


def growth_text(tables):
    """Returns the text of `<prefix>.growth.json`, with a checksum of what it says.

    Args:
        tables: dict of name to `{"rows": int, "generations": [runs, ...]}`.
    """
    return json.dumps({"format": FORMAT, "checksum": _checksum(tables), "tables": tables})


def delta_text(tables, unchanged):
    """Returns the text of a delta's manifest.

    Args:
        tables: dict of name to a dict: "base" and "base_name" (checkpoint and
            tensor the frozen rows came from), "rows", "checkpoint_rows" (taken from
            the base), "base_rows" (that it has),
            "trainable" (runs of row numbers, in the order of the delta's rows),
            "source" (see `RowPlan`, as runs of kept rows, or None), "frozen"
            (fingerprint of the frozen rows), "slots" (name to initial value),
            "keys" (of the trainable rows, or None), "generations".
        unchanged: dict of name to {"base": prefix, "base_name": tensor, "frozen": fingerprint,
            "slots": as above} of the variables that were frozen whole.
    """
    return json.dumps({"format": FORMAT, "tables": tables, "unchanged": unchanged})


def refuse_delta(checkpoint):
    """Raises ValueError if a checkpoint that tables shall grow from is a delta."""
    if DELTA_KEY in checkpoint:
        tables = read_delta(checkpoint.prefix)["tables"]
        bases = sorted({str(entry["base"]) for entry in tables.values()})
        raise ValueError(
            "{} is a delta: it holds new rows of {}, and not the rows they stand beside. Grow from "
            "what merge_checkpoint({!r}, {!r}, output) writes; or grow from {} again and restore "
            "the delta with Saver.restore.".format(
                checkpoint.prefix,
                ", ".join(sorted(tables)),
                ", ".join(bases),
                checkpoint.prefix,
                ", ".join(bases),
            )
        )


def read_delta(prefix):
    """Returns the manifest of a delta as a dict; see `Saver` for what writes it.

    Raises:
        ValueError: if it is damaged or of a newer format.
    """
    (text,) = read_tensors(prefix, [(DELTA_KEY, "", tf.string)])
    return _parse(text, prefix)


def _checksum(tables):
    text = json.dumps(tables, sort_keys=True)
    return hashlib.blake2b(text.encode("utf-8"), digest_size=8).hexdigest()


def _damaged(path, why):
    return ValueError(
        f"The growth manifest {path} is damaged: {why}. Take another copy of it; or remove it, and "
        "the "
        "checkpoint is one of a single generation."
    )


def _parse(text, path):
    try:
        content = json.loads(text if isinstance(text, str) else text.decode("utf-8"))
        version = int(content["format"])
        if version < 1:
            raise ValueError(f"there is no format {version}")
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from error
    if version > FORMAT:
        raise ValueError(
            f"{path} was written in format {version}, this version of partial_embed reads up to "
            f"{FORMAT}. "
            "Upgrade partial_embed."
        )
    return content
