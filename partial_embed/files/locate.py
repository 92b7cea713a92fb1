"""Where a checkpoint is: a prefix, a directory with its newest one, either format."""

import os
import re

import tensorflow.compat.v1 as tf

from partial_embed.files.index import num_shards
from partial_embed.files.nearest import nearest
from partial_embed.files.regular import expect_file

_SIDE_FILES = (".index", ".meta", ".data-00000-of-00001")


def can_open(path):
    """Returns whether TensorFlow opens a path as it stands; it reads up to a zero byte."""
    return "\0" not in path and path == path.encode("utf-8", "ignore").decode("utf-8")


def exists(prefix):
    """Returns whether a checkpoint of either format stands at `prefix`."""
    # V2 has an index; V1 is one file, or one a shard.
    if tf.gfile.Exists(prefix + ".index"):
        return True
    if tf.gfile.Exists(prefix) and not tf.gfile.IsDirectory(prefix):
        return True
    return bool(_shards(prefix))


def is_same_place(prefix, other):
    """Returns whether two prefixes are of one checkpoint, by links of directories or files too."""
    places = ({os.path.realpath(its), os.path.realpath(f"{its}.index")} for its in (prefix, other))
    return not set.isdisjoint(*places)


def _shards(prefix):
    """Returns the files of a sharded V1 checkpoint; savers call it `model.ckpt-?????-of-00002`."""
    try:
        return tf.gfile.Glob(prefix if "-?????-of-" in prefix else prefix + "-?????-of-?????")
    except tf.errors.NotFoundError:  # the directory; newer versions return nothing instead
        return []


def files_of(prefix):
    """Returns the paths of the files, of either format, that a local checkpoint is made of."""
    directory, name = os.path.split(prefix.split("-?????-of-")[0])
    kinds = r"(-[0-9]{5}-of-[0-9]{5})?"
    if tf.gfile.Exists(prefix + ".index"):  # and not what another save left
        kinds = rf"\.(index|data-[0-9]{{5}}-of-{num_shards(prefix):05d})"
    pattern = re.compile(re.escape(name) + kinds)
    try:
        names = os.listdir(directory or ".")
    except OSError:  # not local
        return []
    return [os.path.join(directory, name) for name in sorted(names) if pattern.fullmatch(name)]


def latest_in(directory, state_file="checkpoint"):
    """Returns the newest whole checkpoint that a directory's state file names.

    The state file records paths; after a model is copied to another place they
    are stale, so a path that is gone is looked for beside the state file.

    Args:
        directory: path of a directory.
        state_file: name of the state file in it.

    Returns:
        The prefix of a checkpoint that exists, or None.
    """
    path = os.path.join(directory, state_file)
    expect_file(path)
    try:
        state = tf.train.get_checkpoint_state(directory, latest_filename=state_file)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}. Name a checkpoint instead.") from error
    if state is None:
        return None
    paths = [state.model_checkpoint_path] + list(reversed(state.all_model_checkpoint_paths))
    for path in paths:
        for candidate in (path, os.path.join(directory, os.path.basename(path))):
            if exists(candidate):
                return candidate
    return None


def resolve(path):
    """Returns the prefix of the checkpoint that `path` means.

    Args:
        path: a checkpoint prefix (`model.ckpt-50`), a directory with a
            `checkpoint` state file, or that state file.

    Returns:
        The prefix, as a string.

    Raises:
        ValueError: if no whole checkpoint is there; says what was found.
    """
    if path is None:
        raise ValueError(
            "There is no checkpoint: the path is None. tf.train.latest_checkpoint returns that "
            "where it finds none."
        )
    path = os.fsdecode(path)
    if not can_open(path):
        raise ValueError(
            f"{path!r} is no path that TensorFlow can open: expected UTF-8 text without zeros."
        )
    directory, base = os.path.split(path)
    # A prefix comes first: a directory of the same name may stand beside its files.
    if tf.gfile.IsDirectory(path) and not tf.gfile.Exists(path + ".index"):
        found = latest_in(path)
    elif base == "checkpoint" and tf.gfile.Exists(path) and latest_in(directory or "."):
        found = latest_in(directory or ".")
    else:
        for ending in _SIDE_FILES:
            if path.endswith(ending) and tf.gfile.Exists(path):
                raise ValueError(
                    f"{path} is one file of a checkpoint. Give the prefix its files share: "
                    + path[: -len(ending)]
                )
        found = path if exists(path) else None
        if found and not tf.gfile.Exists(path + ".index") and not tf.gfile.Exists(path):
            found = path.split("-?????-of-")[0] + "-?????" + _shards(path)[0][-9:]
    if found is None:
        raise ValueError(
            f"No checkpoint at {path}. Expected a checkpoint prefix (like model.ckpt-50), or a "
            "directory whose `checkpoint` file names one that exists; found "
            + _found_in(path if tf.gfile.IsDirectory(path) else directory or ".", base)
        )
    # A graph outlives a change of the working directory.
    return found if "://" in found else os.path.abspath(found)


def _found_in(directory, near):
    """Returns in words which checkpoints stand in a directory, at most ten, the nearest first."""
    if not tf.gfile.IsDirectory(directory):
        return f"no directory {directory}."
    names = [name[:-6] for name in tf.gfile.ListDirectory(directory) if name.endswith(".index")]
    return f"in {directory}: {nearest(near, names, 10) or 'no checkpoint'}."
