"""Scripts of 2016 to 2019, trained by TensorFlow 1.15.5, grow when at most three lines change."""

import difflib
import importlib
import os
import runpy
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "legacy")

# The data of each script; larger data is in `more_` and the same name.
DATA_OF = {
    "transe": "triples.txt",
    "transd": "triples.txt",
    "factorization": "ratings.txt",
    "word_vectors": "text.txt",
    "language_model": "tokens.txt",
    "recommender": "ratings.txt",
    "encoder": "tokens.txt",
    "graph_recommender": "ratings.txt",
}
# The tables that grow, by script: {name: (rows before, rows after)}; (.., .., 1) for columns.
TABLES = {
    "transe": {"model/ent_embeddings": (24, 27)},
    "transd": {"model/ent_embeddings": (24, 27), "model/ent_transfer": (24, 27)},
    "factorization": {
        "mf/P": (14, 16),
        "mf/Q": (20, 23),
        "mf/b_u": (14, 16),
        "mf/b_i": (20, 23),
    },
    # Its words are in another order, and two are gone.
    "word_vectors": {
        "embeddings/Variable": (19, 21),
        "weights/Variable": (19, 21),
        "biases/Variable": (19, 21),
    },
    "language_model": {
        "Model/embedding": (16, 19),
        "Model/softmax_w": (16, 19, 1),
        "Model/softmax_b": (16, 19),
    },
    "recommender": {
        "users": (14, 16),
        "items": (20, 23),
        "user_bias": (14, 16),
        "item_bias": (20, 23),
    },
    "encoder": {"bert/word_embeddings": (16, 19), "cls/predictions/output_bias": (16, 19)},
    "graph_recommender": {"user_embedding": (14, 16), "item_embedding": (20, 23)},
}
# What else the model is made of, and stays as it was.
LAYERS = {
    "transe": ["model/rel_embeddings"],
    "transd": ["model/rel_embeddings", "model/rel_transfer"],
    "factorization": ["mf/mu"],
    "word_vectors": [],
    "language_model": ["Model/rnn_w", "Model/rnn_b"],
    "recommender": ["mean"],
    "encoder": [
        "bert/position_embeddings",
        "bert/LayerNorm/beta",
        "bert/LayerNorm/gamma",
        "bert/kernel",
        "bert/bn/beta",
        "bert/bn/gamma",
        "bert/bn/moving_mean",  # which UPDATE_OPS would move, were they not held
        "bert/bn/moving_variance",
    ],
    "graph_recommender": ["W"],
}
# How the slots of a table are called: what stands before its name, and after it.
SLOTS = {
    "transe": [],
    "transd": [("model/", "/Adagrad")],
    "factorization": [("", "/Adam"), ("", "/Adam_1")],
    "word_vectors": [],
    "language_model": [],
    "recommender": [("", "/Adam"), ("", "/Adam_1")],
    "encoder": [("", "/Adam"), ("", "/Adam_1")],
    "graph_recommender": [("", "/Adam"), ("", "/Adam_1")],
}
EPOCHS = 2
# What counts the steps, and starts at 0 again; steps of these epochs of the larger data.
COUNTERS = {
    "transe": ("model/global_step", EPOCHS * 6),
    "factorization": ("global_step", EPOCHS),
    "language_model": ("Model/global_step", EPOCHS * 4),
    "recommender": ("global_step", EPOCHS),
    "encoder": ("global_step", EPOCHS),
}
# Rows that no batch holds: no word is unknown.
UNUSED = {
    "word_vectors": {"embeddings/Variable": [0]},
    "language_model": {"Model/embedding": [0]},
}
has_estimators = pytest.mark.skipif(
    not hasattr(tf, "estimator") or not hasattr(tf.estimator, "DNNClassifier"),
    reason="This TensorFlow has no Estimators.",
)


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


@pytest.fixture(scope="module")
def grown_files():
    """{script: {name: content}} of the models that were grown."""
    return {}


@pytest.fixture
def grow(legacy, grown_files):
    """Returns `grow(script)`: it puts grown.ckpt there, trained once for all tests."""

    def grow(script):
        if script not in grown_files:
            legacy(script + "_grown", data_of(script, more=True), "grown.ckpt", EPOCHS)
            grown_files[script] = {}
            for name in os.listdir("."):
                if name.startswith("grown.ckpt"):
                    with open(name, "rb") as stream:
                        grown_files[script][name] = stream.read()
        for name, content in grown_files[script].items():
            with open(name, "wb") as stream:
                stream.write(content)

    return grow


def data_of(script, more=False):
    return "more_" + DATA_OF[script] if more else DATA_OF[script]


def by_rows(values, script, name):
    """Returns the value of a table with its rows first, though they be columns."""
    return np.moveaxis(values[name], (TABLES[script][name] + (0,))[2], 0)


def old_places(script, name, model):
    """Returns (rows of the old table that are kept, where they are in that of a model)."""
    if script != "word_vectors":
        kept = list(range(TABLES[script][name][0]))
        return kept, kept
    old, new = read_words("word_vectors.ckpt"), read_words(model)
    kept = [row for row, word in enumerate(old) if word in new]
    assert len(kept) == len(old) - 2
    return kept, [new.index(old[row]) for row in kept]


def halves_in(values, script):
    """Returns what a plain Saver writes beside a table whose new rows lie among the old ones."""
    halves = ("/frozen", "/trainable") if script == "word_vectors" else ()
    return {name for name in values if name.endswith(tuple(halves))}


def read_words(model):
    with open(model + ".words") as stream:
        return stream.read().split()


@pytest.mark.parametrize("script", sorted([*TABLES, "estimator"]))
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
def test_an_old_model_grows(legacy, grow, read_checkpoint, same_bits, script):
    old = read_checkpoint(script + ".ckpt")
    legacy(script + "_grown", data_of(script, more=True), "start.ckpt", 0)
    grow(script)
    start, grown = read_checkpoint("start.ckpt"), read_checkpoint("grown.ckpt")
    # One table under one name, and the slots as they were called.
    assert set(grown) - halves_in(grown, script) == set(old)
    for name, (before, after, *_) in TABLES[script].items():
        was, first, now = (by_rows(values, script, name) for values in (old, start, grown))
        assert was.shape[0] == before
        assert now.shape == (after,) + was.shape[1:]
        kept, places = old_places(script, name, "grown.ckpt")
        assert same_bits(now[places], was[kept])
        assert same_bits(first[places], was[kept])
        moved = (now != first).reshape([after, -1]).any(axis=1)
        assert np.flatnonzero(moved).tolist() == sorted(set(range(after)) - set(places))
        for before_name, after_name in SLOTS[script]:
            slot = before_name + name + after_name
            assert same_bits(grown[slot][:before], old[slot])
            assert (grown[slot][before:] != start[slot][before:]).any()
    for name in LAYERS[script]:
        assert same_bits(grown[name], old[name])
    if script in COUNTERS:
        counter, steps = COUNTERS[script]
        assert old[counter] > steps  # A script that trains up to some step would do none.
        assert (start[counter], grown[counter]) == (0, steps)


@pytest.mark.parametrize("script", sorted(TABLES))
def test_the_original_script_takes_the_grown_model_over(
    legacy, grow, read_checkpoint, same_bits, script
):
    """A plain tf.train.Saver, which knows only the larger number of entities."""
    grow(script)
    grown = read_checkpoint("grown.ckpt")
    legacy(script, data_of(script, more=True), "grown.ckpt", 0)
    restored = read_checkpoint("grown.ckpt")
    assert set(restored) == set(grown) - halves_in(grown, script)
    assert all(same_bits(restored[name], grown[name]) for name in restored)
    # And goes on training it, all rows as ever; the recommender up to its fourth step.
    legacy(script, data_of(script, more=True), "grown.ckpt", 4)
    trained = read_checkpoint("grown.ckpt")
    for name in TABLES[script]:
        was, now = (by_rows(values, script, name) for values in (grown, trained))
        moved = (now != was).reshape([len(was), -1]).any(axis=1)
        assert np.flatnonzero(~moved).tolist() == UNUSED.get(script, {}).get(name, [])


def still_more(script):
    """Writes data of two entities (users, words) more, and returns its path."""
    with open(data_of(script, more=True)) as stream:
        first, rest = stream.readline(), stream.read()
    with open("still_more.txt", "w") as stream:
        if script == "word_vectors":
            stream.write(f"new newer newer {first}{rest}")
            return "still_more.txt"
        counts = first.split()
        counts[0] = str(int(counts[0]) + 2)
        last, size = int(counts[0]) - 1, len(rest.splitlines()[0].split())
        lines = [[last] + [0] * (size - 2) + [1], [last - 1] + [1] * (size - 2) + [2]]
        stream.write(" ".join(counts) + "\n" + rest)
        stream.write("".join(" ".join(map(str, line)) + "\n" for line in lines))
    return "still_more.txt"


@pytest.mark.parametrize("script", sorted(TABLES))
def test_a_second_generation_grows_from_the_first(legacy, grow, read_checkpoint, same_bits, script):
    grow(script)
    first = read_checkpoint("grown.ckpt")
    for name in os.listdir("."):
        if name.startswith("grown.ckpt"):
            shutil.move(name, name.replace("grown", script))
    legacy(script + "_grown", still_more(script), "again.ckpt", 2)
    second = read_checkpoint("again.ckpt")
    for name in TABLES[script]:
        was, now = by_rows(first, script, name), by_rows(second, script, name)
        places = list(range(len(was)))
        if script == "word_vectors":
            words = read_words("again.ckpt")
            places = [words.index(word) for word in read_words("word_vectors.ckpt")]
        assert same_bits(now[places], was)
    gained = [len(second[name]) - len(first[name]) for name in TABLES[script]]
    assert max(gained) == 2


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


def test_a_script_that_is_not_changed_at_all(legacy, read_checkpoint, same_bits, monkeypatch):
    shutil.copy(os.path.join(HERE, "language_model.py"), ".")
    monkeypatch.setattr(sys, "argv", ["language_model.py", "more_tokens.txt", "grown.ckpt", "4"])
    with pe.growing("language_model.ckpt"):
        runpy.run_path("language_model.py", run_name="__main__")
    old, grown = read_checkpoint("language_model.ckpt"), read_checkpoint("grown.ckpt")
    assert set(grown) == set(old)
    assert same_bits(grown["Model/softmax_w"][:, :16], old["Model/softmax_w"])
    assert grown["Model/softmax_w"].shape == (6, 19)


def test_data_is_the_scripts(legacy, read_checkpoint):
    """Features of another shape than in the checkpoint: they are neither loaded nor grown."""
    legacy("graph_recommender_grown", "more_ratings.txt", "grown.ckpt", 1)
    old, grown = read_checkpoint("graph_recommender.ckpt"), read_checkpoint("grown.ckpt")
    ratings = np.loadtxt("more_ratings.txt", skiprows=1, dtype=int)
    counted = np.zeros([23, 5], np.float32)
    np.add.at(counted, (ratings[:, 1], ratings[:, 2] - 1), 1.0)
    assert old["item_features"].shape == (20, 5)
    assert grown["item_features"].tolist() == counted.tolist()


def test_old_outputs_move_with_their_neighbours(legacy, read_checkpoint):
    """Though no old row does: what is propagated over a graph changes with that graph."""
    outputs = []
    for ratings, epochs in (("ratings.txt", 0), ("more_ratings.txt", 0), ("more_ratings.txt", 4)):
        with tf.Graph().as_default():
            script = importlib.import_module("graph_recommender_grown")
            if ratings == "ratings.txt":
                script = importlib.import_module("graph_recommender")
                shutil.copy("graph_recommender.ckpt.index", "old.ckpt.index")
                data = ".ckpt.data-00000-of-00001"
                shutil.copy("graph_recommender" + data, "old" + data)
            model = "old.ckpt" if ratings == "ratings.txt" else f"new{epochs}.ckpt"
            outputs.append(script.main(ratings, model, epochs)[0][:14])
    before, grown, trained = outputs
    assert (before != grown).any(axis=1).all()
    assert (grown != trained).any()
    tables = [read_checkpoint(name)["user_embedding"] for name in ("old.ckpt", "new4.ckpt")]
    assert tables[0].tolist() == tables[1][:14].tolist()


def test_held_statistics_move_without_hold(legacy, read_checkpoint, same_bits, monkeypatch):
    without = pe.growing("encoder.ckpt", show=None)
    monkeypatch.setattr(pe, "growing", lambda *args, **kwargs: without)
    legacy("encoder_grown", "more_tokens.txt", "grown.ckpt", 4)
    old, grown = read_checkpoint("encoder.ckpt"), read_checkpoint("grown.ckpt")
    assert (old["bert/bn/moving_mean"] != grown["bert/bn/moving_mean"]).all()


def test_a_rate_that_is_fed_is_what_was_fed(legacy, read_checkpoint):
    legacy("language_model_grown", "more_tokens.txt", "grown.ckpt", 4)
    assert read_checkpoint("language_model.ckpt")["Model/lr"] == 0.5**6
    assert read_checkpoint("grown.ckpt")["Model/lr"] == 0.5**2


@has_estimators
def test_an_estimator_grows(legacy, read_checkpoint, same_bits):
    old = read_checkpoint("estimator.ckpt")
    legacy("estimator_grown", "more_labels.txt", "grown", 6)
    grown = read_checkpoint("grown")
    assert set(grown) == set(old)
    (table,) = [name for name in old if name.endswith("embedding_weights")]
    layers = [name for name in old if name.endswith(("kernel", "bias"))]
    assert len(layers) == 4
    for name in layers:
        assert same_bits(grown[name], old[name])
    slot = table + "/t_0/Adagrad"
    assert (old[table].shape, grown[table].shape) == ((10, 4), (13, 4))
    assert same_bits(grown[table][:10], old[table])
    assert same_bits(grown[slot][:10], old[slot])
    assert (grown[slot][10:] > 0.1).any(axis=1).all()  # where Adagrad begins: they trained
    assert (old["global_step"], grown["global_step"]) == (30, 6)
    # The script as it was takes the directory over, and goes on.
    legacy("estimator", "more_labels.txt", "grown", 3)
    again = read_checkpoint("grown")
    assert again["global_step"] == 9
    assert (again[table] != grown[table]).any(axis=1).all()


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
