"""Writing checkpoints so that one is whole or is not there.

A checkpoint is staged in a directory of its own, in parts, and then published:
the parts' data files are renamed beside the target, and last, in one atomic
step, the index that makes them a checkpoint.
"""

import contextlib
import os
import re
import socket
import time
import uuid

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed.files.index import num_shards, stored_tensors
from partial_embed.files.tensors import (
    _quiet,
    can_slice,
    read_tensors,
    reason,
    slice_spec,
    write_part,
)

STAGE_PREFIX = ".partial_embed-saving-"
MANIFEST_SUFFIX = ".growth.json"
# How TensorFlow reports that a disk is full, a file too large, a directory read-only.
_WRITE_ERRORS = (
    OSError,
    tf.errors.DataLossError,
    tf.errors.InternalError,
    tf.errors.OutOfRangeError,
    tf.errors.PermissionDeniedError,
    tf.errors.ResourceExhaustedError,
    tf.errors.UnknownError,
)
# What this process is staging, in whatever thread.
_OWN_STAGES = set()
_JOURNAL = "journal.txt"
_DELETIONS = "deletions.txt"


@contextlib.contextmanager
def staging(prefix):
    """Gives a new directory to stage the checkpoint `prefix` in, and removes it after.

    The directory of `prefix` is made if need be, as `tf.train.Saver` does.

    Args:
        prefix: where the checkpoint will stand.

    Yields:
        The path of the directory.

    Raises:
        OSError: if staging fails (disk full, no permission); the message says
            that what stood at `prefix` before is as it was.
    """
    parent = os.path.dirname(prefix) or "."
    try:
        tf.gfile.MakeDirs(parent)
        # Before anything new stands there, so that what is removed is surely left over.
        _tidy(parent)
    except tf.errors.OpError as error:
        raise OSError(
            f"The directory {parent} cannot be made, so {prefix} cannot be saved: {reason(error)}."
        ) from error
    name = _stage_name()
    stage = os.path.join(parent, name)
    try:
        tf.gfile.MakeDirs(stage)
        _OWN_STAGES.add(name)
        yield stage
    except _WRITE_ERRORS as error:
        raise OSError(
            f"Saving {prefix} failed: {reason(error)}. Nothing was published: what stood there "
            "before is as it was. "
            "Make room or choose another directory, and save again."
        ) from error
    finally:
        if tf.gfile.Exists(stage):
            _finish(stage)
        _OWN_STAGES.discard(name)


@contextlib.contextmanager
def noting(prefix):
    """Turns errors of what is written about a published checkpoint into an OSError.

    Raises:
        OSError: says that the checkpoint `prefix` itself is whole.
    """
    try:
        yield
    except _WRITE_ERRORS as error:
        raise OSError(
            f"{prefix} was saved, and is whole; writing its graph, or which checkpoint is the "
            "newest, "
            f"failed: {reason(error)}. Make room and save again."
        ) from error


def publish(parts, prefix, stage, manifest=None):
    """Makes one checkpoint of staged parts, in place of any that stands at `prefix`.

    Args:
        parts: list of prefixes in `stage`.
        prefix: where the checkpoint shall stand.
        stage: directory from `staging`.
        manifest: text to stand beside the checkpoint, or None.
    """
    merged = os.path.join(stage, "merged")
    if num_shards(prefix) == sum(num_shards(part) for part in parts):
        parts = _one_more(parts)
    with tf.Graph().as_default(), tf.Session(config=_quiet()) as session:
        session.run(
            tf.raw_ops.MergeV2Checkpoints(
                checkpoint_prefixes=parts, destination_prefix=merged, delete_old_dirs=False
            )
        )
    moves = [(path, prefix + path[len(merged) :]) for path in _data_files(merged)]
    new_data = [target for _, target in moves]
    old_data = [path for path in _data_files(prefix) if path not in new_data]
    if manifest is not None:  # Written before anything moves: this may fail, moves hardly.
        _write_text(merged + MANIFEST_SUFFIX, manifest)
    # Should this process be killed from here on, the next save knows where to look.
    _write_journal(stage, _JOURNAL, [prefix])
    if any(tf.gfile.Exists(target) for target in new_data):
        # One tensor that cannot be divided: for a moment there is no checkpoint.
        _remove([prefix + ".index"])
    for path, target in moves:
        tf.gfile.Rename(path, target, overwrite=True)
    if manifest is not None:
        tf.gfile.Rename(merged + MANIFEST_SUFFIX, prefix + MANIFEST_SUFFIX, overwrite=True)
    tf.gfile.Rename(merged + ".index", prefix + ".index", overwrite=True)
    _remove(old_data)
    if manifest is None:
        _remove([prefix + MANIFEST_SUFFIX])


def _write_text(path, text):
    with tf.gfile.GFile(path, "w") as stream:
        stream.write(text)


def _remove(paths):
    for path in paths:
        if tf.gfile.Exists(path):
            tf.gfile.Remove(path)


def _data_files(prefix):
    pattern = re.compile(re.escape(os.path.basename(prefix)) + r"\.data-\d{5}-of-\d{5}$")
    parent = os.path.dirname(prefix) or "."
    return sorted(
        os.path.join(os.path.dirname(prefix), name)
        for name in tf.gfile.ListDirectory(parent)
        if pattern.match(name)
    )


def _one_more(parts):
    """Divides one of `parts` in two, so that their data files are one more.

    The names of data files count them, and the index refers to them by number:
    a checkpoint of another number can be put in place of one without a moment
    in which the old index meets new data.
    """
    sizes = {part: sum(map(os.path.getsize, _data_files(part))) for part in parts}
    for part in sorted(parts, key=sizes.get):
        stored = [
            (name, shape, extents or [(0, size) for size in shape], dtype, bool(extents))
            for name, (shape, dtype, slices) in sorted(stored_tensors(part).items())
            for extents in slices or [None]
        ]
        if len(stored) == 1 and not (can_slice(stored[0][3]) and _size(stored[0][2]) > 1):
            continue
        wanted = [
            (name, slice_spec(shape, *zip(*extents)) if is_slice else "", dtype)
            for name, shape, extents, dtype, is_slice in stored
        ]
        arrays = read_tensors(part, wanted)
        if len(stored) == 1:
            tensors = _halves(*stored[0][:3] + (arrays[0],))
        else:
            tensors = [(name, spec, array) for (name, spec, _), array in zip(wanted, arrays)]
        write_part(part + "-first", tensors[:1])
        write_part(part + "-rest", tensors[1:])
        return [p for p in parts if p != part] + [part + "-first", part + "-rest"]
    return parts


def _size(extents):
    return int(np.prod([length for _, length in extents]))


def _halves(name, shape, extents, array):
    """Returns a tensor, or a slice of one, as two slices in the form of `write_part`."""
    axis = int(np.argmax(array.shape))
    offset = [start for start, _ in extents]
    halves = np.split(array, [array.shape[axis] // 2], axis)
    found = []
    for half in halves:
        found.append((name, slice_spec(shape, offset, half.shape), half))
        offset = list(offset)
        offset[axis] += half.shape[axis]
    return found


def _tidy(directory):
    """Removes what killed saves on this machine left behind."""
    # What TensorFlow renames at once to a state file or a graph, unless it is killed.
    temporary = re.compile(r".\.tmp[0-9a-f]{32}$")
    stage = re.compile(re.escape(STAGE_PREFIX + socket.gethostname()) + r"-(\d+)-[0-9a-f]{32}$")
    for name in tf.gfile.ListDirectory(directory):
        path = os.path.join(directory, name)
        if temporary.search(name) and time.time() - tf.gfile.Stat(path).mtime_nsec / 1e9 > 600:
            tf.gfile.Remove(path)
        match = stage.match(name.rstrip("/"))
        process = int(match.group(1)) if match else None
        # In a container that was started again this process may have the number of the last.
        dead = match and (process == os.getpid() or not _alive(process))
        if dead and match.group(0) not in _OWN_STAGES:
            _finish(os.path.join(directory, match.group(0)))


def remove_orphaned_manifests(directory):
    """Removes manifests whose checkpoint a Saver has deleted."""
    for name in tf.gfile.ListDirectory(directory or "."):
        if name.endswith(MANIFEST_SUFFIX):
            path = os.path.join(directory, name)
            if not tf.gfile.Exists(path[: -len(MANIFEST_SUFFIX)] + ".index"):
                tf.gfile.Remove(path)


@contextlib.contextmanager
def deleting(prefixes):
    """Notes which checkpoints are about to be deleted, so that the next save ends a killed one.

    Args:
        prefixes: list of prefixes in one directory.
    """
    parent = os.path.dirname(prefixes[0])
    name = _stage_name()
    stage = os.path.join(parent, name)
    _OWN_STAGES.add(name)
    try:
        tf.gfile.MakeDirs(stage)
        _write_journal(stage, _DELETIONS, prefixes)
        yield
    finally:
        if tf.gfile.Exists(stage):
            _finish(stage)
        _OWN_STAGES.discard(name)


def _stage_name():
    return f"{STAGE_PREFIX}{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex}"


def _write_journal(stage, journal, prefixes):
    path = os.path.join(stage, journal)
    _write_text(path + ".part", "\n".join(map(os.path.basename, prefixes)))
    tf.gfile.Rename(path + ".part", path)


def _finish(stage):
    """Removes a stage, and what its journals say may be left: files that no index knows of."""
    for journal in (_JOURNAL, _DELETIONS):
        path = os.path.join(stage, journal)
        if not tf.gfile.Exists(path):
            continue
        with tf.gfile.GFile(path, "r") as stream:
            names = stream.read().split("\n")
        for prefix in [os.path.join(os.path.dirname(stage), name) for name in names]:
            shards, gone = num_shards(prefix), not tf.gfile.Exists(prefix + ".index")
            ending = f"-of-{shards:05d}"
            if shards or gone:
                _remove([data for data in _data_files(prefix) if not data.endswith(ending)])
            if gone and journal == _DELETIONS:
                _remove([prefix + ".meta"])
    tf.gfile.DeleteRecursively(stage)


def _alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
