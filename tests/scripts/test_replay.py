"""Old examples in a growth: where they are found, what they count, and what of them is known."""

import os
import re
import shutil
import types

import forks
import grow_snapshots
import numpy as np
import pytest
import small_triples
import tensorflow.compat.v1 as tf
from job import arrays, new_rows
from job import batches as job_batches
from job import data as job_data
from job import examples as job_examples
from job.config import ALL, Config
from job.normalizers import NORMALIZERS, Normalizers
from job.train import train
from models import knowledge_graph

import partial_embed as pe

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "scripts")
SMALL = {"model": "distmult", "batch_size": 16, "epochs": 3, "seed": 3, "optimizer": "Adagrad"}
SMALL["hyperparameters"] = {"dimension": 6, "n3": 0.01}
MODELS = {
    "distmult": knowledge_graph.distmult,
    "complex": knowledge_graph.complex_model,
    "transe": knowledge_graph.transe,
}


def snapshots():
    """Data of what is known with 16 of the ring's entities, and of what came with the others."""
    ring = small_triples.ring()
    is_old = {
        split: (its["head"] < 16) & (its["tail"] < 16) & (its["relation"] < 3)
        for split, its in ring.splits.items()
    }
    found = []
    for old in (True, False):
        splits = {s: job_data.take(its, is_old[s] == old) for s, its in ring.splits.items()}
        found.append(ring._replace(splits=splits))
    keys = {
        name: its[:-4] if name == "entities" else its[:-1]
        for name, its in ring.vocabularies.items()
    }
    return found[0]._replace(vocabularies=keys), found[1]


@pytest.fixture(scope="module")
def directories(tmp_path_factory):
    """Directories of two snapshots, without vocabularies, and of a run on the first."""
    root = tmp_path_factory.mktemp("snapshots")
    found = {name: str(root / name) for name in ("first", "second", "both", "base")}
    first, second = snapshots()
    for name, data in (("first", first), ("second", second), ("both", small_triples.ring())):
        job_data.write_directory(found[name], data)
        for vocabulary in data.vocabularies:
            os.remove(os.path.join(found[name], vocabulary + ".txt"))
    train(Config(found["first"], found["base"], **SMALL))
    return found


def rows(directory, name="entity"):
    return tf.train.load_checkpoint(directory).get_tensor(name)


def grow(directories, place, data="second", **settings):
    settings = dict(SMALL, checkpoint_dir=str(place), grow_from=directories["base"], **settings)
    return train(Config(data_dir=directories[data], **settings))


# Where they are found.


@pytest.mark.parametrize("replay", [None, 0, 1.0, ALL])
def test_what_the_base_has_learned_lies_beside_it(directories, tmp_path, replay):
    """A snapshot with only what is new grows as one with everything does."""
    alone = grow(directories, tmp_path / "alone", replay=replay, new_rows="neighbours")
    both = grow(directories, tmp_path / "both", "both", replay=replay, new_rows="neighbours")
    if replay != 1.0:  # Which ones are drawn depends on their order.
        np.testing.assert_allclose(
            rows(alone.checkpoint), rows(both.checkpoint), rtol=1e-3, atol=1e-4
        )
    assert sorted(alone.metrics) == sorted(both.metrics)
    for name in alone.metrics:
        assert alone.metrics[name] == pytest.approx(both.metrics[name], abs=0.2)
    for directory in ("alone", "both"):
        known = small_triples.read(directories["both"])
        with np.load(str(tmp_path / directory / job_examples.EXAMPLES)) as found:
            for split, its in known.splits.items():
                assert len(found[split + "/head"]) == job_data.size(its)


def test_an_example_stays_where_the_data_has_it(directories):
    """What was learned and is asked now is not learned again, and nothing is there twice."""
    first, _ = snapshots()
    checkpoint = os.path.join(directories["base"], "model.ckpt-1")
    moved = job_data.take(first.splits["train"], slice(5))
    data = small_triples.make(first.vocabularies["entities"], first.vocabularies["relations"])
    data = data._replace(num_old=first.sizes(), splits={"test": moved})
    found, num_new = job_examples.with_those_of_base(data, checkpoint)
    assert num_new == 0
    assert job_data.size(found.splits["test"]) == job_data.size(first.splits["test"]) + 5
    assert job_data.size(found.splits["train"]) == job_data.size(first.splits["train"]) - 5
    again, _ = job_examples.with_those_of_base(found, checkpoint)
    assert {s: job_data.size(its) for s, its in again.splits.items()} == {
        s: job_data.size(its) for s, its in found.splits.items()
    }


def without_examples(directories, tmp_path):
    """The base as an older run left it."""
    place = tmp_path / "old"
    shutil.copytree(directories["base"], str(place))
    (place / job_examples.EXAMPLES).unlink()
    return dict(directories, base=str(place))


def test_nothing_to_replay_is_said(directories, tmp_path, caplog):
    old = without_examples(directories, tmp_path)
    for replay in (1.0, ALL):
        with pytest.raises(ValueError, match=f"--replay={replay} has nothing to replay: every"):
            grow(old, tmp_path / "grown", replay=replay)
    grow(old, tmp_path / "grown")
    assert "may be given as answers where old ones are right" in caplog.text


@pytest.mark.parametrize("damage", ["bytes", "rows", "length", "missing"])
def test_damaged_examples_are_refused(directories, tmp_path, damage):
    old = without_examples(directories, tmp_path)
    path = str(tmp_path / "old" / job_examples.EXAMPLES)
    columns = {f"train/{name}": np.arange(3) for name in small_triples.COLUMNS}
    if damage == "rows":
        columns["train/head"] = np.array([0, 16, 1])
    if damage == "length":
        columns["train/head"] = np.arange(2)
    arrays.write(path, columns)
    if damage == "bytes":
        with open(path, "wb") as file:
            file.write(b"no file of arrays")
    if damage == "missing":
        del columns["train/tail"]
        np.savez(path, contents=np.array([*columns, "train/tail"]), **columns)
    with pytest.raises(ValueError, match=r"examples.npz .*emove it to grow without"):
        grow(old, tmp_path / "grown")


@pytest.mark.parametrize(
    "name, values",
    [
        ("head", np.arange(3)),
        ("old/head", np.arange(3)),
        ("train/head", np.zeros([3, 2], int)),
        ("train/head", np.array(["e00"])),
    ],
)
def test_a_file_of_other_arrays_is_no_file_of_examples(directories, tmp_path, name, values):
    old = without_examples(directories, tmp_path)
    columns = {f"train/{column}": np.zeros([len(values)], int) for column in small_triples.COLUMNS}
    columns[name] = values
    arrays.write(os.path.join(old["base"], job_examples.EXAMPLES), columns)
    with pytest.raises(ValueError, match=f"examples.npz holds {name}, which is no column of train"):
        grow(old, tmp_path / "grown")


def test_all_examples_may_be_taken_out(directories, tmp_path):
    old = without_examples(directories, tmp_path)
    arrays.write(os.path.join(old["base"], job_examples.EXAMPLES), {})
    assert grow(old, tmp_path / "grown", replay=0).finished


def test_a_new_key_without_a_train_example_is_told(directories, tmp_path, caplog):
    """Its row is what was drawn, and a growth from here would keep that."""
    shutil.copytree(directories["second"], str(tmp_path / "data"))
    with open(str(tmp_path / "data" / "test.txt"), "a") as file:
        file.write("e00\tplus1\tnever\n")
    grow(directories, tmp_path / "grown", replay=0)
    assert "stay as they start" not in caplog.text
    settings = dict(SMALL, checkpoint_dir=str(tmp_path / "told"), grow_from=directories["base"])
    train(Config(data_dir=str(tmp_path / "data"), **settings))
    assert "entities: 1 new rows stay as they start" in caplog.text and "(never)" in caplog.text


# numpy 1.19 stumbles over what it could not open once more when it lets go of it.
@pytest.mark.filterwarnings("ignore:.*NpzFile.__del__:pytest.PytestUnraisableExceptionWarning")
def test_every_damaged_byte_is_noticed_or_changes_nothing(tmp_path):
    path = str(tmp_path / "some.npz")
    whole = {"train/head": np.arange(40, dtype=np.uint8), "train/tail": np.arange(40.0)}
    arrays.write(path, whole)
    with open(path, "rb") as file:
        content = bytearray(file.read())
    noticed = 0
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0x41
        with open(path, "wb") as file:
            file.write(damaged)
        try:
            found = arrays.read(path)
        except ValueError:
            noticed += 1
            continue
        assert sorted(found) == sorted(whole)
        for name, values in found.items():
            np.testing.assert_array_equal(values, whole[name])
    assert noticed > len(content) / 2


def test_examples_with_other_columns_are_refused(directories, tmp_path):
    old = without_examples(directories, tmp_path)
    columns = {f"train/{name}": np.arange(3) for name in ("head", "colour")}
    arrays.write(os.path.join(old["base"], job_examples.EXAMPLES), columns)
    with pytest.raises(ValueError, match="one of them has no colour, relation, tail. Give the da"):
        grow(old, tmp_path / "grown")


def test_ratings_without_a_time_and_an_empty_split(tmp_path):
    """Files as people have them, of which the second night's has what is new alone."""
    lines = ["a\tx\t1", "a\ty\t2", "b\tx\t3"]
    for number, text in enumerate((lines, ["c\tx\t4"])):
        place = tmp_path / str(number)
        place.mkdir()
        (place / "train.txt").write_text("\n".join(text) + "\n")
        (place / "valid.txt").write_text("")
    settings = dict(data="ratings", model="matrix_factorization", epochs=1)
    base = train(Config(str(tmp_path / "0"), str(tmp_path / "base"), **settings))
    settings.update(grow_from=base.checkpoint, replay=1.0, replay_weight=1.0)
    assert train(Config(str(tmp_path / "1"), str(tmp_path / "grown"), **settings)).finished
    kept = arrays.read(str(tmp_path / "grown" / job_examples.EXAMPLES))
    assert {name: len(values) for name, values in kept.items() if len(values)} == {
        f"train/{name}": 4 for name in ("user", "item", "value")
    }
    (tmp_path / "1" / "test.txt").write_text("c\ty\t4\t12\n")
    with pytest.raises(ValueError, match="test.txt has 4 columns, and train.txt has 3; give both"):
        train(Config(str(tmp_path / "1"), str(tmp_path / "other"), **settings))


def test_examples_that_nobody_keeps_are_counted(directories, tmp_path):
    """Of a night without a new key: they are not learned, and the base has them not."""
    (tmp_path / "train.txt").write_text("e00\tplus1\te05\ne00\tplus1\te01\n")
    (tmp_path / "entities.txt").write_text("e00\n")  # Keys of the base need not be there.
    settings = dict(SMALL, checkpoint_dir=str(tmp_path / "run"), grow_from=directories["base"])
    told = train(Config(data_dir=str(tmp_path), **settings)).told
    assert told.startswith("There is nothing new to train") and " The 1 examples that are" in told


# What they count.


@pytest.mark.parametrize(
    "replay, weight, expected",
    [
        (0, None, None),
        (1.0, None, 50 / 20.0),
        (0.5, None, 50 / 10.0),
        (ALL, None, None),
        (1.0, 1.0, None),
        (ALL, 0.5, 0.5),
    ],
)
def test_weights(start, replay, weight, expected):
    """Twenty examples are learned and fifty are old: those replayed stand for all."""

    def some(count):
        return {name: np.zeros([count], np.int64) for name in small_triples.COLUMNS}

    config = Config(None, None, replay=replay, replay_weight=weight)
    batches = job_batches.Arrays(config, small_triples.COLUMNS, some(20), some(50))
    batches.features["example_weight"] + 1.0
    batches.check()
    batches.open(start())
    if expected is None:
        assert len(batches.feeds) == 3
        return
    weights = batches.feed(0)[3]
    assert weights.mean() == pytest.approx(1.0)
    found = sorted(set(np.round(weights / weights.min(), 4)))
    assert found == [1.0, pytest.approx(max(expected, 1 / expected), rel=1e-3)]


def own_model(features, sizes, flags):
    table = tf.get_variable("entity", [sizes["entities"], 2])
    both = [tf.nn.embedding_lookup(table, features[name]) for name in ("head", "tail")]
    return tf.reduce_mean(tf.square(both[0] - both[1])), {}


def test_a_model_that_takes_no_notice_of_weights_is_refused(directories, tmp_path):
    data = dict(data_dir=directories["first"], checkpoint_dir=str(tmp_path / "own"))
    train(Config(model="test_replay:own_model", epochs=1, **data))
    settings = dict(model="test_replay:own_model", grow_from=str(tmp_path / "own"), epochs=1)
    data = dict(data_dir=directories["second"], checkpoint_dir=str(tmp_path / "grown"))
    with pytest.raises(
        ValueError, match=r"no use for features\['example_weight'\].*--replay_weight=1"
    ):
        train(Config(replay=1.0, **settings, **data))
    assert train(Config(replay=1.0, replay_weight=1.0, **settings, **data)).finished


# What is known.


def graph_of(model, data, batches, checkpoint=None, moving=None):
    n3 = 0.0 if model == "transe" else 0.01
    flags = types.SimpleNamespace(dimension=6, n3=n3, dropout=0, negatives=0, seed=0)
    if not checkpoint:
        return MODELS[model](dict(batches.features), data.sizes(), flags)[0]
    tables = MODELS[model].tables
    moving = {table: moving[name] for table, name in tables.items() if len(moving[name])}
    with pe.growing(checkpoint, trainable_rows=moving, show=None):
        return MODELS[model](dict(batches.features), data.sizes(), flags)[0]


@pytest.mark.parametrize("moves", [{}, {"entities": 0.4}])
@pytest.mark.parametrize("model", sorted(MODELS))
def test_loss_and_gradients_are_those_of_the_whole_softmax(tmp_path, model, moves):
    """With all that is known fed, old and new questions mixed and weighted, new relations too."""
    first, _ = snapshots()
    settings = dict(SMALL, model=model, epochs=1)
    settings["hyperparameters"] = {"dimension": 6}
    job_data.write_directory(str(tmp_path / "data"), first)
    base = train(Config(str(tmp_path / "data"), str(tmp_path / "base"), **settings))
    data = small_triples.ring()._replace(num_old=first.sizes())
    is_new = data.is_new(data.splits["train"])
    parts = [job_data.take(data.splits["train"], which) for which in (is_new, ~is_new)]
    config = Config(None, None, batch_size=64, replay=0.5)

    with tf.Graph().as_default():
        moving = new_rows.moving(data, moves)
        assert 0 < len(moving["entities"]) < 16 if moves else not len(moving["entities"])
        frozen = {name: ~np.isin(range(its), moving[name]) for name, its in data.num_old.items()}
        normalizers = Normalizers(small_triples.COLUMNS, frozen)
        batches = job_batches.Arrays(config, small_triples.COLUMNS, *parts, normalizers)
        loss = graph_of(model, data, batches, base.checkpoint, moving)
        tables = {table.table_name: table for table in pe.table.embedding.embeddings_in()}
        assert sorted(tables) == ["entity", "inverse", "relation"]
        gradients = tf.gradients(loss, [table.trainable for _, table in sorted(tables.items())])
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            batches.open(session)
            fed = batches.feed(0)
            known = [np.isfinite(column) for column in fed[4:]]
            feeds = dict(zip(batches.feeds, fed))
            values = session.run(dict(sorted(tables.items())))
            found = session.run([loss, *gradients], feeds)
            # And with nothing fed.
            slow = session.run([loss, *gradients], dict(list(feeds.items())[:4]))
    names = ("entities", "relations", "entities")
    rows_of = {name: np.flatnonzero(its) for name, its in frozen.items()}
    old = [np.isin(fed[column], rows_of[names[column]]) for column in range(3)]
    trains = [table.plan.trainable_rows for _, table in sorted(tables.items())]
    np.testing.assert_array_equal(known[0], old[0] & old[1])
    np.testing.assert_array_equal(known[1], old[2] & old[1])
    assert 0 < np.sum(known) < np.size(known)

    with tf.Graph().as_default():
        batches = job_batches.Arrays(config, small_triples.COLUMNS, *parts)
        loss = graph_of(model, data, batches)
        variables = sorted(tf.trainable_variables(), key=lambda v: v.op.name)
        gradients = [tf.convert_to_tensor(g) for g in tf.gradients(loss, variables)]
        with tf.Session() as session:
            for variable in variables:
                variable.load(values[variable.op.name], session)
            expected = session.run([loss, *gradients], dict(zip(batches.feeds, fed)))
    expected = [expected[0], *(its[rows] for its, rows in zip(expected[1:], trains))]
    for values in (found, slow):
        for one, wanted in zip(values, expected):
            np.testing.assert_allclose(dense(one), wanted, rtol=1e-4, atol=1e-6)


def dense(gradient):
    if not hasattr(gradient, "indices"):
        return gradient
    found = np.zeros(gradient.dense_shape, np.float32)
    np.add.at(found, gradient.indices, gradient.values)
    return found


COLUMNS = {"user": "users", "item": "items", "value": None}
ASKED = {
    "user": np.array([0, 1, 1, 4, 0]),
    "item": np.array([2, 0, 0, 1, 5]),
    "value": np.array([0.5] * 5),
}


def small_normalizers(path, computed, base="one", scale=1.0):
    """Normalizers of four old users and three old items; `computed` gets the queries they ask."""

    def look(query):
        computed.extend(query[:, 0].tolist())
        return query * np.float32(scale)

    def score(query, rows):
        seen = tf.cond(
            tf.shape(rows)[0] > 1,  # the frozen ones
            lambda: tf.numpy_function(look, [query], tf.float32),
            lambda: query * scale,
        )
        seen.set_shape([None, 1])
        return tf.matmul(seen, rows, transpose_b=True)

    with tf.variable_scope("", reuse=tf.AUTO_REUSE):
        name = f"table{scale}{len(tf.global_variables())}"
        table = pe.get_embedding(name, [3, 1], num_frozen_rows=2, initializer=tf.ones_initializer())
    frozen = {"users": np.array([True, True, True, False]), "items": np.ones([3], bool)}
    found = Normalizers(COLUMNS, frozen, str(path), base)
    features = {name: tf.placeholder(tf.int32, [None], name) for name in ("user", "item")}
    query = tf.cast(tf.stack([10 * features["user"] + features["item"]], 1), tf.float32)
    given = found(("user", "item"), query, table, score)
    with pytest.raises(ValueError, match="value holds numbers; a question is made of columns of"):
        found(("user", "value"), query, table, score)
    return found, features, given


def test_a_question_of_old_keys_is_computed_once(tmp_path, start):
    computed = []
    found, features, given = small_normalizers(tmp_path, computed)
    session = start()
    found.open(session, features)
    found.fill(session, features, ASKED)
    assert sorted(computed) == [2.0, 10.0]
    (fed,) = found.of(ASKED)
    expected = np.array([2, 10, 10, np.nan, np.nan]) + np.log(2)
    np.testing.assert_allclose(fed, expected, rtol=1e-6)
    found.fill(session, features, ASKED)
    feeds = {features[name]: ASKED[name] for name in features}
    expected = np.array([2, 10, 10, 41, 5]) + np.log(3)
    np.testing.assert_allclose(session.run(given, feeds), expected, rtol=1e-6)
    del computed[:]
    values = session.run(given, {**feeds, found.feeds[0]: fed})
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    assert sorted(computed) == [5.0, 41.0]
    none = {name: values[:0] for name, values in ASKED.items()}
    assert found.of(none)[0].size == 0


@pytest.mark.parametrize("other", ["", "base", "model", "nearly", "bytes", "arrays"])
def test_what_is_known_is_kept_beside_the_run(tmp_path, start, caplog, other):
    """For the same base and model; whatever else lies there is computed again."""
    found, features, _ = small_normalizers(tmp_path, [])
    session = start()
    found.open(session, features)
    found.fill(session, features, ASKED)
    if other == "bytes":
        (tmp_path / NORMALIZERS).write_bytes(b"no arrays")
    if other == "arrays":
        arrays.write(str(tmp_path / NORMALIZERS), {"keys/0": np.arange(2)})
    computed, scale = [], {"model": 2.0, "nearly": 1.0005}.get(other, 1.0)
    base = "another" if other == "base" else "one"
    found, features, _ = small_normalizers(tmp_path, computed, base, scale)
    session = start()
    found.open(session, features)
    del computed[:]
    found.fill(session, features, ASKED)
    assert sorted(computed) == ([2.0, 10.0] if other else [])
    (fed,) = found.of(ASKED)
    expected = scale * np.array([2, 10, 10, np.nan, np.nan]) + np.log(2)
    np.testing.assert_allclose(fed, expected, rtol=1e-6)
    said = {"bytes": "cannot be read"}
    said = said.get(other, "is of another model" if scale != 1 else "")
    assert said in caplog.text if said else not caplog.text


def test_what_is_known_of_other_questions_is_not_taken(tmp_path, start):
    """As an own model's, after an edit: it asked once, and asks twice."""
    found, features, _ = small_normalizers(tmp_path, [])
    session = start()
    found.fill(session, features, ASKED)
    found, features, _ = small_normalizers(tmp_path, [])
    table = pe.get_embedding("other", [3, 1], num_frozen_rows=2, initializer=tf.ones_initializer())
    found(("item",), tf.ones([tf.size(features["item"]), 1]), table, None)
    session = start()
    found.open(session, features)
    found.fill(session, features, ASKED)
    assert [int(np.isfinite(fed).sum()) for fed in found.of(ASKED)] == [3, 4]


def test_old_rows_that_may_move_do_and_no_others(directories, tmp_path):
    """Those of whose examples more than a part is new, as the data of all snapshots says."""
    first, _ = snapshots()
    data = small_triples.ring()._replace(num_old=first.sizes())
    found = grow(directories, tmp_path / "some", replay=1.0, move=["entities:0.4"])
    before = rows(directories["base"])
    changed = [
        row
        for row, (old, new) in enumerate(zip(before, rows(found.checkpoint)))
        if old.tobytes() != new.tobytes()
    ]
    is_new = data.is_new(data.splits["train"])
    expected = []
    for row in range(16):
        its = (data.splits["train"]["head"] == row).astype(int)
        its += data.splits["train"]["tail"] == row
        if its[is_new].sum() > 0.4 * its.sum():
            expected.append(row)
    assert changed == expected == new_rows.moving(data, {"entities": 0.4})["entities"].tolist()
    assert 0 < len(changed) < 16
    with pytest.raises(
        ValueError, match="--move names colours; the vocabularies are entities, rel"
    ):
        grow(directories, tmp_path / "none", move=["colours:0.4"])
    for text in ("entities", "entities:1", "entities:much", ":0.4"):
        with pytest.raises(
            ValueError, match=f"--move={text} must be a vocabulary and a part below"
        ):
            grow(directories, tmp_path / "none", move=[text])


def test_a_part_of_examples_that_are_not_known(directories, tmp_path):
    """As where the base keeps none, and the data is of new keys alone."""
    data = small_triples.ring()._replace(num_old=snapshots()[0].sizes())
    train = data.splits["train"]
    data = data._replace(splits={"train": job_data.take(train, data.is_new(train))})
    with pytest.raises(ValueError, match="none of the old ones is known. Put them into the data"):
        new_rows.moving(data, {"entities": 0.4})
    assert len(new_rows.moving(data, {"entities": 0.0})["entities"])
    with pytest.raises(ValueError, match="--move names entities twice"):
        grow(directories, tmp_path / "none", move=["entities:0.4", "entities:0"])


def test_a_growth_with_what_another_one_kept(directories, tmp_path):
    one = grow(directories, tmp_path / "one", replay=ALL)
    (tmp_path / "two").mkdir()
    shutil.copyfile(str(tmp_path / "one" / NORMALIZERS), str(tmp_path / "two" / NORMALIZERS))
    two = grow(directories, tmp_path / "two", replay=ALL)
    assert rows(one.checkpoint).tobytes() == rows(two.checkpoint).tobytes()


def test_grow_snapshots(directories, tmp_path):
    """The table that a user sees, of two snapshots; with --move it says what moved."""
    for number, name in enumerate(("first", "second")):
        shutil.copytree(directories[name], str(tmp_path / "data" / str(number)))
    command = ["grow_snapshots.py", f"--data_dir={tmp_path / 'data'}", f"--out={tmp_path / 'out'}"]
    command += ["--dimension=6", "--epochs=3", "--growth_epochs=2", "--n3=0.01"]
    result = forks.run(os.path.join(SCRIPTS, command[0]), *command[1:])
    assert result.returncode == 0, result.stderr
    lines = [line.strip() for line in result.stdout.splitlines() if line]
    assert lines[0].startswith("entities 16, 20; MRR of test triples")
    assert "growth 1: entity 0 of 16, inverse 0 of 3, relation 0 of 3" in lines[-1]
    for candidates in ("candidates: all entities", "candidates: those of the snapshot"):
        at = lines.index(candidates)
        grown, retrained, ratio = (
            np.array(line.split()[-3:], float) for line in lines[at + 1 : at + 4]
        )
        np.testing.assert_allclose(ratio, grown / retrained, rtol=1e-2)
    # The newest snapshot's own entities are all entities.
    assert lines[3].split()[-1] == lines[7].split()[-1]
    result = forks.run(
        os.path.join(SCRIPTS, command[0]), *command[1:], "--move=entities:0", "--retrain=none"
    )
    assert result.returncode == 0, result.stderr
    assert "grown, some old rows moved" in result.stdout and "only new rows" not in result.stdout
    lines = [line.strip() for line in result.stdout.splitlines() if line]
    moved = int(lines[-1].split("entity ")[1].split()[0])
    assert 0 < moved <= 16 and f"entity {moved} of 16, inverse 0 of 3, relation 0 of 3" in lines[-1]
    result = forks.run(os.path.join(SCRIPTS, command[0]), f"--data_dir={tmp_path}")
    assert result.returncode == 1 and "must hold folders 0, 1 and so on" in result.stderr


@pytest.mark.parametrize(
    "wrong, message",
    [
        ("gap", "none left out; there is no 1."),
        ("none", "none left out; there is no 0."),
        ("one", "none left out; there is no 1."),
        ("no test", "test.txt must hold triples; it has none."),
        ("empty test", "test.txt must hold triples; it has none."),
        ("nothing new", "has an entity or a relation that was not there before"),
    ],
)
def test_snapshots_that_cannot_be_grown(directories, tmp_path, wrong, message):
    """They are refused before anything is trained."""
    place = tmp_path / "data"
    place.mkdir()
    names = {"none": [], "one": ["first"], "nothing new": ["first", "first"]}
    for number, name in enumerate(names.get(wrong, ["first", "second"])):
        shutil.copytree(directories[name], str(place / str(number)))
    if wrong == "gap":
        os.rename(str(place / "1"), str(place / "2"))
    if wrong == "no test":
        (place / "1" / "test.txt").unlink()
    if wrong == "empty test":
        (place / "1" / "test.txt").write_text("")
    with pytest.raises(ValueError, match=re.escape(message)):
        grow_snapshots.read_snapshots(str(place))
