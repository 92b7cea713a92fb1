"""What the tensors of a checkpoint are, as far as their names and shapes say."""

import re

from partial_embed.files.growth import DELTA_KEY
from partial_embed.table.optimizer_state import is_power, owners_of, renamed

# As tf.train.Checkpoint calls a slot of the variable `group(1) + group(3)`.
_OBJECT_SLOT = re.compile(r"(.+)/\.OPTIMIZER_SLOT/.+/([^/]+)(/\.ATTRIBUTES/VARIABLE_VALUE)")


class Inventory:
    """Variables of a checkpoint, the slots that optimizers hold beside them, and counters.

    A slot is called like its variable, with the optimizer's scope before it and the kind of slot
    after it: `model/entity/Adam_1` of `entity`. It has the shape of its variable; or, as some
    have one number a row, its rows, and is called like it and nothing in between.

    Attributes:
        variables: sorted list of the names of variables that could have rows.
        slots: dict of variable to the sorted list of its slots.
        rest: sorted list of what has none: scalars (counters, Adam's powers).
    """

    def __init__(self, checkpoint):
        names = sorted(name for name in checkpoint.shapes if name != DELTA_KEY)
        self._shapes = checkpoint.shapes
        self._owners = {name: self._find_owner(name, names) for name in names}
        self.variables, self.rest, self.slots = [], [], {}
        for name in names:
            owner = self._owners[name]
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

    def _find_owner(self, name, names):
        shape = list(self._shapes[name])
        object_slot = _OBJECT_SLOT.fullmatch(name)
        if object_slot:
            owner = object_slot.group(1) + object_slot.group(3)
            return owner if owner in self._shapes else None
        alike = [
            owner
            for owner in owners_of(name, names)
            if shape and self._shapes[owner] and self._is_slot(name, shape, owner)
        ]
        return max(alike, key=len) if alike else None

    def _is_slot(self, name, shape, owner):
        held = list(self._shapes[owner])
        return held == shape or (held[0] == shape[0] and name.rpartition("/")[0] == owner)


def kind_of_slot(name):
    """Returns what kind of slot a name says: `Adam_1` of `model/entity/Adam_1`."""
    object_slot = _OBJECT_SLOT.fullmatch(name)
    if object_slot:
        return object_slot.group(2)
    return name.rpartition("/")[2]
