"""What would write over frozen rows, or put others in their place, is refused and named."""

import shutil

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe
from partial_embed.files.checkpoint import Checkpoint


@pytest.fixture
def base(write_checkpoint, row_numbers):
    return write_checkpoint(
        {"table": row_numbers([4, 2]), "weight": np.full([2], 0.5, np.float32)}, name="base"
    )


def script(rows=6):
    table, weight = tf.get_variable("table", [rows, 2]), tf.get_variable("weight", [2])
    return table, weight, tf.reduce_sum(tf.nn.embedding_lookup(table, [0, 5]) * weight)


@pytest.mark.parametrize(
    "make", [pe.Saver, lambda: pe.Saver(delta=True), lambda: pe.FrozenRowsHook().begin()]
)
@pytest.mark.parametrize("use_resource", [False, True])
def test_an_optimizer_that_is_given_what_is_frozen(base, make, use_resource):
    with tf.variable_scope("", use_resource=use_resource), pe.growing(base):
        table, weight, loss = script()
    optimizer = tf.train.MomentumOptimizer(0.1, 0.9)
    optimizer.minimize(loss, var_list=[table.trainable, weight])
    with pytest.raises(ValueError, match=r"Momentum.*can write to weight:0, which growing loaded"):
        make()


def test_all_global_variables_are_not_what_trains(base):
    with pe.growing(base):
        table, _, loss = script()
    tf.train.GradientDescentOptimizer(0.1).minimize(loss, var_list=tf.global_variables())
    with pytest.raises(ValueError, match=r"can write to table/frozen:0, the frozen rows of table"):
        pe.Saver()
    with pytest.raises(ValueError, match="can write to table/frozen:0"):
        pe.FrozenRowsHook().begin()


def test_an_assignment_to_what_is_frozen_whole(base):
    with pe.growing(base):
        _, weight, _ = script()
    tf.assign(weight, [1.0, 1.0], name="by_the_script")
    with pytest.raises(ValueError, match=r"The op by_the_script \(Assign.*write to weight:0"):
        pe.Saver()


def test_what_loads_is_no_writer(base, start, tmp_path):
    with pe.growing(base):
        table, _, loss = script()
    pe.minimize(tf.train.AdamOptimizer(0.1), loss)
    tf.train.Saver()
    savers = [pe.Saver(), pe.Saver(delta=True), pe.Saver()]
    session = start()
    pe.record_frozen_rows(session).verify(session)
    for number, saver in enumerate(savers):
        saver.restore(session, saver.save(session, str(tmp_path / str(number))))


def test_another_base_of_the_same_shapes(base, start, write_checkpoint, tmp_path):
    other = write_checkpoint(
        {"table": np.full([4, 2], 9.0, np.float32), "weight": np.full([2], 0.5, np.float32)},
        name="other",
    )
    with pe.growing(base):
        table, _, _ = script()
    saver, session = pe.Saver(), start()
    before = session.run(table)
    with pytest.raises(
        ValueError, match="table grew from .*base, and .*other holds other old rows"
    ):
        saver.restore(session, other)
    assert session.run(table).tolist() == before.tolist()
    saver.restore(session, other, allow_other_base=True)
    assert (session.run(table)[:4] == 9).all()
    for suffix in (".index", ".data-00000-of-00001"):  # a copy is the same base
        shutil.copy(base + suffix, str(tmp_path / "copy") + suffix)
    saver.restore(session, str(tmp_path / "copy"))
    again = write_checkpoint(  # and so is one with the same rows
        {
            "table": pe.meta_graph.Checkpoint(base).read("table"),
            "weight": np.full([2], 0.5, np.float32),
            "more": np.zeros(3, np.float32),
        },
        name="again",
    )
    saver.restore(session, again)
    assert session.run(table).tolist() == before.tolist()
    for suffix in (".index", ".data-00000-of-00001"):  # what stands in its place may be none
        shutil.copy(other + suffix, base + suffix)
    with pytest.raises(ValueError, match="base, which table grew from, is gone or was replaced"):
        saver.restore(session, base)
    assert session.run(table).tolist() == before.tolist()
    saver.restore(session, base, allow_other_base=True)
    assert (session.run(table)[:4] == 9).all()


def test_saving_over_the_base_is_said_once(base, start, caplog):
    with pe.growing(base):
        script()
    saver, session = pe.Saver(), start()
    saver.save(session, base)
    saver.save(session, base)
    assert caplog.text.count(f"{base} is what the tables grew from") == 1


@pytest.mark.parametrize("kept", [list, lambda all_: {v.op.name: v for v in all_}])
def test_all_that_trains_is_all_that_the_script_trains(base, start, tmp_path, plain_restore, kept):
    with pe.growing(base):
        table, _, loss = script()
    pe.minimize(tf.train.AdagradOptimizer(0.1), loss)
    session = start()
    prefix = pe.Saver(kept(tf.trainable_variables())).save(session, str(tmp_path / "trained"))
    restored = plain_restore(prefix, {"table": [6, 2], "weight": [2]})
    assert restored["table"].tolist() == session.run(table).tolist()
    assert restored["weight"].tolist() == [0.5, 0.5]


def test_a_delta_where_nothing_is_frozen():
    tf.get_variable("table", [4, 2])
    with pytest.raises(ValueError, match="delta=True leaves out what growing froze, and nothing"):
        pe.Saver(delta=True)


def test_a_saver_of_a_graph_in_which_nothing_grows_is_a_plain_one(start, tmp_path, plain_restore):
    tf.get_variable("table", [4, 2], initializer=tf.ones_initializer())
    saver, session = pe.Saver(), start()
    prefix = saver.save(session, str(tmp_path / "plain"))
    assert (plain_restore(prefix, {"table": [4, 2]})["table"] == 1).all()
    saver.restore(session, prefix)


def test_a_whole_checkpoint_that_grew_from_another_base(folder, write_checkpoint, random):
    """Its old rows are others, and nobody would merge a delta with them."""
    bases = [write_checkpoint({"ent": random.randn(4, 2)}, name=name) for name in ("a", "b")]
    for base in bases:
        with tf.Graph().as_default(), tf.Session() as session:
            with pe.growing(base, show=None):
                table = tf.get_variable("ent", [6, 2], tf.float64)
            saver = pe.Saver()
            session.run(tf.global_variables_initializer())
            if base == bases[0]:
                whole = saver.save(session, folder("whole"))
                continue
            before = session.run(table)
            with pytest.raises(
                ValueError, match="whole holds other old rows of it. Grow from what"
            ):
                saver.restore(session, whole)
            assert session.run(table).tobytes() == before.tobytes()
            saver.restore(session, whole, allow_other_base=True)
            assert session.run(table).tobytes() == Checkpoint(whole).read("ent").tobytes()
            # Of what it saves now nothing says that it grew from the one or the other.
            again = saver.save(session, folder("again"))
            saver.restore(session, again)
    copy = folder("copy")  # of the same rows, in other files
    with tf.Graph().as_default(), tf.Session() as session:
        held = Checkpoint(bases[0]).read("ent")
        session.run(tf.get_variable("ent", initializer=held).initializer)
        tf.get_variable("more", initializer=0.0)
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, copy)
    with tf.Graph().as_default(), tf.Session() as session:
        with pe.growing(copy, show=None):
            table = tf.get_variable("ent", [6, 2], tf.float64)
        pe.Saver().restore(session, whole)
        assert session.run(table).tobytes() == Checkpoint(whole).read("ent").tobytes()
