"""Files that are files: to open a pipe waits for ever, and a device need not end.

A directory can come from elsewhere, and so can anything that stands in it.
"""

import os
import stat

import tensorflow.compat.v1 as tf


def expect_file(path):
    """Raises ValueError if something stands at a local path that is no file."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # not there, or not local: whoever opens it says so
        return
    if not stat.S_ISREG(mode):
        raise ValueError(
            f"{path} is a directory, a pipe or a device; expected a file. Name one, or "
            "put one in its place."
        )


def read_file(path):
    """Returns the bytes of a file, None if there is none.

    Raises:
        ValueError: if something else stands there, or it cannot be read.
    """
    if not tf.gfile.Exists(path):
        return None
    expect_file(path)
    try:
        with tf.gfile.GFile(path, "rb") as stream:
            return stream.read()
    except tf.errors.OpError as error:
        raise ValueError(f"{path} cannot be read: {error.message}.") from error


def read_own(path, most):
    """Returns the first bytes, so many at most, of a local file that is no link.

    Raises:
        OSError: if there is none.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(f"{path} is no file")
        return stream.read(most)
