"""The directory of a run: its checkpoints, and what is needed to continue or to grow from them.

model.ckpt-<step>.*           the newest checkpoints
entities.txt, relations.txt   the keys of the rows
run.json                      the settings that the weights depend on
events.out.tfevents.*         for TensorBoard
"""

import collections
import json
import os
import signal

import tensorflow.compat.v1 as tf

from knowledge_graph import triples
from partial_embed.files.checkpoint import Checkpoint
from partial_embed.table.vocabulary import read_vocabulary

Base = collections.namedtuple("Base", ["checkpoint", "entities", "relations", "settings"])
# The tables of every model, and whose rows they hold.
TABLES = {"entity": "entities", "relation": "relations", "inverse": "relations"}
NOTHING = Base(None, [], [], {})


def read_base(path):
    """Finds what a run grows from.

    Args:
      path: a checkpoint, or a directory: then its newest checkpoint is meant.

    Returns:
      A `Base`; its settings are empty if no `run.json` lies beside the checkpoint.
    """
    checkpoint = Checkpoint(path)
    directory = os.path.dirname(checkpoint.prefix)
    keys = {}
    for name in ("entities", "relations"):
        path = os.path.join(directory, name + ".txt")
        if not os.path.exists(path):
            raise FileNotFoundError(
                f"{path} is missing: without the keys beside it, one a line, nobody knows whose "
                f"the rows of {checkpoint.prefix} are."
            )
        keys[name] = read_vocabulary(path)
    for table, name in TABLES.items():
        if table not in checkpoint:
            there = ", ".join(sorted(checkpoint.shapes)) or "nothing"
            raise ValueError(f"{checkpoint.prefix} has no table {table!r}; it has {there}.")
        rows = checkpoint.shapes[table][0]
        if rows != len(keys[name]):
            raise ValueError(
                f"{checkpoint.prefix} has {rows} rows of {table!r}, but {name}.txt beside it has "
                f"{len(keys[name])} keys; they must be as many."
            )
    return Base(checkpoint.prefix, **keys, settings=_read_settings(directory) or {})


def check_prefix(kind, old, new, source):
    """Checks that the old keys keep their rows: they come first, in the same order."""
    for row, key in enumerate(old):
        if new[row : row + 1] != [key]:
            found = repr(new[row]) if row < len(new) else "missing"
            raise ValueError(
                f"{kind} {row} is {key!r} in the checkpoint {source} and {found} in the data; the "
                "old keys must come first, in the same order, and the new ones after them."
            )


def open_run(directory, settings, dataset):
    """Makes the directory of a run, or checks that the run in it is the one to be continued.

    Args:
      directory: where the run lies.
      settings: a dict of everything that the weights depend on.
      dataset: the `Dataset` whose vocabularies the rows follow.

    Returns:
      The checkpoint to continue from, or None if the run is new.
    """
    found = _read_settings(directory)
    checkpoint = tf.train.latest_checkpoint(directory)
    if not checkpoint:
        os.makedirs(directory, exist_ok=True)
        for name in ("entities", "relations"):
            triples.write_lines(os.path.join(directory, name + ".txt"), getattr(dataset, name))
        text = json.dumps(settings, indent=2, sort_keys=True)
        triples.write_lines(os.path.join(directory, "run.json"), [text])
        return None
    if found is None:
        raise ValueError(
            f"{directory} holds checkpoints but no run.json, so nobody knows how to continue them; "
            "choose another --checkpoint_dir."
        )
    for name in sorted(settings):
        if found.get(name) != settings[name]:
            raise ValueError(
                f"{directory} holds a run with {name}={found.get(name)}, and this one has "
                f"{settings[name]}; continue it as it was, or choose another --checkpoint_dir."
            )
    for name in ("entities", "relations"):
        if read_vocabulary(os.path.join(directory, name + ".txt")) != getattr(dataset, name):
            raise ValueError(
                f"The {name} of the data are not those of the run in {directory}; choose another "
                f"--checkpoint_dir, and --grow_from={directory} to add rows."
            )
    return checkpoint


def _read_settings(directory):
    path = os.path.join(directory, "run.json")
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        try:
            return json.load(file)
        except ValueError as error:
            raise ValueError(f"{path} is not JSON: {error}.") from error


class StopSignals:
    """Turns the first SIGTERM or ctrl-c into a wish to stop; the second one acts as it always does.

    Used as a context manager. `received` is the number of the signal, or None.
    """

    received = None

    def __enter__(self):
        numbers = signal.SIGTERM, signal.SIGINT
        self._before = {number: signal.signal(number, self._receive) for number in numbers}
        return self

    def _receive(self, number, frame):
        del frame
        self.received = number
        self.__exit__()

    def __exit__(self, *exception):
        for number, handler in self._before.items():
            signal.signal(number, handler)
