"""Slots of what does not train: where they stand, and what they hold."""

from collections import namedtuple

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed.files.locate import exists
from partial_embed.files.tensors import slice_spec, write_part
from partial_embed.saving.source import slot_or_start, stored
from partial_embed.table.optimizer_state import name_in, renamed
from partial_embed.table.plan import offset_of, with_rows

Place = namedtuple("Place", ["checkpoint", "name", "owner"])
Place.__doc__ = """Where a variable stands.

Attributes:
    checkpoint: `Checkpoint`.
    name: its name there.
    owner: the name by which its slots are named there; a base knows one name for both.
"""


def slot_in(place, saved, name):
    """Returns a slot of a frozen variable, `Stored`, by its name here; None if there is none."""
    base = place.checkpoint
    # Of a whole checkpoint that a plain script saved they are named as the variable is.
    owners = dict.fromkeys([place.owner, place.name])
    theirs = (name_in(base, renamed(name, saved.own_name, its), its) for its in owners)
    return next((stored(base, there) for there in theirs if there in base), None)


def stands(place):
    """Returns whether the checkpoint of a source or `Place` is there as it was opened."""
    return exists(place.checkpoint.prefix) and place.checkpoint.is_unchanged()


def standing(what, places):
    """Returns the first place, a source or `Place`, whose checkpoint is there as it was opened."""
    for place in places:
        if place and stands(place):
            return place
    prefix = next(filter(None, places)).checkpoint.prefix
    raise ValueError(
        f"{prefix} is gone, or another was put in its place, and with it the optimizer slots of "
        f"{what}. Put it back, or save with delta=True, which does not need it."
    )


def slot_value(session, source, table, slot, start, which, variables):
    """Returns a slot's values for frozen rows, those that some variables hold."""
    axis = table.embedding.plan.axis
    found = source and source.slot_rows(slot.name, which)
    rows = source.rows(which) if source else _Frozen(session, variables, axis)
    part = with_rows(slot.variable.shape.as_list(), axis, len(which))
    return slot_or_start(found, rows, start, slot.variable.dtype.base_dtype, part)


def write_joined_slot(session, source, stage, table, slot, start):
    """Writes all rows of a slot, where those that train lie among others, or are all there are."""
    embedding, plan = table.embedding, table.embedding.plan
    values = session.run(slot.variable)
    if plan.num_frozen_rows:
        rows = plan.frozen_rows(), embedding.frozen_parts
        old = slot_value(session, source, table, slot, start, *rows)
        values = plan.joined(old.read(), values)
    write_part(stage.part(), [(slot.name, "", values)])


def slice_of_slot(table, slot, rows):
    """Returns (text of the slice, its shape, the shape of all) that some rows are of a slot."""
    plan, shape = table.embedding.plan, slot.variable.shape.as_list()
    whole, part = (with_rows(shape, plan.axis, count) for count in (plan.num_rows, len(rows)))
    return slice_spec(whole, offset_of(whole, plan.axis, rows[0]), part), part, whole


class _Frozen:
    """Frozen rows as a session has them, for a table that came from no checkpoint."""

    def __init__(self, session, variables, axis):
        self._session, self._variables, self._axis = session, variables, axis

    def read(self):
        return np.concatenate(self._session.run(self._variables), self._axis)

    def tensor(self):
        array = self.read()
        return tf.py_func(lambda: array, [], array.dtype, stateful=False)
