"""What growing did with the variables of one graph, for a person to see."""

import tensorflow.compat.v1 as tf
from absl import logging

from partial_embed.files.growth import follows_keys, read_generations
from partial_embed.files.index import stored_tensors
from partial_embed.table.embedding import embeddings_in
from partial_embed.table.optimizer_state import (
    is_optimizer_state,
    is_power,
    kind_of_power,
    owners_in_checkpoint,
)

# What can become of a variable, in the order of the table.
GREW = "grew"
FROZEN = "loaded, frozen"
TRAINS = "loaded, trains"
STATE = "loaded, state"
NEW = "new, trains"
AFRESH = "starts afresh"
ALONE = "left alone"
_FATES = (GREW, FROZEN, TRAINS, STATE, NEW, AFRESH, ALONE)
REPORTS = ("partial_embed", "reports")  # the key of a collection
_MOST = 12  # names on a line
_YELLOW, _BOLD, _PLAIN = "\033[33m", "\033[1m", "\033[0m"


class Report:
    """What growing did with the variables of one graph.

    Attributes:
        checkpoint: `Checkpoint` that they were loaded from.
        variables: dict of a variable's name to (its fate, its name in the
            checkpoint or None, what else is to be said).
        unkeyed: list of names of tables that grew and follow no vocabulary.
        alike: list of those of them that gained as many rows as a vocabulary keys.
        held: list of variables whose own updates shall do nothing.
        slots: set of names in the checkpoint of optimizer state that goes on.
        is_settled: bool, whether growing is closed, and what is held is.
    """

    def __init__(self, checkpoint, show, expect_obeyed, unmatched):
        """Takes what shows it, and what raises, or tells, which patterns were of no use so far."""
        self.checkpoint = checkpoint
        self.variables = {}
        self.unkeyed = []
        self.alike = []
        self.held = []
        self.slots = set()
        self.is_settled = False
        self._shown = None
        self._show = show
        self._expect_obeyed = expect_obeyed
        self._unmatched = unmatched

    def note(self, name, fate, tensor_name=None, detail=""):
        """Notes what became of a variable."""
        self.variables[name] = (fate, tensor_name, detail)

    def names(self, fate):
        """Returns the names of the variables that have one fate."""
        return [name for name, (its, _, _) in self.variables.items() if its == fate]

    def untaken(self):
        """Returns the sorted names of the checkpoint that nobody took, but for optimizer state."""
        taken = {tensor_name for _, tensor_name, _ in self.variables.values()}
        rest = set(self.checkpoint.shapes) - taken
        return sorted(
            name for name in rest if not self._is_state_there(name) and not self._counts(name)
        )

    def not_loaded(self, graph):
        """Returns the names of variables that the checkpoint holds, and that did not come of it."""
        return [
            variable.op.name
            for variable in graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)
            if variable.op.name in self.checkpoint
            and variable.op.name not in self.variables
            and not self._is_state_there(variable.op.name)
            and not self._counts(variable.op.name)
        ]

    def leaves(self, name):
        """Returns whether growing lets a variable, or slot, start without what is stored of it."""
        if name in self.variables:
            return self.variables[name][0] in (AFRESH, ALONE)
        if name in self.slots:
            return False
        owners = {*self.checkpoint.shapes, *self.variables}
        return is_optimizer_state(name, owners) or (name in self.checkpoint and self._counts(name))

    def _is_state_there(self, name):
        """Whether a tensor of the checkpoint is a power of Adam, or shaped as what it is below."""
        shapes = self.checkpoint.shapes
        owner = owners_in_checkpoint(self.checkpoint).get(name)
        return is_power(name) or (owner is not None and shapes[owner] == shapes[name])

    def _counts(self, name):
        scalar = not self.checkpoint.shapes[name]
        return scalar and self.checkpoint.dtypes[name].is_integer

    def warnings(self):
        """Returns what a person should look into, a sentence each."""
        found, untaken = [], self.untaken()
        if untaken:
            found.append(
                f"in the checkpoint, and nobody took it: {listed(untaken)}. Perhaps it has "
                "another name here: names={name here: name there}"
            )
        divided = self._divided()
        if divided:
            found.append(
                f"{listed(divided)} was divided by a partitioner when it was saved: unless the old "
                'script said partition_strategy="div", its lookups dealt the ids out in turn, and '
                "row i is not id i. docs/migration.md has the vocabulary that puts them in order"
            )
        there = {name: self.variables[name][1] for name in self.unkeyed}
        keyed = [name for name in there if follows_keys(self.checkpoint, there[name])]
        if keyed:
            found.append(
                f"rows of {listed(keyed)} follow keys in the checkpoint, and no vocabulary was "
                "given: unless the new keys are the old ones and more after them, give it: "
                'vocabularies={"*": (old, new)}'
            )
        if self.alike:
            found.append(
                f"{listed(self.alike)} gained as many rows as a vocabulary keys, and follows "
                'none. If these are its keys, name it too, or all: vocabularies={"*": (old, new)}'
            )
        if self._unmatched():
            found.append(f"no variable obeys {listed(self._unmatched())}, so far")
        if self.variables and not self.names(GREW):
            found.append(
                f"no table grew: each has as many rows as in the checkpoint{self._saved()}"
            )
        return found

    def _divided(self):
        """The names of loaded variables of which the checkpoint holds rows in several pieces."""
        cut = {
            name
            for name, (_, _, slices) in stored_tensors(self.checkpoint.prefix).items()
            if len({part[0] for part in slices}) > 1
        } - set(read_generations(self.checkpoint))
        of_ids = self.unkeyed + self.names(FROZEN)
        return sorted(name for name in of_ids if self.variables[name][1] in cut)

    def _saved(self):
        """What to do if an interrupted run saved where it grows from; "" if it cannot have."""
        grown = [
            name
            for name, entry in read_generations(self.checkpoint).items()
            if len(entry["generations"]) > 1
        ]
        if not grown:
            return ""
        return (
            f", where {listed(grown)} grew already. If that is where an interrupted run saved, "
            "grow from the base it grew from, and restore this with partial_embed.Saver"
        )

    def text(self, colour=False):
        """Returns the table: what became of which variables, and what to look into."""
        yellow, bold, plain = (_YELLOW, _BOLD, _PLAIN) if colour else ("", "", "")
        lines = [f"{bold}partial_embed: growing from {self.checkpoint.prefix}{plain}"]
        width = max(map(len, _FATES))
        for fate in _FATES:
            names = self.names(fate)
            alone = [name for name in names if self.variables[name][2]]
            together = [name for name in names if not self.variables[name][2]]
            lines += [f"  {fate:{width}}  {name}: {self.variables[name][2]}" for name in alone[:50]]
            if len(alone) > 50:
                lines.append(f"  {fate:{width}}  and {len(alone) - 50} more")
            if together:
                lines.append(f"  {fate:{width}}  {listed(together)}")
        if self.unkeyed:
            which = (
                "" if len(self.unkeyed) == len(self.names(GREW)) else " of " + listed(self.unkeyed)
            )
            lines.append(f"  {'':{width}}  row i{which} keeps its meaning: no vocabulary was given")
        lines += [f"  {yellow}warning: {warning}{plain}" for warning in self.warnings()]
        return "\n".join(lines)

    def show(self):
        """Shows the table, unless it was shown as it is."""
        if self.variables and self.variables != self._shown:
            self._shown = dict(self.variables)
            self._show(self)

    def check(self, graph):
        """Logs which variables of a complete graph did not come of the checkpoint that has them.

        Raises:
            ValueError: if a pattern given to growing was of no use.
        """
        self._expect_obeyed()
        missed = self.not_loaded(graph)
        if missed:
            logging.warning(
                "%s holds %s, which were made without being loaded from it. Make them while "
                "growing is open.",
                self.checkpoint.prefix,
                listed(missed),
            )

    def loaded(self):
        """Returns the set of names of variables that came of the checkpoint."""
        return {name for name, (_, there, _) in self.variables.items() if there is not None}

    def expect_slots(self):
        """Raises ValueError unless all state of what goes on training was taken along."""
        owners = {self.variables[name][1] for name in self.names(TRAINS) + self.names(GREW)}
        whole = {e.tensor_name for e in embeddings_in() if e.trainable is None}
        held = owners_in_checkpoint(self.checkpoint).items()
        state = {slot for slot, owner in held if owner in owners - whole}
        state -= {there for _, there, _ in self.variables.values()}
        powers = set(filter(is_power, self.checkpoint.shapes))
        missing = sorted((state | powers) - self.slots)
        # Of two Adams only their order says which power is whose.
        taken = set(map(kind_of_power, powers & self.slots))
        is_mixed = any(is_power(name) and kind_of_power(name) in taken for name in missing)
        if missing and (self.names(TRAINS) or is_mixed):
            raise ValueError(
                f"slots=True, and nobody took {listed(missing)}: the state of an optimizer is "
                "taken whole or not at all. Build the same optimizer while growing is open."
            )


def reports_in(graph=None):
    """Returns the list of the `Report`s of a graph."""
    return (graph or tf.get_default_graph()).get_collection(REPORTS)


def listed(names):
    """Returns a dozen names as a text, and how many more there are."""
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more
