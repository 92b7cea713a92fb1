"""The directory of a run: its checkpoints, and what is needed to continue or to grow from them.

model.ckpt-<step>.*           the finished model, whole; of a base, also the checkpoints on the way
delta.ckpt-<step>.*           of a run that grows, checkpoints on the way
best.ckpt.*                   with --early_stopping, where the valid examples were answered best
entities.txt, ...             the keys of the rows, a file for each vocabulary
examples.npz                  the examples that the run knows, see job/examples.py
normalizers.npz               of a run that grows, see job/normalizers.py
run.json                      the settings that the weights depend on
flags.txt                     the flags of the run, for --flagfile
history.jsonl                 a line for each evaluation
result.json                   once it is finished: the checkpoint, and its metrics
cluster.json                  of a run on a cluster: what all its members have in common
lock                          held as long as a process trains here
events.out.tfevents.*         for TensorBoard; for its projector projector_config.pbtxt, *.tsv
"""

import contextlib
import json
import os
import time
from typing import Dict, List, NamedTuple, Optional

import tensorflow.compat.v1 as tf
from absl import logging

from job import data as job_data
from job import examples
from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.lock import owner_of, try_lock
from partial_embed.table.vocabulary import read_vocabulary

RUN, RESULT, HISTORY, FLAGS = "run.json", "result.json", "history.jsonl", "flags.txt"
JOB = "cluster.json"
LOCK = "lock"
_WHAT = {"train_checksum": ": other examples, in the data or beside the base"}
_SECONDS_OF_A_CHIEF = 60.0


class Base(NamedTuple):
    """What a run grows from: a checkpoint, the keys of its rows, the settings it was trained by."""

    checkpoint: Optional[str] = None
    vocabularies: Dict[str, List[str]] = {}
    settings: dict = {}


def read_base(path, names):
    """Finds what a run grows from.

    Args:
      path: a checkpoint, or a directory: then its newest checkpoint is meant; None for nothing.
      names: of the vocabularies that are expected beside it.

    Returns:
      A `Base`; its settings are empty if no `run.json` lies beside the checkpoint.
    """
    if not path:
        return Base()
    result = read_json(os.path.join(path, RESULT)) if os.path.isdir(path) else None
    if result:
        path = os.path.join(path, result["checkpoint"])
    elif os.path.exists(os.path.join(path, RUN)):
        logging.warning("The run in %s is not finished: its newest checkpoint is taken.", path)
    checkpoint = Checkpoint(path)
    directory = os.path.dirname(checkpoint.prefix)
    vocabularies = {}
    for name in names:
        path = os.path.join(directory, name + ".txt")
        if not os.path.exists(path):
            raise FileNotFoundError(
                f"{path} is missing: without the keys beside it, one a line, nobody knows whose "
                f"the rows of {checkpoint.prefix} are."
            )
        vocabularies[name] = read_vocabulary(path)
    settings = read_json(os.path.join(directory, RUN)) or {}
    return Base(checkpoint.prefix, vocabularies, settings)


def open_run(directory, settings, data):
    """Makes the directory of a run, or checks that the run in it is the one to be continued.

    Args:
      directory: where the run lies.
      settings: a dict of everything that the weights depend on.
      data: the `Data` whose vocabularies the rows follow.
    """
    found = read_json(os.path.join(directory, RUN))
    if not tf.train.latest_checkpoint(directory):
        for name, keys in data.vocabularies.items():
            job_data.write_lines(os.path.join(directory, name + ".txt"), keys)
        examples.write(directory, data)
        write_json(os.path.join(directory, RUN), settings)
        for name in (HISTORY, RESULT):
            with contextlib.suppress(FileNotFoundError):
                os.remove(os.path.join(directory, name))
        return
    if found is None:
        raise ValueError(
            f"{directory} holds checkpoints but no run.json, so nobody knows how to continue them; "
            "choose another --checkpoint_dir."
        )
    for name in sorted(settings):
        if found.get(name) != settings[name]:
            raise ValueError(
                f"{directory} holds a run with {name}={found.get(name)}, and this one has "
                f"{settings[name]}{_WHAT.get(name, '')}; continue it as it was, or choose another "
                "--checkpoint_dir."
            )
    for name, keys in data.vocabularies.items():
        if read_vocabulary(os.path.join(directory, name + ".txt")) != keys:
            raise ValueError(
                f"The {name} of the data are not those of the run in {directory}; choose another "
                f"--checkpoint_dir, and --grow_from={directory} to add rows."
            )


def join_run(directory, common, should_stop):
    """Waits until the chief of a cluster has opened the very run that a worker is to take part in.

    Args:
      directory: where the run lies.
      common: a dict of what all members must have in common.
      should_stop: a function; once it returns something true, no more is waited.

    Returns:
      Whether there is something to do: False if it is finished already, or the wait is.

    Raises:
      ValueError: if after a minute there is no run, or another one.
    """
    last, common = time.monotonic() + _SECONDS_OF_A_CHIEF, json.loads(json.dumps(common))
    while not should_stop():
        found = read_json(os.path.join(directory, JOB)) or {}
        if found == common:
            result = read_json(os.path.join(directory, RESULT))
            return not (result and result["epochs"] == common["epochs"])
        if time.monotonic() > last:
            name = next((name for name in sorted(common) if found.get(name) != common[name]), "")
            differs = f" ({name}: it has {found.get(name)}, here it is {common.get(name)})"
            raise ValueError(
                f"The chief has opened no run in {directory} that this worker could take part in"
                + (differs if found else "")
                + ". All members need the same flags and data, and see that directory."
            )
        time.sleep(0.2)
    return False


@contextlib.contextmanager
def locked(directory):
    """Holds the lock of a directory, which ends with the process, however that ends.

    Raises:
      ValueError: if another process holds it.
    """
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, LOCK)
    lock = try_lock(path)
    if lock is None:
        raise ValueError(
            f"{directory} is in use by {owner_of(path)}; wait until that ends, or choose another "
            "directory."
        )
    try:
        yield
    finally:
        lock.release()
        with contextlib.suppress(OSError):
            os.rmdir(directory)  # if nothing came of it


def read_json(path):
    """What a file of JSON says; None if there is none."""
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        try:
            return json.load(file)
        except ValueError as error:
            raise ValueError(f"{path} is not JSON: {error}.") from error


def write_json(path, content):
    """Writes JSON; a reader sees the old file or the new one, never half of one."""
    job_data.write_lines(path, [json.dumps(content, indent=2, sort_keys=True)])
