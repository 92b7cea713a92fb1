"""What a stranger stumbled over: small things that must stay mended."""

import logging

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe


def train_and_save(path, rows, delta=False, growing=None):
    """A table, a weight and Adam; returns (prefix, the table)."""
    with tf.Graph().as_default(), tf.Session() as session:
        if growing is None:
            table, step = model(rows)
        else:
            with pe.growing(growing):
                table, step = model(rows)
        saver = pe.Saver(delta=delta)
        session.run(tf.global_variables_initializer())
        session.run(step)
        return saver.save(session, str(path)), session.run(table)


def model(rows):
    with tf.variable_scope("m"):
        table = tf.get_variable("table", [rows, 3])
        weight = tf.get_variable("weight", [3, 2])
    loss = tf.reduce_sum(tf.matmul(tf.nn.embedding_lookup(table, [0, rows - 1]), weight) ** 2)
    return table, tf.train.AdamOptimizer(0.1).minimize(loss)


def test_a_delta_is_no_base(tmp_path):
    base, _ = train_and_save(tmp_path / "base", 4)
    delta, _ = train_and_save(tmp_path / "delta", 6, delta=True, growing=base)
    for make in (
        lambda: pe.growing(delta),
        lambda: pe.get_embedding("m/table", [6, 3], checkpoint=delta),
    ):
        with tf.Graph().as_default(), pytest.raises(ValueError, match="is a delta") as error:
            make()
        assert f"merge_checkpoint({base!r}, {delta!r}, output)" in str(error.value)


def test_a_table_is_found_again_after_growing(tmp_path):
    base, _ = train_and_save(tmp_path / "base", 4)
    with tf.Graph().as_default():
        with pe.growing(base):
            table, _ = model(6)
            with tf.variable_scope("m", reuse=True):
                assert tf.get_variable("table") is table
                assert tf.get_variable("weight").op.name == "m/weight"
        for reuse in (True, tf.AUTO_REUSE):
            with tf.variable_scope("m", reuse=reuse):
                assert tf.get_variable("table", [6, 3]) is table
                assert tf.get_variable("table") is table
        with tf.variable_scope("m", reuse=True), pytest.raises(ValueError, match="shape"):
            tf.get_variable("table", [7, 3])
        with tf.variable_scope("m"), pytest.raises(ValueError, match="already exists"):
            tf.get_variable("table", [6, 3])


def test_the_vocabulary_of_renumbered_rows(tmp_path):
    old, new = tmp_path / "old.txt", tmp_path / "new.txt"
    old.write_text("a\nb\nc\nd\ne\n", encoding="utf-8")
    new.write_text("x\nc\na\ny\ne\nb\n", encoding="utf-8")
    base, _ = train_and_save(tmp_path / "base", 5)
    with tf.Graph().as_default(), tf.Session() as session:
        with pe.growing(base, vocabularies={"m/table": (str(old), str(new))}):
            table, step = model(6)
        saver = pe.Saver(delta=True)
        session.run(tf.global_variables_initializer())
        session.run(step)
        delta = saver.save(session, str(tmp_path / "delta"))
        expected = session.run(table)
    merged = pe.merge_checkpoint(base, delta, str(tmp_path / "merged"), vocabulary=str(old))
    np.testing.assert_array_equal(tf.train.load_variable(merged, "m/table"), expected)
    assert (tmp_path / "merged.vocabulary.txt").read_bytes() == new.read_bytes()
    with pytest.raises(ValueError, match="has 6 keys"):
        pe.merge_checkpoint(base, delta, str(tmp_path / "other"), vocabulary=str(new))
    assert not (tmp_path / "other.index").exists()


def test_a_base_that_has_grown_already_is_warned_about(tmp_path, caplog):
    base, _ = train_and_save(tmp_path / "base", 4)
    grown, _ = train_and_save(tmp_path / "grown", 6, growing=base)
    with tf.Graph().as_default(), caplog.at_level(logging.WARNING, "absl"), pe.growing(grown):
        tf.get_variable("m/table", [6, 3])
    assert f"has grown in {grown} already, and gains no row now" in caplog.text


@pytest.mark.parametrize("optimizer", [tf.train.GradientDescentOptimizer, tf.train.AdamOptimizer])
@pytest.mark.parametrize(
    "loss_of",
    [
        tf.nn.l2_loss,
        lambda table: tf.reduce_sum(tf.nn.l2_normalize(table, 1) * tf.range(8.0)),
        lambda table: tf.reduce_sum(tf.matmul(tf.ones([2, 8]), table, transpose_b=True) ** 2),
    ],
    ids=["decay", "normalize", "scores"],
)
def test_whole_reads_of_scattered_tables_match_the_oracle(optimizer, loss_of):
    start = np.random.RandomState(0).randn(8, 8).astype(np.float32)
    rows = [1, 4, 6]

    def train(make):
        with tf.Graph().as_default(), tf.Session() as session:
            table, variables, mask = make()
            step = optimizer(0.1)
            gradients = step.compute_gradients(loss_of(table), variables)
            step = step.apply_gradients([(mask(g), v) for g, v in gradients])
            session.run(tf.global_variables_initializer())
            for _ in range(5):
                session.run(step)
            return session.run(table)

    def scattered():
        table = pe.get_embedding(
            "table", [8, 8], trainable_rows=rows, initializer=tf.constant(start)
        )
        return table, [table.trainable], lambda gradient: gradient

    def whole():
        table = tf.get_variable("table", initializer=tf.constant(start))
        kept = np.zeros([8, 1], bool)
        kept[rows] = True
        keep = tf.constant(np.tile(kept, [1, 8]))
        return table, [table], lambda gradient: tf.where(keep, gradient, tf.zeros_like(gradient))

    result, expected = train(scattered), train(whole)
    np.testing.assert_array_equal(result[rows], expected[rows])
    frozen = np.delete(np.arange(8), rows)
    np.testing.assert_array_equal(result[frozen], start[frozen])


def test_slots_of_partitioned_variables_that_growing_froze(tmp_path):
    def partitioned(rows):
        with tf.variable_scope("", partitioner=tf.fixed_size_partitioner(2)):
            return model(rows)

    with tf.Graph().as_default(), tf.Session() as session:
        _, step = partitioned(4)
        session.run(tf.global_variables_initializer())
        session.run(step)
        base = tf.train.Saver().save(session, str(tmp_path / "base"))
    for delta in (False, True):
        with tf.Graph().as_default(), tf.Session() as session:
            with pe.growing(base):
                _, step = partitioned(6)
            saver = pe.Saver(delta=delta)
            session.run(tf.global_variables_initializer())
            session.run(step)
            saved = saver.save(session, str(tmp_path / "grown"))
        if delta:
            saved = pe.merge_checkpoint(base, saved, str(tmp_path / "merged"))
        with tf.Graph().as_default(), tf.Session() as session:
            partitioned(6)
            tf.train.Saver().restore(session, saved)  # every variable
        for name in ("m/weight/Adam", "m/weight/Adam_1"):
            np.testing.assert_array_equal(
                tf.train.load_variable(saved, name), tf.train.load_variable(base, name)
            )


def test_small_refusals(tmp_path):
    base, _ = train_and_save(tmp_path / "base", 4)
    with tf.Graph().as_default():
        with pytest.raises(ValueError, match="the path is None"):
            pe.growing(tf.train.latest_checkpoint(str(tmp_path / "nowhere")))
        with pe.growing(base, train=None):
            table = tf.get_variable("m/table", [6, 3])
            weight = tf.get_variable("m/weight", [3, 2])
        loss = tf.reduce_sum(tf.matmul(table.lookup([5]), weight))
        with pytest.raises(ValueError, match="which growing froze"):
            pe.minimize(tf.train.GradientDescentOptimizer(0.1), loss, var_list=[weight])
        with pytest.raises(TypeError, match="cannot be iterated over"):
            list(table)
        with pytest.raises(TypeError, match="give m/table.trainable"):
            tf.train.ExponentialMovingAverage(0.9).apply([table])
        with pytest.raises(TypeError, match="needs a PartialEmbedding"):
            pe.lookup_cond(weight, [0], True)
        pe.Saver(table)  # the table alone, no list around it
        with tf.Session() as session:
            assert not session.run(table.is_initialized())
            session.run(table.initializer)
            assert session.run(table.is_initialized())
    with pytest.raises(ValueError, match="is no name for a checkpoint"):
        pe.merge_checkpoint(base, base, "")
    with pytest.raises(ValueError, match="Keys must be texts"):
        pe.align_vocabularies(["a", ""], ["a"])
