"""A lock that ends with its owner, on file systems with flock and without."""

import errno
import fcntl
import json
import os
import signal
import time

import pytest

from partial_embed.files import lock
from partial_embed.files.lock import owner_of, try_lock


@pytest.fixture(params=["flock", "no flock"])
def path(request, tmp_path, monkeypatch):
    if request.param == "no flock":

        def flock(handle, operation):
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(fcntl, "flock", flock)
    return str(tmp_path / "lock")


def test_one_has_it(path, tmp_path):
    mine = try_lock(path)
    assert mine and try_lock(path) is None
    assert owner_of(path).startswith(f"process {os.getpid()} on ")
    mine.release()
    again = try_lock(path)
    assert again
    again.release()
    assert os.listdir(str(tmp_path)) == []


def test_it_ends_with_its_owner(path):
    ready, tell = os.pipe()
    child = os.fork()
    if not child:
        held = try_lock(path)
        os.write(tell, b"x")
        time.sleep(60)
        os._exit(held is None)
    os.read(ready, 1)
    assert try_lock(path) is None
    assert f"process {child} on" in owner_of(path)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    held = try_lock(path)
    assert held
    held.release()


def test_a_link_is_not_followed(path, tmp_path):
    (tmp_path / "precious").write_text("text")
    os.symlink(str(tmp_path / "precious"), path)
    with pytest.raises(OSError):
        try_lock(path)
    assert (tmp_path / "precious").read_text() == "text"


@pytest.mark.parametrize(
    "content, runs",
    [
        ("", True),  # It cannot be known who that is.
        ("[" * 5000, True),
        ("null", True),
        ('{"process": 1}', True),
        ({"boot": "another"}, True),
        ({"namespace": "pid:[1]"}, True),
        ({"process": int("9" * 30)}, False),
        ({"process": None}, False),
        ({"started": "1"}, False),  # The number is that of a process that began later.
    ],
)
def test_whose_it_is_without_flock(tmp_path, content, runs):
    path = str(tmp_path / "lock.owner")
    if isinstance(content, dict):
        content = json.dumps(dict(json.loads(lock._this_process().decode()), **content))
    with open(path, "w") as stream:
        stream.write(content)
    held = lock._create(path)
    assert (held is None) == runs
    if held:
        held.release()
        assert os.listdir(str(tmp_path)) == []
    else:
        with open(path) as stream:
            assert stream.read() == content
