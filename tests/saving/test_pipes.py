"""A pipe where a file is expected: an error that names it, or it is passed over; nothing waits.

To open a pipe that nobody writes to waits for ever, so what stands in a directory, and what a
file from elsewhere names, is opened only if it is a file.
"""

import glob
import hashlib
import json
import os
import signal

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from small_model import NEW, Model

import partial_embed as pe
from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.growth import DELTA_KEY, read_delta
from partial_embed.files.locate import resolve
from partial_embed.files.stage import STAGE_PREFIX, tidy
from partial_embed.files.tensors import write_part


@pytest.fixture(autouse=True)
def watchdog():
    """Ends what waits, by an error if it can be told, else with the process."""

    def stop(*_):
        raise TimeoutError("It waits.")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def pipe(path):
    """Puts a pipe where a file is, or is not."""
    if os.path.lexists(path):
        os.unlink(path)
    os.mkfifo(path)
    return path


@pytest.fixture
def prefix(write_checkpoint):
    return write_checkpoint({"ent": np.zeros([4, 2], np.float32)})


ENDINGS = [".index", ".data-00000-of-00001", ".growth.json"]


@pytest.mark.parametrize("ending", ENDINGS + [""])
def test_files_of_a_checkpoint(prefix, ending):
    if not ending:
        os.unlink(prefix + ".index")
    path = pipe(prefix + ending)
    with pytest.raises(ValueError, match="a pipe or a device; expected a file") as error:
        pe.get_embedding("ent", [6, 2], checkpoint=prefix)
    assert path in str(error.value)


@pytest.mark.parametrize("ending", ENDINGS + [".meta", ".data-00000-of-00002"])
def test_a_save_takes_their_place(folder, start, numbered, ending):
    numbered()
    session, prefix = start(), folder("model")
    pipe(prefix + ending)
    pipe(folder("checkpoint"))
    for _ in range(2):
        pe.Saver().save(session, prefix)
    assert pe.Saver().restore(session, prefix) is None


def test_the_state_file(prefix, tmp_path):
    path = pipe(str(tmp_path / "checkpoint"))
    for given in (str(tmp_path), path):
        with pytest.raises(ValueError, match="expected a file") as error:
            resolve(given)
        assert path in str(error.value)
    Checkpoint(prefix)


def test_a_state_file_that_names_one(prefix, tmp_path):
    path = pipe(str(tmp_path / "other"))
    (tmp_path / "checkpoint").write_text(f'model_checkpoint_path: "{path}"')
    with pytest.raises(ValueError, match="expected a file"):
        Checkpoint(str(tmp_path))


def test_vocabularies_and_values(prefix, tmp_path):
    path = pipe(str(tmp_path / "keys.npy"))
    for call in (
        lambda: pe.align_vocabularies(path, ["a"]),
        lambda: pe.get_embedding(
            "ent", [6, 2], checkpoint=prefix, initializer=pe.row_init.values_from(path)
        ),
        lambda: pe.grow_meta_graph(path, prefix, {"ent": 6}),
    ):
        with pytest.raises(ValueError, match="expected a file") as error:
            call()
        assert path in str(error.value)


@pytest.mark.parametrize("name", ["lock", "lock.owner", "journal", "part-0.index", "state"])
@pytest.mark.parametrize("written", [False, True])
def test_files_of_a_stage(folder, start, numbered, tmp_path, name, written):
    numbered()
    session, saver = start(), pe.Saver()
    saver.save(session, folder("model"))
    stage = folder(STAGE_PREFIX + hashlib.blake2b(b"model", digest_size=16).hexdigest())
    os.mkdir(stage)
    path = pipe(os.path.join(stage, name))
    handle = os.open(path, os.O_RDWR) if written else None  # A writer who says nothing.
    try:
        tidy(str(tmp_path))
        os.makedirs(stage, exist_ok=True)
        if not os.path.lexists(path):
            pipe(path)
        try:
            saver.save(session, folder("model"))
        except OSError as error:
            assert "Nothing was published" in str(error)
            saver.save(session, folder("model"))
    finally:
        if written:
            os.close(handle)
    # With flock, a lock of those who have none is nobody's to remove.
    left = [stage] if name == "lock.owner" else []
    assert glob.glob(folder(STAGE_PREFIX + "*")) == left
    assert saver.restore(session, folder("model")) is None


@pytest.mark.parametrize("kind", ["pipe", "relative", "far", "directory"])
def test_the_base_that_a_delta_names(base, folder, session, monkeypatch, tmp_path, kind):
    prefix, _ = base
    model = Model(NEW, checkpoint=prefix)
    session.run(tf.global_variables_initializer())
    model.train(session)
    delta = pe.Saver(delta=True).save(session, folder("delta"))
    content = read_delta(Checkpoint(delta))
    os.mkdir(folder("elsewhere"))
    named = {
        "pipe": pipe(folder("named")),
        "relative": os.path.basename(prefix),
        "far": "gs://bucket.of.somebody/base",
        "directory": folder("elsewhere"),
    }[kind]
    for entry in content["tables"].values():
        entry["base"] = named
    tensors = {name: Checkpoint(delta).read(name) for name in Checkpoint(delta).shapes}
    tensors[DELTA_KEY] = np.array(json.dumps(content), object)
    write_part(folder("changed"), [(name, "", value) for name, value in tensors.items()])
    monkeypatch.chdir(tmp_path)
    with tf.Graph().as_default(), tf.Session() as other:
        tf.train.get_or_create_global_step()
        with tf.variable_scope("model"):
            pe.get_embedding("ent", [NEW, 4], num_frozen_rows=6)
        saver = pe.Saver()
        other.run(tf.global_variables_initializer())
        message = "needs the checkpoint it grew from" if kind in ("relative", "far") else named
        with pytest.raises(ValueError, match=message):
            saver.restore(other, folder("changed"))
