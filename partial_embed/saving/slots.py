"""Optimizer slots of a table: which they are, how they are named, where they start."""

from collections import namedtuple

import numpy as np
import tensorflow.compat.v1 as tf
from absl import logging

from partial_embed.table.optimizer_state import cut_as_in, renamed
from partial_embed.training.graph import upstream


class Slot(namedtuple("Slot", ["variable", "name", "starts_as_rows", "start", "bounds"])):
    """One slot of a table's trainable rows.

    Attributes:
        variable: the slot variable, [trainable rows, ...].
        name: str, what the whole table's slot is called on disk.
        starts_as_rows: bool, whether it starts as a copy of the rows
            themselves, as a moving average does, and not at a number.
        start: float, what it is initialized to, if its op says so; else None.
        bounds: tensor [2], the least and the greatest of its initial values, if not.
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
    asked = [slot for slot in slots if slot.bounds is not None]
    found = {slot.name: slot.start for slot in slots}
    for slot, (low, high) in zip(asked, session.run([slot.bounds for slot in asked])):
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
    """Returns the `Slot`s of one table.

    A slot of `model/ent/trainable`, made by an optimizer inside the scope
    `model`, is the variable `model/model/ent/trainable/Adagrad`; the whole
    table's would be `model/model/ent/Adagrad`. (What TensorFlow notes on such a
    variable for Savers is neither.)

    Args:
        embedding: `PartialEmbedding`.
        variables: dict of name of new rows to their slots, as `slot_variables` finds them.
    """
    if embedding.trainable is None:
        return []
    half = embedding.trainable.op.name
    shape, axis = embedding.trainable.shape.as_list(), embedding.plan.axis
    slots = []
    for variable in variables.get(half, ()):
        name = named_alike(renamed(variable.op.name, half, embedding.table_name), embedding)
        # Of a table [rows, ...] also one number a row.
        if (variable.shape.as_list() if axis else variable.shape.as_list()[:1]) == (
            shape if axis else shape[:1]
        ):
            value, start, bounds = variable.initial_value, None, None
            starts_as_rows = embedding.trainable.op in upstream([value])
            if not starts_as_rows:
                start = _number_in(value.op)
            if not starts_as_rows and start is None:
                with tf.name_scope("slot_start"), tf.device(variable.device):
                    bounds = tf.stack([tf.reduce_min(value), tf.reduce_max(value)])
            slots.append(Slot(variable, name, starts_as_rows, start, bounds))
    return slots


def _number_in(op):
    """Returns the number that an op says its output holds throughout, as a float; else None."""
    op = op.inputs[1].op if op.type == "Fill" else op
    if op.type != "Const":
        return None
    proto = op.get_attr("value")
    if not proto.tensor_content:  # one for all, if it is one
        del proto.tensor_shape.dim[:]
    try:
        numbers = tf.make_ndarray(proto).ravel()
    except ValueError:
        return None
    is_one = len(numbers) and numbers.dtype.kind != "c" and (numbers == numbers[0]).all()
    return float(numbers[0]) if is_one and np.isfinite(float(numbers[0])) else None
