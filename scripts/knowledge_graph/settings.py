"""The settings of a run, and which of them make no sense."""

import collections
import os

import tensorflow.compat.v1 as tf

from knowledge_graph import models, new_rows

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

# What the flags of `scripts/train.py` say; there each of them is explained.
Config = collections.namedtuple(
    "Config",
    "data_dir checkpoint_dir grow_from model dimension optimizer learning_rate momentum batch_size "
    "epochs seed dropout "
    "n3 replay save_every eval_every new_rows",
)
Config.__new__.__defaults__ = (
    None,
    "complex",
    128,
    "Adam",
    0.01,
    None,
    256,
    100,
    0,
    0.0,
    0.0,
    0.0,
    10,
    10,
    new_rows.STARTS[0],
)


def check(config):
    """Raises a `ValueError` for settings that make no sense, alone or together."""
    if config.model not in models.MODELS:
        raise ValueError(
            "--model={} is none of {}.".format(config.model, ", ".join(sorted(models.MODELS)))
        )
    if config.optimizer not in OPTIMIZERS:
        raise ValueError(
            "--optimizer={} is none of {}.".format(config.optimizer, ", ".join(OPTIMIZERS))
        )
    for name in ("dimension", "batch_size", "epochs", "save_every", "eval_every"):
        if getattr(config, name) < 1:
            raise ValueError(f"--{name} must be at least 1, found {getattr(config, name)}.")
    if not config.learning_rate > 0:
        raise ValueError(f"--learning_rate must be positive, found {config.learning_rate}.")
    if not 0 <= config.dropout < 1:
        raise ValueError(f"--dropout must be at least 0 and less than 1, found {config.dropout}.")
    if not 0 <= config.seed < 2**31:
        raise ValueError(f"--seed must be at least 0 and less than 2^31, found {config.seed}.")
    if config.n3 < 0:
        raise ValueError(f"--n3 must not be negative, found {config.n3}.")
    if config.replay < 0:
        raise ValueError(f"--replay must not be negative, found {config.replay}.")
    if config.replay and not config.grow_from:
        raise ValueError(
            "--replay is for a run that grows; without --grow_from every triple is learned anyway."
        )
    if config.new_rows not in new_rows.STARTS:
        raise ValueError(
            "--new_rows={} is none of {}.".format(config.new_rows, ", ".join(new_rows.STARTS))
        )
    if config.new_rows != new_rows.STARTS[0] and not config.grow_from:
        raise ValueError(
            f"--new_rows={config.new_rows} is for a run that grows; without --grow_from all rows "
            "are drawn."
        )
    if config.n3 and config.model == "transe":
        raise ValueError(
            "--n3 is a penalty for complex and distmult; --model=transe has no use for it."
        )
    if config.momentum is not None and config.optimizer not in WITH_MOMENTUM:
        raise ValueError(
            f"--momentum is for --optimizer=Momentum or RMSProp; {config.optimizer} has no use for "
            "it."
        )
    if config.grow_from:
        base = (
            config.grow_from
            if os.path.isdir(config.grow_from)
            else os.path.dirname(config.grow_from)
        )
        if os.path.realpath(base) == os.path.realpath(config.checkpoint_dir):
            raise ValueError(
                "--grow_from and --checkpoint_dir are the same directory, "
                f"{config.checkpoint_dir}; the grown model "
                "needs its own."
            )
