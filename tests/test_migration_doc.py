"""The page for people who migrate: its blocks run, and what it says of TensorFlow is so."""

import argparse
import contextlib
import os
import re

import forks
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe
from partial_embed.command import check

PAGE = os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs", "migration.md"
)
NEW_VERSION = not tf.__version__.startswith("1.")
has_estimators = pytest.mark.skipif(
    not hasattr(tf, "estimator") or not hasattr(tf.estimator, "Estimator"),
    reason="This TensorFlow has no Estimators.",
)


@pytest.fixture(scope="module")
def text():
    with open(PAGE) as stream:
        return " ".join(stream.read().split())


def blocks(mark):
    """Returns the code blocks after a paragraph that ends with a mark."""
    with open(PAGE) as stream:
        return re.findall(rf"\*{mark}\*\n\n```python\n(.*?)```", stream.read(), re.S)


def quoted():
    """Returns [(path, code), ...] of the blocks that say which file they are in."""
    with open(PAGE) as stream:
        return re.findall(r"\*in `([\w/]+\.py)`\*\n\n```python\n(.*?)```", stream.read(), re.S)


def test_every_block_is_marked():
    with open(PAGE) as stream:
        count = stream.read().count("```python")
    assert len(blocks("run")) + len(blocks("run natively")) + len(quoted()) == count
    assert len(quoted()) == 8


def test_what_is_quoted_stands_in_its_file():
    for path, code in quoted():
        with open(os.path.join(os.path.dirname(os.path.dirname(PAGE)), path)) as stream:
            lines = stream.read().splitlines()
        assert [line for line in code.splitlines() if line not in lines] == [], path


def test_the_blocks_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks("run"):
        exec(compile(block, PAGE, "exec"), names)  # noqa: S102
    if not NEW_VERSION:
        return
    (tmp_path / "script.py").write_text(blocks("run natively")[0])
    found = forks.run(tmp_path / "script.py")
    assert found.returncode == 0, found.stderr


def test_what_check_prints(capsys, tmp_path, monkeypatch):
    with open(PAGE) as stream:
        (output,) = re.findall(r"```text\n(.*?)```", stream.read(), re.S)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(
        "import tensorflow as tf\n"
        "vocab[word] = len(vocab)\n"
        'e = tf.get_variable("embedding", [len(vocab), 10])\n'
        "tf.train.GradientDescentOptimizer(0.1); tf.train.Saver()\n"
    )
    check.run(argparse.Namespace(scripts=["train.py"], json=False))
    assert capsys.readouterr().out.startswith(output)


def draw(initializer=None, graph_seed=None, ops_before=0):
    with tf.Graph().as_default(), tf.Session() as session:
        if graph_seed is not None:
            tf.set_random_seed(graph_seed)
        for _ in range(ops_before):
            tf.constant(1.0)
        initializer = initializer or tf.random_normal_initializer()
        variable = tf.get_variable("variable", [4, 2], initializer=initializer)
        session.run(variable.initializer)
        return session.run(variable)


def test_seeds(same_bits):
    seeded = tf.random_normal_initializer(seed=1)
    assert same_bits(draw(seeded), draw(seeded, ops_before=3))
    if not NEW_VERSION:
        assert (draw(graph_seed=1) != draw(graph_seed=1, ops_before=3)).any()
    # What both versions draw from this seed.
    np.testing.assert_allclose(draw(seeded)[0], [-0.81131822, 1.48459876], rtol=1e-6)


def test_initializers(same_bits):
    uniform = [pe.xavier_initializer(seed=1), tf.glorot_uniform_initializer(seed=1)]
    assert same_bits(draw(uniform[0]), draw(uniform[1]))
    normal = draw(pe.xavier_initializer(False, seed=1)), draw(tf.glorot_normal_initializer(seed=1))
    np.testing.assert_allclose(normal[1] / normal[0], 0.9971, atol=1e-4)
    if NEW_VERSION:
        with pytest.raises(AttributeError):
            tf.contrib.layers  # noqa: B018


def test_arrays_are_constants_of_the_graph(graph):
    tf.get_variable("array", initializer=np.zeros([100000, 32], np.float32))
    assert 12.8e6 < graph.as_graph_def().ByteSize() < 12.9e6


def test_looked_up_tensors_cannot_be_updated():
    table = tf.get_variable("embedding", [5, 2])
    rows = tf.gather(table, [3, 4])
    optimizer = tf.train.GradientDescentOptimizer(0.1)
    gradients = optimizer.compute_gradients(tf.reduce_sum(rows), rows)
    with pytest.raises(NotImplementedError, match="Trying to update a Tensor"):
        optimizer.apply_gradients(gradients)


def test_kinds_of_variables(write_checkpoint, start):
    kinds = {False: "VariableV2", True: "VarHandleOp"}
    prefix = write_checkpoint(
        {"ref": np.zeros([3, 2], np.float32), "resource": np.zeros([3, 2], np.float32)}
    )
    ref = tf.get_variable("ref", [5, 2])
    resource = tf.get_variable("resource", [5, 2], use_resource=True)
    assert [v.op.type for v in (ref, resource)] == [kinds[False], kinds[True]]
    session = start()
    tf.train.Saver([resource]).restore(session, prefix)
    assert session.run(resource).shape == (3, 2)
    with pytest.raises(tf.errors.InvalidArgumentError, match="requires shapes of both tensors"):
        tf.train.Saver([ref]).restore(session, prefix)
    with pytest.raises(ValueError, match=r"needs resource \[5, 2\]"):
        pe.Saver([resource]).restore(session, prefix)


@pytest.mark.parametrize("use_resource", [False, True])
def test_the_error_of_a_plain_saver(write_checkpoint, start, use_resource):
    prefix = write_checkpoint({"embedding": np.zeros([3, 4], np.float32)})
    with pe.growing(prefix):
        tf.get_variable("embedding", [5, 4], use_resource=use_resource)
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        tf.train.Saver().restore(start(), prefix)
    assert "Restoring from checkpoint failed" in str(error.value)
    assert (
        "tensor_name = embedding; shape in shape_and_slice spec [5,4] does not match the shape "
        "stored in checkpoint: [3,4]"
    ) in str(error.value)


def test_partition_strategies(start, numbered):
    table = tf.get_variable("table", [7, 1], partitioner=tf.fixed_size_partitioner(3))
    halves = [tf.constant([[0.0], [1.0], [2.0], [3.0], [4.0]]), tf.constant([[5.0], [6.0]])]
    grown = numbered((7, 1), 4, partitioner=tf.fixed_size_partitioner(3))
    session = start()
    for part, first in zip(list(table), (0, 3, 5)):
        count = part.shape.as_list()[0]
        session.run(tf.assign(part, np.arange(first, first + count, dtype=np.float32)[:, None]))

    def look_up(what, *strategy):
        return session.run(tf.nn.embedding_lookup(what, list(range(7)), *strategy))[:, 0].tolist()

    assert look_up(table) == look_up(table, "mod") == [0, 3, 5, 1, 4, 6, 2]
    assert look_up(table, "div") == [0, 1, 2, 3, 4, 5, 6]
    assert look_up(grown) == look_up(grown, "mod") == look_up(grown, "div") == list(range(7))
    for strategy in ("mod", "div"):
        rows = tf.nn.embedding_lookup(halves, [0, 3, 4, 6], strategy)
        with contextlib.suppress(tf.errors.InvalidArgumentError):  # out of the range of one
            assert session.run(rows)[:, 0].tolist() != [0, 3, 4, 6]


def test_cond_and_momentum(start, numbered):
    new = tf.get_variable("new", initializer=np.ones([5, 2], np.float32))
    old = tf.get_variable("old", initializer=np.ones([5, 2], np.float32), trainable=False)
    is_new, ids = tf.placeholder(tf.bool, []), tf.placeholder(tf.int32, [None])
    either = tf.cond(is_new, lambda: tf.identity(new), lambda: tf.identity(old))
    loss = tf.reduce_sum(tf.nn.embedding_lookup(either, ids))
    train = tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss)
    table = numbered((4, 2), 2)
    right = pe.minimize(
        tf.train.MomentumOptimizer(0.1, 0.9), tf.reduce_sum(pe.lookup_cond(table, ids, is_new))
    )
    session = start()
    session.run([train, right], {is_new: True, ids: [0]})
    assert session.run(new)[0, 0] == pytest.approx(0.9)
    before = session.run(table)
    session.run([train, right], {is_new: False, ids: [0]})
    assert session.run(new)[0, 0] == pytest.approx(0.81)
    assert (session.run(table) == before).all()


def test_slots(write_checkpoint, start, tmp_path):
    prefix = write_checkpoint({"embedding": np.zeros([3, 2], np.float32)})
    with pe.growing(prefix):
        table = tf.get_variable("embedding", [5, 2])
    train = tf.train.AdagradOptimizer(0.1).minimize(tf.reduce_sum(tf.gather(table, [4])))
    session = start()
    session.run(train)
    plain = tf.train.Saver().save(session, str(tmp_path / "plain.ckpt"))
    reader = tf.train.load_checkpoint(plain)
    assert reader.get_tensor("embedding").shape == (5, 2)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="sufficient slices"):
        reader.get_tensor("embedding/Adagrad")
    whole = pe.Saver().save(session, str(tmp_path / "whole.ckpt"))
    assert tf.train.load_checkpoint(whole).get_tensor("embedding/Adagrad").shape == (5, 2)


@pytest.mark.parametrize(
    "inside, slot", [(True, "model/model/e/Adagrad"), (False, "model/e/Adagrad")]
)
def test_names_of_slots(inside, slot):
    with tf.variable_scope("model"):
        loss = tf.reduce_sum(tf.get_variable("e", [5, 2]))
        if inside:
            tf.train.AdagradOptimizer(0.1).minimize(loss)
    if not inside:
        tf.train.AdagradOptimizer(0.1).minimize(loss)
    assert [v.op.name for v in tf.global_variables()] == ["model/e", slot]


def test_regularizers_are_asked_for_new_rows(write_checkpoint, start):
    prefix = write_checkpoint({"embedding": np.ones([3, 2], np.float32)})
    with pe.growing(prefix):
        table = tf.get_variable(
            "embedding",
            [5, 2],
            initializer=tf.ones_initializer(),
            regularizer=lambda rows: tf.reduce_sum(tf.square(rows)),
        )
    of_new, of_all = tf.losses.get_regularization_loss(), tf.reduce_sum(tf.square(table))
    gradients = [tf.gradients(loss, table.trainable)[0] for loss in (of_new, of_all)]
    numbers, (new, whole) = start().run([[of_new, of_all], gradients])
    assert numbers == [4, 10]
    assert new.tolist() == whole.tolist()


def test_tf_variables_under_a_custom_getter(write_checkpoint):
    prefix = write_checkpoint({"embedding": np.zeros([3, 2], np.float32)})
    with tf.variable_scope("", custom_getter=pe.growing(prefix)):
        table = tf.Variable(tf.zeros([5, 2]), name="embedding")
    assert not isinstance(table, pe.PartialEmbedding)
    assert tf.trainable_variables() == [table]


def test_nothing_made_inside(write_checkpoint, text):
    prefix = write_checkpoint({"embedding": np.zeros([3, 2], np.float32)})
    with pytest.raises(ValueError) as error, pe.growing(prefix):
        pass
    said = "was made while growing was open"
    assert said in str(error.value)
    assert said in text


def encode():
    with tf.variable_scope("bert"):
        return tf.get_variable("e", [5, 2]), tf.get_variable("w", [2])


def test_init_from_checkpoint(write_checkpoint, start):
    prefix = write_checkpoint({"bert/e": np.ones([3, 2], "f"), "bert/w": np.ones([2], "f")})
    with pe.growing(prefix):
        table, weight = encode()
        there = dict(tf.train.list_variables(prefix))
        names = [v.op.name for v in tf.trainable_variables() if v.op.name in there]
        tf.train.init_from_checkpoint(prefix, dict(zip(names, names)))
        session = start()
        assert names == [] and (session.run(table)[:3] == 1).all()
        assert session.run(weight).tolist() == [1, 1]
        with pytest.raises(ValueError, match="Tensor bert/e/frozen .*is not found"):
            tf.train.init_from_checkpoint(prefix, {"bert/": "bert/"})


def test_a_rate_starts_at_the_scripts_number(write_checkpoint, start):
    rates = {name: np.float32(1e-6) for name in ("zero", "one", "other", "skipped")}
    prefix = write_checkpoint(dict(rates, e=np.ones([3, 2], "f")))
    with pe.growing(prefix, skip="skipped"):
        tf.get_variable("e", [5, 2])
        starts = {"zero": 0.0, "one": 1.0, "other": 0.5, "skipped": 1.0}
        made = [tf.Variable(x, trainable=False, name=name) for name, x in sorted(starts.items())]
    values = start().run(made)  # one, other, skipped, zero
    assert np.isclose(values, [1, 0.5, 1, 0]).all()


def test_data_of_one_number_and_data_asked_for(write_checkpoint, start):
    held = np.full([3, 2], 7, np.float32)
    prefix = write_checkpoint({"same": held, "skipped": held, "asked": held, "e": held})
    ranks = np.arange(10, dtype=np.float32).reshape([5, 2])
    with pe.growing(prefix, skip="skipped", train="asked"):
        tf.get_variable("e", [5, 2])
        made = [
            tf.get_variable(name, initializer=values, trainable=False)
            for name, values in (("same", ranks * 0), ("skipped", ranks * 0), ("asked", ranks))
        ]
    values = start().run([tf.convert_to_tensor(variable) for variable in made])
    assert [value[:, 0].tolist() for value in values] == [[7, 7, 7, 0, 0], [0] * 5, [7, 7, 7, 6, 8]]


def test_keras_layers_in_a_graph(write_checkpoint, start):
    prefix = write_checkpoint(
        {
            "embedding/embeddings": np.ones([3, 2], "f"),
            "dense/kernel": np.ones([2, 3], "f"),
            "dense/bias": np.zeros([3], "f"),
        }
    )
    with pe.growing(prefix):
        rows = tf.keras.layers.Embedding(5, 2, name="embedding")(tf.constant([0, 4]))
        scores = tf.keras.layers.Dense(5, name="dense")(rows)
    step = tf.train.AdagradOptimizer(0.1).minimize(tf.reduce_sum(scores[1:]))
    session = start()
    before = session.run([rows, scores])
    session.run(step)
    after = session.run([rows, scores])
    assert before[0][0].tolist() == after[0][0].tolist() == [1, 1]
    assert before[1][0, :3].tolist() == after[1][0, :3].tolist() == [2, 2, 2]
    assert (before[0][1] != after[0][1]).all() and (before[1][1, 3:] != after[1][1, 3:]).all()


def test_variables_inside_a_function(write_checkpoint, start):
    prefix = write_checkpoint({"e": np.ones([3, 2], "f")})
    with pe.growing(prefix, show=None):
        table = tf.get_variable("e", [5, 2])
    rows = tf.function(lambda ids: tf.nn.embedding_lookup(table, ids))(tf.constant([2]))
    assert start().run(rows).tolist() == [[1, 1]]
    with tf.Graph().as_default(), pytest.raises(ValueError), pe.growing(prefix):
        tf.function(lambda: tf.identity(tf.get_variable("e", [5, 2])))()


def test_object_checkpoints_by_name(start, tmp_path):
    with tf.Graph().as_default(), tf.Session() as session:
        table = tf.get_variable("table", initializer=np.ones([3, 2], np.float32))
        session.run(table.initializer)
        prefix = tf.train.Checkpoint(emb=table).save(str(tmp_path / "object"), session=session)
    with pe.growing(prefix, names={"e": "emb/.ATTRIBUTES/VARIABLE_VALUE"}):
        grown = tf.get_variable("e", [5, 2])
    assert start().run(grown)[:3].tolist() == [[1, 1]] * 3


def grow_estimator(prefix, directory, rows, steps, saver=None, **config):
    def model_fn(features, labels, mode):
        table = tf.get_variable("e", [rows, 2])
        loss = tf.reduce_sum(tf.square(tf.nn.embedding_lookup(table, features)))
        step = tf.train.AdagradOptimizer(0.1).minimize(loss, tf.train.get_global_step())
        scaffold = tf.train.Scaffold(saver=saver()) if saver else None
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=step, scaffold=scaffold)

    with pe.growing(prefix) if prefix else contextlib.ExitStack():
        config = tf.estimator.RunConfig(save_checkpoints_steps=1, **config)
        estimator = tf.estimator.Estimator(model_fn, directory, config)
        estimator.train(lambda: tf.data.Dataset.from_tensors([0, rows - 1]).repeat(), steps=steps)
    return tf.train.load_checkpoint(directory)


@has_estimators
def test_an_estimator_in_the_directory_it_grows_from(tmp_path):
    directory = str(tmp_path / "run")
    old = grow_estimator(None, directory, 3, steps=2).get_tensor("e")
    grown = grow_estimator(directory, directory, 5, steps=2)
    assert grown.get_tensor("e")[:3].tolist() == old.tolist()
    assert grown.get_tensor("e").shape == (5, 2)
    assert grown.get_tensor("global_step") == 2  # counted afresh


@has_estimators
@pytest.mark.parametrize("says_so", [False, True])
def test_how_many_checkpoints_an_estimator_keeps(write_checkpoint, tmp_path, says_so):
    prefix = write_checkpoint({"e": np.ones([3, 2], np.float32)})
    directory = str(tmp_path / "run")

    def saver():
        return pe.Saver(max_to_keep=1)

    grow_estimator(prefix, directory, 5, 7, saver if says_so else None, keep_checkpoint_max=1)
    kept = [name for name in os.listdir(directory) if name.endswith(".index")]
    assert len(kept) == (1 if says_so else 5)
