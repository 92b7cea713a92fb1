"""growing reaches what a script holds, wherever that is made, and shows what it did."""

import gc
import sys
import threading

import forks
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe
from partial_embed.grow_script import show_on_stderr

START = {True: "initial_value", False: "initializer"}  # by whether it is tf.Variable


class Model:
    """A class in the manner of the wild: its own graph, its own session, its own saver."""

    def __init__(self, rows, use_variable, steps=3):
        self.rows, self.use_variable, self.steps = rows, use_variable, steps

    def build(self):
        start = tf.ones_initializer()
        if self.use_variable:
            self.table = tf.Variable(tf.ones([self.rows, 2]), name="entity")
            self.weight = tf.Variable(tf.ones([2]), name="weight")
            self.step = tf.Variable(0, name="global_step", trainable=False)
        else:
            self.table = tf.get_variable("entity", [self.rows, 2], initializer=start)
            self.weight = tf.get_variable("weight", [2], initializer=start)
            self.step = tf.train.get_or_create_global_step()
        rows = tf.nn.embedding_lookup(self.table, [0, self.rows - 1])
        self.loss = tf.reduce_sum(tf.square(rows * self.weight - 9.0))
        self.train_op = tf.train.AdamOptimizer(0.1).minimize(self.loss, global_step=self.step)

    def train(self):
        with tf.Graph().as_default() as graph, tf.Session(graph=graph) as session:
            self.build()
            session.run(tf.global_variables_initializer())
            while session.run(self.step) < self.steps:
                session.run(self.train_op)
            return session.run([self.table, self.weight, self.step])


@pytest.fixture
def base(write_checkpoint, row_numbers):
    return write_checkpoint(
        {
            "entity": row_numbers([4, 2]),
            "weight": np.full([2], 0.5, np.float32),
            "global_step": np.int32(60),
        }
    )


@pytest.mark.parametrize("use_variable", [False, True], ids=["get_variable", "Variable"])
def test_a_graph_that_the_class_makes_itself(base, use_variable, capsys):
    with pe.growing(base):
        table, weight, step = Model(6, use_variable).train()
    assert table[:4, 0].tolist() == [0, 1, 2, 3]
    assert (table[4] == 1).all() and (table[5] != 1).all()
    assert weight.tolist() == [0.5, 0.5]
    assert step == 3  # counted from 0: a script of 60 steps would have done none
    shown = capsys.readouterr().err
    assert shown.count("entity: [4 -> 6, 2], 4 rows frozen, 2 train") == 1
    assert "loaded, frozen  weight" in shown
    assert "starts afresh   global_step" in shown


def test_graphs_made_after_it_was_closed_are_the_scripts_own(base):
    before = tf.Graph.__dict__["as_default"], tf.Graph.__dict__["__init__"]
    with pe.growing(base):
        Model(6, False).train()
    assert (tf.Graph.__dict__["as_default"], tf.Graph.__dict__["__init__"]) == before
    table, weight, _ = Model(6, False).train()
    assert (table[:4] != [[0], [1], [2], [3]]).any() and (weight != 0.5).any()
    assert "run" not in tf.Session.__dict__


def test_two_graphs_and_the_outer_one(base, start, capsys):
    with pe.growing(base):
        first = Model(6, False).train()[0]
        second = Model(7, True).train()[0]
        outer = tf.get_variable("entity", [5, 2])
    for table in (first, second, start().run(outer)):
        assert table[:4, 0].tolist() == [0, 1, 2, 3]
    assert capsys.readouterr().err.count("growing from") == 3


def test_a_default_graph_that_is_reset(base, tmp_path):
    program = (
        "import sys, tensorflow.compat.v1 as tf, partial_embed as pe; tf.disable_v2_behavior()\n"
        "with pe.growing(sys.argv[1]):\n"
        "    tf.reset_default_graph()\n"
        "    table = tf.get_variable('entity', [6, 2])\n"
        "with tf.Session() as session:\n"
        "    session.run(tf.global_variables_initializer())\n"
        "    print(session.run(table)[:4, 0].tolist())\n"
    )
    (tmp_path / "script.py").write_text(program)
    found = forks.run(tmp_path / "script.py", base)
    assert found.stdout.strip() == "[0.0, 1.0, 2.0, 3.0]", found.stderr


def test_a_graph_made_before_and_entered_inside(base):
    graph = tf.Graph()
    with pe.growing(base), graph.as_default():
        table = tf.get_variable("entity", [6, 2])
    assert isinstance(table, pe.PartialEmbedding) and table.graph is graph


@pytest.mark.parametrize("use_variable", [False, True], ids=["get_variable", "Variable"])
def test_a_graph_of_another_thread(base, use_variable):
    trained = []
    with pe.growing(base):
        thread = threading.Thread(target=lambda: trained.append(Model(6, use_variable).train()))
        thread.start()
        thread.join()
    assert trained[0][0][:4, 0].tolist() == [0, 1, 2, 3]


def test_another_thread_in_a_graph_that_was_reached_is_not(base):
    graph, made = tf.get_default_graph(), []

    def make():
        with graph.as_default():
            made.append(tf.get_variable("entity", [6, 2]))

    with pytest.raises(ValueError, match="No variable of .* was made"), pe.growing(base):
        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
    assert not isinstance(made[0], pe.PartialEmbedding)


@pytest.mark.parametrize("inside", [True, False], ids=["inside", "after"])
def test_a_supervisor_saves_whole_tables(base, inside, tmp_path, same_bits):
    def supervised(table):
        supervisor = tf.train.Supervisor(logdir=str(tmp_path / "run"), save_model_secs=0)
        with supervisor.managed_session() as session:
            session.run(model.train_op)
            value = session.run(table)
            supervisor.saver.save(session, supervisor.save_path, global_step=model.step)
        return value

    model = Model(6, False)
    with tf.Graph().as_default():
        with pe.growing(base):
            model.build()
            table = supervised(model.table) if inside else None
        table = table if inside else supervised(model.table)
    assert table[:4, 0].tolist() == [0, 1, 2, 3]
    with tf.Graph().as_default():  # goes on from there, and knows nothing of growing
        model.build()
        supervisor = tf.train.Supervisor(logdir=str(tmp_path / "run"), save_model_secs=0)
        with supervisor.managed_session() as session:
            assert session.run(model.step) == 1
            assert same_bits(session.run(model.table), table)


@pytest.mark.parametrize("use_variable", [False, True], ids=["get_variable", "Variable"])
def test_starts_given_as_functions_without_a_shape(base, use_variable, start, capsys):
    make = tf.Variable if use_variable else tf.get_variable
    with pe.growing(base):
        table = make(name="entity", **{START[use_variable]: lambda: tf.fill([6, 2], 9.0)})
        weight = make(name="weight", **{START[use_variable]: lambda: tf.fill([2], 9.0)})
    table, weight = start().run([table, weight])
    assert table[:, 0].tolist() == [0, 1, 2, 3, 9, 9] and weight.tolist() == [0.5, 0.5]
    assert "nobody took" not in capsys.readouterr().err.replace("took it: global_step", "")


def test_shown_before_the_first_step(base, capsys):
    with pe.growing(base):
        Model(6, False).build()
        assert capsys.readouterr().err == ""
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            assert "entity: [4 -> 6, 2]" in capsys.readouterr().err
    assert capsys.readouterr().err == ""  # once


def test_silence_and_other_ways_to_show(base, capsys):
    with pe.growing(base, show=None):
        Model(6, False).build()
    shown = []
    with tf.Graph().as_default(), pe.growing(base, show=shown.append) as growing:
        Model(6, False).build()
    assert capsys.readouterr().err == ""
    assert [report.text() for report in shown] == [growing.summary()]


def test_colour_on_a_terminal_only(base, capsys, monkeypatch):
    with pe.growing(base, show=None) as growing:
        tf.get_variable("entity", [4, 2])
    (report,) = growing._reports.values()
    show_on_stderr(report)
    assert "\033" not in capsys.readouterr().err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    show_on_stderr(report)
    assert "\033[33mwarning" in capsys.readouterr().err


def test_what_nobody_took_and_no_table_that_grew(base, capsys):
    with pe.growing(base):
        tf.get_variable("entity", [4, 2])
    shown = capsys.readouterr().err
    assert "warning: in the checkpoint, and nobody took it: weight" in shown
    assert "warning: no table grew" in shown


def test_a_table_that_has_another_name_here(write_checkpoint, row_numbers, start, tmp_path):
    base = write_checkpoint(
        {
            "sym_50": row_numbers([4, 2]),
            "sym_50/Adagrad": np.full([4, 2], 7.0, np.float32),
            "dense_50": np.full([2], 5.0, np.float32),
        }
    )
    names = {"sym_70": "sym_50", "dense_70": "dense_50"}
    with pe.growing(base, names=names) as growing:
        table = tf.get_variable("sym_70", [6, 2])
        dense = tf.get_variable("dense_70", [2])
    loss = tf.reduce_sum(tf.nn.embedding_lookup(table, [0, 5]) * dense)
    step = tf.train.AdagradOptimizer(0.1).minimize(loss)
    assert "sym_70: from sym_50, [4 -> 6, 2]" in growing.summary()
    assert "nobody took it" not in growing.summary()
    session = start()
    session.run(step)
    assert session.run(table)[:4, 0].tolist() == [0, 1, 2, 3]
    assert session.run(dense).tolist() == [5, 5]
    whole = pe.Saver().save(session, str(tmp_path / "whole"))
    merged = pe.merge_checkpoint(
        base, pe.Saver(delta=True).save(session, str(tmp_path / "delta")), str(tmp_path / "merged")
    )
    for prefix in (whole, merged):
        saved = pe.meta_graph.Checkpoint(prefix)
        assert (
            saved.read("sym_70/Adagrad")[:4].tolist() == np.full([4, 2], 7.0, np.float32).tolist()
        )
        assert saved.read("dense_70").tolist() == [5, 5]
    with pytest.raises(ValueError, match="holds no tensor 'sym_5'.*Perhaps you meant 'sym_50'"):
        pe.growing(base, names={"sym_70": "sym_5"})
    growing = pe.growing(base, names={"sym_90": "sym_50"})
    with tf.Graph().as_default(), pytest.raises(ValueError, match=r"\['sym_90'\] match"), growing:
        tf.get_variable("sym_70", [6, 2])


def test_a_shape_that_does_not_fit_names_both(write_checkpoint, row_numbers):
    base = write_checkpoint({"sym_50": row_numbers([4, 2])})
    error = r"The table sym_70 \[3, 2\].*holds sym_50 \[4, 2\]"
    growing = pe.growing(base, names={"sym_70": "sym_50"})
    with pytest.raises(ValueError, match=error), growing:
        tf.get_variable("sym_70", [3, 2])


def test_counters_data_and_state(write_checkpoint, start, capsys):
    base = write_checkpoint(
        {
            "table": np.zeros([4, 2], np.float32),
            "step": np.int64(60),
            "rate": np.float32(1e-9),
            "features": np.zeros([4, 3], np.float32),
            "moving_mean": np.full([2], 7.0, np.float32),
            "moving_variance": np.full([2], 8.0, np.float32),
            "frozen_net": np.full([2, 2], 9.0, np.float32),
            "fed": np.zeros([4], np.float32),
        }
    )
    features = np.arange(18, dtype=np.float32).reshape([6, 3])
    with pe.growing(base):
        tf.get_variable("table", [6, 2])
        step = tf.Variable(0, name="step", trainable=False, dtype=tf.int64)
        rate = tf.Variable(1.0, name="rate", trainable=False)
        data = tf.Variable(features, name="features", trainable=False)
        fed = tf.Variable(
            tf.placeholder_with_default(np.ones(6, "f"), [6]), name="fed", trainable=False
        )
        mean = tf.get_variable(
            "moving_mean", [2], initializer=tf.zeros_initializer(), trainable=False
        )
        variance = tf.get_variable(
            "moving_variance", [2], initializer=tf.ones_initializer, trainable=False
        )
        net = tf.get_variable("frozen_net", [2, 2], trainable=False)
    values = start().run([step, rate, data, fed, mean, variance, net])
    assert values[0] == 0 and values[1] == 1
    assert values[2].tolist() == features.tolist() and values[3].tolist() == [1] * 6
    assert [value.ravel()[0] for value in values[4:]] == [7, 8, 9]
    shown = capsys.readouterr().err
    assert "loaded, state   moving_mean, moving_variance, frozen_net" in shown
    assert "left alone      rate: data: it starts from what the script gives" in shown


def test_a_counter_and_data_that_are_asked_for(base, start):
    with pe.growing(base, train="global_step"):
        tf.get_variable("entity", [6, 2])
        step = tf.Variable(0, name="global_step", trainable=False)
    assert start().run(step) == 60


def test_held_state_keeps_old_predictions(write_checkpoint, row_numbers, start):
    base = write_checkpoint(
        {
            "entity": row_numbers([4, 2]),
            "norm/mean": np.full([2], 3.0, np.float32),
            "norm/count": np.full([2], 5.0, np.float32),
        }
    )

    def script():
        table = tf.get_variable("entity", [6, 2])
        with tf.variable_scope("norm"):
            zeros = dict(initializer=tf.zeros_initializer(), trainable=False)
            mean = tf.get_variable("mean", [2], **zeros)
            count = tf.get_variable("count", [2], **zeros)
        rows = tf.nn.embedding_lookup(table, [0, 1, 5])
        updates = [
            tf.train.moving_average.assign_moving_average(mean, tf.reduce_mean(rows, 0), 0.9)
            if hasattr(tf.train, "moving_average")
            else tf.assign(mean, 0.9 * mean + 0.1 * tf.reduce_mean(rows, 0)),
            tf.assign_add(count, tf.ones([2])),
        ]
        train = pe.minimize(tf.train.GradientDescentOptimizer(0.1), tf.reduce_sum(rows - mean))
        return [rows[:2] - mean, count], updates + [train]

    for use_resource in (False, True):
        with tf.Graph().as_default(), tf.variable_scope("", use_resource=use_resource):
            with pe.growing(base, hold="norm/*"):
                predictions, steps = script()
            session = start()
            before = session.run(predictions)
            session.run(steps)
            assert [a.tolist() for a in session.run(predictions)] == [b.tolist() for b in before]
    with tf.Graph().as_default(), pe.growing(base):
        predictions, steps = script()
        session = start()
        before = session.run(predictions)
        session.run(steps)
        assert (session.run(predictions)[0] != before[0]).any()  # else the test proves nothing
    scope = tf.variable_scope("", custom_getter=pe.growing(base, hold="norm/*"))
    with pytest.raises(ValueError, match="hold= needs growing as a `with`"), scope:
        tf.get_variable("entity", [6, 2])


@pytest.mark.parametrize("finalized", [False, True])
def test_held_where_a_script_trains_inside(write_checkpoint, row_numbers, start, finalized):
    base = write_checkpoint({"entity": row_numbers([4, 2]), "mean": np.full([2], 3.0, np.float32)})
    with pe.growing(base, hold="mean"):
        table = tf.get_variable("entity", [6, 2])
        mean = tf.get_variable("mean", [2], initializer=tf.zeros_initializer(), trainable=False)
        update = tf.assign(mean, tf.reduce_mean(table, 0))
        start_all = tf.global_variables_initializer()
        if finalized:
            tf.get_default_graph().finalize()
        with tf.Session() as session:
            session.run(start_all)
            session.run(update)
            assert session.run(mean).tolist() == [3, 3]


def test_nothing_waits_for_graphs_that_never_run(base, capsys):
    before = tf.Graph.__dict__["finalize"]
    with tf.Graph().as_default(), pe.growing(base):
        Model(6, False).build()
    growing = pe.growing(base)
    with tf.Graph().as_default(), pytest.raises(RuntimeError, match="of the script"), growing:
        Model(6, False).build()
        raise RuntimeError("of the script")
    assert "run" not in tf.Session.__dict__
    assert tf.Graph.__dict__["finalize"] is before
    assert capsys.readouterr().err.count("growing from") == 1


def test_what_is_never_opened_is_said(base, start, caplog):
    message = f"Growing from {base} is not open"
    gc.collect()  # graphs of earlier tests that nobody has run
    pe.growing(base)
    assert caplog.text.count(message) == 1  # as soon as it is gone
    assert "run" not in tf.Session.__dict__
    kept = pe.growing(base)
    Model(6, False).build()
    assert caplog.text.count(message) == 1
    start()
    assert caplog.text.count(message) == 2  # before the first run
    del kept
    with tf.Graph().as_default(), pe.growing(base):
        Model(6, False).build()
    with tf.Graph().as_default(), tf.variable_scope("", custom_getter=pe.growing(base)):
        tf.get_variable("entity", [6, 2])
    assert caplog.text.count(message) == 2


@pytest.fixture
def trained(tmp_path):
    """A checkpoint of a plain model that was trained three steps with Adam, slots and powers."""
    with tf.Graph().as_default(), tf.Session() as session:
        continued(session, lambda: None)
        return tf.train.Saver().save(session, str(tmp_path / "trained"))


def continued(session, prepare, rows=4):
    """Builds, prepares and trains three steps; returns all values by name."""
    tf.set_random_seed(1)
    table = tf.get_variable("entity", [rows, 8], initializer=tf.ones_initializer())
    weight = tf.get_variable("weight", [8], initializer=tf.ones_initializer())
    rows = tf.nn.embedding_lookup(table, [0, 2, 3])
    train = tf.train.AdamOptimizer(0.1).minimize(tf.reduce_sum(tf.square(rows * weight - 3.0)))
    session.run(tf.global_variables_initializer())
    prepare()
    for _ in range(3):
        session.run(train)
    return session.run({v.op.name: v for v in tf.global_variables()})


def test_going_on_with_the_optimizers_state(trained, same_bits):
    with tf.Graph().as_default(), tf.Session() as session:
        restore = lambda: tf.train.Saver().restore(session, trained)  # noqa: E731
        expected = continued(session, restore)
    growing = pe.growing(trained, train="all", slots=True)
    with tf.Graph().as_default(), tf.Session() as session, growing:
        found = continued(session, lambda: None)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert same_bits(found[name], value), name


def test_old_rows_that_train_take_their_slots_along(trained):
    started = {}
    growing = pe.growing(trained, train="all", slots=True, trainable_rows={"entity": [2]})
    with tf.Graph().as_default(), tf.Session() as session, growing:

        def look():
            started.update(session.run({v.op.name: v for v in tf.global_variables()}))

        continued(session, look, rows=6)
    old = pe.meta_graph.Checkpoint(trained)
    assert started["entity/trainable/Adam"][0].tolist() == old.read("entity/Adam")[2].tolist()
    assert (old.read("entity/Adam")[2] != 0).all()
    assert (started["entity/trainable/Adam"][1:] == 0).all()
    assert started["beta1_power"] == old.read("beta1_power")


def test_an_optimizer_outside_takes_no_state_and_says_so(trained):
    growing = pe.growing(trained, train="all", slots=True)
    with pytest.raises(ValueError, match="slots=True, and nobody took .*beta1_power"), growing:
        tf.get_variable("entity", [4, 8])
        tf.get_variable("weight", [8])


def test_patterns_that_match_nothing_as_a_custom_getter(base):
    custom_getter = pe.growing(base, train="decodr/*")
    with tf.variable_scope("", custom_getter=custom_getter):
        tf.get_variable("entity", [6, 2])
    with pytest.raises(ValueError, match=r"\['decodr/\*'\] match no variable"):
        pe.Saver()


def test_what_a_custom_getter_did_is_shown_too(base, start, capsys):
    with tf.variable_scope("", custom_getter=pe.growing(base)):
        tf.get_variable("entity", [6, 2])
    start()
    assert "entity: [4 -> 6, 2]" in capsys.readouterr().err


def test_made_without_being_loaded(base, caplog):
    with tf.variable_scope("", custom_getter=pe.growing(base)):
        tf.get_variable("entity", [6, 2])
        tf.Variable(tf.ones([2]), name="weight")
    pe.Saver()
    assert f"{base} holds weight, which were made without being loaded from it" in caplog.text


def test_nothing_to_train_is_our_message(base):
    growing = pe.growing(base)
    with pytest.raises(ValueError, match="Nothing to train: no table has more rows"), growing:
        Model(4, False).build()


def test_another_vocabulary_than_the_checkpoints(base):
    with open(base + ".vocabulary.txt", "w") as stream:
        stream.write("a\nb\nc\nd\n")
    with pytest.raises(ValueError, match="row 1 is 'x' in it, and 'b' in"):
        pe.growing(base, vocabularies={"entity": (["a", "x", "c", "d"], ["a", "x", "c", "d", "e"])})
    pe.growing(base, vocabularies={"entity": (["a", "b", "c", "d"], ["d", "c", "b", "a"])})


def test_a_variable_that_the_script_puts_among_those_that_train(base):
    keys = [tf.GraphKeys.GLOBAL_VARIABLES, tf.GraphKeys.TRAINABLE_VARIABLES]
    with pe.growing(base):
        tf.get_variable("entity", [6, 2], collections=keys)
        tf.get_variable("weight", [2], collections=keys)
    assert [v.op.name for v in tf.trainable_variables()] == ["entity/trainable"]
