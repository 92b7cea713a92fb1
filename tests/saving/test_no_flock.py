"""Whole saves on file systems that have no flock."""

import errno
import fcntl
import glob
import json
import os
import threading

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe
from partial_embed.files import lock, publish
from partial_embed.files.stage import STAGE_PREFIX, _stage_of


@pytest.fixture(params=[errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS], autouse=True)
def no_flock(request, monkeypatch):
    def flock(handle, operation):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.fixture
def saved(numbered, start, tmp_path, read_checkpoint):
    """(save, check): saves a table under a name, and finds it and nothing left over."""
    table = numbered()
    session, saver = start(), pe.Saver(max_to_keep=2)

    def save(name="model", **arguments):
        return saver.save(session, str(tmp_path / name), **arguments)

    def check(*prefixes):
        for prefix in prefixes:
            found = read_checkpoint(prefix)[table.table_name]
            np.testing.assert_array_equal(found, session.run(table))
        assert glob.glob(str(tmp_path / (STAGE_PREFIX + "*"))) == []
        there = sorted(glob.glob(str(tmp_path / "*.index")))
        assert there == sorted(prefix + ".index" for prefix in prefixes)

    return save, check


def test_saves_one_after_the_other(saved):
    save, check = saved
    save()
    check(save())
    check(*[save("step", global_step=number) for number in range(4)][2:])


def test_two_writers_of_one_name(saved, tmp_path):
    save, check = saved
    errors = []

    def write():
        try:
            for _ in range(10):
                save(write_state=False, write_meta_graph=False)
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert errors == []
    check(str(tmp_path / "model"))


def owned(prefix, **changes):
    """Puts there the stage of an owner."""
    stage = _stage_of(prefix)
    os.mkdir(stage)
    content = dict(json.loads(lock._this_process().decode()), **changes)
    with open(os.path.join(stage, "lock.owner"), "w") as stream:
        json.dump(content, stream)
    for name in ("lock", "part-0.index", "lock.owner-" + "0" * 32):
        with open(os.path.join(stage, name), "w") as stream:
            stream.write("")


def test_a_dead_owner(saved, tmp_path):
    save, check = saved
    owned(str(tmp_path / "model"), started="1")
    owned(str(tmp_path / "other"), started="1")
    check(save())


def test_an_owner_that_runs(saved, tmp_path, monkeypatch):
    save, _ = saved
    save()
    monkeypatch.setattr(publish, "_WAIT_SECONDS", 0.1)
    owned(str(tmp_path / "model"))
    with pytest.raises(OSError, match=f"is being saved by process {os.getpid()} on"):
        save()
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "model")
