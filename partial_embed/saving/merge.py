"""`merge_checkpoint`: base + deltas = one plain checkpoint."""

import os

import numpy as np
import tensorflow.compat.v1 as tf
from absl import logging

from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.finite import nonfinite_rows
from partial_embed.files.growth import (
    DELTA_KEY,
    DELTA_ROWS,
    growth_text,
    read_delta,
    read_generations,
)
from partial_embed.files.hashes import fingerprint, row_hashes
from partial_embed.files.publish import publish, staging
from partial_embed.files.runs import from_runs
from partial_embed.files.tensors import slice_spec, write_part
from partial_embed.table.plan import RowPlan
from partial_embed.table.vocabulary import read_vocabulary

POLICIES = ("first", "last", "mean")


def merge_checkpoint(base, deltas, output, policy=None, vocabulary=None, allow_nonfinite=False):
    """Writes the whole checkpoint that a base and its delta(s) stand for.

    With one delta the result is, bit for bit, what `Saver.save` would have
    written in the session that wrote the delta. Deltas that were grown from one
    base apart from each other add their new rows one after the other, in the
    order given; their keys (from the vocabularies they were grown with, else
    the row numbers) must differ, or `policy` says whose row counts.

    Variables that are no tables are the deltas'; where they differ, `policy`
    decides as for rows. Scalars (step counters, the powers of Adam) are the
    last delta's without one.

    Args:
        base: prefix, directory or `checkpoint` file of what the deltas grew from.
        deltas: a delta, or a list of them.
        output: prefix to write to. May be that of the base.
        policy: None, "first", "last" or "mean".
        vocabulary: path of the base's vocabulary file. If given, and the deltas
            know their keys, `<output>.vocabulary.txt` is written.
        allow_nonfinite: merge tables that hold NaN or Inf, instead of failing.

    Returns:
        `output`.

    Raises:
        ValueError: if a delta belongs to another base, is none, deltas disagree,
            or a file is damaged. Nothing is written then.
        OSError: if it cannot be written.
    """
    if policy is not None and policy not in POLICIES:
        raise ValueError(f"policy must be one of {POLICIES}, got {policy!r}.")
    deltas = [deltas] if isinstance(deltas, (str, os.PathLike)) else list(deltas or ())
    output = os.fspath(output)
    if not os.path.basename(output):
        raise ValueError(f"{output!r} is no name for a checkpoint: it needs a last part.")
    if not deltas:
        raise ValueError("There is nothing to merge: name one delta at least.")
    base = Checkpoint(base)
    if DELTA_KEY in base:
        raise ValueError(f"{base.prefix} is a delta. Give the base first, then deltas.")
    deltas = [_Delta(path) for path in deltas]
    tables = sorted(deltas[0].tables)
    for delta in deltas[1:]:
        if sorted(delta.tables) != tables:
            raise ValueError(
                f"{deltas[0].prefix} holds rows of {tables}, {delta.prefix} of "
                f"{sorted(delta.tables)}. Merge deltas of the same tables."
            )
    merged = {name: _merge_rows(name, base, deltas, policy) for name in tables}
    keys = None if vocabulary is None else _merged_vocabulary(vocabulary, merged, base)
    with staging(output) as stage:
        writer = _Writer(stage, output, allow_nonfinite)
        for name in tables:
            _write_table(writer, name, base, deltas, merged[name])
        _write_unchanged(writer, base, deltas)
        writer.write(_merge_variables(base, deltas, policy))
        manifest = {name: merged[name].generations for name in tables}
        publish(writer.parts, output, stage, growth_text(manifest))
        if vocabulary is not None:
            with tf.gfile.GFile(output + ".vocabulary.txt", "w") as stream:
                stream.write("".join(key + "\n" for key in keys))
    logging.info("Merged %d delta(s) into %s.", len(deltas), output)
    return output


class _Delta(Checkpoint):
    """A delta and what it says of itself."""

    def __init__(self, path):
        super().__init__(path)
        if DELTA_KEY not in self:
            raise ValueError(
                "{} is no delta: it holds {}. Deltas are what Saver(delta=True) writes.".format(
                    self.prefix, ", ".join(sorted(self.shapes)[:10])
                )
            )
        manifest = read_delta(self.prefix)
        self.tables = manifest["tables"]
        self.unchanged = manifest["unchanged"]

    def plan(self, name):
        """Returns the `RowPlan` that one of its tables was grown by."""
        entry = self.tables[name]
        source = None if entry["source"] is None else np.asarray(from_runs(entry["source"]))
        return RowPlan(
            entry["rows"], entry["checkpoint_rows"], from_runs(entry["trainable"]), source
        )

    def rows(self, tensor_name):
        """Returns the rows it holds of a table or slot."""
        return self.read(tensor_name + DELTA_ROWS)


class _Merged:
    """How the rows of one table come about.

    Attributes:
        base_name: what the base calls the table.
        plan: `RowPlan` of the result; its trainable rows are the deltas'.
        picks: for each delta, (its rows, where they stand among plan's trainable rows).
        mean: bool, whether rows picked twice are averaged; else the last counts.
        generations: what the growth manifest says.
        keys: dict of new row to its key, or None.
    """

    def __init__(self, base_name, plan, picks, mean, generations, keys):
        self.base_name, self.plan, self.picks, self.mean = base_name, plan, picks, mean
        self.generations, self.keys = generations, keys

    def combine(self, arrays):
        """Returns the merged rows of the deltas, from each delta's rows."""
        shape = [len(self.plan.trainable_rows)] + list(arrays[0].shape[1:])
        if not self.mean:
            result = np.zeros(shape, arrays[0].dtype)
            for array, (chosen, places) in zip(arrays, self.picks):
                result[places] = array[chosen]
            return result
        total, count = np.zeros(shape, np.float64), np.zeros(shape[0], int)
        for array, (chosen, places) in zip(arrays, self.picks):
            total[places] += array[chosen]
            count[places] += 1
        mean = total / count.reshape([-1] + [1] * (len(shape) - 1))
        return mean.astype(arrays[0].dtype)


def _merge_rows(name, base, deltas, policy):
    """Decides which row of which delta stands where; returns a `_Merged`."""
    base_name = deltas[0].tables[name]["base_name"]
    base.expect(base_name)
    if len(deltas) == 1:
        plan = deltas[0].plan(name)
        everything = np.arange(len(plan.trainable_rows))
        entry = deltas[0].tables[name]
        generations = {key: entry[key] for key in ("rows", "generations")}
        keys = entry["keys"] and dict(zip(plan.trainable_rows.tolist(), entry["keys"]))
        return _Merged(base_name, plan, [(everything, everything)], False, generations, keys)
    base_rows = base.shapes[base_name][0]
    identities, order, named = [], {}, True
    for delta in deltas:
        entry, plan = delta.tables[name], delta.plan(name)
        if plan.source is not None or entry["checkpoint_rows"] != base_rows:
            raise ValueError(
                f"{delta.prefix} dropped or moved rows of {name}. Merge it alone, before others."
            )
        named = named and bool(entry["keys"])
        keys = entry["keys"] or plan.trainable_rows.tolist()
        identities.append(
            [
                row if row < base_rows else key
                for row, key in zip(plan.trainable_rows.tolist(), keys)
            ]
        )
        for key in identities[-1]:
            order.setdefault(key, []).append(delta.prefix)
    twice = [key for key, owners in order.items() if len(owners) > 1]
    if twice and policy is None:
        raise ValueError(
            "{} {} of {} in more than one delta: {} is in {}. Say whose counts with "
            "policy= {}.".format(
                len(twice),
                "keys are" if named else "rows are",
                name,
                twice[0] if named else f"row {twice[0]}",
                " and ".join(order[twice[0]]),
                ", ".join(map(repr, POLICIES)),
            )
        )
    old = sorted(key for key in order if isinstance(key, int) and key < base_rows)
    new = [key for key in order if not (isinstance(key, int) and key < base_rows)]
    places = {key: place for place, key in enumerate(old + new)}
    trainable = np.array(old + list(range(base_rows, base_rows + len(new))), np.int64)
    picks, seen = [], set()
    for keys in identities:
        chosen = [i for i, key in enumerate(keys) if policy != "first" or key not in seen]
        seen.update(keys)
        picks.append((np.array(chosen, int), np.array([places[keys[i]] for i in chosen], int)))
    known = read_generations(base.prefix).get(base_name, {})
    runs = known.get("generations", [[[0, base_rows]]])
    if new:
        runs = runs + [[[base_rows, base_rows + len(new)]]]
    generations = {"rows": base_rows + len(new), "generations": runs}
    plan = RowPlan(base_rows + len(new), base_rows, trainable)
    keys = dict(zip(range(base_rows, base_rows + len(new)), new)) if named else None
    return _Merged(base_name, plan, picks, policy == "mean", generations, keys)


def _write_table(writer, name, base, deltas, merged):
    plan = merged.plan
    old = base.read(deltas[0].tables[name]["base_name"])
    hashes = row_hashes(old)
    for delta in deltas:
        entry = delta.tables[name]
        own = delta.plan(name)
        if own.contiguous:
            frozen = hashes[: own.num_frozen_rows]
        else:
            frozen = hashes[own.source_of(own.frozen_rows())]
        if len(hashes) != entry["base_rows"] or fingerprint(frozen) != entry["frozen"]:
            raise ValueError(
                "The delta {} was trained on the base {} (fingerprint of {}: {}). {} has other "
                "rows. Give the base it was trained on.".format(
                    delta.prefix, entry["base"], name, entry["frozen"], base.prefix
                )
            )
    del hashes, frozen  # Memory that writing needs.
    slots = deltas[0].tables[name]["slots"]
    copies = {
        slot: old.copy() for slot, initial in slots.items() if initial is None and slot not in base
    }
    writer.write_rows(name, plan, old, merged.combine([d.rows(name) for d in deltas]))
    row_count = len(old)
    del old
    for slot, initial in slots.items():
        for delta in deltas:
            delta.expect(slot + DELTA_ROWS)
        new = merged.combine([delta.rows(slot) for delta in deltas])
        shape = [row_count] + list(new.shape[1:])
        if slot in base and list(base.shapes[slot]) == shape:
            rows = base.read(slot)
        elif slot in copies:
            rows = copies.pop(slot)
        else:
            rows = np.full(shape, initial, new.dtype)
        writer.write_rows(slot, plan, rows, new, check=False)


def _write_unchanged(writer, base, deltas):
    for name, entry in sorted(deltas[0].unchanged.items()):
        value = base.read(entry["base_name"])
        if fingerprint(row_hashes(np.reshape(value, value.shape or [1]))) != entry["frozen"]:
            raise ValueError(
                "The delta {} was trained on the base {}, whose {} differs from that of {}. Give "
                "the base it was trained on.".format(
                    deltas[0].prefix, entry["base"], name, base.prefix
                )
            )
        writer.write([(name, "", value)])
        for slot, initial in entry["slots"].items():
            if slot in base and list(base.shapes[slot]) == list(value.shape):
                writer.write([(slot, "", base.read(slot))])
            elif initial is None:
                writer.write([(slot, "", value)])
            else:
                writer.write([(slot, "", np.full(value.shape, initial, value.dtype))])


def _merge_variables(base, deltas, policy):
    """Returns [(name, "", array), ...] of what is no table."""
    del base
    names = sorted(
        name for name in deltas[-1].shapes if name != DELTA_KEY and not name.endswith(DELTA_ROWS)
    )
    merged = []
    for name in names:
        values = [delta.read(name) for delta in deltas if name in delta]
        value = values[-1]
        if any(other.tobytes() != value.tobytes() for other in values):
            if policy == "first":
                value = values[0]
            elif policy == "mean":
                value = np.mean([np.asarray(v, np.float64) for v in values], 0).astype(value.dtype)
            elif policy is None and value.ndim:
                raise ValueError(
                    "The deltas {} trained {} to different values. Say whose counts with policy= "
                    "{}.".format(
                        " and ".join(delta.prefix for delta in deltas),
                        name,
                        ", ".join(map(repr, POLICIES)),
                    )
                )
        merged.append((name, "", np.asarray(value)))
    return merged


class _Writer:
    """Writes tensors as parts of one checkpoint, one large tensor in memory at a time."""

    def __init__(self, stage, output, allow_nonfinite):
        self.parts = []
        self._stage = stage
        self._output = output
        self._allow_nonfinite = allow_nonfinite

    def write(self, tensors):
        if tensors:
            self.parts.append(os.path.join(self._stage, f"part-{len(self.parts)}"))
            write_part(self.parts[-1], tensors)

    def write_rows(self, name, plan, old, new, check=True):
        """Writes a table or slot: the base's rows where it is frozen, else the new ones."""
        if check and not self._allow_nonfinite:
            for rows, what in ((old, "base"), (new, "delta")):
                bad = nonfinite_rows(rows)
                if len(bad):
                    raise ValueError(
                        f"{name}: rows {bad[:20].tolist()} of the {what} hold NaN or Inf. Repair "
                        "it, or pass "
                        "allow_nonfinite=True."
                    )
        shape = [plan.num_rows] + list(new.shape[1:])
        if plan.contiguous and len(old) == plan.num_frozen_rows:
            for rows, start in ((old, 0), (new, len(old))):
                if len(rows):
                    offset = [start] + [0] * (len(shape) - 1)
                    self.write([(name, slice_spec(shape, offset, rows.shape), rows)])
            return
        frozen = plan.frozen_rows()
        whole = np.empty(shape, new.dtype)
        whole[frozen] = old[plan.source_of(frozen)]
        whole[plan.trainable_rows] = new
        self.write([(name, "", whole)])


def _merged_vocabulary(path, merged, base):
    """Returns the keys of the merged rows, in their order."""
    old_keys, found = read_vocabulary(path), None
    for name, table in merged.items():
        if not table.keys:
            raise ValueError(
                f"The deltas do not know the keys of {name}; grow with vocabularies, or merge "
                "without "
                "vocabulary=."
            )
        if len(old_keys) != base.shapes[table.base_name][0]:
            raise ValueError(
                f"The vocabulary {path} has {len(old_keys)} keys, {name} of {base.prefix} has "
                f"{base.shapes[table.base_name][0]} rows. Give the vocabulary of the "
                "base."
            )
        sources = table.plan.source_of(np.arange(table.plan.num_rows))
        keys = [
            old_keys[old] if old >= 0 else table.keys[row]
            for row, old in enumerate(sources.tolist())
        ]
        if found not in (None, keys):
            raise ValueError(
                "The tables {} have different keys, and one vocabulary was asked for. Merge "
                "without vocabulary=.".format(", ".join(merged))
            )
        found = keys
    return found
