"""minimize: updates what it says it updates, and otherwise says why not."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe


def descent():
    return tf.train.GradientDescentOptimizer(0.1)


def loss_of(table, ids=(0, 4, 5)):
    return tf.reduce_sum(tf.square(table.lookup(list(ids)) + 1.0))


def test_updates_new_rows_and_var_list_and_nothing_else(numbered, start):
    table = numbered()
    asked = tf.get_variable("asked", initializer=2.0)
    other = tf.get_variable("other", initializer=2.0)
    step = tf.train.get_or_create_global_step()
    loss = loss_of(table, [0, 4]) * asked * other
    train = pe.minimize(descent(), loss, var_list=[asked], global_step=step, name="train")
    assert train.name == "train"
    session = start()
    before = session.run([table, asked, other])
    session.run(train)
    after = session.run([table, asked, other])
    assert (before[0] != after[0]).any(axis=1).tolist() == [False] * 4 + [True, False]
    assert before[1] != after[1]
    assert before[2] == after[2]
    assert session.run(step) == 1


def test_by_default_all_tables_of_the_graph_and_else_those_named(numbered, start):
    tables = [numbered(name="one"), numbered(name="two")]
    loss = loss_of(tables[0]) + loss_of(tables[1])
    both = pe.minimize(descent(), loss)
    second = pe.minimize(descent(), loss, embeddings=tables[1])
    session = start()
    start_values = session.run(tables)
    session.run(second)
    values = session.run(tables)
    assert [(a != b).any() for a, b in zip(start_values, values)] == [False, True]
    session.run(both)
    assert [(a != b).any() for a, b in zip(values, session.run(tables))] == [True, True]


def test_the_tables_of_the_loss_are_meant_whatever_the_default_graph(numbered):
    loss = loss_of(numbered())
    graph = tf.get_default_graph()
    with tf.Graph().as_default(), graph.as_default():
        assert pe.minimize(descent(), loss).graph is graph


def test_a_table_in_var_list_stands_for_its_new_rows(numbered, start):
    table = numbered()
    train = pe.minimize(descent(), loss_of(table), embeddings=[], var_list=[table])
    session = start()
    before = session.run(table)
    session.run(train)
    moved = (before != session.run(table)).any(axis=1)
    assert moved.tolist() == [False] * 4 + [True] * 2


def test_partitioned_variables_in_var_list(numbered, start):
    partitioner = tf.fixed_size_partitioner(2)
    weight = tf.get_variable("weight", [4, 2], partitioner=partitioner)
    table = numbered()
    loss = loss_of(table) * tf.reduce_sum(tf.convert_to_tensor(weight))
    train = pe.minimize(descent(), loss, var_list=[weight])
    session = start()
    before = session.run(list(weight))
    session.run(train)
    assert all((a != b).all() for a, b in zip(before, session.run(list(weight))))


def test_a_looked_up_tensor_is_answered_with_the_variable_to_use(numbered):
    table = numbered(name="model/embedding")
    gathered = tf.nn.embedding_lookup(table, [4, 5])
    loss = tf.reduce_sum(gathered)
    for arguments in (
        dict(var_list=[gathered]),
        dict(var_list=gathered),
        dict(embeddings=gathered),
    ):
        with pytest.raises(TypeError) as error:
            pe.minimize(descent(), loss, **arguments)
        text = str(error.value)
        assert gathered.name in text
        assert "A looked-up tensor is a value and cannot be updated" in text
        assert "model/embedding.trainable (model/embedding/trainable:0)" in text
        assert "leave it out: minimize(optimizer, loss) finds it" in text


def test_other_things_that_are_no_variables(numbered):
    loss = loss_of(numbered())
    with pytest.raises(TypeError, match="got the tensor .*give the variable it was made from"):
        pe.minimize(descent(), loss, var_list=[tf.constant(1.0) * 2])
    with pytest.raises(TypeError, match=r"got array\(.*Give a PartialEmbedding, or a variable"):
        pe.minimize(descent(), loss, var_list=[np.zeros(2)])
    with pytest.raises(TypeError, match="embeddings must be PartialEmbeddings"):
        pe.minimize(descent(), loss, embeddings=[tf.get_variable("plain", [6, 2])])


def test_a_loss_that_does_not_reach_the_table(numbered):
    table = numbered()
    weight = tf.get_variable("weight", initializer=1.0)
    for loss in (
        tf.square(weight),
        weight * tf.reduce_sum(tf.stop_gradient(table.lookup([4, 5]))),
    ):
        with pytest.raises(ValueError) as error:
            pe.minimize(descent(), loss)
        text = str(error.value)
        assert loss.name + " does not reach embedding/trainable:0" in text
        assert "it would never change" in text
        assert "lookup(ids)" in text
    # A table that was named must be reached even if another variable is.
    with pytest.raises(ValueError, match="does not reach embedding/trainable:0"):
        pe.minimize(descent(), tf.square(weight), embeddings=[table], var_list=[weight])
    with pytest.raises(ValueError, match="does not reach other:0"):
        other = tf.get_variable("other", initializer=1.0)
        pe.minimize(descent(), loss_of(table), var_list=[other])


def test_a_table_of_another_loss_is_left_alone(numbered, start):
    mine, other = numbered(name="mine"), numbered(name="other")
    train = pe.minimize(tf.train.MomentumOptimizer(0.1, 0.9), loss_of(mine))
    session = start()
    before = session.run([mine, other])
    session.run(train)
    after = session.run([mine, other])
    assert [(a != b).any() for a, b in zip(before, after)] == [True, False]


def test_frozen_variables_are_refused(numbered):
    table = numbered()
    with pytest.raises(ValueError) as error:
        pe.minimize(descent(), loss_of(table), var_list=[table.frozen])
    assert "embedding/frozen:0, the frozen rows of embedding" in str(error.value)
    assert "trainable_rows=" in str(error.value)


def test_nothing_to_train(numbered):
    weight = tf.get_variable("weight", initializer=1.0)
    with pytest.raises(ValueError, match="no PartialEmbedding and var_list is empty"):
        pe.minimize(descent(), tf.square(weight))
    table = numbered((4, 2))
    with pytest.raises(ValueError) as error:
        pe.minimize(descent(), tf.reduce_sum(table.lookup([0])))
    assert "Nothing to train: all 4 rows of embedding are frozen" in str(error.value)
    assert "more rows than its checkpoint holds" in str(error.value)


@pytest.mark.parametrize("argument", ["embeddings", "var_list"])
def test_a_table_without_new_rows_can_be_named_beside_others(numbered, start, argument):
    whole = numbered((4, 2), name="whole")
    table = numbered(name="grown")
    loss = loss_of(table) + tf.reduce_sum(whole.lookup([0]))
    train = pe.minimize(descent(), loss, **{argument: [table, whole]})
    session = start()
    session.run(train)
    assert session.run(whole)[:, 0].tolist() == [0, 1, 2, 3]


def test_what_growing_froze_is_refused_by_name(write_checkpoint):
    prefix = write_checkpoint(
        {"table": np.ones([4, 2], np.float32), "weight": np.ones([2, 2], np.float32)}
    )
    with pe.growing(prefix):
        table, weight = tf.get_variable("table", [6, 2]), tf.get_variable("weight", [2, 2])
    loss = tf.reduce_sum(tf.matmul(table.lookup([5]), weight))
    with pytest.raises(ValueError, match="which growing froze"):
        pe.minimize(descent(), loss, var_list=[weight])


@pytest.mark.parametrize("how", ["growing", "meta graph"])
def test_state_is_made_in_the_scope_that_the_old_script_made_it_in(start, tmp_path, how):
    def script(rows, minimize, inside=True):
        with tf.variable_scope("model"):
            table = tf.get_variable("ent", [rows, 8])
            ids = tf.placeholder_with_default([0, rows - 1], [2], name="ids")
            loss = tf.reduce_sum(tf.nn.embedding_lookup(table, ids), name="loss")
            if inside:
                minimize(tf.train.AdamOptimizer(0.1), loss)
        return loss

    with tf.Graph().as_default():
        script(4, lambda optimizer, loss: optimizer.minimize(loss))
        base = tf.train.Saver().save(start(), str(tmp_path / "base"))
        expected = {v.op.name for v in tf.global_variables()}
    assert {"model/beta1_power", "model/model/ent/Adam"} < expected
    with tf.Graph().as_default():
        if how == "growing":
            with pe.growing(base):
                loss = script(6, None, inside=False)
        else:
            pe.grow_meta_graph(base + ".meta", base, {"model/ent": 6}, outputs=["model/loss"])
            loss = tf.get_default_graph().get_tensor_by_name("model/loss:0")
        pe.minimize(tf.train.AdamOptimizer(0.1), loss)
        grown = pe.Saver().save(start(), str(tmp_path / "grown"))
    with tf.Graph().as_default():
        script(6, lambda optimizer, loss: optimizer.minimize(loss))
        tf.train.Saver().restore(start(), grown)
