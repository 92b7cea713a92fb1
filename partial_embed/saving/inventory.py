"""What the tensors of a checkpoint are, as far as their names and shapes say."""

import re
import weakref

from absl import logging

from partial_embed.files.growth import DELTA_KEY
from partial_embed.table.optimizer_state import (
    has_shape_of_slot,
    is_power,
    kind_of_power,
    owners_in,
    renamed,
)

# As tf.train.Checkpoint calls a slot of the variable `group(1) + group(3)`.
_OBJECT_SLOT = re.compile(r"(.+)/\.OPTIMIZER_SLOT/.+/([^/]+)(/\.ATTRIBUTES/VARIABLE_VALUE)")


class Inventory:
    """Variables of a checkpoint, the slots that optimizers hold beside them, and counters.

    A slot is called like its variable, with the optimizer's scope before it and the kind of slot
    after it: `model/entity/Adam_1` of `entity`. It has the shape of its variable; or, as some
    have one number a row, its rows, and is called like it and nothing in between.

    Args:
        checkpoint: `Checkpoint`.
        no_slots: names of variables that look like slots, and are none.

    Attributes:
        variables: sorted list of the names of variables that could have rows.
        slots: dict of variable to the sorted list of its slots.
        rest: sorted list of what has none: scalars (counters, Adam's powers).
    """

    def __init__(self, checkpoint, no_slots=()):
        names = sorted(name for name in checkpoint.shapes if name != DELTA_KEY)
        self._prefix, self._shapes = checkpoint.prefix, checkpoint.shapes
        perhaps = [name for name in names if name not in no_slots]
        self._owners = owners_in(perhaps, self._shapes, self._is_slot)
        for name in names:
            object_slot = _OBJECT_SLOT.fullmatch(name)
            if object_slot:
                owner = object_slot.group(1) + object_slot.group(3)
                self._owners[name] = owner if owner in self._shapes else None
        self.variables, self.rest, self.slots = [], [], {}
        for name in names:
            owner = self._owners.get(name)
            if owner:
                self.slots.setdefault(owner, []).append(name)
            elif checkpoint.shapes[name] and not is_power(name):
                self.variables.append(name)
            else:
                self.rest.append(name)

    def owner(self, name):
        """Returns the variable whose slot a tensor is, None if it is none."""
        return self._owners.get(name)

    def kept_slots(self, there, here, trained, covered=()):
        """Returns {name here: name there, or None} of slots that are saved of what does not train.

        A plain script trains it, too, and looks for its slots: of the kinds that tables have
        which grow here, and of others, for layers may have another optimizer, or no table grows.
        But of a kind that such tables had and have no more, the optimizer was changed.

        Args:
            there, here: names of the variable or table that does not train.
            trained: list of (name there, name here, list of names of slots here) of tables of
                which rows train.
            covered: kinds of slots that somebody else sees to.

        Returns:
            A dict; None stands for a slot that starts as that of its kind in `trained`.
        """
        named = {
            kind_of_slot(slot): renamed(slot, table, here)
            for _, table, slots in trained
            for slot in slots
        }
        had = {kind_of_slot(slot) for name, _, _ in trained for slot in self.slots.get(name, ())}
        kinds = {slot: kind_of_slot(slot) for slot in self.slots.get(there, ())}
        found = {
            named.get(kind, renamed(slot, there, here)): slot
            for slot, kind in kinds.items()
            if kind not in covered and (kind in named or kind not in had)
        }
        for kind, slot in named.items():
            if kind not in covered:
                found.setdefault(slot)
        return found

    def kinds(self, name):
        """Returns the set of the kinds of slots that a variable has."""
        return set(map(kind_of_slot, self.slots.get(name, ())))

    def kept_powers(self, variables):
        """Returns the names of powers of Adams that are not here, which go with `kept_slots`.

        Of two Adams in one scope only their order says which power is whose. So if one of them is
        here, and the other is not, that is not kept, which a warning says.

        Args:
            variables: names of variables here.
        """
        kinds = {kind_of_power(name) for name in variables if is_power(name)}
        powers = [name for name in self.rest if is_power(name) and name not in variables]
        kept = [name for name in powers if kind_of_power(name) not in kinds]
        unknown = sorted(set(powers).difference(kept))
        if unknown:
            logging.warning(
                "%s of %s will not be saved: one Adam of several is here, and which of them only "
                "the order of all says. A script that makes all of them will ask for these: have "
                "them all here, too, by train= of a layer that each of them trains.",
                " and ".join(unknown),
                self._prefix,
            )
        return kept

    def _is_slot(self, name, owner):
        return has_shape_of_slot(name, list(self._shapes[name]), owner, list(self._shapes[owner]))


_INVENTORIES = weakref.WeakKeyDictionary()  # by checkpoint


def inventory_of(checkpoint):
    """Returns the `Inventory` of a checkpoint, made once."""
    if checkpoint not in _INVENTORIES:
        _INVENTORIES[checkpoint] = Inventory(checkpoint)
    return _INVENTORIES[checkpoint]


def is_object_slot(name):
    """Returns whether a name is that of a slot in an object-based checkpoint."""
    return bool(_OBJECT_SLOT.fullmatch(name))


def kind_of_slot(name):
    """Returns what kind of slot a name says: `Adam_1` of `model/entity/Adam_1`."""
    object_slot = _OBJECT_SLOT.fullmatch(name)
    if object_slot:
        return object_slot.group(2)
    return name.rpartition("/")[2]
