"""The settings of a job, and which of them contradict each other."""

import contextlib
import math
import os
from typing import NamedTuple, Optional, Union

import tensorflow.compat.v1 as tf
from absl import flags

from job import new_rows

# By name: each of tf.train that trains by itself.
OPTIMIZERS = {
    name[: -len("Optimizer")]: getattr(tf.train, name)
    for name in sorted(dir(tf.train))
    if name.endswith("Optimizer") and name not in ("Optimizer", "SyncReplicasOptimizer")
}
WITH_MOMENTUM = ("Momentum", "RMSProp")
MODELS = {
    "complex": "models.knowledge_graph:complex_model",
    "distmult": "models.knowledge_graph:distmult",
    "transe": "models.knowledge_graph:transe",
    "matrix_factorization": "models.matrix_factorization:matrix_factorization",
}
LATEST, ALL = "latest", "all"
# How the learning rate falls.
DECAYS = ("none", "linear")


class Config(NamedTuple):
    """What the flags of `scripts/train.py` say; there each is explained, and its bounds are.

    `hyperparameters` are the flags of the model, by name; those left out are as the model has them.
    """

    data_dir: Optional[str]
    checkpoint_dir: Optional[str]
    model: str = "complex"
    data: str = "triples"
    grow_from: Optional[str] = None
    publish: Optional[str] = None
    require_new: bool = False
    skip_bad_lines: bool = False
    optimizer: str = "Adam"
    learning_rate: float = 0.01
    decay: str = DECAYS[0]
    momentum: Optional[float] = None
    batch_size: int = 256
    epochs: int = 100
    seed: int = 0
    replay: Union[None, float, str] = None
    replay_weight: Optional[float] = None
    save_every: int = 10
    eval_every: int = 10
    eval_at_start: bool = False
    early_stopping: int = 0
    watch: str = "min:loss"
    new_rows: str = new_rows.STARTS[0]
    move: tuple = ()
    min_slice_bytes: int = 1 << 18
    hyperparameters: dict = {}


# What the weights do not depend on: it may change between two parts of one run.
FREE = ("checkpoint_dir", "data_dir", "grow_from", "publish", "require_new", "epochs", "save_every")
FREE += (
    "eval_every",
    "eval_at_start",
    "early_stopping",
    "watch",
    "skip_bad_lines",
    "min_slice_bytes",
)


def check(config):
    """Raises a `ValueError` for settings that make no sense together."""
    grows = bool(config.grow_from)
    for wrong, message in (
        (
            config.replay and not grows,
            "--replay is for a run that grows; without --grow_from every example is learned "
            "anyway.",
        ),
        (
            config.replay_weight is not None and not grows,
            "--replay_weight is for a run that grows; without --grow_from nothing is replayed.",
        ),
        (
            config.new_rows != new_rows.STARTS[0] and not grows,
            f"--new_rows={config.new_rows} is for a run that grows; without --grow_from all rows "
            "are drawn.",
        ),
        (
            config.move and not grows,
            "--move is for a run that grows; without --grow_from all rows move.",
        ),
        (
            config.momentum is not None and config.optimizer not in WITH_MOMENTUM,
            "--momentum is for --optimizer=Momentum or RMSProp; "
            f"{config.optimizer} has no use for it.",
        ),
        (
            not (config.checkpoint_dir or config.publish),
            "Say where the run keeps its checkpoints with --checkpoint_dir, or where the finished "
            "model shall appear with --publish.",
        ),
        (
            config.grow_from == LATEST and not config.publish,
            "--grow_from=latest is the newest generation in the directory of --publish; give that.",
        ),
        (
            config.require_new and not grows,
            "--require_new is for a run that grows; give --grow_from.",
        ),
        (
            grows and config.checkpoint_dir and _same_directory(config),
            f"--grow_from and --checkpoint_dir are the same directory, {config.checkpoint_dir}; "
            "the grown model needs its own.",
        ),
    ):
        if wrong:
            raise ValueError(message)
    moves(config)


class Replay(flags.ArgumentParser):
    """Reads a flag that is a number, or the word all."""

    syntactic_help = "a number, or all"

    def parse(self, argument):
        with contextlib.suppress(TypeError, ValueError):
            argument = float(argument)
        if argument != ALL and not (isinstance(argument, float) and 0 <= argument < math.inf):
            raise ValueError(f"expected a number of at least 0, or {ALL}")
        return argument


def define_replay(default, text):
    """Defines the flag --replay."""
    flags.DEFINE(Replay(), "replay", default, text, serializer=flags.ArgumentSerializer())


def moves(config):
    """What --move says: dict of the name of a vocabulary to a part."""
    found = {}
    for text in config.move:
        name, colon, part = text.partition(":")
        if name in found:
            raise ValueError(f"--move names {name} twice; name it once.")
        with contextlib.suppress(ValueError):
            found[name] = float(part)
        if not (colon and name and 0 <= found.get(name, -1) < 1):
            raise ValueError(
                f"--move={text} must be a vocabulary and a part below 1, such as entities:0.3."
            )
    return found


def _same_directory(config):
    path = config.grow_from
    base = path if os.path.isdir(path) else os.path.dirname(path)
    return os.path.realpath(base) == os.path.realpath(config.checkpoint_dir)
