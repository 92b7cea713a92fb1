"""Names and places that nobody should give: refused before anything is written, or right."""

import errno
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe
from partial_embed.files import stage
from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.locate import resolve


@pytest.fixture
def grown(write_checkpoint, start):
    """(prefix of the base, session) of a table that grew."""
    prefix = write_checkpoint({"ent": np.arange(8, dtype=np.float32).reshape([4, 2])}, "base")
    table = pe.get_embedding("ent", [6, 2], checkpoint=prefix)
    tf.train.AdagradOptimizer(0.1).minimize(tf.reduce_sum(table.lookup([5])))
    return prefix, start()


@pytest.mark.parametrize("name", ["", "x/", ".", "..", "x/.", "x/..", "a\0b", "a\udcff"])
def test_names_that_are_none(grown, folder, monkeypatch, name):
    prefix, session = grown
    delta = pe.Saver(delta=True).save(session, folder("delta"))
    os.mkdir(folder("empty"))
    monkeypatch.chdir(folder("empty"))
    for call in (
        lambda: pe.Saver().save(session, name),
        lambda: pe.merge_checkpoint(prefix, delta, name),
    ):
        with pytest.raises(ValueError, match="is no name for a checkpoint"):
            call()
    assert os.listdir(".") == []


@pytest.mark.parametrize("name", ["a\0b", "a\udcff"])
def test_paths_that_tensorflow_cannot_open(folder, name):
    os.mkdir(folder("a"))  # It reads up to the zero.
    with pytest.raises(ValueError, match="no path that TensorFlow can open"):
        resolve(folder(name))


@pytest.mark.parametrize("content", [b"\xff\xfe\0", b'model_checkpoint_path: ""'])
def test_a_state_file_that_is_none(tmp_path, content):
    (tmp_path / "checkpoint").write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read") as error:
        resolve(str(tmp_path))
    assert str(tmp_path / "checkpoint") in str(error.value)


def test_paths_as_bytes(grown, folder, read_checkpoint):
    prefix, session = grown
    saved = pe.Saver(delta=True).save(session, os.fsencode(folder("delta")))
    assert saved == folder("delta")
    merged = pe.merge_checkpoint(prefix, os.fsencode(saved), os.fsencode(folder("merged")))
    assert read_checkpoint(merged)["ent"].shape == (6, 2)


def test_a_delta_never_takes_the_place_of_its_base(grown, folder, read_checkpoint, caplog):
    prefix, session = grown
    os.symlink(os.path.dirname(prefix), folder("link"))
    saver = pe.Saver(delta=True)
    for name in (prefix, folder("link", "base"), os.path.relpath(prefix)):
        with pytest.raises(ValueError, match="holds rows that the delta leaves out"):
            saver.save(session, name)
    assert "is replaced" not in caplog.text
    assert read_checkpoint(prefix)["ent"].shape == (4, 2)
    # What the deltas stand on now is the checkpoint that was restored.
    whole = pe.Saver().save(session, folder("whole"))
    saver.restore(session, whole)
    with pytest.raises(ValueError, match="holds rows that the delta leaves out"):
        saver.save(session, whole)


def test_a_saver_of_deltas_does_not_delete_their_base(grown, folder):
    prefix, session = grown
    saver = pe.Saver(delta=True, max_to_keep=2)
    saver.recover_last_checkpoints([prefix])
    saved = [saver.save(session, folder("delta"), global_step=step) for step in range(4)]
    assert [tf.train.checkpoint_exists(path) for path in saved] == [False, False, True, True]
    assert tf.train.checkpoint_exists(prefix)
    saver.restore(session, saved[-1])


def test_what_is_being_written_is_deleted_later(grown, folder):
    # Once the next was deleted in its name, and the one being written went.
    _, session = grown
    saver = pe.Saver(max_to_keep=1)
    saved = [saver.save(session, folder("m"), global_step=0)]
    busy = stage.take(saved[0], 0)
    saved += [saver.save(session, folder("m"), global_step=step) for step in (1, 2)]
    assert all(tf.train.checkpoint_exists(path) for path in saved)
    stage.end(busy)
    saved.append(saver.save(session, folder("m"), global_step=3))
    assert [tf.train.checkpoint_exists(path) for path in saved] == [False] * 3 + [True]


def test_what_cannot_be_deleted_is_passed_over(grown, folder, monkeypatch):
    # As TensorFlow does it: once every save failed from there on, and told to make room.
    _, session = grown
    saver = pe.Saver(max_to_keep=1)
    monkeypatch.chdir(os.path.dirname(folder("m")))
    saver.save(session, os.path.join("run", "m"), global_step=0)
    os.mkdir("elsewhere")
    os.chdir("elsewhere")
    for step in (1, 2):
        saver.save(session, folder("m"), global_step=step)
    assert tf.train.checkpoint_exists(folder("run", "m-0"))
    assert not tf.train.checkpoint_exists(folder("m-1"))
    assert os.path.exists(folder("m-2.meta"))


def test_no_room_to_note_what_is_deleted(grown, folder, monkeypatch):
    _, session = grown
    saver = pe.Saver(max_to_keep=1)
    saved = [saver.save(session, folder("m"), global_step=0)]
    note = stage.Stage.note

    def full(self, counts, beside):
        if self.prefix in saved:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        note(self, counts, beside)

    monkeypatch.setattr(stage.Stage, "note", full)
    saver.save(session, folder("m"), global_step=1)
    assert not tf.train.checkpoint_exists(saved[0])


def test_a_file_that_may_not_be_read(write_checkpoint, monkeypatch):
    prefix = write_checkpoint({"ent": np.zeros([4, 2], np.float32)})

    def refuse(path, mode):
        raise tf.errors.PermissionDeniedError(None, None, f"{path}; Permission denied")

    monkeypatch.setattr(tf.gfile, "GFile", refuse)
    for call in (lambda: pe.growing(prefix), lambda: pe.align_vocabularies(prefix + ".index", "a")):
        with pytest.raises(ValueError, match="cannot be read: .*; Permission denied") as error:
            call()
        assert prefix + ".index" in str(error.value)


def test_a_relative_name_in_a_directory_that_is_a_pattern(grown, folder, monkeypatch):
    """It is opened by its whole path, which TensorFlow would take for a pattern."""
    _, session = grown
    os.mkdir(folder("run [1]"))
    monkeypatch.chdir(folder("run [1]"))
    with pytest.raises(ValueError, match=r"run \[1\]/saved-1' holds \[, .* name, or directory"):
        pe.Saver().save(session, "saved", global_step=1)
    assert os.listdir(".") == []


def test_a_base_that_is_reached_by_links_of_its_files(grown, folder):
    """Of `linked/base`, which stands in `real/base`, nothing may be written there."""
    prefix, _ = grown
    os.mkdir(folder("linked"))
    for name in os.listdir(os.path.dirname(prefix)):
        if name.startswith("base."):
            os.symlink(os.path.join(os.path.dirname(prefix), name), folder("linked", name))
    linked = folder("linked", "base")
    before = Checkpoint(prefix).read("ent")
    with tf.Graph().as_default(), tf.Session() as session:
        pe.get_embedding("ent", [6, 2], checkpoint=linked)
        saver = pe.Saver(delta=True)
        session.run(tf.global_variables_initializer())
        with pytest.raises(ValueError, match="would be lost"):
            saver.save(session, prefix)
    with pytest.raises(ValueError, match="would be replaced"):
        pe.grow_checkpoint(linked, prefix, rows={"ent": 9}, show=None)
    with pytest.raises(ValueError, match="would be replaced"):
        pe.export(linked, prefix, "checkpoint", tables="ent")
    assert (Checkpoint(prefix).read("ent") == before).all()


def test_a_table_under_two_names(grown):
    table = pe.get_embedding("other", [6, 2], num_frozen_rows=4)
    with pytest.raises(ValueError, match="is given two names, 'a' and 'b'"):
        pe.Saver({"a": table, "b": table})
