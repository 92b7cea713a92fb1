"""A lock on a file, that ends with its owner however that ends."""

import contextlib
import errno
import fcntl
import json
import os
import socket
import uuid

from partial_embed.files.regular import read_own

# What file systems say that have no flock.
_NO_FLOCK = (errno.ENOLCK, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)
_OWNER_BYTES = 4096


class Lock:
    """A lock that is held; see `try_lock`."""

    def __init__(self, paths, handle):
        self._paths = paths
        self._handle = handle

    def release(self):
        """Removes its files, the one that is the lock last, and lets go."""
        for path in self._paths:
            with contextlib.suppress(OSError):
                os.unlink(path)
        os.close(self._handle)


def try_lock(path):
    """Takes the lock that the file `path` is, unless somebody has it.

    With `flock` it is let go by the system when its owner ends, in whatever
    thread, container or namespace that ran. On a file system without, the
    file `path.owner` is the lock: who creates it has it, and it is taken from an
    owner on this machine that does not run any more.

    Args:
        path: where the file stands, or will stand.

    Returns:
        A `Lock`, or None if another has it.

    Raises:
        OSError: if the file cannot be made.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(path, flags, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if isinstance(error, BlockingIOError):
            return None
        if error.errno in _NO_FLOCK:
            return _create(path + ".owner", tried=[path])
        raise
    lock = Lock([path], handle)
    try:
        # Whoever had it may have removed the file since it was opened here.
        if not os.path.samestat(os.fstat(handle), os.lstat(path)):
            raise FileNotFoundError
    except FileNotFoundError:
        os.close(handle)
        return None
    try:
        os.ftruncate(handle, 0)
        os.write(handle, _this_process())
    except OSError:  # a full disk
        lock.release()
        raise
    return lock


def owner_of(path):
    """Returns in words who holds the lock `path`, as far as its file says."""
    owner = _read(path + ".owner") or _read(path)
    return f"process {owner.get('process')} on {owner.get('host')}" if owner else "another process"


def _create(path, tried=()):
    mine = f"{path}-{uuid.uuid4().hex}"
    try:
        with open(mine, "wb") as stream:
            stream.write(_this_process())
        for _ in range(2):
            # A link is made by one alone, and is whole at once.
            with contextlib.suppress(FileExistsError):
                os.link(mine, path)
                return Lock([*tried, path], os.open(path, os.O_RDONLY | os.O_NOFOLLOW))
            if _runs(_read(path)):
                return None
            # Of two that find its owner dead, one moves it away; the other may move the first's.
            moved = mine + "-dead"
            try:
                os.rename(path, moved)
            except FileNotFoundError:
                return None
            if _runs(_read(moved)):
                with contextlib.suppress(FileExistsError):
                    os.link(moved, path)
                os.unlink(moved)
                return None
            os.unlink(moved)
        return None
    finally:
        with contextlib.suppress(FileNotFoundError):  # An owner has cleared the directory.
            os.unlink(mine)


def _this_process():
    content = dict(_place(), host=socket.gethostname(), process=os.getpid())
    return json.dumps(dict(content, started=_started(os.getpid()))).encode("utf-8")


def _place():
    """What makes process numbers comparable: the machine since it started, and a namespace."""
    place = {"boot": None, "namespace": None}
    with contextlib.suppress(OSError):
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as stream:
            place["boot"] = stream.read().strip()
        place["namespace"] = os.readlink("/proc/self/ns/pid")
    return place


def _started(process):
    """When a process started, in ticks of this machine; None if it does not run."""
    with contextlib.suppress(OSError), open(f"/proc/{process}/stat", encoding="utf-8") as stream:
        return stream.read().rpartition(")")[2].split()[19]
    return None


def _read(path):
    """Returns what a lock's file says of its owner, {} if it says nothing."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        content = json.loads(read_own(path, _OWNER_BYTES).decode("utf-8"))
        if isinstance(content, dict):
            return content
    return {}


def _runs(owner):
    """Whether the owner may still run; of another machine or namespace that cannot be known."""
    place = _place()
    if place["boot"] is None or any(owner.get(key) != place[key] for key in place):
        return True
    return isinstance(owner.get("process"), int) and owner.get("started") == _started(
        owner["process"]
    )
