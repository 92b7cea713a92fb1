"""The settings of a run, and which of them contradict each other."""

import os
from typing import NamedTuple, Optional

import tensorflow.compat.v1 as tf

from knowledge_graph import new_rows

OPTIMIZERS = {
    "GradientDescent": tf.train.GradientDescentOptimizer,
    "Momentum": tf.train.MomentumOptimizer,
    "Adagrad": tf.train.AdagradOptimizer,
    "RMSProp": tf.train.RMSPropOptimizer,
    "Adam": tf.train.AdamOptimizer,
    "Ftrl": tf.train.FtrlOptimizer,
    "Adadelta": tf.train.AdadeltaOptimizer,
}
WITH_MOMENTUM = ("Momentum", "RMSProp")


class Config(NamedTuple):
    """What the flags of `scripts/train.py` say; there each is explained, and its bounds are."""

    data_dir: str
    checkpoint_dir: str
    grow_from: Optional[str] = None
    model: str = "complex"
    dimension: int = 128
    optimizer: str = "Adam"
    learning_rate: float = 0.01
    momentum: Optional[float] = None
    batch_size: int = 256
    epochs: int = 100
    seed: int = 0
    dropout: float = 0.0
    n3: float = 0.0
    replay: float = 0.0
    save_every: int = 10
    eval_every: int = 10
    new_rows: str = new_rows.STARTS[0]


def check(config):
    """Raises a `ValueError` for settings that make no sense together."""
    path = config.grow_from or ""
    base = path if os.path.isdir(path) else os.path.dirname(path)
    grows = bool(config.grow_from)
    for wrong, message in (
        (
            config.replay and not grows,
            "--replay is for a run that grows; without --grow_from every triple is learned anyway.",
        ),
        (
            config.new_rows != new_rows.STARTS[0] and not grows,
            f"--new_rows={config.new_rows} is for a run that grows; without --grow_from all rows "
            "are drawn.",
        ),
        (
            config.n3 and config.model == "transe",
            "--n3 is a penalty for complex and distmult; --model=transe has no use for it.",
        ),
        (
            config.momentum is not None and config.optimizer not in WITH_MOMENTUM,
            "--momentum is for --optimizer=Momentum or RMSProp; "
            f"{config.optimizer} has no use for it.",
        ),
        (
            grows and os.path.realpath(base) == os.path.realpath(config.checkpoint_dir),
            f"--grow_from and --checkpoint_dir are the same directory, {config.checkpoint_dir}; "
            "the grown model needs its own.",
        ),
    ):
        if wrong:
            raise ValueError(message)
