"""Writing checkpoints so that one is whole or is not there."""

import json
import os
import threading

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from partial_embed.files import publish as publishing
from partial_embed.files import stage as stages
from partial_embed.files.index import num_shards
from partial_embed.files.publish import deleting, publish, staging
from partial_embed.files.tensors import read_tensors, write_part

TABLES = {"v": {"rows": 2, "generations": [[[0, 2]]]}}


@pytest.fixture
def prefix(tmp_path):
    return str(tmp_path / "model.ckpt")


def save(prefix, parts, tables=None, vocabulary=None):
    """Publishes parts, each a list of (name, slice, array)."""
    with staging(prefix) as stage:
        for tensors in parts:
            write_part(stage.part(), tensors)
        publish(stage, tables, vocabulary)


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
    removed, unlink = [], os.unlink
    monkeypatch.setattr(os, "unlink", lambda path: (removed.append(path), unlink(path)))
    for turn, count in enumerate(counts):
        save(prefix, [[(f"v{i}", "", value(turn, rows))] for i in range(count)], vocabulary="a")
        assert all(read(prefix, f"v{i}") == [turn] * rows for i in range(count))
        data = [name for name in os.listdir(str(tmp_path)) if ".data-" in name]
        assert len(data) == num_shards(prefix)
        assert len(os.listdir(str(tmp_path))) == len(data) + 2
    # The old index stands until the new one takes its place.
    assert prefix + ".index" not in removed


def test_a_part_of_no_tensors(prefix):
    # What changes the number of data files: TensorFlow reads such a checkpoint as any other.
    for turn in range(4):
        save(prefix, [[("v", "4 3 0,3:0,3", np.full([3, 3], turn, np.float32))]])
        assert num_shards(prefix) == 1 + turn % 2
        reader = tf.train.NewCheckpointReader(prefix)
        assert reader.get_variable_to_shape_map() == {"v": [4, 3]}
        assert tf.train.checkpoint_exists(prefix)
        with tf.Graph().as_default(), tf.Session() as session:
            tf.get_variable("other", initializer=np.zeros(2, np.float32))
            session.run(tf.global_variables_initializer())
            other = prefix + f"-{turn}"
            tf.train.Saver().save(session, other)
        save(other, [[("w", "", value(turn))]])  # In place of a plain Saver's.
        with tf.Graph().as_default(), tf.Session() as session:
            w = tf.get_variable("w", [2])
            tf.train.Saver().restore(session, other)
            assert session.run(w).tolist() == [turn] * 2


def test_a_record_goes_with_its_checkpoint(prefix):
    save(prefix, [[("v", "", value(1))]], tables=TABLES)
    with open(prefix + ".growth.json") as stream:
        assert json.load(stream)["tables"] == TABLES
    save(prefix, [[("v", "", value(2))]])
    assert not os.path.exists(prefix + ".growth.json")


def test_an_error_leaves_what_was_there(prefix, tmp_path):
    save(prefix, [[("v", "", value(1))]], TABLES)
    before = sorted(os.listdir(str(tmp_path)))
    for error, expected in (
        (ValueError("mine"), ValueError),
        (OSError(28, "No space left on device"), OSError),
        (tf.errors.ResourceExhaustedError(None, None, "No space"), OSError),
    ):
        with pytest.raises(expected) as found, staging(prefix) as stage:
            write_part(stage.part(), [("v", "", value(2))])
            raise error
        if expected is OSError:
            assert f"Saving {prefix} failed: " in str(found.value)
            assert "what stood there before is as it was" in str(found.value)
        assert sorted(os.listdir(str(tmp_path))) == before
        assert read(prefix) == [1, 1]


class Killed(BaseException):
    """As if the process had ended there."""


@pytest.mark.parametrize("moment", range(1, 12))
def test_stopped_at_every_step_of_publishing(prefix, tmp_path, monkeypatch, moment):
    # As if killed: nothing is cleaned up until the next save does it.
    save(prefix, [[("v", "", value(1))]], TABLES)
    steps = []

    def counted(function):
        def call(*arguments, **keywords):
            steps.append(function)
            if len(steps) == moment:
                raise Killed
            return function(*arguments, **keywords)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", counted(os.replace))
        for module in (stages, publishing):
            patch.setattr(module, "write", counted(module.write))
        patch.setattr(publishing, "end", lambda stage: os.close(stage._lock._handle))
        done = True
        try:
            save(prefix, [[("v", "", value(2))], [("w", "", value(2))]], TABLES)
        except Killed:
            done = False
    assert read(prefix) in ([1, 1], [2, 2])
    assert done is False or read(prefix) == [2, 2]
    save(prefix, [[("v", "", value(3))]], TABLES)
    assert read(prefix) == [3, 3]
    data = [name for name in os.listdir(str(tmp_path)) if ".data-" in name]
    assert len(data) == num_shards(prefix)
    assert len(os.listdir(str(tmp_path))) == len(data) + 2


def test_killed_while_deleting(prefix, tmp_path, monkeypatch):
    for name in ("old", "older", "kept"):
        save(str(tmp_path / name), [[("v", "", value(1))], [("w", "", value(1))]], TABLES)
        (tmp_path / (name + ".meta")).write_text("")
    with monkeypatch.context() as patch:
        patch.setattr(publishing, "end", lambda stage: os.close(stage._lock._handle))
        for name in ("old", "older", "kept"):
            with deleting(str(tmp_path / name)) as may_be:
                assert may_be
                if name != "kept":
                    os.remove(str(tmp_path / name) + ".index")
    (tmp_path / "old.data-00000-of-00002").unlink()
    save(prefix, [[("v", "", value(1))]])
    assert sorted({name.split(".")[0] for name in os.listdir(str(tmp_path))}) == ["kept", "model"]
    assert read(str(tmp_path / "kept")) == [1, 1]


# --- many writers --------------------------------------------------------------------------------


def test_the_second_waits_and_is_refused(prefix, monkeypatch):
    monkeypatch.setattr(publishing, "_WAIT_SECONDS", 0.1)
    with staging(prefix):
        with pytest.raises(OSError, match=f"is being saved by process {os.getpid()} on") as error:
            save(prefix, [[("v", "", value(2))]])
        assert prefix in str(error.value)
        assert "a name of its own" in str(error.value)
        save(prefix + "-other", [[("v", "", value(3))]])
        with deleting(prefix) as may_be:
            assert not may_be
    save(prefix, [[("v", "", value(2))]])
    assert read(prefix) == [2, 2]


def test_the_second_waits_and_has_its_turn(prefix):
    entered, leave = threading.Event(), threading.Event()

    def first():
        with staging(prefix) as stage:
            write_part(stage.part(), [("v", "", value(1))])
            entered.set()
            leave.wait(60)
            publish(stage)

    thread = threading.Thread(target=first)
    thread.start()
    entered.wait(60)
    threading.Timer(0.2, leave.set).start()
    save(prefix, [[("v", "", value(2))]])
    thread.join()
    assert read(prefix) == [2, 2]


def test_cleaning_up_is_no_failed_save(prefix, monkeypatch, caplog):
    save(prefix, [[("v", "", value(1))]])

    def unlink(path):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch, caplog.at_level("WARNING"):
        patch.setattr(stages, "unlink", unlink)
        save(prefix, [[("v", "", value(2))]])
    assert read(prefix) == [2, 2]
    assert "could not be removed" in caplog.text
    save(prefix, [[("v", "", value(3))]])
    assert len(os.listdir(os.path.dirname(prefix))) == 2


# --- names and places ----------------------------------------------------------------------------


@pytest.mark.parametrize("odd", "*?[\\")
def test_names_that_would_never_be_found_again(tmp_path, odd):
    with pytest.raises(ValueError, match="which tf.train.Saver takes for a pattern"):
        save(str(tmp_path / f"run{odd}1" / "model"), [[("v", "", value(1))]])
    assert os.listdir(str(tmp_path)) == []


@pytest.mark.parametrize("scheme", ["file://", "ram://", "gs://"])
def test_places_that_are_not_local(tmp_path, monkeypatch, scheme):
    monkeypatch.chdir(str(tmp_path))
    with pytest.raises(OSError, match="is no local path"):
        save(scheme + str(tmp_path / "model"), [[("v", "", value(1))]])
    assert os.listdir(str(tmp_path)) == []


@pytest.mark.parametrize("length", [220, 235, 245, 255, 300])
def test_long_names(tmp_path, length):
    prefix = str(tmp_path / ("m" * length))
    if length <= 255 - len(".data-00000-of-00001"):
        save(prefix, [[("v", "", value(1))]], TABLES)
        assert read(prefix) == [1, 1]
    else:
        with pytest.raises(OSError, match="name too long.*(as it was)"):
            save(prefix, [[("v", "", value(1))]], TABLES)
        assert os.listdir(str(tmp_path)) == []


def test_reading_nothing_and_what_is_not_there(prefix):
    assert read_tensors(prefix, []) == []
    with pytest.raises(ValueError) as error:
        read(prefix)
    assert prefix in str(error.value)
