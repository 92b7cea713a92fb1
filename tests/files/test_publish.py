"""Writing checkpoints so that one is whole or is not there."""

import os
import socket

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from partial_embed.files import publish as bundle
from partial_embed.files.index import num_shards
from partial_embed.files.publish import publish, staging
from partial_embed.files.tensors import read_tensors, write_part


@pytest.fixture
def prefix(tmp_path):
    return str(tmp_path / "model.ckpt")


def save(prefix, parts, manifest=None):
    """Publishes parts, each a list of (name, slice, array)."""
    with staging(prefix) as stage:
        paths = [os.path.join(stage, str(number)) for number in range(len(parts))]
        for path, tensors in zip(paths, parts):
            write_part(path, tensors)
        publish(paths, prefix, stage, manifest)


def read(prefix, name="v"):
    return read_tensors(prefix, [(name, "", tf.float32)])[0].tolist()


def value(number, rows=2):
    return np.full([rows], number, np.float32)


def test_parts_become_one(prefix, tmp_path):
    save(prefix, [[("v", "4 0,2", value(1))], [("v", "4 2,2", value(2)), ("w", "", value(3))]])
    assert read(prefix) == [1, 1, 2, 2]
    assert read(prefix, "w") == [3, 3]
    assert sorted(os.listdir(str(tmp_path))) == [
        "model.ckpt.data-00000-of-00002",
        "model.ckpt.data-00001-of-00002",
        "model.ckpt.index",
    ]


@pytest.mark.parametrize("counts", [[1, 1, 1], [2, 2, 2], [1, 2, 2, 1, 3], [3, 1, 1, 3, 3]])
@pytest.mark.parametrize("rows", [1, 2])
def test_any_number_in_place_of_any(prefix, tmp_path, counts, rows, monkeypatch):
    removed = []
    monkeypatch.setattr(
        bundle, "_remove", lambda paths, old=bundle._remove: (removed.extend(paths), old(paths))
    )
    for turn, count in enumerate(counts):
        save(prefix, [[(f"v{i}", "", value(turn, rows))] for i in range(count)], "{}")
        assert all(read(prefix, f"v{i}") == [turn] * rows for i in range(count))
        data = [name for name in os.listdir(str(tmp_path)) if ".data-" in name]
        assert len(data) == num_shards(prefix)
        assert len(os.listdir(str(tmp_path))) == len(data) + 2
    if rows > 1:  # Then the old index stands until the new one takes its place.
        assert prefix + ".index" not in removed


@pytest.mark.parametrize("turns", [4])
def test_parts_of_one_slice_each(prefix, turns, monkeypatch):
    # As a merge writes a table without other variables: its slices are divided further.
    removed = []
    old = bundle._remove
    monkeypatch.setattr(bundle, "_remove", lambda paths: (removed.extend(paths), old(paths)))
    for turn in range(turns):
        save(
            prefix,
            [
                [("v", "4 3 0,3:0,3", np.full([3, 3], turn, np.float32))],
                [("v", "4 3 3,1:0,3", np.full([1, 3], turn, np.float32))],
            ],
        )
        assert read(prefix) == [[turn] * 3] * 4
        assert num_shards(prefix) == 2 + turn % 2
    assert prefix + ".index" not in removed


def test_a_manifest_goes_with_its_checkpoint(prefix):
    save(prefix, [[("v", "", value(1))]], manifest="text")
    with open(prefix + ".growth.json") as stream:
        assert stream.read() == "text"
    save(prefix, [[("v", "", value(2))]])
    assert not os.path.exists(prefix + ".growth.json")


def test_an_error_leaves_what_was_there(prefix, tmp_path):
    save(prefix, [[("v", "", value(1))]], "{}")
    before = sorted(os.listdir(str(tmp_path)))
    for error, expected in (
        (ValueError("mine"), ValueError),
        (OSError(28, "No space left on device"), OSError),
        (tf.errors.ResourceExhaustedError(None, None, "No space"), OSError),
    ):
        with pytest.raises(expected) as found, staging(prefix) as stage:
            write_part(os.path.join(stage, "part"), [("v", "", value(2))])
            raise error
        if expected is OSError:
            assert f"Saving {prefix} failed: " in str(found.value)
            assert "what stood there before is as it was" in str(found.value)
        assert sorted(os.listdir(str(tmp_path))) == before
        assert read(prefix) == [1, 1]


@pytest.mark.parametrize("moment", range(1, 8))
def test_stopped_at_every_step_of_publishing(prefix, tmp_path, monkeypatch, moment):
    # As if killed: nothing is cleaned up until the next save does it.
    save(prefix, [[("v", "", value(1))]], "{}")
    steps = []

    class Killed(BaseException):
        pass

    def counted(function):
        def call(*arguments, **keywords):
            steps.append(function)
            if len(steps) == moment:
                raise Killed
            return function(*arguments, **keywords)

        return call

    with monkeypatch.context() as patch:
        for name in ("Rename", "Remove"):
            patch.setattr(tf.gfile, name, counted(getattr(tf.gfile, name)))
        patch.setattr(bundle, "_write_text", counted(bundle._write_text))
        patch.setattr(bundle, "_finish", lambda stage: None)
        done = True
        try:
            save(prefix, [[("v", "", value(2))], [("w", "", value(2))]], "{}")
        except Killed:
            done = False
    assert read(prefix) in ([1, 1], [2, 2])
    assert done is False or read(prefix) == [2, 2]
    save(prefix, [[("v", "", value(3))]], "{}")
    assert read(prefix) == [3, 3]
    data = [name for name in os.listdir(str(tmp_path)) if ".data-" in name]
    assert len(data) == num_shards(prefix)
    assert len(os.listdir(str(tmp_path))) == len(data) + 2


def test_killed_while_deleting(prefix, tmp_path, monkeypatch):
    for name in ("old", "older", "kept"):
        save(str(tmp_path / name), [[("v", "", value(1))], [("w", "", value(1))]])
        (tmp_path / (name + ".meta")).write_text("")
    with monkeypatch.context() as patch:
        patch.setattr(bundle, "_finish", lambda stage: None)
        with bundle.deleting([str(tmp_path / "old"), str(tmp_path / "older")]):
            for name in ("old.index", "old.data-00000-of-00002", "older.index"):
                os.remove(str(tmp_path / name))
    save(prefix, [[("v", "", value(1))]])
    assert sorted({name.split(".")[0] for name in os.listdir(str(tmp_path))}) == ["kept", "model"]


@pytest.mark.parametrize("process, kept", [(None, True), (1, True), (2**22 + 1, False)])
def test_whose_stages_are_removed(prefix, tmp_path, process, kept):
    host = socket.gethostname() if process != 1 else "another-host"
    own = os.getpid() if process is None else process
    name = "{}{}-{}-{}".format(bundle.STAGE_PREFIX, host, own, 32 * "0")
    (tmp_path / name).mkdir()
    if process is None:
        bundle._OWN_STAGES.add(name)  # Another thread of this process.
    save(prefix, [[("v", "", value(1))]])
    bundle._OWN_STAGES.discard(name)
    assert (tmp_path / name).exists() == kept
    if process is None:  # Not staged by this process: one of the same number before it.
        save(prefix, [[("v", "", value(1))]])
        assert not (tmp_path / name).exists()


def test_reading_nothing_and_what_is_not_there(prefix):
    assert read_tensors(prefix, []) == []
    with pytest.raises(ValueError) as error:
        read(prefix)
    assert prefix in str(error.value)
