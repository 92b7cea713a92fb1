"""Restoring: everything or nothing, from a base, a whole checkpoint or a delta."""

import itertools
import os
import shutil

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from sampling import pairwise
from small_model import (
    NEW,
    OPTIMIZERS,
    Model,
    assert_same,
    grow,
    train_base,
    values,
)

import partial_embed as pe
from partial_embed.files.checkpoint import Checkpoint

SOAK = bool(os.environ.get("PARTIAL_EMBED_SOAK"))


# Every optimizer's slots are saved and restored in test_slots and test_merge.
@pytest.mark.parametrize(
    "optimizer, use_resource, delta, rows",
    [
        (optimizer, bool(number % 2), number // 2 % 2 == 0, (1, 4) if number % 3 else ())
        for number, optimizer in enumerate(sorted(OPTIMIZERS))
        if SOAK or optimizer in ("Adagrad", "CenteredRMSProp", "Ftrl")
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
    # What it cannot know, and what starts afresh, stays as it was.
    for name in start:
        if name not in ("model/ent/frozen", "model/W"):
            assert now[name].tobytes() == start[name].tobytes(), name
    assert "model/ent as the base it grows from" in caplog.text
    assert "Left as initialized: model/ent/trainable" in caplog.text
    model.train(session)


BASES = [(6, None), (6, [1]), (4, [1, 2])], [False, True], [False, True]


@pytest.mark.parametrize(
    "growth, slots, copied", list(itertools.product(*BASES)) if SOAK else pairwise(*BASES)
)
def test_restoring_the_base_does_what_growing_did(folder, growth, slots, copied):
    rows, trained = growth

    def script(rows):
        step = tf.train.get_or_create_global_step()
        data = tf.get_variable("data", initializer=np.arange(rows), trainable=False)
        ent, weight = tf.get_variable("ent", [rows, 2]), tf.get_variable("weight", [2])
        loss = tf.reduce_sum(tf.nn.embedding_lookup(ent, [1, rows - 2]) * weight)
        return step, data, tf.train.AdamOptimizer(0.1).minimize(loss, global_step=step)

    with tf.Graph().as_default(), tf.Session() as session:
        _, _, train = script(4)
        session.run(tf.global_variables_initializer())
        session.run(train)
        base = tf.train.Saver().save(session, folder("base"))
    options = dict(train="weight", slots=slots, trainable_rows={"ent": trained} if trained else {})
    with tf.Session() as session:
        with pe.growing(base, **options):
            step, data, train = script(rows)
        session.run(tf.global_variables_initializer())
        expected = values(session)
        if copied:
            for suffix in (".index", ".data-00000-of-00001"):
                shutil.copy(base + suffix, folder("copy") + suffix)
            base = folder("copy")
        saver = pe.Saver()
        saver.restore(session, base)
        assert_same(values(session), expected)
        assert session.run([step, data])[1].tolist() == list(range(rows))
        while session.run(step) < 3:
            session.run(train)
        expected = values(session)
        delta = pe.Saver(delta=True).save(session, folder("delta"))
        for prefix in (saver.save(session, folder("whole")), delta):  # everything
            session.run(tf.global_variables_initializer())
            saver.restore(session, prefix)
            assert_same(values(session), expected)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("slots", [False, True])
def test_the_base_sets_old_rows_that_train_beside_new_ones(folder, axis, slots):
    """One variable holds both: new rows stay as they are."""

    def script(rows):
        table = tf.get_variable("ent", [rows, 3] if axis == 0 else [3, rows])
        step = tf.train.MomentumOptimizer(0.1, 0.9).minimize(tf.reduce_sum(table**2))
        return table, step, tf.global_variables

    with tf.Graph().as_default(), tf.Session() as session:
        table, train, variables = script(4)
        session.run(tf.global_variables_initializer())
        session.run(train)
        base = tf.train.Saver().save(session, folder("base"))
        old = [np.moveaxis(session.run(v), axis, 0) for v in variables()]
    with tf.Graph().as_default():
        with pe.growing(base, slots=slots, trainable_rows={"ent": [3, 1]}, show=None):
            table, train, variables = script(6)
        saver = pe.Saver()
        mine = [table.trainable, *(v for v in variables() if "Momentum" in v.op.name)]
        tf.get_default_graph().finalize()
        with tf.Session() as session:
            saver.restore(session, base)  # which makes values where there are none
            assert session.run(table).shape == tuple(table.shape.as_list())
            session.run([train, train])
            before = [np.moveaxis(session.run(v), axis, 0) for v in mine]
            saver.restore(session, base)
            after = [np.moveaxis(session.run(v), axis, 0) for v in mine]
    is_loaded = [True, slots]  # else slots start afresh, and no base sets them
    for its, was, now, loaded in zip(old, before, after, is_loaded):
        assert now[2:].tobytes() == was[2:].tobytes()
        assert now[:2].tobytes() == (its[[1, 3]] if loaded else was[:2]).tobytes()
        assert was[:2].tobytes() != its[[1, 3]].tobytes()


def test_a_base_without_growing_is_restored_with_its_counters(session, base):
    tf.train.get_or_create_global_step()
    pe.get_embedding("model/ent", [NEW, 4], checkpoint=base[0])
    pe.Saver().restore(session, base[0])
    assert values(session)["global_step"] == base[1]["global_step"] == 2


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


def test_slots_of_another_optimizer(session, folder, base):
    _, saver = grow(session, base[0], optimizer="Adam")
    saved = saver.save(session, folder("saved.ckpt"))
    with tf.Graph().as_default(), tf.Session() as second:
        _, saver = grow(second, base[0], optimizer="Adagrad")
        with pytest.raises(ValueError, match="no slot .*/Adagrad.*Build the optimizer that it was"):
            saver.restore(second, saved)


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
    model.table.frozen.load(frozen, session)
    saved = saver.save(session, folder("bad.ckpt"))
    session.run(tf.global_variables_initializer())
    before = values(session)
    with pytest.raises(ValueError) as error:
        saver.restore(session, saved)
    assert "model/ent" in str(error.value)
    assert saved in str(error.value)
    assert "[2, 4]" in str(error.value)
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


@pytest.mark.parametrize(
    "arguments, place", [({}, [8, 1]), ({"trainable_rows": [1, 4]}, [4, 1]), ({"axis": 1}, [1, 9])]
)
def test_slots_that_are_no_numbers(start, tmp_path, arguments, place):
    """Told by the slot's name on disk, and by the rows of the table."""
    shape = [10, 2] if "axis" not in arguments else [2, 10]
    table = pe.get_embedding("t", shape, num_frozen_rows=7, **arguments)
    optimizer = tf.train.MomentumOptimizer(0.1, 0.9)
    pe.minimize(optimizer, tf.reduce_sum(tf.convert_to_tensor(table) ** 2))
    saver, session = pe.Saver(), start()
    slot = optimizer.get_slot(table.trainable, "momentum")
    value = session.run(slot)
    its = list(place)
    axis = table.plan.axis
    its[axis] = table.plan.trainable_rows.tolist().index(place[axis])
    value[tuple(its)] = np.nan
    slot.load(value, session)
    saved = saver.save(session, str(tmp_path / "bad"))
    session.run(slot.initializer)
    with pytest.raises(ValueError, match=rf"^t/Momentum of .*: rows \[{place[axis]}\] hold NaN"):
        saver.restore(session, saved)
    assert not np.isnan(session.run(slot)).any()


KINDS = ["int32", "int64", "uint8", "int16", "bool", "float16", "float32", "complex64", "string"]


@pytest.mark.parametrize("arguments", [{"trainable_rows": [1, 4]}, {"trainable_rows": [4, 5]}])
@pytest.mark.parametrize("delta", [False, True])
def test_tables_of_every_dtype(tmp_path, arguments, delta):
    """Read by their ops, or fed where no op reads such rows."""
    for kind in KINDS:
        dtype, prefix = tf.as_dtype(kind), str(tmp_path / f"{kind}-base")
        values = (np.arange(12) % 2 if kind == "bool" else np.arange(12)).reshape([6, 2])
        values = values.astype(object if kind == "string" else dtype.as_numpy_dtype)
        values = values.astype("S") if kind == "string" else values
        with tf.Graph().as_default(), tf.Session() as session:
            session.run(tf.get_variable("t", initializer=tf.constant(values, dtype)).initializer)
            tf.train.Saver().save(session, prefix)
        with tf.Graph().as_default(), tf.Session() as session:
            table = pe.get_embedding("t", [6, 2], dtype, checkpoint=prefix, **arguments)
            saver = pe.Saver(delta=delta)
            session.run(tf.global_variables_initializer())
            saved = saver.save(session, str(tmp_path / kind))
            table.frozen.load(session.run(tf.zeros_like(table.frozen)), session)
            saver.restore(session, saved)
            assert session.run(table).tolist() == values.tolist(), kind


def test_a_lost_server_is_no_damaged_checkpoint(write_checkpoint, start, row_numbers):
    """A monitored session waits for the server; the checkpoint is as good as ever."""
    prefix = write_checkpoint({"table": row_numbers([4, 2])})
    with pe.growing(prefix, show=None):
        tf.get_variable("table", [5, 2])
    saver, session = pe.Saver(), start()

    class Lost:
        graph = session.graph

        def run(self, fetches, feed_dict=None):
            if feed_dict:
                raise tf.errors.UnavailableError(None, None, "failed to connect to all addresses")
            return session.run(fetches)

    with pytest.raises(tf.errors.UnavailableError):
        saver.restore(Lost(), prefix)
    saver.restore(session, prefix)


@pytest.mark.parametrize("how", ["V1", "one variable more", "partitioned", "grown"])
def test_as_many_rows_as_before_that_nothing_tells_the_keys_of(
    write_checkpoint, session, folder, caplog, how
):
    """A plain Saver saves base and grown table alike, if as many keys go as come."""
    rows = np.arange(10, dtype=np.float32).reshape([5, 2])
    base = write_checkpoint({"ent": rows}, "base")
    keys = list("abcde"), list("xcdab")
    table = pe.get_embedding("ent", [5, 2], checkpoint=base, vocabulary=keys)
    session.run(tf.global_variables_initializer())
    session.run(table.trainable.assign([[7, 7]]).op)
    if how == "grown":
        again = tf.train.Saver().save(session, folder("again"))
    elif how == "V1":
        again = write_checkpoint({"ent": rows}, "again", write_version=tf.train.SaverDef.V1)
    elif how == "partitioned":
        again = write_checkpoint({"ent": rows}, "again", partitions=2)
    else:
        again = write_checkpoint({"ent": rows, "more": rows}, "again")
    saver = pe.Saver()
    session.run(table.trainable.assign([[8, 8]]).op)
    saver.restore(session, again)
    new = [7, 7] if how == "grown" else [8, 8]
    assert session.run(table).tolist() == [new, *rows[[2, 3, 0, 1]].tolist()]
    other = write_checkpoint({"ent": rows + 1}, "other")
    with pytest.raises(ValueError, match="Nothing says whose keys the rows of ent in .*other are"):
        saver.restore(session, other)
    write_checkpoint({"ent": rows + 2}, "base")
    with pytest.raises(ValueError, match="whose keys .* is gone or was replaced. Restore what"):
        saver.restore(session, again)
    assert session.run(table).tolist() == [new, *rows[[2, 3, 0, 1]].tolist()]


def test_a_base_is_restored_under_the_names_that_growing_took(write_checkpoint, folder):
    """It holds others of the names here, too."""
    one, two = np.ones([4, 2], np.float32), np.full([4, 2], 2, np.float32)
    held = {"user": one, "user_2": two, "w": one, "w_2": two, "t": one, "t_2": two}
    base, names = write_checkpoint(held), {"user": "user_2", "w": "w_2", "t": "t_2"}
    with tf.Graph().as_default(), tf.Session() as session:
        with pe.growing(base, names=names, train="t", show=None):
            variables = [
                tf.get_variable(name, [n, 2]) for name, n in (("user", 5), ("w", 4), ("t", 4))
            ]
        saver, delta = pe.Saver(), pe.Saver(delta=True)
        session.run(tf.global_variables_initializer())
        saved, whole = delta.save(session, folder("delta")), saver.save(session, folder("whole"))
        session.run(tf.assign(variables[2], one))
        for prefix in (base, saved, whole):
            saver.restore(session, prefix)
            assert all((session.run(its)[:4] == 2).all() for its in variables)
    merged = Checkpoint(pe.merge_checkpoint(base, saved, folder("merged")))
    assert all((merged.read(name)[:4] == 2).all() for name in names)
