"""A directory of generations: finished models, each of which appears there in one rename.

generation-0001/         a model: its checkpoint, whole, and the keys of its rows
  model.ckpt-<step>.*
  entities.txt, ...
  examples.npz           what it has learned, and what the next one replays
  run.json, result.json
  manifest.json          which generation it grew from, how many rows are old, its metrics
generation-0002/         grown from it
.training/               the run of the next one, unless --checkpoint_dir says where
"""

import datetime
import filecmp
import os
import re
import shutil

from absl import logging

from job import data as job_data
from job import directory
from job.config import LATEST
from job.directory import RESULT, RUN
from job.examples import EXAMPLES

MANIFEST = "manifest.json"
_NAME = re.compile(r"generation-(\d{4,})")


def newest(publish):
    """The path of the newest generation, and its number; (None, 0) if there is none."""
    there = os.listdir(publish) if os.path.isdir(publish) else []
    numbers = {int(_NAME.fullmatch(name).group(1)): name for name in there if _NAME.fullmatch(name)}
    if not numbers:
        return None, 0
    number = max(numbers)
    return os.path.join(publish, numbers[number]), number


def default_directory(publish):
    """Where the run of the next generation lies, if nobody says where."""
    return os.path.join(publish, ".training")


def of(config):
    """The path of the generation that a run grows from; None if it grows from none of them."""
    if not config.publish:
        return None
    if config.grow_from == LATEST:
        found, _ = newest(config.publish)
        if not found:
            raise FileNotFoundError(
                f"{config.publish} holds no generation to grow from; train and publish the first "
                "one without --grow_from."
            )
        return found
    if not config.grow_from:
        return None
    path = os.path.realpath(config.grow_from)
    path = path if os.path.isdir(path) else os.path.dirname(path)
    is_one = os.path.dirname(path) == os.path.realpath(config.publish)
    return path if is_one and _NAME.fullmatch(os.path.basename(path)) else None


def forget_another_run(config, settings):
    """Removes what an interrupted run left in `.training`, unless it is this one's to continue."""
    if not _is_default(config):
        return
    found = directory.read_json(os.path.join(config.checkpoint_dir, RUN))
    if found is not None and found != settings:
        logging.warning(
            "An interrupted run, of other data or settings, is given up: %s.", config.checkpoint_dir
        )
        _remove(config.checkpoint_dir, but=directory.LOCK)


def publish(config, base, data):
    """Makes a finished run appear as the next generation.

    Args:
      config: a `Config`.
      base: what `of` says.
      data: the run's `Data`.

    Returns:
      The path of the generation; if this very run has been published already, that of then.

    Raises:
      ValueError: if the base is gone, or another generation appeared since the run began: what it
        learned would be lost.
    """
    with directory.locked(config.publish):
        before, number = newest(config.publish)
        result = directory.read_json(os.path.join(config.checkpoint_dir, RESULT))
        done = _published(config, result)
        if done:
            _clear(config)
            return done
        if base and not os.path.isdir(base):
            raise ValueError(
                f"{base}, from which this run grew, is gone. Put it back; the run lies in "
                f"{config.checkpoint_dir}."
            )
        if base and os.path.realpath(base) != os.path.realpath(before or ""):
            raise ValueError(
                f"{before} appeared since this run grew from {base}, and publishing this one would "
                f"lose its rows. It lies in {config.checkpoint_dir}; grow from the newest instead."
            )
        if before and not base:
            logging.warning(
                "%s was not grown from: the next generation, which is grown from from now on, is "
                "trained afresh.",
                before,
            )
        target = os.path.join(config.publish, f"generation-{number + 1:04d}")
        making = os.path.join(config.publish, f".making-{number + 1:04d}")
        if os.path.isdir(making):  # a process that was killed
            _remove(making)
        os.makedirs(making, exist_ok=True)
        names = [
            RUN,
            RESULT,
            EXAMPLES,
            directory.FLAGS,
            *(f"{name}.txt" for name in data.vocabularies),
        ]
        for name in os.listdir(config.checkpoint_dir):
            if name in names or name.startswith(result["checkpoint"] + "."):
                source = os.path.join(config.checkpoint_dir, name)
                shutil.copyfile(source, os.path.join(making, name))
        manifest = {
            "checkpoint": result["checkpoint"],
            "generation": number + 1,
            "grew_from": os.path.basename(base) if base else None,
            "published": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "rows": data.sizes(),
            "old_rows": data.sizes(old=True),
            "metrics": result["metrics"],
        }
        directory.write_json(os.path.join(making, MANIFEST), manifest)
        # So that TensorFlow finds it, given the directory.
        names = "model_checkpoint_path", "all_model_checkpoint_paths"
        lines = [f'{name}: "{result["checkpoint"]}"' for name in names]
        job_data.write_lines(os.path.join(making, "checkpoint"), lines)
        os.rename(making, target)
    _clear(config)
    return target


def _published(config, result):
    """The path of the generation that is this finished run; None if there is none."""
    names = [RUN, RESULT, result["checkpoint"] + ".index"]
    for name in sorted(os.listdir(config.publish)):
        there = os.path.join(config.publish, name)
        if _NAME.fullmatch(name) and not any(
            filecmp.cmpfiles(config.checkpoint_dir, there, names, shallow=False)[1:]
        ):
            return there
    return None


def _clear(config):
    """Removes what is published, unless the user said where it lies."""
    if _is_default(config):
        _remove(config.checkpoint_dir, but=directory.LOCK)


def _is_default(config):
    return bool(config.publish) and config.checkpoint_dir == default_directory(config.publish)


def _remove(path, but=None):
    """Removes the files of a directory of ours, which holds no directories but a save's stage."""
    for name in sorted(os.listdir(path), key=lambda name: name == RUN):
        inside = os.path.join(path, name)
        if name != but and os.path.isdir(inside) and not os.path.islink(inside):
            shutil.rmtree(inside)
        elif name != but:
            os.remove(inside)
