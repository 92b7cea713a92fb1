"""Publishing a checkpoint so that it is whole or is not there.

    run/
      checkpoint                        which is the newest, as TensorFlow writes it
      model-7.index                     a checkpoint: this file makes it one,
      model-7.data-00000-of-00002       the names of its data files count them,
      model-7.growth.json               and its growth record stands beside it
      .partial_embed-saving-0f3a.../    model-8 in the making, see stage.py

Data files are renamed into place first, and last, in one atomic step, the
index. A checkpoint that replaces another has another number of data files, so
no old index ever meets new data.
"""

import contextlib
import os

import tensorflow.compat.v1 as tf

from partial_embed.files.checkpoint import RECORD_SUFFIX
from partial_embed.files.growth import VOCABULARY_SUFFIX, growth_text
from partial_embed.files.index import index_of, num_shards
from partial_embed.files.locate import can_open
from partial_embed.files.stage import BESIDE, data_files, end, owner, take, tidy, unlink, write
from partial_embed.files.tensors import merge_parts, reason

_WAIT_SECONDS = 10.0
# How TensorFlow reports that a disk is full, a file too large, a directory read-only.
WRITE_ERRORS = (
    OSError,
    tf.errors.DataLossError,
    tf.errors.InternalError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.OutOfRangeError,
    tf.errors.PermissionDeniedError,
    tf.errors.FailedPreconditionError,
    tf.errors.ResourceExhaustedError,
    tf.errors.UnknownError,
)


def publish(stage, tables=None, vocabulary=None):
    """Makes one checkpoint of the parts, in place of any that stands at the prefix.

    Args:
        stage: `Stage` whose parts are written.
        tables: what the growth record beside it says, see `growth_text`; None
            for no record.
        vocabulary: text of the vocabulary to stand beside it, or None.
    """
    merged, parts = stage.file("merged"), list(stage.parts)
    count, old = sum(map(num_shards, parts)), num_shards(stage.prefix)
    if count == old:
        count += 1
        parts.append(stage.part())
        # No tensors, and one data file: it changes the number that data files are named by.
        write(parts[-1] + ".index", index_of({}))
    merge_parts(parts, merged)
    beside = {VOCABULARY_SUFFIX: vocabulary}
    beside[RECORD_SUFFIX] = growth_text(tables, merged) if tables else None
    beside = {suffix: text for suffix, text in beside.items() if text is not None}
    for suffix, text in beside.items():
        write(merged + suffix, text.encode("utf-8"))
    data = data_files(merged)
    if len(data) < count:  # the empty one, which TensorFlow does not miss, but people may
        data.append(f"{merged}.data-{len(data):05d}-of-{count:05d}")
        write(data[-1], b"")
    stage.note([count, old], sorted(beside))
    for shard, path in enumerate(data):
        os.replace(path, f"{stage.prefix}.data-{shard:05d}-of-{count:05d}")
    for suffix in beside:
        os.replace(merged + suffix, stage.prefix + suffix)
    os.replace(merged + ".index", stage.prefix + ".index")
    stage.published = True
    if not tables:
        unlink(stage.prefix + RECORD_SUFFIX)


@contextlib.contextmanager
def staging(prefix):
    """Gives a `Stage` to make the checkpoint `prefix` in, which ends with the block.

    The directory of `prefix` is made if need be, as `tf.train.Saver` does. One
    writer has a prefix at a time; another waits a little.

    Args:
        prefix: where the checkpoint will stand, on a local file system.

    Yields:
        A `Stage`.

    Raises:
        OSError: if the place cannot be written, another writer has it, or
            staging fails (disk full, no permission); says what stands there.
        ValueError: if a plain Saver could not open a checkpoint of that name.
    """
    check_name(prefix)
    directory = os.path.dirname(prefix) or "."
    stage = None
    try:
        os.makedirs(directory, exist_ok=True)
        tidy(directory)
        stage = take(prefix, _WAIT_SECONDS)
    except OSError as error:
        raise _failed(prefix, error) from error
    if stage is None:
        raise OSError(
            f"{prefix} is being saved by {owner(prefix)}. Give each writer "
            "a name of its own; this save wrote nothing."
        )
    try:
        yield stage
    except WRITE_ERRORS as error:
        if stage.published:
            raise OSError(
                f"{prefix} was saved, and is whole; writing its graph, or which checkpoint is the "
                f"newest, failed: {reason(error)}. Make room and save again."
            ) from error
        raise _failed(prefix, error) from error
    finally:
        end(stage)


def _failed(prefix, error):
    remedy = "Make room or choose another directory"
    if "uninitialized" in str(error):
        remedy = "Run the initializers of all variables, or restore a checkpoint"
    return OSError(
        f"Saving {prefix} failed: {reason(error)}. Nothing was published: what stood there "
        f"before is as it was. {remedy}, and save again."
    )


@contextlib.contextmanager
def deleting(prefix):
    """Lets a checkpoint be deleted in the block, so that nothing of it stays if that is killed.

    Yields:
        Whether it may be: False while another writes it.
    """
    try:
        stage = take(prefix, 0)
    except OSError:  # The directory is gone, or not ours: TensorFlow warns, and passes it over.
        yield True
        return
    if stage is None:
        yield False
        return
    try:
        with contextlib.suppress(OSError):  # no room, which is why it is deleted
            stage.note([num_shards(prefix)], BESIDE)
        yield True
    finally:
        end(stage)


def expect_no_other_keys(output, keys):
    """Raises ValueError if keys of another checkpoint would stand beside this one."""
    path = output + VOCABULARY_SUFFIX
    if keys is None and os.path.lexists(path):
        raise ValueError(
            f"{path} would stand beside a checkpoint that has no vocabulary, or several. Remove "
            "it, or name another output."
        )


def check_name(prefix):
    """Raises an error unless `prefix` is one that checkpoints can be saved, and found again, at."""
    if "://" in prefix:
        raise OSError(
            f"{prefix} is no local path, and only there a checkpoint is published in one step. "
            "Save to a local directory and copy; nothing was written."
        )
    if os.path.basename(prefix) in ("", os.curdir, os.pardir):
        raise ValueError(f"{prefix!r} is no name for a checkpoint: it needs a last part.")
    if not can_open(prefix):
        raise ValueError(
            f"{prefix!r} is no name for a checkpoint: TensorFlow opens paths of UTF-8 text without "
            "a zero byte."
        )
    whole = os.path.abspath(prefix)  # which a checkpoint is opened by
    odd = sorted(set(whole) & set("*?[\\"))
    if odd:
        raise ValueError(
            f"{whole!r} holds {' '.join(odd)}, which tf.train.Saver takes for a pattern and would "
            "never find again. Choose another name, or directory."
        )
