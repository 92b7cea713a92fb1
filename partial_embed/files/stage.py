"""A stage: the directory in which one checkpoint is made, held by one writer, cleared by the next.

    run/
      .partial_embed-saving-0f3a.../    the stage of model-8, named by a hash of that name
        lock                            held as long as its owner runs
        journal                         what to remove if the owner stops half-way
        part-0.*, part-1.*, merged.*    the checkpoint in the making

Whoever saves next in a directory finishes the stages whose locks nobody holds. A
directory can come from elsewhere: no link is followed, and nothing is removed
but what a stage can hold and, of the one checkpoint that it is named by, files
that its index does not know.
"""

import contextlib
import hashlib
import json
import os
import re
import stat
import time

from absl import logging

from partial_embed.files.checkpoint import RECORD_SUFFIX
from partial_embed.files.growth import VOCABULARY_SUFFIX
from partial_embed.files.index import num_shards
from partial_embed.files.lock import owner_of, try_lock
from partial_embed.files.regular import read_own

STAGE_PREFIX = ".partial_embed-saving-"
_STAGE = re.compile(re.escape(STAGE_PREFIX) + r"[0-9a-f]{32}")
# All that a stage ever holds, TensorFlow's temporary files and sharded saves included.
_FILES = re.compile(
    r"lock(\.owner(-[0-9a-f]{32}(-dead)?)?)?"
    r"|(journal|state|(part-\d+|merged)\.(index|meta|growth\.json|vocabulary\.txt"
    r"|data-\d{5}-of-\d{5}))(\.(tmp[0-9a-f]{32}|tempstate\d+|part))?"
)
_SHARDS = re.compile(r"part-\d+_temp(_[0-9a-f]{32})?")
_SHARD_FILES = re.compile(r"part-\d{5}-of-\d{5}\.(index|data-\d{5}-of-\d{5})(\.tempstate\d+)?")
BESIDE = (RECORD_SUFFIX, VOCABULARY_SUFFIX, ".meta")


class Stage:
    """A checkpoint in the making.

    Attributes:
        prefix: where it will stand.
        path: the directory it is made in.
        parts: list of prefixes of its parts.
        published: bool, whether it stands there.
    """

    def __init__(self, prefix, path, lock):
        self.prefix = prefix
        self.path = path
        self.parts = []
        self.published = False
        self._lock = lock

    def part(self):
        """Returns a prefix in the stage, for one more part of the checkpoint."""
        self.parts.append(os.path.join(self.path, f"part-{len(self.parts)}"))
        return self.parts[-1]

    def file(self, name):
        """Returns the path of a file in the stage: "state" or "merged.meta"."""
        return os.path.join(self.path, name)

    def put(self, name, target):
        """Renames a file of the stage to a path beside it, in one step."""
        os.replace(self.file(name), target)

    def note(self, counts, beside):
        """Writes the journal: which files to remove where no index knows them.

        Args:
            counts: list of ints, numbers of data files that the checkpoint may have.
            beside: suffixes of files that stand beside it, and not without it.
        """
        name = os.path.basename(self.prefix)
        text = json.dumps({"prefix": name, "counts": counts, "beside": list(beside)})
        write(self.file("journal.part"), text.encode("utf-8"))
        self.put("journal.part", self.file("journal"))

    def clear(self):
        """Removes what the journal says is left over, and what was made in the stage."""
        for path in _left_over(self.path):
            unlink(path)
        _empty(self.path)

    def end(self):
        """Removes the stage, and lets go of its lock."""
        try:
            self.clear()
        finally:
            self._lock.release()
            # Not empty, if it holds what no stage holds: then somebody else's.
            with contextlib.suppress(OSError):
                os.rmdir(self.path)


def tidy(directory):
    """Finishes what killed writers left in a directory; never fails, never touches the living."""
    with contextlib.suppress(OSError):
        for name in os.listdir(directory):
            if _STAGE.fullmatch(name):
                path = os.path.join(directory, name)
                with contextlib.suppress(OSError):
                    lock = _is_directory(path) and try_lock(_lock_of(path))
                    if lock:
                        end(Stage(None, path, lock))


def _stage_of(prefix):
    name = os.path.basename(prefix).encode("utf-8", "surrogateescape")
    name = STAGE_PREFIX + hashlib.blake2b(name, digest_size=16).hexdigest()
    return os.path.join(os.path.dirname(prefix), name)


def _lock_of(stage):
    return os.path.join(stage, "lock")


def owner(prefix):
    """Returns in words who is saving a checkpoint."""
    return owner_of(_lock_of(_stage_of(prefix)))


def take(prefix, seconds):
    """Returns the `Stage` of a prefix, empty; None if another writer has it for so long."""
    path, last = _stage_of(prefix), time.monotonic() + seconds
    while True:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path)
        if not _is_directory(path, missing=True):
            raise FileExistsError(f"{path} is in the way")
        try:
            lock = try_lock(_lock_of(path))
        except FileNotFoundError:  # The directory was removed in between.
            lock = None
        except OSError:
            with contextlib.suppress(OSError):
                os.rmdir(path)
            raise
        if lock:
            stage = Stage(prefix, path, lock)
            try:  # Its last owner may have been killed since this directory was tidied.
                stage.clear()
            except OSError:
                lock.release()
                raise
            return stage
        if time.monotonic() > last:
            return None
        time.sleep(0.02)


def end(stage):
    try:
        stage.end()
    except OSError as error:  # The checkpoint is what counts, and that is as it should be.
        logging.warning("%s could not be removed: %s.", stage.path, error)


def _left_over(stage):
    """Returns the files that a stage's journal names and no index knows.

    A journal can name files of the one checkpoint only that the stage itself is
    named by, and such as no checkpoint misses.
    """
    try:
        journal = json.loads(read_own(os.path.join(stage, "journal"), 1 << 16).decode("utf-8"))
        name, counts, beside = (journal[key] for key in ("prefix", "counts", "beside"))
        prefix = os.path.join(os.path.dirname(stage), name)
        if _stage_of(prefix) != stage or os.path.basename(prefix) != name:
            return []
        counts = {count for count in counts if isinstance(count, int)}
        beside = [suffix for suffix in beside if suffix in BESIDE]
    except (OSError, ValueError, TypeError, KeyError, RecursionError, AttributeError):
        return []
    now, gone = num_shards(prefix), not os.path.lexists(prefix + ".index")
    if not (now or gone):
        return []  # An index that cannot be read: whose files these are is not known.
    counted = [(path, int(path[-5:])) for path in data_files(prefix)]
    found = [path for path, count in counted if count in counts and count != now]
    found += [prefix + suffix for suffix in beside] if gone else []
    return [path for path in found if os.path.lexists(path)]


def data_files(prefix):
    pattern = re.compile(re.escape(os.path.basename(prefix)) + r"\.data-\d{5}-of-\d{5}")
    directory = os.path.dirname(prefix)
    names = sorted(name for name in os.listdir(directory or ".") if pattern.fullmatch(name))
    return [os.path.join(directory, name) for name in names]


def _empty(stage):
    """Removes the files that a stage can hold, and no other; follows no link."""
    for entry in os.scandir(stage):
        if entry.name in ("lock", "lock.owner"):
            continue
        if _is_directory(entry.path):
            if _SHARDS.fullmatch(entry.name):
                for shard in os.scandir(entry.path):
                    if _SHARD_FILES.fullmatch(shard.name):
                        unlink(shard.path)
                with contextlib.suppress(OSError):
                    os.rmdir(entry.path)
        elif _FILES.fullmatch(entry.name):
            unlink(entry.path)


def _is_directory(path, missing=False):
    """Whether a directory stands there, and no link to one; `missing` if nothing does."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return missing


def unlink(path):
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def write(path, content):
    with open(path, "wb") as stream:
        stream.write(content)
