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

Base = collections.namedtuple("Base", ["checkpoint", "entities", "relations", "settings"])
# The tables of every model, and whose rows they hold.
TABLES = collections.OrderedDict(entity="entities", relation="relations", inverse="relations")
NOTHING = Base(None, [], [], {})


def newest_checkpoint(directory):
    """Returns the newest checkpoint of a directory, or None."""
    return tf.train.latest_checkpoint(directory) if os.path.isdir(directory) else None


def read_base(path):
    """Finds what a run grows from.

    Args:
      path: a checkpoint, or a directory: then its newest checkpoint is meant.

    Returns:
      A `Base`; its settings are empty if no `run.json` lies beside the checkpoint.
    """
    checkpoint = newest_checkpoint(path) if os.path.isdir(path) else path
    if not checkpoint or not tf.train.checkpoint_exists(checkpoint):
        raise FileNotFoundError(
            f"There is no checkpoint to grow from at {path}; give a directory with one, or a path "
            "such "
            "as "
            "run/model.ckpt-2000."
        )
    directory = os.path.dirname(checkpoint)
    keys = {}
    for name in ("entities", "relations"):
        path = os.path.join(directory, name + ".txt")
        if not os.path.exists(path):
            raise FileNotFoundError(
                f"{path} is missing: without the keys beside it, one a line, nobody knows whose "
                f"the rows of {checkpoint} are."
            )
        keys[name] = triples.read_vocabulary(path)
    _check_tables(checkpoint, keys)
    return Base(checkpoint, keys["entities"], keys["relations"], _read_settings(directory) or {})


def _check_tables(checkpoint, keys):
    """Checks that the tables are there, and have a row for every key."""
    shapes = tf.train.load_checkpoint(checkpoint).get_variable_to_shape_map()
    for table, name in TABLES.items():
        if table not in shapes:
            raise ValueError(
                "{} has no table {!r}; it has {}.".format(
                    checkpoint, table, ", ".join(sorted(shapes)) or "nothing"
                )
            )
        if shapes[table][0] != len(keys[name]):
            raise ValueError(
                f"{checkpoint} has {shapes[table][0]} rows of {table!r}, but {name}.txt beside it "
                f"has {len(keys[name])} keys; they must be as "
                "many."
            )


def check_prefix(kind, old, new, source):
    """Checks that the old keys keep their rows: they come first, in the same order."""
    for row, key in enumerate(old):
        if row >= len(new) or new[row] != key:
            raise ValueError(
                "{} {} is {!r} in the checkpoint {} and {} in the data; the old keys must come "
                "first, in the same "
                "order, and the new ones after them.".format(
                    kind, row, key, source, repr(new[row]) if row < len(new) else "missing"
                )
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
    checkpoint = newest_checkpoint(directory)
    if checkpoint and found is None:
        raise ValueError(
            f"{directory} holds checkpoints but no run.json, so nobody knows how to continue them; "
            "choose "
            "another "
            "--checkpoint_dir."
        )
    if checkpoint:
        for name in sorted(settings):
            if found.get(name) != settings[name]:
                raise ValueError(
                    f"{directory} holds a run with {name}={found.get(name)}, and this one has "
                    f"{settings[name]}; continue it as it was, or "
                    "choose another "
                    "--checkpoint_dir."
                )
        for name in ("entities", "relations"):
            path = os.path.join(directory, name + ".txt")
            if triples.read_vocabulary(path) != getattr(dataset, name):
                raise ValueError(
                    f"The {name} of the data are not those of the run in {directory}; choose "
                    "another "
                    "--checkpoint_dir, and "
                    f"--grow_from={directory} to add rows."
                )
        return checkpoint
    os.makedirs(directory, exist_ok=True)
    triples.write_vocabulary(os.path.join(directory, "entities.txt"), dataset.entities)
    triples.write_vocabulary(os.path.join(directory, "relations.txt"), dataset.relations)
    path = os.path.join(directory, "run.json")
    with open(path + ".part", "w", encoding="utf-8") as file:
        json.dump(settings, file, indent=2, sort_keys=True)
    os.replace(path + ".part", path)
    return None


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

    def __init__(self):
        self.received = None
        self._before = {}

    def __enter__(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *exception):
        self._restore()

    def _receive(self, number, frame):
        del frame
        self.received = number
        self._restore()

    def _restore(self):
        for number, handler in self._before.items():
            signal.signal(number, handler)
