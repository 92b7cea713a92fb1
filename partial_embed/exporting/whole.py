"""Files and directories that are whole or are not there.

    run/
      table.npy                                what was exported
      .partial_embed-exporting-0f3a.../        the next export, in the making
        lock                                   held as long as its process runs
        output                                 renamed last, in one step

Who exports next in a directory removes what killed processes left there.
"""

import contextlib
import os
import re
import shutil
import stat
import uuid

from partial_embed.files.lock import try_lock
from partial_embed.files.publish import WRITE_ERRORS
from partial_embed.files.tensors import reason

_PREFIX = ".partial_embed-exporting-"
_STAGE = re.compile(re.escape(_PREFIX) + "[0-9a-f]{32}")


@contextlib.contextmanager
def directory_beside(output):
    """Gives a directory beside a path, which is gone after the block.

    The directory that `output` is to stand in is made if need be.

    Raises:
        OSError: if it cannot be made.
    """
    lock = path = None
    try:
        with naming(output):
            parent = os.path.dirname(output)
            os.makedirs(parent, exist_ok=True)
            _tidy(parent)
            while lock is None:
                path = os.path.join(parent, _PREFIX + uuid.uuid4().hex)
                os.mkdir(path)
                # Another may have tidied it away before it was locked.
                with contextlib.suppress(FileNotFoundError):
                    lock = try_lock(os.path.join(path, "lock"))
        yield path
    finally:
        if path is not None:
            shutil.rmtree(path, ignore_errors=True)
        if lock is not None:
            lock.release()


@contextlib.contextmanager
def naming(output):
    """Turns what is said in the block of a place that cannot be written into an OSError."""
    try:
        yield
    except WRITE_ERRORS as error:
        raise OSError(
            f"Exporting to {output} failed: {reason(error)}. Nothing was written there. Make room "
            "or choose another place, and export again."
        ) from error


def _tidy(parent):
    with contextlib.suppress(OSError):
        for name in os.listdir(parent):
            path = os.path.join(parent, name)
            if _STAGE.fullmatch(name) and stat.S_ISDIR(os.lstat(path).st_mode):
                with contextlib.suppress(OSError):
                    lock = try_lock(os.path.join(path, "lock"))
                    if lock:
                        shutil.rmtree(path, ignore_errors=True)
                        lock.release()


def expect_free(output, kind):
    """Raises ValueError if what stands at a path cannot be replaced.

    A file takes the place of a file. A directory takes none but that of an empty one.

    Args:
        output: path.
        kind: "file" or "directory".
    """
    if not os.path.lexists(output):
        return
    mode = os.lstat(output).st_mode
    if kind == "file":
        fits = stat.S_ISREG(mode) or stat.S_ISLNK(mode)
    else:
        fits = stat.S_ISDIR(mode) and not os.listdir(output)
    if not fits:
        problem = "a directory that is not empty" if stat.S_ISDIR(mode) else "a file"
        if kind == "file":
            problem = "a directory" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise ValueError(
            f"{output} is {problem}, and a {kind} is to be written there. Name another place, or "
            "remove it first."
        )


def put(path, output, kind):
    """Renames what was made to where it is to stand, in one step."""
    expect_free(output, kind)
    if kind == "file":
        os.replace(path, output)
    else:
        os.rename(path, output)
