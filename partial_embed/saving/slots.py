"""Optimizer slots of a table: which they are, how they are named, where they start."""

from collections import namedtuple

import tensorflow.compat.v1 as tf
from absl import logging

from partial_embed._tensorflow import Variable
from partial_embed.table.optimizer_state import belongs_to, cut_as_in, renamed
from partial_embed.training.graph import upstream


class Slot(namedtuple("Slot", ["variable", "name", "starts_as_rows", "bounds"])):
    """One slot of a table's trainable rows.

    Attributes:
        variable: the slot variable, [trainable rows, ...].
        name: str, what the whole table's slot is called on disk.
        starts_as_rows: bool, whether it starts as a copy of the rows
            themselves, as a moving average does, and not at a number.
        bounds: tensor [2], the least and the greatest of its initial values.
    """

    def name_for(self, saved, embedding):
        """Returns what the same optimizer's slot of a variable that is `Saved` is called."""
        here, there = saved.own_name, saved.source.name
        name = renamed(self.variable.op.name, embedding.trainable.op.name, there)
        return renamed(cut_as_in(saved.source.checkpoint, name, there), there, here)


def initial_values(slots, session):
    """Returns {slot name: the number it starts at; None if it starts as the rows}.

    Asked in one run: TensorFlow looks at the whole graph for each that it was not asked before.
    """
    numbered = [slot for slot in slots if not slot.starts_as_rows]
    found = {slot.name: None for slot in slots}
    for slot, (low, high) in zip(numbered, session.run([slot.bounds for slot in numbered])):
        found[slot.name] = float(low)
        if low != high:
            logging.warning(
                "The slot %s starts at no single number. Its rows for frozen rows are saved as 0 "
                "where the base checkpoint has none.",
                slot.name,
            )
            found[slot.name] = 0.0
    return found


def named_alike(name, embedding):
    """Returns the name on disk of a slot of a table: like that in the checkpoint it grew from."""
    if embedding.source is None:
        return name
    here, there = embedding.table_name, embedding.tensor_name
    return renamed(cut_as_in(embedding.source, renamed(name, here, there), there), there, here)


def slots_of(embedding, variables):
    """Returns the `Slot`s among `variables` that belong to one table.

    A slot of `model/ent/trainable`, made by an optimizer inside the scope
    `model`, is the variable `model/model/ent/trainable/Adagrad`; the whole
    table's would be `model/model/ent/Adagrad`. (What TensorFlow notes on such a
    variable for Savers is neither.)
    """
    if embedding.trainable is None:
        return []
    half = embedding.trainable.op.name
    shape, axis = embedding.trainable.shape.as_list(), embedding.plan.axis
    slots = []
    for variable in variables:
        name = variable.op.name if isinstance(variable, Variable) else half
        if name == half or not belongs_to(name, half):
            continue
        name = named_alike(renamed(name, half, embedding.table_name), embedding)
        # Of a table [rows, ...] also one number a row.
        if (variable.shape.as_list() if axis else variable.shape.as_list()[:1]) == (
            shape if axis else shape[:1]
        ):
            start = variable.initial_value
            starts_as_rows = embedding.trainable.op in upstream([start])
            with tf.name_scope("slot_start"), tf.device(variable.device):
                bounds = tf.stack([tf.reduce_min(start), tf.reduce_max(start)])
            slots.append(Slot(variable, name, starts_as_rows, bounds))
    return slots
