"""What a Saver reads: where each variable's value is found, checked before any is set."""

from collections import namedtuple

import numpy as np

from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.growth import DELTA_ROWS, read_delta, read_generations, rows_of_generation
from partial_embed.files.hashes import fingerprint, row_hashes
from partial_embed.files.runs import describe_runs, to_runs
from partial_embed.files.tensors import read_tensors, slice_spec
from partial_embed.table.on_disk import in_slices, slice_of

# One table as a Saver sees it: its name on disk, its slots, and whether the file
# that holds the slots of its frozen rows has the rows of the base or of the whole.
Table = namedtuple("Table", ["name", "embedding", "slots"])
SlotSource = namedtuple("SlotSource", ["prefix", "is_base"])

# All that a Saver saves: tables, variables frozen whole, others, and what is no
# variable (with the placeholders and the op that restore it).
Parts = namedtuple("Parts", ["tables", "unchanged", "plain", "foreign"])


class Reading:
    """What one restore reads: straight into variables, or to be fed to them."""

    def __init__(self, checkpoint, parts, slot_sources):
        self.checkpoint = checkpoint
        self._parts = parts
        self._slot_sources = slot_sources
        self.straight = {}  # id of variable -> (prefix, name, slice)
        self.untouched = []  # variables the checkpoint says nothing about
        self.foreign = []  # (SaveableObject, placeholders, op)
        self._kept = []  # (rows of a table now, which of them a generation had)
        self._fed = []  # (id of variable, prefix, name, slice, dtype, rows or None)

    def keep_generation(self, generation):
        """Reads of each table, and of its slots, only the rows of a generation."""
        tables = read_generations(self.checkpoint.prefix)
        for name, entry in tables.items():
            last = min(generation, len(entry["generations"]) - 1)
            kept = rows_of_generation(self.checkpoint.prefix, name, last)
            self._kept.append((entry["rows"], kept))
        if not tables or generation >= max(len(e["generations"]) for e in tables.values()):
            rows_of_generation(self.checkpoint.prefix, next(iter(tables), "any table"), generation)

    def _rows_kept(self, held, wanted):
        """The rows to read of a tensor [held, ...] for a variable [wanted, ...], or None."""
        for rows, kept in self._kept:
            if held[:1] == [rows] and wanted[:1] == [len(kept)] and len(kept) < rows:
                return kept
        return None

    def check(self, name, variable, full_shape):
        """Raises ValueError unless the checkpoint's tensor is what the variable needs.

        A Saver of TensorFlow lets a resource variable take any shape.
        """
        self.checkpoint.expect(name)
        dtype = variable.dtype.base_dtype
        held = list(self.checkpoint.shapes[name])
        if self._rows_kept(held, list(full_shape)) is not None:
            held[0] = full_shape[0]
        if held != list(full_shape) or self.checkpoint.dtypes[name] != dtype:
            raise ValueError(
                f"The variable {variable.op.name} needs {name} {list(full_shape)} {dtype.name}; "
                f"the checkpoint {self.checkpoint.prefix} holds {self.checkpoint.describe(name)}. "
                "No variable was "
                "changed."
            )

    def feed(self, variable, name, spec, rows=None, prefix=None):
        dtype = variable.dtype.base_dtype
        prefix = prefix or self.checkpoint.prefix
        self._fed.append((id(variable), prefix, name, spec, dtype, rows))

    def feed_whole(self, saved):
        """Plans to feed a variable that is no part of a table that grows."""
        kept = self._rows_kept(self.checkpoint.shapes[saved.disk_name], saved.full_shape)
        self.feed(saved.variable, saved.disk_name, saved.spec if kept is None else "", kept)

    def frozen_rows(self, embedding, prefix, name, rows, is_base):
        """Plans the frozen rows of a table, which stand in a tensor of `rows` rows."""
        plan = embedding.plan
        sliced = in_slices(embedding)
        frozen = None if sliced else plan.frozen_rows()
        if frozen is not None and is_base:
            frozen = plan.source_of(frozen)
        for variable, offset in embedding.offsets():
            if variable is embedding.trainable:
                continue
            if sliced:
                spec = slice_of(variable, rows, offset)
                self.straight[id(variable)] = (prefix, name, spec)
            else:
                here = frozen[offset : offset + variable.shape.as_list()[0]]
                self.feed(variable, name, "", here, prefix)

    def arrays(self):
        """Yields (id of variable, its new value) after all of them were read."""
        whole = {}
        for _, prefix, name, spec, dtype, _ in self._fed:
            whole.setdefault(prefix, {})[(name, spec)] = dtype
        values = {}
        for prefix, wanted in whole.items():
            keys = list(wanted)
            read = read_tensors(prefix, [key + (wanted[key],) for key in keys])
            values.update({(prefix,) + key: array for key, array in zip(keys, read)})
        for key, prefix, name, spec, _, rows in self._fed:
            value = values[(prefix, name, spec)]
            yield key, value if rows is None else value[rows]

    def foreign_arrays(self):
        """Yields ((saveable, placeholders, op), values) for what is no variable."""
        for item in self.foreign:
            for spec in item[0].specs:
                self.checkpoint.expect(spec.name)
            wanted = [(spec.name, spec.slice_spec, spec.dtype) for spec in item[0].specs]
            yield item, read_tensors(self.checkpoint.prefix, wanted)

    def plan_whole(self):
        """Plans to read a base or a whole checkpoint; returns what it is, and slot sources."""
        checkpoint = self.checkpoint
        kinds, sources = [], {}
        for table in self._parts.tables:
            embedding, plan = table.embedding, table.embedding.plan
            name = table.name if table.name in checkpoint else embedding.tensor_name
            checkpoint.expect(name)
            known = self._slot_sources.get(table.name)
            is_base = is_base_of(table, checkpoint, name)
            if known == SlotSource(checkpoint.prefix, False):
                is_base = False  # A whole table, saved over what it grew from.
            self.frozen_rows(
                embedding, checkpoint.prefix, name, checkpoint.shapes[name][0], is_base
            )
            trainable = [(embedding.trainable, name)] if embedding.trainable is not None else []
            trainable += [(slot.variable, slot.name) for slot in table.slots]
            for variable, tensor_name in trainable:
                if is_base:
                    self.untouched.append(variable)
                    continue
                full_shape = [plan.num_rows] + variable.shape.as_list()[1:]
                self.check(tensor_name, variable, full_shape)
                if in_slices(embedding):
                    spec = slice_of(variable, plan.num_rows, plan.num_frozen_rows)
                    self.feed(variable, tensor_name, spec)
                else:
                    self.feed(variable, tensor_name, "", plan.trainable_rows)
            kinds.append(
                "{} as {}".format(name, "the base it grows from" if is_base else "a whole table")
            )
            sources[table.name] = SlotSource(checkpoint.prefix, is_base)
        growing = any(source.is_base for source in sources.values())
        for saved in self._parts.unchanged:
            here = saved.disk_name in checkpoint
            if here:
                self.check(saved.disk_name, saved.variable, saved.full_shape)
            place = (checkpoint.prefix, saved.disk_name) if here else saved.source
            self.straight[id(saved.variable)] = place + (saved.spec,)
        self._plan_rest(may_lack=growing)
        return ", ".join(kinds) or "a checkpoint without tables that grow", sources

    def _plan_rest(self, may_lack):
        for saved in self._parts.plain:
            if may_lack and saved.disk_name not in self.checkpoint:
                self.untouched.append(saved.variable)
                continue
            self.check(saved.disk_name, saved.variable, saved.full_shape)
            self.feed_whole(saved)
        for saveable, feeds, op in self._parts.foreign:
            if not may_lack or all(spec.name in self.checkpoint for spec in saveable.specs):
                self.foreign.append((saveable, feeds, op))

    def plan_delta(self):
        """Plans to read a delta, and its frozen rows from the base; returns the same."""
        checkpoint = self.checkpoint
        manifest = read_delta(checkpoint.prefix)
        tables = {table.name: table for table in self._parts.tables}
        if set(tables) != set(manifest["tables"]):
            raise ValueError(
                "The delta {} holds rows of {}; the tables that grow here are {}.".format(
                    checkpoint.prefix, sorted(manifest["tables"]), sorted(tables) or "none"
                )
            )
        sources, bases = {}, []
        for name, entry in manifest["tables"].items():
            table = tables[name]
            embedding, plan = table.embedding, table.embedding.plan
            here = (plan.num_rows, to_runs(plan.trainable_rows))
            if here != (entry["rows"], entry["trainable"]):
                raise ValueError(
                    "The delta {} holds rows {} of a table {} of {} rows; here rows {} of {} "
                    "train. Build the graph it was saved from, or merge it with its base "
                    "first.".format(
                        checkpoint.prefix,
                        describe_runs(entry["trainable"]),
                        name,
                        entry["rows"],
                        describe_runs(here[1]),
                        here[0],
                    )
                )
            source = self._slot_sources.get(name)
            if source is None and entry["base"]:
                source = SlotSource(entry["base"], True)
            if source is None:
                raise ValueError(
                    f"The delta {checkpoint.prefix} needs the checkpoint it grew from for the "
                    f"frozen rows of {name}. "
                    "Restore that first, or give it to get_embedding as checkpoint=."
                )
            base = Checkpoint(source.prefix)
            tensor_name = name if name in base else embedding.tensor_name
            base.expect(tensor_name)
            frozen = frozen_part(base, tensor_name, table, source.is_base)
            _check_base(checkpoint.prefix, entry, name, frozen, base.prefix)
            del frozen
            self.frozen_rows(
                embedding, base.prefix, tensor_name, base.shapes[tensor_name][0], source.is_base
            )
            for variable, disk_name in [(embedding.trainable, name)] + [
                (slot.variable, slot.name) for slot in table.slots
            ]:
                self.check(disk_name + DELTA_ROWS, variable, variable.shape.as_list())
                self.feed(variable, disk_name + DELTA_ROWS, "")
            sources[name] = source
            bases.append(base.prefix)
        for saved in self._parts.unchanged:
            entry = manifest["unchanged"].get(saved.disk_name)
            if entry is not None:
                prefix, name = saved.source
                array = Checkpoint(prefix).read(name)
                _check_base(checkpoint.prefix, entry, saved.disk_name, array, prefix)
            self.straight[id(saved.variable)] = saved.source + (saved.spec,)
        self._plan_rest(may_lack=False)
        return "a delta on the base {}".format(", ".join(sorted(set(bases)))), sources


def is_base_of(table, checkpoint, name):
    """Whether a checkpoint holds the rows a table grew from, or the whole table.

    Raises:
        ValueError: if it is neither.
    """
    embedding, plan = table.embedding, table.embedding.plan
    rows, grown_from = checkpoint.shapes[name][0], plan.checkpoint_rows or plan.num_frozen_rows
    source = embedding.source
    grew_from_it = source is not None and (checkpoint.prefix, rows) == (
        source.prefix,
        base_rows(embedding),
    )
    drops = plan.source is not None or grew_from_it
    limit = max(rows, plan.num_rows) if drops else plan.num_rows
    checkpoint.check(name, embedding.dtype, [limit] + embedding.shape.as_list()[1:])
    if rows == plan.num_rows and plan.source is None:
        return False
    if rows == plan.num_rows and checkpoint.prefix != embedding.source.prefix:
        return False
    if rows == grown_from or grew_from_it:
        return True
    raise ValueError(
        f"The checkpoint {checkpoint.prefix} holds {rows} rows of {name}. Expected {grown_from}, "
        f"the rows it grew from, or {plan.num_rows}, the "
        "whole table. No variable was changed."
    )


def base_rows(embedding):
    """How many rows the table has that this one grew from, those it dropped included."""
    if embedding.source is None:
        return embedding.num_frozen_rows
    return embedding.source.shapes[embedding.tensor_name][0]


def frozen_part(checkpoint, name, table, is_base):
    """Returns the frozen rows of a table or slot, from a base or a whole checkpoint."""
    plan, table_name = table.embedding.plan, table.name
    if table_name not in checkpoint:
        table_name = table.embedding.tensor_name
    shape, rows = list(checkpoint.shapes[name]), checkpoint.shapes[table_name][0]
    if shape[:1] != [rows]:
        raise ValueError(
            f"The checkpoint {checkpoint.prefix} holds {checkpoint.describe(name)}, and "
            f"{checkpoint.describe(table_name)}; expected as many rows."
        )
    dtype = checkpoint.dtypes[name]
    if plan.contiguous:
        part = [plan.num_frozen_rows] + shape[1:]
        spec = "" if part == shape else slice_spec(shape, [0] * len(shape), part)
        return read_tensors(checkpoint.prefix, [(name, spec, dtype)])[0]
    frozen = plan.frozen_rows()
    (value,) = read_tensors(checkpoint.prefix, [(name, "", dtype)])
    return value[plan.source_of(frozen) if is_base else frozen]


def _check_base(delta, entry, name, frozen, base):
    """Raises ValueError if `frozen` are not the rows that a delta was trained beside."""
    found = fingerprint(row_hashes(np.reshape(frozen, frozen.shape or [1])))
    if found != entry["frozen"]:
        raise ValueError(
            "The delta {} was trained on the base {} (fingerprint of {}: {}), and cannot be put on "
            "{} (fingerprint {}): the frozen rows differ. Give the base it was trained on.".format(
                delta, entry["base"], name, entry["frozen"], base, found
            )
        )
