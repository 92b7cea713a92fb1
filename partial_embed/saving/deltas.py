"""What is written about growth: generations of a whole checkpoint, the manifest of a delta."""

import numpy as np

from partial_embed.files.growth import delta_text, read_generations
from partial_embed.files.runs import from_runs, to_runs
from partial_embed.saving.slots import initial_values
from partial_embed.saving.source import base_rows
from partial_embed.training.frozen_rows import frozen_name


def generations_of(plan, source=None, tensor_name=None, keys=None):
    """Returns a table's entry in the growth record: rows by generation, this growth the last.

    Args:
        plan: `RowPlan`.
        source: `Checkpoint` that the table grew from, or None.
        tensor_name: its name there.
        keys: `keys_fingerprint` of the keys of its rows, or None.
    """
    known = {}
    if source is not None:
        known = read_generations(source).get(tensor_name, {})
        known = known if known.get("axis", 0) == plan.axis else {}
    if keys is None and plan.source is None and known.get("rows") == plan.num_rows:
        keys = known.get("vocabulary")  # No row came or moved.
    count = {"rows": plan.num_rows}
    count.update({"axis": plan.axis} if plan.axis else {})
    count.update({"vocabulary": keys} if keys else {})
    if plan.source is None:
        runs = [to_runs(plan.frozen_rows()), to_runs(plan.trainable_rows)]
        if source is not None:
            runs = _grown_at_the_end(plan, known)
        return {**count, "generations": _until_last_rows(runs)}
    sources = plan.source
    if known and known["rows"] >= plan.checkpoint_rows:
        older = [from_runs(runs) for runs in known["generations"]]
        older = _until_last_rows([rows[rows < plan.checkpoint_rows] for rows in older])
    else:
        older = [np.arange(max(plan.checkpoint_rows, 0))]
    generation = np.full(max(plan.checkpoint_rows, 1), -1)
    for number, rows in enumerate(older):
        generation[rows] = number
    of_row = np.where(sources >= 0, generation[np.maximum(sources, 0)], len(older))
    runs = [to_runs(np.flatnonzero(of_row == number)) for number in range(of_row.max() + 1)]
    return {**count, "generations": _until_last_rows(runs)}


def _until_last_rows(generations):
    """Leaves out those at the end that have no rows; one in between that lost all keeps its place.

    What generation=2 is must not depend on which rows were dropped since.
    """
    have_rows = [number for number, rows in enumerate(generations) if len(rows)]
    return generations[: have_rows[-1] + 1] if have_rows else []


def _grown_at_the_end(plan, known):
    """Returns the runs of `generations_of`, where each row stands where it stood.

    In ends of runs: a list of all rows would take its part of a large table's memory.
    """
    held = plan.checkpoint_rows
    older = [[[0, held]]] if held else []
    if known and known["rows"] >= held:
        older = [
            [[start, min(stop, held)] for start, stop in part if start < held]
            for part in known["generations"]
        ]
    new = [[[held, plan.num_rows]]] if plan.num_rows > held else []
    return _until_last_rows(older) + new


def manifest_of(content, sources, loaded, digests, session):
    """Returns the text of the manifest of a delta.

    Args:
        content: `Content`.
        sources: dict of table name to the source of its frozen rows.
        loaded: dict of the name of a variable that is frozen whole to its `Stored`.
        digests: dict of name to what stands for its frozen rows, see `FrozenRows`.
        session: the session whose variables are saved.
    """
    tables, starts = {}, initial_values(content.slots, session)
    for table in content.tables:
        embedding, plan = table.embedding, table.embedding.plan
        source = sources.get(table.name)
        tables[table.name] = dict(
            generations_of(plan, embedding.source, embedding.tensor_name, embedding.keys),
            base=source and source.checkpoint.prefix,
            base_name=embedding.tensor_name,
            checkpoint_rows=plan.grown_from,
            base_rows=base_rows(embedding, source),
            trainable=to_runs(plan.trainable_rows),
            source=None if plan.source is None else to_runs(plan.source),
            frozen=digests[embedding.table_name],
            slots={slot.name: starts[slot.name] for slot in table.slots},
            keys=embedding.trainable_keys,
        )
    unchanged = {
        saved.disk_name: {
            "base": loaded[saved.disk_name].checkpoint.prefix,
            "base_name": loaded[saved.disk_name].name,
            "frozen": digests[frozen_name(saved.whole)],
            "slots": {},
        }
        for saved in content.unchanged
    }
    for saved, name, slot, *_ in content.unchanged_slots():
        unchanged[saved.disk_name]["slots"][name] = starts[slot.name]
    return delta_text(tables, unchanged)
