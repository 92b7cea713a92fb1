"""What Savers do besides: state files, names, graphs without tables, bases that are gone."""

import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from small_model import (
    NEW,
    OLD,
    WIDTH,
    Model,
    assert_same,
    grow,
    plain_values,
    values,
)

import partial_embed as pe
from partial_embed.files.checkpoint import Checkpoint


@pytest.mark.parametrize("delta", [False, True])
@pytest.mark.parametrize("optimizer", ["GradientDescent", "Adam"])
def test_the_same_prefix_again_and_again(session, folder, base, delta, optimizer):
    model, _ = grow(session, base[0], optimizer=optimizer)
    saver, files = pe.Saver(delta=delta), None
    os.mkdir(folder("run"))
    for turn in range(5):
        model.train(session, 1)
        saved = saver.save(session, folder("run", "model.ckpt"))
        here = values(session)
        session.run(tf.global_variables_initializer())
        saver.restore(session, saved)
        assert_same(values(session), here)
        found = sorted(os.listdir(folder("run")))
        # Nothing of the ones before is left.
        assert len([name for name in found if ".data-" in name]) <= 6
        files = files or {}
        assert files.setdefault(turn % 2, found) == found


def test_max_to_keep_and_the_state_file(session, folder, base):
    grow(session, base[0])
    saver = pe.Saver(max_to_keep=2)
    os.mkdir(folder("run"))
    for step in range(5):
        saved = saver.save(session, folder("run", "model.ckpt"), global_step=step)
        assert tf.train.latest_checkpoint(folder("run")) == saved
    left = {name.split(".")[1] for name in os.listdir(folder("run")) if name != "checkpoint"}
    assert left == {"ckpt-3", "ckpt-4"}
    assert saver.last_checkpoints == [folder("run", "model.ckpt-3"), folder("run", "model.ckpt-4")]
    state = tf.train.get_checkpoint_state(folder("run"))
    assert list(state.all_model_checkpoint_paths) == saver.last_checkpoints
    # A new Saver takes the list over, as after a preemption.
    again = pe.Saver(max_to_keep=2)
    again.recover_last_checkpoints(list(state.all_model_checkpoint_paths))
    again.save(session, folder("run", "model.ckpt"), global_step=5)
    assert not os.path.exists(folder("run", "model.ckpt-3.index"))


def test_names_of_steps_and_files(session, folder, base):
    grow(session, base[0])
    saver = pe.Saver(pad_step_number=True)
    step = tf.train.get_global_step()
    saved = saver.save(session, folder("model.ckpt"), global_step=step, latest_filename="newest")
    assert saved == folder("model.ckpt-00000003")
    assert tf.train.latest_checkpoint(folder(), "newest") == saved
    assert os.path.exists(saved + ".meta")
    saver.save(session, folder("quiet"), write_meta_graph=False, write_state=False)
    assert not os.path.exists(folder("quiet.meta"))
    assert tf.train.latest_checkpoint(folder(), "newest") == saved
    for name in ("", "checkpoint"):
        with pytest.raises(ValueError, match="is no name for a checkpoint"):
            saver.save(session, os.path.join(folder(), name))
    saved = saver.save(session, folder("not", "there", "yet", "model.ckpt"))
    assert tf.train.latest_checkpoint(os.path.dirname(saved)) == saved
    with pytest.raises(OSError, match="Saving .* failed: .*File exists"):
        saver.save(session, folder(saved + ".index", "model.ckpt"))


def test_relative_paths(session, folder, base, monkeypatch):
    grow(session, base[0])
    monkeypatch.chdir(folder())
    saver = pe.Saver(save_relative_paths=True)
    for _ in range(2):
        assert saver.save(session, "model.ckpt") == "model.ckpt"
    here = values(session)
    session.run(tf.global_variables_initializer())
    saver.restore(session, "model.ckpt")
    assert_same(values(session), here)
    with open("checkpoint") as state:
        assert folder() not in state.read()


def test_a_meta_graph_is_written_that_opens(session, folder, base):
    model, saver = grow(session, base[0])
    saved = saver.save(session, folder("model.ckpt"))
    expected = session.run(model.table)
    with tf.Graph().as_default(), tf.Session() as second:
        plain = tf.train.import_meta_graph(saved + ".meta")
        plain.restore(second, saved)
        found = second.run("model/ent:0")
    assert found.tobytes() == expected.tobytes()


def test_under_a_monitored_session(folder, base):
    for turn in range(2):
        with tf.Graph().as_default():
            model = Model(NEW, "Adam", base[0])
            scaffold = tf.train.Scaffold(saver=pe.Saver(max_to_keep=3))
            with tf.train.MonitoredTrainingSession(
                checkpoint_dir=folder("run"),
                scaffold=scaffold,
                hooks=[tf.train.StopAtStepHook(num_steps=4), pe.FrozenRowsHook()],
                save_checkpoint_steps=2,
                save_summaries_steps=None,
                log_step_count_steps=None,
            ) as session:
                while not session.should_stop():
                    model.train(session, 1)
            latest = tf.train.latest_checkpoint(folder("run"))
            assert latest == folder("run", f"model.ckpt-{4 * (turn + 1)}")
    _, found = plain_values(latest, NEW)
    assert found["model/ent"][:OLD].tobytes() == base[1]["model/ent"].tobytes()


def test_other_names_on_disk(session, folder, base, plain_restore):
    model, _ = grow(session, base[0], optimizer="Adagrad")
    slot = [v for v in tf.global_variables() if v.op.name.endswith("trainable/Adagrad")][0]
    names = {"entities": model.table, "weight": model.weight}
    saver = pe.Saver(names)
    saved = saver.save(session, folder("renamed.ckpt"))
    assert set(Checkpoint(saved).shapes) == {"entities", "weight"}
    found = plain_restore(saved, {"entities": [NEW, WIDTH], "weight": [WIDTH, 2]})
    here = session.run(model.table)
    assert found["entities"].tobytes() == here.tobytes()
    session.run(tf.global_variables_initializer())
    saver.restore(session, saved)
    assert session.run(model.table).tobytes() == here.tobytes()
    delta = pe.Saver(names, delta=True)
    saved = delta.save(session, folder("delta.ckpt"))
    assert "entities/delta_rows" in Checkpoint(saved).shapes
    session.run(tf.global_variables_initializer())
    delta.restore(session, saved)
    assert session.run(model.table).tobytes() == here.tobytes()
    # A slot under the name it is given.
    with_slot = pe.Saver(dict(names, accumulator=slot))
    saved = with_slot.save(session, folder("slot.ckpt"))
    assert Checkpoint(saved).shapes["accumulator"] == [NEW, WIDTH]


def test_a_part_of_the_variables(session, folder, base):
    model, _ = grow(session, base[0])
    here = session.run(model.table)
    for items in (
        [model.table],
        [model.table.frozen, model.table.trainable],
        tf.global_variables("model/ent"),
    ):
        saver = pe.Saver(items)
        for _ in range(2):
            saved = saver.save(session, folder("part.ckpt"))
        assert "model/W" not in Checkpoint(saved)
        assert Checkpoint(saved).read("model/ent").tobytes() == here.tobytes()
    slots_too = Checkpoint(saved)
    assert slots_too.shapes["model/ent/Adam"] == [NEW, WIDTH]
    only = pe.Saver([model.weight])
    only.save(session, folder("weight.ckpt"))
    assert list(Checkpoint(folder("weight.ckpt")).shapes) == ["model/W"]


def test_a_graph_without_tables(session, folder):
    variable = tf.get_variable("v", initializer=np.ones([2, 2], np.float32))
    session.run(tf.global_variables_initializer())
    saver = pe.Saver()
    for _ in range(3):
        saved = saver.save(session, folder("plain.ckpt"))
    session.run(variable.assign(np.zeros([2, 2])))
    saver.restore(session, saved)
    assert session.run(variable).tolist() == [[1, 1], [1, 1]]
    assert not os.path.exists(saved + ".growth.json")


def test_the_base_is_gone(session, folder, base, same_bits):
    prefix, _ = base
    _, saver = grow(session, prefix)
    for name in os.listdir(folder()):
        if name.startswith("base.ckpt"):
            os.remove(folder(name))
    with pytest.raises(ValueError) as error:
        saver.save(session, folder("whole.ckpt"))
    assert prefix + " is gone" in str(error.value)
    assert "delta=True" in str(error.value)
    assert not [name for name in os.listdir(folder()) if "whole" in name or "saving" in name]
    saved = pe.Saver(delta=True).save(session, folder("delta.ckpt"))
    assert "model/ent/delta_rows" in Checkpoint(saved).shapes


def test_the_newest_checkpoint_is_gone(session, folder, base):
    _, saver = grow(session, base[0])
    saver.save(session, folder("first.ckpt"))
    for name in os.listdir(folder()):
        if name.startswith("first.ckpt"):
            os.remove(folder(name))
    _, found = plain_values(saver.save(session, folder("second.ckpt")), NEW)
    assert found["model/ent/Adam"][:OLD].tobytes() == base[1]["model/ent/Adam"].tobytes()


def test_the_base_is_replaced_by_the_grown_one(session, folder, base):
    # One prefix for ever: what the next save needs of the base is in what replaced it.
    prefix, old = base
    model, saver = grow(session, prefix)
    for _ in range(3):
        assert saver.save(session, prefix) == prefix
        model.train(session, 1)
    _, found = plain_values(prefix, NEW)
    for name in ("model/ent", "model/ent/Adam", "model/ent/Adam_1", "model/W/Adam"):
        assert found[name][:OLD].tobytes() == old[name][:OLD].tobytes(), name


@pytest.mark.parametrize("arguments", [dict(write_version=tf.train.SaverDef.V1), dict(builder=1)])
def test_arguments_it_does_not_take(base, arguments):
    Model(NEW, "Adam", base[0])
    with pytest.raises(ValueError, match="Leave out"):
        pe.Saver(**arguments)


def test_a_table_alone_is_a_list_of_one(session, folder, base):
    model, _ = grow(session, base[0])
    saved = pe.Saver(model.table).save(session, folder("table.ckpt"))
    assert tf.train.list_variables(saved) == [("model/ent", [NEW, WIDTH])]


@pytest.mark.parametrize("delta", [False, True])
def test_sharded(session, folder, base, delta):
    model, _ = grow(session, base[0])
    saver = pe.Saver(sharded=True, delta=delta)
    here = values(session)
    for _ in range(3):
        saved = saver.save(session, folder("sharded.ckpt"))
        session.run(tf.global_variables_initializer())
        saver.restore(session, saved)
        assert_same(values(session), here)
    if not delta:
        _, found = plain_values(saved, NEW)
        assert found["model/ent"].tobytes() == session.run(model.table).tobytes()


def test_variables_that_are_no_part_of_a_table(session, folder, base):
    # Partitioned, scalar, text, bool: all of them travel.
    _, _ = grow(session, base[0])
    more = [
        tf.get_variable("parts", [5, 2], partitioner=tf.fixed_size_partitioner(2)),
        tf.get_variable("scalar", initializer=np.float32(3.5)),
        tf.get_variable("text", initializer=np.array([b"a", b"bc"]), dtype=tf.string),
        tf.get_variable("flag", initializer=True),
    ]
    session.run(tf.global_variables_initializer())
    fetched = [list(more[0])] + more[1:]
    expected = session.run(fetched)
    for delta in (False, True):
        saver = pe.Saver(delta=delta)
        saved = saver.save(session, folder(f"more{delta}.ckpt"))
        session.run(tf.global_variables_initializer())
        saver.restore(session, saved)
        for found, wanted in zip(tf.nest.flatten(session.run(fetched)), tf.nest.flatten(expected)):
            np.testing.assert_array_equal(found, wanted)
