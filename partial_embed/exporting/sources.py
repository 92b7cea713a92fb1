"""What tables are exported from: a checkpoint of either kind, a Keras file, a session.

Every source has `label` (what it is called in errors), `shapes` and `dtypes` by the names that
people know (of a name-based checkpoint: those of its tensors), `generations` (see
`read_generations`), `vocabulary` (path of the one that stands beside it, or None), `files` (paths
that must not be written to), and `read(name)`, `tensor(name)`, `is_state(name)`,
`expect_whole(names)`, `check()`, `close()`.
"""

import os

import tensorflow.compat.v1 as tf

from partial_embed.exporting.object_names import OBJECT_GRAPH, names_in_object_checkpoint
from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.growth import DELTA_KEY, VOCABULARY_SUFFIX, read_delta, read_generations
from partial_embed.files.locate import files_of
from partial_embed.files.tensors import restore
from partial_embed.saving.saver import Saver
from partial_embed.table.optimizer_state import is_power, owners_of


class CheckpointSource:
    """A whole checkpoint, name-based or object-based; see the module.

    Args:
        path: prefix, directory or `checkpoint` file, or a `Checkpoint`.
        label: str, what it is called in errors; default: its prefix.

    Raises:
        ValueError: if there is none, or it is a delta.
    """

    def __init__(self, path, label=None):
        self._checkpoint = checkpoint = Checkpoint(path)
        self.label = label or checkpoint.prefix
        self.files = files_of(checkpoint.prefix) + [checkpoint.prefix]
        if DELTA_KEY in checkpoint:
            tables = read_delta(checkpoint)["tables"]
            bases = ", ".join(sorted({str(entry["base"]) for entry in tables.values()}))
            raise ValueError(
                f"{self.label} is a delta: it holds only the rows that trained. Export what "
                f"merge_checkpoint({bases!r}, {self.label!r}, output) writes."
            )
        self.is_object_based = OBJECT_GRAPH in checkpoint
        if self.is_object_based:
            self._held = names_in_object_checkpoint(checkpoint.shapes)
        else:
            self._held = {name: name for name in checkpoint.shapes}
        self.shapes = {name: checkpoint.shapes[held] for name, held in self._held.items()}
        self.dtypes = {name: checkpoint.dtypes[held] for name, held in self._held.items()}
        self.generations = {} if self.is_object_based else read_generations(checkpoint)
        beside = checkpoint.prefix + VOCABULARY_SUFFIX
        self.vocabulary = beside if tf.gfile.Exists(beside) else None

    def is_state(self, name):
        """Returns whether a name is that of the state of an optimizer.

        A slot of two axes has the shape of its variable, if that has two axes as well.
        """
        shape = self.shapes[name]
        owners = owners_of(name, self.shapes)
        is_other = len(shape) == 2 and all(
            len(self.shapes[owner]) == 2 and self.shapes[owner] != shape for owner in owners
        )
        return is_power(name) or bool(owners and not is_other)

    def expect_whole(self, names):
        """Raises ValueError if only slices of one of these are there."""
        self._checkpoint.expect_whole([self._held[name] for name in names])

    def read(self, name):
        """Returns the values of a tensor as an array."""
        return self._checkpoint.read(self._held[name])

    def tensor(self, name):
        """Returns a tensor of the default graph that reads the values when it runs."""
        return restore(self._checkpoint.prefix, self._held[name], self.dtypes[name])

    def check(self):
        """Raises ValueError if another was put in its place since it was opened."""
        self._checkpoint.expect_unchanged()

    def close(self):
        """Does nothing: no file is held open."""


def saved_session(session, directory):
    """Saves what a session holds as a whole checkpoint; returns its prefix.

    Args:
        session: `tf.Session` whose variables are initialized.
        directory: path of a directory.
    """
    if session.graph.finalized:
        raise ValueError(
            "The session's graph is finalized, and takes no Saver any more. Export the checkpoint "
            "that the run saves."
        )
    with session.graph.as_default():
        if not tf.global_variables():
            raise ValueError("The session's graph has no variables, and so nothing to export.")
        path = os.path.join(directory, "session")
        return Saver().save(session, path, write_meta_graph=False, write_state=False)
