"""Where optimizers start their slots, by kind: what new rows have that nobody trained yet."""

from partial_embed.saving.inventory import is_object_slot, kind_of_slot
from partial_embed.table.patterns import Patterns

ROWS = "rows"  # a slot that starts as the rows themselves
# Of the optimizers of tf.train, and of the AdamW of BERT. The numbers are their own defaults.
_STARTS = {
    "Adadelta": 0.0,
    "Adadelta_1": 0.0,
    "Adagrad": 0.1,
    "Adam": 0.0,
    "Adam_1": 0.0,
    "ExponentialMovingAverage": ROWS,
    "Ftrl": 0.1,
    "Ftrl_1": 0.0,
    "Momentum": 0.0,
    "ProximalAdagrad": 0.1,
    "RMSProp": 1.0,
    "RMSProp_1": 0.0,
    "RMSProp_2": 0.0,
    "adam_m": 0.0,
    "adam_v": 0.0,
}
# Of Keras 2, in object-based checkpoints. Elsewhere `m` and `v` may be anything.
_KERAS = {"m": 0.0, "v": 0.0, "vhat": 0.0, "momentum": 0.0}
# Sums of squares, which only grow: none is below what it started at.
_SUMS = ("Adagrad", "ProximalAdagrad", "Ftrl")


class SlotStarts:
    """Says where slots start, by what a person says of them, else by their kind.

    Args:
        given: dict of pattern (of a slot's name) to a number, or to "rows".
    """

    def __init__(self, given):
        self._given = Patterns(given or {})
        for pattern, start in (given or {}).items():
            if start != ROWS and not isinstance(start, (int, float)):
                raise ValueError(
                    f"The slot {pattern!r} starts at a number, or as the {ROWS!r}; got {start!r}."
                )

    @property
    def unmatched(self):
        """The patterns that no slot obeyed."""
        return self._given.unmatched

    def of(self, slot):
        """Returns the number that a slot starts at, or "rows".

        Raises:
            ValueError: if its kind is none that is known, and nobody says.
        """
        pattern, start = self._given.find(slot)
        if pattern is not None:
            return start
        kind = kind_of_slot(slot)
        known = {**_STARTS, **_KERAS} if is_object_slot(slot) else _STARTS
        if kind not in known:
            raise ValueError(
                f"Nothing says where the optimizer starts {slot} for new rows: of {kind} no number "
                f"is known. Say slots={{{'*/' + kind!r}: 0.0}}, or the number it is; if it is no "
                f"slot but a table, name it: rows= or vocabularies= of {slot!r}."
            )
        return known[kind]

    def check(self, slot, start, old):
        """Raises ValueError if a slot cannot have started where it is thought to have.

        Args:
            slot: its name.
            start: number, see `of`.
            old: array, its values for old rows.
        """
        if kind_of_slot(slot) not in _SUMS or not old.size:
            return
        least, start = old.min(), old.dtype.type(start)
        problem = None
        if least < start:
            problem = "and such sums only grow"
        elif least > start and self._given.find(slot)[0] is None and _a_whole_row(old == least):
            problem = "in whole rows, as those that were never asked for do"
        if problem:
            raise ValueError(
                f"{slot} holds {least}, {problem}: it did not start at {start}. Say "
                f"slots={{{slot!r}: <initial_accumulator_value>}}."
            )


def _a_whole_row(marks):
    """Whether rows are marked throughout, with two marks at least: one alone says nothing."""
    rows = marks.reshape([len(marks), -1])
    return rows.all(1).sum() * rows.shape[1] > 1
