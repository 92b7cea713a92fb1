"""Scripts of 2017, trained by TensorFlow 1.15.5, grow after a change of at most three lines."""

import difflib
import importlib
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "legacy")

# The tables that grow, by script: {name: (rows before, rows after)}.
TABLES = {
    "transe": {"model/ent_embeddings": (24, 27)},
    "transd": {"model/ent_embeddings": (24, 27), "model/ent_transfer": (24, 27)},
    "factorization": {
        "mf/P": (14, 16),
        "mf/Q": (20, 23),
        "mf/b_u": (14, 16),
        "mf/b_i": (20, 23),
    },
}
# What else the model is made of, and stays as it was.
LAYERS = {
    "transe": ["model/rel_embeddings"],
    "transd": ["model/rel_embeddings", "model/rel_transfer"],
    "factorization": ["mf/mu"],
}
# How the slots of a table are called: what stands before its name, and after it.
SLOTS = {
    "transe": [],
    "transd": [("model/", "/Adagrad")],
    "factorization": [("", "/Adam"), ("", "/Adam_1")],
}


@pytest.fixture
def legacy(data, tmp_path, monkeypatch):
    """Returns `run(script, *arguments)`, in a directory with the old models and data."""
    for name in os.listdir(data("legacy")):
        shutil.copy(data("legacy", name), str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(HERE)

    def run(script, *arguments):
        with tf.Graph().as_default():
            importlib.import_module(script).main(*arguments)

    return run


def data_of(script, more=False):
    name = "ratings.txt" if script == "factorization" else "triples.txt"
    return "more_" + name if more else name


@pytest.mark.parametrize("script", sorted(TABLES))
def test_at_most_three_lines_differ(script):
    texts = []
    for name in (script, script + "_grown"):
        with open(os.path.join(HERE, name + ".py")) as stream:
            texts.append(stream.read().splitlines())
    lines = [line for line in difflib.ndiff(*texts) if line[:1] in "+-"]
    added = [line for line in lines if line.startswith("+")]
    assert len(added) <= 3
    assert len(lines) - len(added) <= 2  # Beside the import, lines are changed and not added.
    assert sum("pe.growing(" in line for line in added) == 1
    assert sum("import partial_embed as pe" in line for line in added) == 1


@pytest.mark.parametrize("script", sorted(TABLES))
def test_an_old_model_grows(legacy, read_checkpoint, same_bits, script):
    old = read_checkpoint(script + ".ckpt")
    legacy(script + "_grown", data_of(script, more=True), "start.ckpt", 0)
    legacy(script + "_grown", data_of(script, more=True), "grown.ckpt", 4)
    start, grown = read_checkpoint("start.ckpt"), read_checkpoint("grown.ckpt")
    assert set(grown) == set(old)  # One table under one name, and the slots as they were called.
    for name, (before, after) in TABLES[script].items():
        assert old[name].shape[0] == before
        assert grown[name].shape == (after,) + old[name].shape[1:]
        assert same_bits(grown[name][:before], old[name])
        assert same_bits(start[name][:before], old[name])
        moved = (grown[name] != start[name]).reshape([after, -1]).any(axis=1)
        assert moved.tolist() == [False] * before + [True] * (after - before)
        for before_name, after_name in SLOTS[script]:
            slot = before_name + name + after_name
            assert same_bits(grown[slot][:before], old[slot])
            assert (grown[slot][before:] != start[slot][before:]).any()
    for name in LAYERS[script]:
        assert same_bits(grown[name], old[name])


@pytest.mark.parametrize("script", sorted(TABLES))
def test_the_original_script_takes_the_grown_model_over(legacy, read_checkpoint, same_bits, script):
    """A plain tf.train.Saver, which knows only the larger number of entities."""
    legacy(script + "_grown", data_of(script, more=True), "grown.ckpt", 2)
    grown = read_checkpoint("grown.ckpt")
    legacy(script, data_of(script, more=True), "grown.ckpt", 0)
    restored = read_checkpoint("grown.ckpt")
    assert set(restored) == set(grown)
    assert all(same_bits(restored[name], grown[name]) for name in grown)
    # And goes on training it, all rows as ever.
    legacy(script, data_of(script, more=True), "grown.ckpt", 2)
    trained = read_checkpoint("grown.ckpt")
    for name in TABLES[script]:
        assert (trained[name] != grown[name]).reshape([len(grown[name]), -1]).any(axis=1).all()


@pytest.mark.parametrize("script", sorted(TABLES))
def test_a_second_generation_grows_from_the_first(legacy, read_checkpoint, same_bits, script):
    legacy(script + "_grown", data_of(script, more=True), "grown.ckpt", 2)
    first = read_checkpoint("grown.ckpt")
    for name in os.listdir("."):
        if name.startswith("grown.ckpt"):
            shutil.move(name, name.replace("grown", script))
    with open(data_of(script, more=True)) as stream:
        counts, rest = stream.readline().split(), stream.read()
    with open("still_more.txt", "w") as stream:
        entities = int(counts[0]) + 2
        stream.write(f"{entities} {counts[1]}\n{rest}")
        stream.write(f"{entities - 1} 0 1\n{entities - 2} 1 2\n")
    legacy(script + "_grown", "still_more.txt", "again.ckpt", 2)
    second = read_checkpoint("again.ckpt")
    for name in TABLES[script]:
        rows = len(first[name])
        assert same_bits(second[name][:rows], first[name])
    first_table = sorted(TABLES[script])[0]
    assert len(second[first_table]) == len(first[first_table]) + 2


def test_the_old_models_are_what_the_originals_make(legacy, read_checkpoint, data):
    """The fixtures again, where genuine TensorFlow 1.15.5 runs."""
    if tf.__version__ != "1.15.5":
        pytest.skip("the fixtures are TensorFlow 1.15.5's")
    for script in TABLES:
        legacy(script, data_of(script), script + "_again.ckpt")
        again = read_checkpoint(script + "_again.ckpt")
        kept = read_checkpoint(data("legacy", script + ".ckpt"))
        assert set(again) == set(kept)
        for name in kept:
            np.testing.assert_allclose(again[name], kept[name], rtol=1e-4, atol=1e-5)


def test_as_a_user_runs_it(legacy, read_checkpoint, same_bits):
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    script = os.path.join(HERE, "transe_grown.py")
    process = subprocess.Popen(
        [sys.executable, script, "more_triples.txt", "new.ckpt", "1"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert "epoch 0 loss" in output
    old, grown = read_checkpoint("transe.ckpt"), read_checkpoint("new.ckpt")
    assert same_bits(grown["model/ent_embeddings"][:24], old["model/ent_embeddings"])
