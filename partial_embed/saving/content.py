"""What a Saver saves: tables, variables that are frozen whole, the others, and the rest."""

from collections import namedtuple

import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import PartitionedVariable, Variable, save_slice_info
from partial_embed.files.growth import DELTA_ROWS
from partial_embed.saving.inventory import inventory_of, kind_of_slot
from partial_embed.saving.saveables import Saved
from partial_embed.saving.slots import slots_of
from partial_embed.table.embedding import (
    PartialEmbedding,
    embeddings_in,
    frozen_variables_in,
    parts_of,
)
from partial_embed.table.on_disk import Whole, in_slices, slice_of
from partial_embed.table.optimizer_state import name_in, renamed, slot_variables
from partial_embed.table.plan import rows_of, with_rows


class Table(namedtuple("Table", ["name", "embedding", "slots"])):
    """A table that a Saver saves.

    Attributes:
        name: str, its name on disk.
        embedding: `PartialEmbedding`.
        slots: list of `Slot`s of its trainable rows.
    """

    def frozen(self):
        """Returns [(frozen variable, its rows of the table), ...]."""
        rows, found = self.embedding.plan.frozen_rows(), []
        for variable, offset in self.embedding.offsets():
            if variable is not self.embedding.trainable:
                count = rows_of(variable, self.embedding.plan.axis)
                found.append((variable, rows[offset : offset + count]))
        return found

    def trainable(self):
        """Returns [(variable, slot or None for the rows themselves), ...] of what trains."""
        if self.embedding.trainable is None:
            return []
        return [(self.embedding.trainable, None)] + [(slot.variable, slot) for slot in self.slots]

    def kept_type(self, there, like):
        """Returns (shape, dtype) of a slot of this; for the arguments see `Content.kept_slots`."""
        plan, base = self.embedding.plan, self.embedding.source
        if there:
            return with_rows(base.shapes[there], plan.axis, plan.num_rows), base.dtypes[there]
        shape = self.embedding.shape.as_list()
        return shape[: like.variable.shape.rank], like.variable.dtype.base_dtype


class Content(namedtuple("Content", ["tables", "unchanged", "plain", "foreign"])):
    """All that a Saver saves.

    Attributes:
        tables: list of `Table`.
        unchanged: list of `Saved`, variables that growing froze whole.
        plain: list of `Saved`, other variables.
        foreign: list of (name or None, item) of what is no variable.
    """

    @property
    def slots(self):
        """The `Slot`s of all tables."""
        return [slot for table in self.tables for slot in table.slots]

    def unchanged_slots(self):
        """Returns [(saved, slot name on disk, like which slot, dtype, shape), ...] of the frozen.

        The plain script trains these variables too, so it looks for their slots. But what has
        others in the base, where the table has this one, has another optimizer.
        """
        found = {}
        for table in self.tables:
            base, there = table.embedding.source, table.embedding.tensor_name
            known = table.slots and base is not None
            as_before = inventory_of(base).kinds(there) if known else set()
            for slot in table.slots:
                kind = kind_of_slot(slot.name)
                for saved in self.unchanged:
                    name = slot.name_for(saved, table.embedding)
                    its = inventory_of(saved.source.checkpoint).kinds(saved.source.name)
                    if its and kind in as_before - its:
                        continue
                    a_number_a_row = slot.variable.shape.rank < table.embedding.shape.rank
                    shape = saved.full_shape[:1] if a_number_a_row else saved.full_shape
                    there = renamed(name, saved.own_name, saved.source.name)
                    known = saved.source.checkpoint.dtypes
                    dtype = known.get(name_in(saved.source.checkpoint, there, saved.source.name))
                    dtype = dtype or saved.source.dtype
                    found.setdefault(name, (saved, name, slot, dtype, shape))
        return list(found.values())

    def kept_slots(self):
        """Returns what a base has of optimizers of what does not train, beside `unchanged_slots`.

        Returns:
            [(`Saved` or `Table` of which no row trains, slot, slot there, like which), ...], see
            `Inventory.kept_slots`; a slot that it lacks starts as the one that it is like, of a
            table that grows. And {power of Adam: one of those beside whose slots it stands}.
        """
        trained, holders = [], []
        for table in self.tables:
            embedding, names = table.embedding, [slot.name for slot in table.slots]
            if embedding.source is None:
                continue
            its = embedding.tensor_name, embedding.table_name
            if embedding.trainable is not None:
                trained.append((*its, names))
            else:
                holders.append((table, embedding.source, *its, ()))
        alike = {kind_of_slot(slot.name): slot for slot in self.slots}
        for saved in self.unchanged:
            names = saved.source.name, saved.own_name
            holders.append((saved, saved.source.checkpoint, *names, alike))
        # What has the name and shape of a slot may be a variable, which saves itself.
        taken = {its.disk_name for its in self.plain + self.unchanged}
        taken.update(table.name for table in self.tables)
        variables = {there for _, _, there, *_ in holders}.union(there for there, *_ in trained)
        inventories, found, holding, powers = {}, [], {}, {}
        for holder, base, there, here, covered in holders:
            inventories[base.prefix] = inventory_of(base)
            kept = inventories[base.prefix].kept_slots(there, here, trained, covered)
            for name, slot in kept.items():
                if name not in taken and slot not in variables:
                    like = None if slot else alike[kind_of_slot(name)]
                    found.append((holder, name, slot, like))
            taken.update(kept)
            if any(kept.values()):
                holding.setdefault(base.prefix, holder)
        for prefix, inventory in inventories.items():
            kept_powers = inventory.kept_powers(taken)
            if prefix in holding:
                powers.update(dict.fromkeys(kept_powers, holding[prefix]))
        return found, powers

    def saveables(self, delta):
        """Returns {label: what the graph's own save op writes}.

        Args:
            delta: bool, whether only what training can change.

        Raises:
            ValueError: if two variables have one name.
        """
        saveables = self.plain + ([] if delta else self.unchanged)
        for table in self.tables:
            embedding, plan = table.embedding, table.embedding.plan
            if not (delta or in_slices(embedding)):
                # Its slots are joined with the base's rows when they are saved.
                saveables.append(Whole(embedding, table.name))
                continue
            variables = [] if delta else [(v, table.name, rows[0]) for v, rows in table.frozen()]
            for variable, slot in table.trainable():
                name = slot.name if slot else table.name
                variables.append((variable, name, plan.num_frozen_rows))
            for variable, name, first in variables:
                if delta:
                    saveables.append(Saved(variable, name + DELTA_ROWS, ""))
                else:
                    spec = slice_of(variable, plan, first)
                    saveables.append(Saved(variable, name, spec))
        by_label = {}
        for saveable in saveables:
            label = f"{saveable.disk_name} {saveable.spec}"
            if label in by_label:
                raise ValueError(f"Two variables would be saved as {label}.")
            by_label[label] = saveable
        by_label.update((name or item.name, item) for name, item in self.foreign)
        return by_label


def are_all(items):
    """Returns whether the items of a var_list are all variables, under their own names."""
    named = {id(item) for name, item in _named(items) if name is None}
    return named.issuperset(map(id, tf.global_variables()))


def as_the_script_meant(items):
    """Returns the items of a var_list, and what growing froze if those are all that train.

    `tf.trainable_variables()` is in a plain script all that it trains; here that
    lacks what growing froze whole, and a checkpoint without it is none for that script.
    """
    if isinstance(items, PartialEmbedding):
        return items
    if isinstance(items, dict):
        own = all(isinstance(v, Variable) and v.op.name == name for name, v in items.items())
        return as_the_script_meant(list(items.values())) if own else items
    given, train = {id(item) for item in items}, tf.trainable_variables()
    frozen = [part for found in frozen_variables_in() for part in parts_of(found.variable)]
    halves = [part for embedding in embeddings_in() for part in embedding.frozen_parts]
    named = given.intersection(map(id, frozen + halves))
    if not train or not given.issuperset(map(id, train)) or named:
        return items
    return list(items) + frozen


def content_of(items):
    """Returns the `Content` that the items of a Saver's var_list make.

    Args:
        items: list of variables and saveable objects, a dict of name to such, or
            a `PartialEmbedding`; a table is in it whole if any of its parts is.
    """
    items = _named(items)
    given = {id(item): name for name, item in items}
    twice = [name for name, item in items if given[id(item)] != name]
    if twice:
        item = next(item for name, item in items if name == twice[0])
        raise ValueError(
            f"{getattr(item, 'name', item)} is given two names, {twice[0]!r} and "
            f"{given[id(item)]!r}. Save it under one."
        )
    tables, taken = [], set()
    slots_by_table = slot_variables([item for _, item in items])
    for embedding in embeddings_in():
        whole = [embedding, embedding.frozen] + embedding.variables
        if any(id(item) in given for item in whole):
            slots = [
                slot._replace(name=_other_name(given, slot.variable) or slot.name)
                for slot in slots_of(embedding, slots_by_table)
            ]
            _refuse_names(given, embedding)
            name = given.get(id(embedding)) or embedding.table_name
            tables.append(Table(name, embedding, slots))
            taken.update(map(id, whole + [slot.variable for slot in slots]))
    # Variables that growing froze whole, by their parts: global_variables lists those.
    frozen = {
        id(part): found for found in frozen_variables_in() for part in parts_of(found.variable)
    }
    unchanged, plain, foreign = [], [], []
    for name, item in items:
        if id(item) in taken or isinstance(item, Whole):
            continue  # Whole: for Savers that know nothing of tables
        if not isinstance(item, (Variable, PartitionedVariable)):
            foreign.append((name, item))
            continue
        for variable in parts_of(item):
            origin = frozen.get(id(variable))
            own_name = _place_on_disk(variable, None)[0]
            saved = Saved(variable, *_place_on_disk(variable, name), own_name=own_name)
            if origin is None:
                plain.append(saved)
            else:
                saved.freeze(origin)
                unchanged.append(saved)
    return Content(tables, unchanged, plain, foreign)


def _other_name(given, variable):
    """Returns the name that a variable is given, None if that is its own in the graph."""
    name = given.get(id(variable))
    own = variable.name if isinstance(variable, PartitionedVariable) else variable.op.name
    return None if name == own else name


def _refuse_names(given, embedding):
    """Raises ValueError if a part of a table is given the name of something else on disk."""
    table = embedding.table_name
    for part in [embedding.frozen, embedding.trainable, *embedding.frozen_parts]:
        name = part is not None and _other_name(given, part)
        if name and name != table:
            raise ValueError(
                f"{part.name} is a part of the table {table}, and on disk that is one tensor; it "
                f"was given the name {name!r}. Name the table: {{name: {table}}}. To put a moving "
                "average in place, restore everything, and assign ema.average(table.trainable) to "
                "table.trainable."
            )


def _named(items):
    """Returns [(name or None, item), ...] of a Saver's var_list."""
    if isinstance(items, PartialEmbedding):
        items = [items]
    if isinstance(items, dict):
        return sorted(items.items())
    return [(None, item) for item in tf.nest.flatten(list(items))]


def _place_on_disk(variable, name):
    """Returns (disk name, slice text, full shape) of a variable that is no part of a table."""
    info = save_slice_info(variable)
    if info is None:
        return name or variable.op.name, "", variable.shape.as_list()
    return name or info.full_name, info.spec, list(info.full_shape)
