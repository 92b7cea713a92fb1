"""Whole saves, deltas and restores: one table on disk, for every optimizer."""

import json
import os
import shutil

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from small_model import NEW, OLD, OPTIMIZERS, WIDTH, Model, assert_same, train_base, values

import partial_embed as pe
from partial_embed.files.checkpoint import Checkpoint

each_optimizer = pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))


@pytest.fixture
def session():
    """A session on the test's graph."""
    with tf.Session() as session:
        yield session


@pytest.fixture
def folder(tmp_path):
    """Returns `folder(name)`: a path in a directory of the test's own."""
    return lambda *names: str(tmp_path.joinpath(*names))


@pytest.fixture
def base(folder):
    """(prefix, values) of a trained base, with Adam's slots."""
    return train_base(folder("base.ckpt"))


def grow(session, checkpoint, rows=NEW, optimizer="Adam", **arguments):
    """The grown model, initialized and trained; returns (model, its Saver)."""
    model = Model(rows, optimizer, checkpoint, **arguments)
    saver = pe.Saver()
    session.run(tf.global_variables_initializer())
    model.train(session)
    return model, saver


def plain_values(prefix, *arguments, **keywords):
    """What the plain script has after a plain Saver restored every variable of it.

    Returns:
        Two dicts: before, as initialized; and after.
    """
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(3)
        model = Model(*arguments, **keywords)
        session.run(tf.global_variables_initializer())
        before = values(session)
        tf.train.Saver().restore(session, prefix)
        after = values(session)
        model.train(session, 1)  # It goes on.
        return before, after


# --- whole tables with whole slots ------------------------------------------------------


@each_optimizer
@pytest.mark.parametrize(
    "inside, use_resource, same",
    [(False, False, True), (True, True, False)],
)
def test_a_plain_script_restores_every_variable(
    session, folder, optimizer, inside, use_resource, same
):
    form = dict(inside=inside, use_resource=use_resource)
    other = (
        optimizer if same else "Momentum" if optimizer == "GradientDescent" else ("GradientDescent")
    )
    prefix, old = train_base(folder("base.ckpt"), other, **form)
    _, saver = grow(session, prefix, optimizer=optimizer, **form)
    here = values(session)
    # Twice in one place: the second finds the slots of the frozen rows in the first.
    for _ in range(2):
        saved = saver.save(session, folder("grown.ckpt"))
    start, found = plain_values(saved, NEW, optimizer, **form)

    assert sorted(found) == sorted(dict(Checkpoint(saved).shapes))
    assert found["global_step"] == here["global_step"] == 3
    for name, array in found.items():
        # The grown graph calls ent/Adam ent/trainable/Adam.
        grown = name.replace("model/ent", "model/ent/trainable")
        if "model/ent" in name:
            assert array.shape == (NEW, WIDTH)
            assert array[OLD:].tobytes() == here[grown].tobytes(), name
            first = old[name] if name in old else start[name][:OLD]
            assert array[:OLD].tobytes() == first.tobytes(), name
        elif name in here:
            assert array.tobytes() == here[name].tobytes(), name
        else:  # Slots of the weight, which was frozen and has none in the grown graph.
            expected = old[name] if name in old else start[name]
            assert array.tobytes() == expected.tobytes(), name


@each_optimizer
def test_slots_start_where_the_optimizer_starts_them(session, folder, optimizer):
    prefix, _ = train_base(folder("base.ckpt"), "GradientDescent", inside=True)
    _, saver = grow(session, prefix, optimizer=optimizer, inside=True)
    checkpoint = Checkpoint(saver.save(session, folder("grown.ckpt")))
    starts = {
        "Adagrad": {"Adagrad": 0.1},
        "RMSProp": {"RMSProp": 1.0, "RMSProp_1": 0.0},
        "CenteredRMSProp": {"RMSProp": 1.0, "RMSProp_1": 0.0, "RMSProp_2": 0.0},
        "Ftrl": {"Ftrl": 0.1, "Ftrl_1": 0.0},
    }.get(optimizer, {})
    for kind, start in starts.items():
        rows = checkpoint.read("model/model/ent/" + kind)[:OLD]
        np.testing.assert_array_equal(rows, np.full([OLD, WIDTH], start, np.float32))
    count = {"GradientDescent": 0, "Momentum": 1, "Adagrad": 1, "CenteredRMSProp": 3}
    slots = [name for name in checkpoint.shapes if name.startswith("model/model/ent/")]
    assert len(slots) == count.get(optimizer, 2)


@pytest.mark.parametrize(
    "train, averaged_before, inside",
    [((), True, False), ("all", False, False), ((), False, True), ("all", True, True)],
)
def test_moving_averages(session, folder, train, averaged_before, inside):
    prefix, old = train_base(folder("base.ckpt"), average=averaged_before, inside=inside)
    _, saver = grow(session, prefix, average=True, train=train, inside=inside)
    here = values(session)
    saved = saver.save(session, folder("grown.ckpt"))
    _, found = plain_values(saved, NEW, average=True, inside=inside)
    ends = [name for name in found if name.endswith("ent/ExponentialMovingAverage")]
    assert len(ends) == 1
    mean = found[ends[0]]
    # Averages start as the rows themselves, not at a number.
    expected = old[ends[0]] if averaged_before else old["model/ent"]
    assert mean[:OLD].tobytes() == expected.tobytes()
    grown = ends[0].replace("model/ent", "model/ent/trainable")
    assert mean[OLD:].tobytes() == here[grown].tobytes()


def test_rows_that_train_among_the_old_ones(session, folder, base):
    prefix, old = base
    model, saver = grow(session, prefix, trainable_rows={"model/ent": [4, 1]})
    table, here = session.run(model.table), values(session)
    saved = saver.save(session, folder("grown.ckpt"))
    saved = saver.save(session, folder("grown.ckpt"))
    _, found = plain_values(saved, NEW)
    assert found["model/ent"].tobytes() == table.tobytes()
    frozen = [0, 2, 3, 5]
    assert (table[frozen] == old["model/ent"][frozen]).all()
    assert (table[[1]] != old["model/ent"][[1]]).any()
    for slot in ("Adam", "Adam_1"):
        whole, trained = found["model/ent/" + slot], here["model/ent/trainable/" + slot]
        assert (whole[frozen] == old["model/ent/" + slot][frozen]).all()
        assert (whole[[1, 4, 6, 7, 8]] == trained).all()


@pytest.mark.parametrize("use_resource", [False, True])
def test_partitioned_frozen_rows(session, folder, base, use_resource):
    prefix, old = base
    partitioner = tf.fixed_size_partitioner(3)
    with tf.variable_scope("model", use_resource=use_resource):
        table = pe.get_embedding("ent", [NEW, WIDTH], checkpoint=prefix, partitioner=partitioner)
    rows = tf.nn.embedding_lookup(table, [1, 7, 5, 8])
    step = tf.train.AdagradOptimizer(0.1).minimize(tf.reduce_sum(tf.square(rows)))
    saver, delta = pe.Saver(), pe.Saver(delta=True)
    session.run(tf.global_variables_initializer())
    session.run(step)
    whole, here = session.run(table), values(session)
    assert whole[:OLD].tobytes() == old["model/ent"].tobytes()
    prefixes = [saver.save(session, folder("whole.ckpt")), delta.save(session, folder("d.ckpt"))]
    assert Checkpoint(prefixes[0]).read("model/ent").tobytes() == whole.tobytes()
    slot = Checkpoint(prefixes[0]).read("model/ent/Adagrad")
    assert (slot[:OLD] == np.float32(0.1)).all()
    for restored in prefixes:
        session.run(tf.global_variables_initializer())
        saver.restore(session, restored)
        assert_same(values(session), here)
        session.run(step)


@pytest.mark.parametrize("shape", [[NEW], [NEW, 2, 3]])
@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float32, tf.float64])
def test_ranks_and_dtypes(session, folder, write_checkpoint, shape, dtype, random):
    rows = random.randn(*([OLD] + shape[1:])).astype(dtype.as_numpy_dtype)
    prefix = write_checkpoint({"ent": rows})
    table = pe.get_embedding("ent", shape, dtype, checkpoint=prefix)
    slot = tf.get_variable("plain", initializer=tf.zeros([2], tf.float64))
    session.run(tf.global_variables_initializer())
    whole, plain = session.run([table, slot])
    assert whole[:OLD].tobytes() == rows.tobytes()
    saver, delta = pe.Saver(), pe.Saver(delta=True)
    for saved in (saver.save(session, folder("a")), delta.save(session, folder("d"))):
        session.run(
            [
                table.trainable.assign(tf.zeros_like(table.trainable)),
                table.frozen.assign(tf.zeros_like(table.frozen)),
                slot.assign([1, 1]),
            ]
        )
        saver.restore(session, saved)
        assert session.run(table).tobytes() == whole.tobytes()
        assert session.run(slot).tolist() == plain.tolist()
    assert Checkpoint(folder("a")).read("ent").tobytes() == whole.tobytes()


def test_integer_tables(session, folder, write_checkpoint):
    prefix = write_checkpoint({"codes": np.arange(12, dtype=np.int64).reshape([6, 2])})
    table = pe.get_embedding("codes", [8, 2], tf.int64, checkpoint=prefix)
    session.run(tf.global_variables_initializer())
    saved = pe.Saver().save(session, folder("whole"))
    assert Checkpoint(saved).read("codes").tolist() == session.run(table).tolist()


# --- deltas -----------------------------------------------------------------------------


@pytest.mark.parametrize("inside", [False, True])
def test_what_a_delta_holds(session, folder, inside):
    prefix, _ = train_base(folder("base.ckpt"), inside=inside)
    model, _ = grow(session, prefix, inside=inside, train="*/W")
    here = values(session)
    checkpoint = Checkpoint(pe.Saver(delta=True).save(session, folder("delta.ckpt")))
    scope = "model/model/" if inside else "model/"
    slots = {scope + "ent/" + kind for kind in ("Adam", "Adam_1")}
    weight = {"model/W", scope + "W/Adam", scope + "W/Adam_1"}
    powers = {name for name in here if "power" in name}
    assert set(checkpoint.shapes) == weight | powers | {"global_step", "partial_embed/delta"} | {
        name + "/delta_rows" for name in slots | {"model/ent"}
    }
    rows = checkpoint.read("model/ent/delta_rows")
    assert rows.tobytes() == session.run(model.table)[OLD:].tobytes()
    assert not os.path.exists(folder("delta.ckpt.growth.json"))


@pytest.mark.parametrize("optimizer", ["GradientDescent", "Adam"])
def test_its_size_does_not_depend_on_the_frozen_rows(folder, optimizer):
    sizes = []
    for rows in (10, 5000):
        prefix, _ = train_base(folder(f"base{rows:04d}.ckpt"), optimizer, rows)
        with tf.Graph().as_default(), tf.Session() as session:
            model = Model(rows + 3, optimizer, prefix)
            saver = pe.Saver(delta=True)
            session.run(tf.global_variables_initializer())
            model.train(session, ids=(1, rows + 1))
            saved = saver.save(session, folder(f"delta{rows:04d}.ckpt"))
        files = [name for name in os.listdir(folder()) if name.startswith(os.path.basename(saved))]
        # The graph definition is a text of the script's; of the checkpoint, two numbers of
        # rows are written out and may have a few digits more.
        sizes.append(sum(os.path.getsize(folder(n)) for n in files if not n.endswith(".meta")))
    assert abs(sizes[0] - sizes[1]) < 40
    assert sizes[1] < 5000  # Less than one byte for each frozen row.


def test_another_base_is_refused_and_both_are_named(session, folder, base):
    prefix, _ = base
    grow(session, prefix)
    delta = pe.Saver(delta=True).save(session, folder("delta.ckpt"))
    other, _ = train_base(folder("other.ckpt"), steps=3)
    with tf.Graph().as_default(), tf.Session() as second:
        Model(NEW, "Adam", other)
        saver = pe.Saver()
        second.run(tf.global_variables_initializer())
        before = values(second)
        with pytest.raises(ValueError) as error:
            saver.restore(second, delta)
        assert_same(values(second), before)
    text = str(error.value)
    for part in (delta, prefix, other, "model/ent", "the frozen rows differ"):
        assert part in text


def test_a_base_whose_other_variables_differ_is_refused(session, folder, base):
    prefix, old = base
    grow(session, prefix)
    delta = pe.Saver(delta=True).save(session, folder("delta.ckpt"))
    os.mkdir(folder("moved"))
    with tf.Graph().as_default(), tf.Session() as second:
        # The same rows; the weight, which was frozen whole, is another.
        for name, array in old.items():
            tf.get_variable(name, initializer=array + 1 if name == "model/W" else array)
        second.run(tf.global_variables_initializer())
        other = tf.train.Saver().save(second, folder("other.ckpt"))
    with tf.Graph().as_default(), tf.Session() as second:
        Model(NEW, "Adam", other)
        saver = pe.Saver()
        second.run(tf.global_variables_initializer())
        with pytest.raises(ValueError) as error:
            saver.restore(second, delta)
    assert other in str(error.value)
    assert "model/W" in str(error.value)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(rows=NEW + 1), "holds rows 6-8 of a table model/ent of 9 rows; here rows 6-9 of 10"),
        (dict(rows=NEW, trainable_rows={"*ent": [1]}), "here rows 1, 6-8 of 9 train"),
    ],
)
def test_a_delta_of_another_growth(session, folder, base, arguments, message):
    grow(session, base[0])
    delta = pe.Saver(delta=True).save(session, folder("delta.ckpt"))
    with tf.Graph().as_default(), tf.Session() as second:
        Model(checkpoint=base[0], **arguments)
        saver = pe.Saver()
        second.run(tf.global_variables_initializer())
        with pytest.raises(ValueError, match=message):
            saver.restore(second, delta)


def test_a_delta_in_a_plain_graph(session, folder, base):
    grow(session, base[0])
    delta = pe.Saver(delta=True).save(session, folder("delta.ckpt"))
    with tf.Graph().as_default(), tf.Session() as second:
        Model(NEW)
        with pytest.raises(ValueError, match="the tables that grow here are none"):
            pe.Saver().restore(second, delta)


# --- restores ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "optimizer, use_resource, delta, rows",
    [
        (optimizer, bool(number % 2), number // 2 % 2 == 0, (1, 4) if number % 3 else ())
        for number, optimizer in enumerate(sorted(OPTIMIZERS))
    ]
    + [("Adam", False, False, ()), ("Momentum", True, True, (1, 4))],
)
def test_interrupted_training_is_as_if_uninterrupted(
    session, folder, optimizer, use_resource, delta, rows
):
    form = dict(optimizer=optimizer, use_resource=use_resource, average=True)
    prefix, _ = train_base(folder("base.ckpt"), **form)
    form["trainable_rows"] = {"*/ent": rows} if rows else None
    form["train"] = "*/W"
    model, saver = grow(session, prefix, **form)
    saved = pe.Saver(delta=delta).save(session, folder("model.ckpt"))
    model.train(session, 4, ids=(0, 8, 6, 1))
    expected = values(session)
    with tf.Graph().as_default(), tf.Session() as second:
        tf.set_random_seed(9)
        model = Model(NEW, checkpoint=prefix, **form)
        saver = pe.Saver(delta=delta)
        saver.restore(second, saved)  # Nothing was initialized before.
        model.train(second, 4, ids=(0, 8, 6, 1))
        assert_same(values(second), expected)
        again = saver.save(second, folder("again.ckpt"))
        second.run(tf.global_variables_initializer())
        saver.restore(second, again)
        assert_same(values(second), expected)


def test_from_the_base_too(session, folder, base, caplog):
    prefix, old = base
    model, _ = grow(session, prefix, train="all")
    tf.set_random_seed(1)
    start = values(session)
    saver = pe.Saver()
    with caplog.at_level("INFO", logger="absl"):
        saver.restore(session, prefix)
    now = values(session)
    assert now["model/ent/frozen"].tobytes() == old["model/ent"].tobytes()
    assert now["model/W"].tobytes() == old["model/W"].tobytes()
    assert now["model/W/Adam"].tobytes() == old["model/W/Adam"].tobytes()
    assert now["global_step"] == old["global_step"] == 2
    # What it cannot know stays as it was.
    for name in start:
        if "trainable" in name:
            assert now[name].tobytes() == start[name].tobytes()
    assert "model/ent as the base it grows from" in caplog.text
    assert "Not in it, and left as initialized: model/ent/trainable" in caplog.text
    model.train(session)


def test_an_uninitialized_session_grows_from_the_base(session, base):
    prefix, old = base
    Model(NEW, "Adam", prefix)
    pe.Saver().restore(session, prefix)
    now = values(session)  # All of them are initialized.
    assert now["model/ent/frozen"].tobytes() == old["model/ent"].tobytes()
    assert now["model/ent/trainable"].any()


@pytest.mark.parametrize("delta", [False, True])
def test_it_says_which_it_found(session, folder, base, caplog, delta):
    grow(session, base[0])
    saver = pe.Saver(delta=delta)
    saved = saver.save(session, folder("model.ckpt"))
    with caplog.at_level("INFO", logger="absl"):
        saver.restore(session, saved)
    kind = "a delta on the base " + base[0] if delta else "model/ent as a whole table"
    assert f"Restored {saved}, {kind}." in caplog.text


@pytest.mark.parametrize("where", ["directory", "state"])
def test_directories_and_state_files(session, folder, base, where):
    grow(session, base[0])
    saver = pe.Saver()
    os.mkdir(folder("run"))
    saver.save(session, folder("run", "model.ckpt"), global_step=3)
    here = values(session)
    session.run(tf.global_variables_initializer())
    saver.restore(session, folder("run") if where == "directory" else folder("run", "checkpoint"))
    assert_same(values(session), here)


def test_paths_that_hold_none(session, folder, base):
    grow(session, base[0])
    saver, before = pe.Saver(), values(session)
    with pytest.raises(ValueError, match="save_path is None"):
        saver.restore(session, None)
    with pytest.raises(ValueError, match="No checkpoint at .*nowhere"):
        saver.restore(session, folder("nowhere"))
    assert_same(values(session), before)


@pytest.mark.parametrize(
    "name, use_resource",
    [
        ("model/W", True),
        ("model/ent", True),
        ("model/ent/Adam", True),
        ("model/ent/Adam_1", True),
        ("beta1_power", True),
        ("model/ent/Adam", False),
    ],
)
def test_a_shape_that_does_not_fit_is_caught_for_every_variable(
    session, folder, base, name, use_resource
):
    # TensorFlow lets a resource variable take whatever shape the checkpoint has.
    prefix, _ = base
    _, saver = grow(session, prefix, use_resource=use_resource, train="*W")
    saved = saver.save(session, folder("good.ckpt"))
    checkpoint = Checkpoint(saved)
    with tf.Graph().as_default(), tf.Session() as second:
        for key in checkpoint.shapes:
            array = checkpoint.read(key)
            tf.get_variable(key, initializer=array.reshape([-1])[:3] if key == name else array)
        second.run(tf.global_variables_initializer())
        bad = tf.train.Saver().save(second, folder("bad.ckpt"))
    session.run(tf.global_variables_initializer())
    before = values(session)
    with pytest.raises(ValueError) as error:
        saver.restore(session, bad)
    assert name in str(error.value)
    assert bad in str(error.value)
    assert_same(values(session), before)


def test_a_dtype_that_does_not_fit(session, folder, base):
    _, saver = grow(session, base[0], train="*W")
    checkpoint = Checkpoint(saver.save(session, folder("good.ckpt")))
    with tf.Graph().as_default(), tf.Session() as second:
        for key in checkpoint.shapes:
            array = checkpoint.read(key)
            array = array.astype(np.float64) if key == "model/W" else array
            tf.get_variable(key, initializer=array)
        second.run(tf.global_variables_initializer())
        bad = tf.train.Saver().save(second, folder("bad.ckpt"))
    with pytest.raises(ValueError, match=r"model/W needs model/W \[4, 2\] float32; .* float64"):
        saver.restore(session, bad)


def test_a_variable_that_is_missing(session, folder, base):
    _, saver = grow(session, base[0], train="*W")
    saved = pe.Saver([v for v in tf.global_variables() if "W/Adam_1" not in v.op.name]).save(
        session, folder("less.ckpt")
    )
    before = values(session)
    with pytest.raises(ValueError, match="holds no tensor 'model/W/Adam_1'.*Perhaps you meant"):
        saver.restore(session, saved)
    assert_same(values(session), before)


def test_other_numbers_of_rows(session, folder, base):
    _, saver = grow(session, base[0])
    for rows in (5, 8, 10):
        prefix, _ = train_base(folder(f"rows{rows}.ckpt"), rows=rows)
        before = values(session)
        with pytest.raises(ValueError) as error:
            saver.restore(session, prefix)
        assert f"[{rows}, 4]" in str(error.value) or f"{rows} rows" in str(error.value)
        assert prefix in str(error.value)
        assert_same(values(session), before)


def flip_tensor(prefix, array):
    """Flips a bit of a tensor in the data files of a checkpoint."""
    for name in os.listdir(os.path.dirname(prefix)):
        if name.startswith(os.path.basename(prefix) + ".data"):
            path = os.path.join(os.path.dirname(prefix), name)
            with open(path, "rb") as stream:
                content = bytearray(stream.read())
            at = bytes(content).find(np.ascontiguousarray(array).tobytes())
            if at >= 0:
                content[at] ^= 4
                with open(path, "wb") as stream:
                    stream.write(content)
                return
    raise AssertionError("The tensor is not in the files.")


@pytest.mark.parametrize("use_resource, initialized", [(False, True), (True, False)])
@pytest.mark.parametrize(
    "name",
    [
        "model/ent/frozen",
        "model/ent/trainable",
        "model/ent/trainable/Adam_1",
        "model/W",
        "global_step",
    ],
)
def test_a_restore_changes_everything_or_nothing(folder, base, use_resource, initialized, name):
    with tf.Graph().as_default(), tf.Session() as session:
        _, saver = grow(session, base[0], use_resource=use_resource, train=("*W",))
        saved = saver.save(session, folder("model.ckpt"))
        array = values(session)[name]
    flip_tensor(saved, array)
    with tf.Graph().as_default(), tf.Session() as session:
        Model(NEW, "Adam", base[0], use_resource=use_resource, train=("*W",))
        saver = pe.Saver()
        missing = tf.identity(tf.report_uninitialized_variables())
        if initialized:
            session.run(tf.global_variables_initializer())
            before = values(session)
        else:
            before = session.run(missing).tolist()
        with pytest.raises(ValueError) as error:
            saver.restore(session, saved)
        assert saved in str(error.value)
        if initialized:
            assert_same(values(session), before)
        else:
            assert session.run(missing).tolist() == before


def test_the_base_of_a_restore_is_damaged(folder, base):
    prefix, old = base
    flip_tensor(prefix, old["model/ent"])
    with tf.Graph().as_default(), tf.Session() as session:
        Model(NEW, "Adam", prefix)
        saver = pe.Saver()
        missing = tf.identity(tf.report_uninitialized_variables())
        before = session.run(missing).tolist()
        with pytest.raises(ValueError) as error:
            saver.restore(session, prefix)
        assert prefix in str(error.value)
        assert session.run(missing).tolist() == before


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_that_are_no_numbers(session, folder, base, value):
    prefix, _ = base
    model, saver = grow(session, prefix)
    frozen = session.run(model.table.frozen)
    frozen[[2, 4], 1] = value
    session.run(tf.assign(model.table.frozen, frozen))
    saved = saver.save(session, folder("bad.ckpt"))
    session.run(tf.global_variables_initializer())
    before = values(session)
    with pytest.raises(ValueError) as error:
        saver.restore(session, saved)
    assert "model/ent" in str(error.value)
    assert saved in str(error.value)
    assert "[2 4]" in str(error.value)
    assert_same(values(session), before)
    with tf.name_scope("lenient"):
        pe.Saver(allow_nonfinite=True).restore(session, saved)
    np.testing.assert_array_equal(session.run(model.table.frozen), frozen)


def test_new_rows_that_are_no_numbers(session, folder, base):
    model, saver = grow(session, base[0])
    trained = session.run(model.table.trainable)
    trained[1, 2] = np.nan
    session.run(tf.assign(model.table.trainable, trained))
    saved = saver.save(session, folder("bad.ckpt"))
    delta = pe.Saver(delta=True).save(session, folder("delta.ckpt"))
    for prefix in (saved, delta):
        session.run(tf.global_variables_initializer())
        before = values(session)
        with pytest.raises(ValueError) as error:
            saver.restore(session, prefix)
        assert "model/ent" in str(error.value)
        assert "[7]" in str(error.value)
        assert_same(values(session), before)
        pe.Saver(allow_nonfinite=True).restore(session, prefix)
        np.testing.assert_array_equal(session.run(model.table.trainable), trained)


# --- what Savers do besides -------------------------------------------------------------


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
    with pytest.raises(OSError, match="The directory .* cannot be made"):
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


# --- generations ------------------------------------------------------------------------


def grow_again(folder, turns, delta=False):
    """Grows a table by 2 rows a turn; returns its values after each turn, and the last prefix."""
    prefix, old = train_base(folder("base.ckpt"), "Adagrad", inside=True)
    tables = [old["model/ent"]]
    for turn in range(1, turns + 1):
        with tf.Graph().as_default(), tf.Session() as session:
            rows = OLD + 2 * turn
            model = Model(rows, "Adagrad", prefix, inside=True)
            saver = pe.Saver(delta=delta)
            session.run(tf.global_variables_initializer())
            model.train(session, ids=(rows - 1, rows - 2, 0))
            prefix = saver.save(session, folder(f"turn{turn}.ckpt"))
            tables.append(session.run(model.table))
    return tables, prefix


def test_ten_growths(folder):
    tables, prefix = grow_again(folder, 10)
    for older, newer in zip(tables, tables[1:]):
        assert newer[: len(older)].tobytes() == older.tobytes()
    with open(prefix + ".growth.json") as stream:
        entry = json.load(stream)["tables"]["model/ent"]
    assert entry["rows"] == OLD + 20
    assert entry["generations"] == [[[0, OLD]]] + [
        [[row, row + 2]] for row in range(OLD, OLD + 20, 2)
    ]
    _, found = plain_values(prefix, OLD + 20, "Adagrad", inside=True)
    assert found["model/ent"].tobytes() == tables[-1].tobytes()
    for generation, table in enumerate(tables):
        with tf.Graph().as_default(), tf.Session() as session:
            # As it was: into a plain script, slots and all.
            Model(len(table), "Adagrad", inside=True)
            pe.Saver().restore(session, prefix, generation=generation)
            restored = values(session)
        assert restored["model/ent"].tobytes() == table.tobytes()
        slot = "model/model/ent/Adagrad"
        assert restored[slot].tobytes() == found[slot][: len(table)].tobytes()
        with tf.Graph().as_default(), tf.Session() as session:
            # Or to grow from it another way.
            grown = pe.get_embedding(
                "model/ent", [len(table) + 1, WIDTH], checkpoint=prefix, generation=generation
            )
            session.run(tf.global_variables_initializer())
            assert grown.num_frozen_rows == len(table)
            assert session.run(grown)[:-1].tobytes() == table.tobytes()
    with tf.Graph().as_default(), tf.Session() as session:
        Model(OLD, "Adagrad", inside=True)
        with pytest.raises(ValueError, match="no generation 11 of model/ent: it knows 0 to 10"):
            pe.Saver().restore(session, prefix, generation=11)


def test_a_generation_of_a_table_that_grows_here(session, folder, base):
    _, saver = grow(session, base[0])
    saved = saver.save(session, folder("model.ckpt"))
    with pytest.raises(ValueError, match="generation= restores plain variables; model/ent grows"):
        saver.restore(session, saved, generation=0)
    with tf.Graph().as_default(), tf.Session() as second:
        Model(OLD)
        with pytest.raises(ValueError, match="no .growth.json stands beside it"):
            pe.Saver().restore(second, base[0], generation=0)


def test_another_branch_grows_from_an_earlier_generation(folder):
    tables, prefix = grow_again(folder, 3)
    with tf.Graph().as_default(), tf.Session() as session:
        model = Model(OLD + 4, "Adagrad", prefix, inside=True, generation=1)
        saver, delta = pe.Saver(), pe.Saver(delta=True)
        session.run(tf.global_variables_initializer())
        model.train(session, ids=(OLD + 2, OLD + 3))
        saved = saver.save(session, folder("branch.ckpt"))
        moved = delta.save(session, folder("delta.ckpt"))
        expected, here = session.run(model.table), values(session)
        assert expected[: OLD + 2].tobytes() == tables[1].tobytes()
        for restored in (saved, moved):
            session.run(tf.global_variables_initializer())
            saver.restore(session, restored)
            assert_same(values(session), here)
        saver.restore(session, prefix)  # What it grew from, which has more rows.
        assert session.run(model.table)[: OLD + 2].tobytes() == tables[1].tobytes()
    _, found = plain_values(saved, OLD + 4, "Adagrad", inside=True)
    assert found["model/ent"].tobytes() == expected.tobytes()
    with open(saved + ".growth.json") as stream:
        assert json.load(stream)["tables"]["model/ent"]["generations"] == [
            [[0, OLD]],
            [[OLD, OLD + 2]],
            [[OLD + 2, OLD + 4]],
        ]


def test_rows_that_follow_their_keys(session, folder, base):
    prefix, old = base
    vocabulary = pe.align_vocabularies(list("abcdef"), list("xcaybfzd"))
    model, saver = grow(session, prefix, rows=8, vocabularies={"*ent": vocabulary})
    kept, came_from = [1, 2, 4, 5, 7], [2, 0, 1, 5, 3]
    assert (session.run(model.table)[kept] == old["model/ent"][came_from]).all()
    saved = saver.save(session, folder("grown.ckpt"))
    delta = pe.Saver(delta=True).save(session, folder("delta.ckpt"))
    here = values(session)
    for restored in (saved, delta):
        session.run(tf.global_variables_initializer())
        saver.restore(session, restored)
        assert_same(values(session), here)
    _, found = plain_values(saved, 8)
    for name in ("model/ent", "model/ent/Adam", "model/ent/Adam_1"):
        assert (found[name][kept] == old[name][came_from]).all(), name
    # The checkpoint it grew from, under the very name: rows are gathered again.
    saver.restore(session, prefix)
    assert (session.run(model.table)[kept] == old["model/ent"][came_from]).all()


def test_a_copied_directory(session, folder, base):
    model, saver = grow(session, base[0])
    os.mkdir(folder("run"))
    saver.save(session, folder("run", "model.ckpt"), global_step=3)
    here = values(session)
    shutil.move(folder("run"), folder("elsewhere"))
    session.run(tf.global_variables_initializer())
    saver.restore(session, folder("elsewhere"))
    assert_same(values(session), here)
    assert saver.save(session, folder("next.ckpt"))
    assert model.table.num_frozen_rows == OLD
