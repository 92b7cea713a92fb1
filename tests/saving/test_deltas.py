"""Deltas: what they hold, and which base and graph they are for."""

import json
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from small_model import (
    NEW,
    OLD,
    Model,
    assert_same,
    grow,
    train_base,
    values,
)

import partial_embed as pe
from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.growth import DELTA_KEY, read_delta
from partial_embed.files.hashes import fingerprint, fingerprint_of, row_hashes
from partial_embed.files.tensors import slice_spec, write_part


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


@pytest.mark.parametrize(
    "dtype, rows",
    [
        (tf.string, np.array([[b"a", b"bb"], [b"", b"d"]], object)),
        (tf.bool, np.array([[True, False], [False, True]])),
        (tf.float16, np.array([[1, 2], [3, 4]], np.float16)),
        (tf.complex64, np.array([[1 + 2j, 0], [3j, 4]], np.complex64)),
        (tf.uint16, np.array([[1, 2], [3, 1 << 15]], np.uint16)),
    ],
)
def test_tables_and_frozen_variables_of_any_dtype(folder, write_checkpoint, dtype, rows):
    base = write_checkpoint({"table": rows, "frozen": rows[0]})
    with tf.Graph().as_default(), tf.Session() as session:
        zeros = tf.zeros_initializer()
        with pe.growing(base):
            table = tf.get_variable("table", [3, 2], dtype, zeros)
            frozen = tf.get_variable("frozen", [2], dtype, zeros)
        session.run(tf.global_variables_initializer())
        proof = pe.record_frozen_rows(session)
        saved = [pe.Saver(delta=delta).save(session, folder(str(delta))) for delta in (0, 1)]
        saved.append(pe.merge_checkpoint(base, saved[1], folder("merged")))
        expected = session.run([table.value(), frozen])
        assert expected[0][:2].tolist() == rows.tolist()
        for prefix in saved:
            pe.Saver().restore(session, prefix)
            found = session.run([table.value(), frozen])
            assert [value.tolist() for value in found] == [e.tolist() for e in expected]
        assert proof.verify(session) == 4
    for prefix in (saved[0], saved[2]):
        reader = tf.train.NewCheckpointReader(prefix)
        assert reader.get_tensor("table").tolist() == expected[0].tolist()
        assert reader.get_tensor("frozen").tolist() == rows[0].tolist()


@pytest.mark.parametrize("bad", [complex(np.nan, 0), complex(0, np.inf)])
def test_complex_rows_that_are_no_numbers(write_checkpoint, bad):
    base = write_checkpoint({"table": np.array([[1, 2], [bad, 3]], np.complex64)})
    with tf.Graph().as_default(), tf.Session() as session:
        with pe.growing(base):
            tf.get_variable("table", [3, 2], tf.complex64, tf.zeros_initializer())
        with pytest.raises(tf.errors.InvalidArgumentError, match="NaN or Inf"):
            session.run(tf.global_variables_initializer())


def as_written_before(delta):
    """Puts into a delta what stood for frozen rows before there were digests."""
    checkpoint = Checkpoint(delta)
    manifest = json.loads(checkpoint.read(DELTA_KEY).decode("utf-8"))
    for entry in [*manifest["tables"].values(), *manifest["unchanged"].values()]:
        rows = Checkpoint(entry["base"]).read(entry["base_name"])
        assert entry["frozen"] == fingerprint_of(rows)
        entry["frozen"] = fingerprint(row_hashes(rows))
    tensors = [(name, "", checkpoint.read(name)) for name in checkpoint.shapes if name != DELTA_KEY]
    tensors.append((DELTA_KEY, "", np.array(json.dumps(manifest), object)))
    write_part(delta, tensors)


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("delta", [False, True])
def test_the_base_is_known_by_its_rows_however_it_is_stored(session, folder, base, before, delta):
    """Of deltas from before there were digests, too; and one number more is another base."""
    prefix, old = base
    model, saver = grow(session, prefix)
    saved = pe.Saver(delta=True).save(session, folder("delta.ckpt"))
    expected = session.run([model.table, model.weight])
    if before:
        as_written_before(saved)
    for number, (sliced, change) in enumerate([(False, 0), (True, 0), (False, 1), (True, 1)]):
        other, arrays = folder(f"other{number}.ckpt"), dict(old)
        rows = arrays.pop("model/ent").copy()
        if change:
            rows[4, 1] = np.nextafter(rows[4, 1], np.float32(9))
        tensors = [(name, "", array) for name, array in arrays.items()]
        for start, stop in ((0, 2), (2, OLD)) if sliced else ():
            spec = slice_spec([OLD, 4], [start, 0], [stop - start, 4])
            tensors.append(("model/ent", spec, rows[start:stop]))
        write_part(other, tensors if sliced else tensors + [("model/ent", "", rows)])
        with tf.Graph().as_default(), tf.Session() as second:
            model = Model(NEW, "Adam", other)
            saver = pe.Saver(delta=delta)
            second.run(tf.global_variables_initializer())
            if change:
                here = values(second)
                with pytest.raises(ValueError, match="of model/ent: .* the frozen rows differ"):
                    saver.restore(second, saved)
                assert_same(values(second), here)
                with pytest.raises(ValueError, match="the frozen rows differ"):
                    pe.merge_checkpoint(other, saved, folder("merged"))
                continue
            saver.restore(second, saved)
            found = second.run([model.table, model.weight])
            assert [f.tobytes() for f in found] == [e.tobytes() for e in expected]
            pe.merge_checkpoint(other, saved, folder("merged"))
            rows = tf.train.load_checkpoint(folder("merged")).get_tensor("model/ent")
            assert rows.tobytes() == expected[0].tobytes()


def test_rows_that_are_not_those_of_the_base_any_more(session, folder, base):
    """Of them the delta speaks, not of the file: put on that it would be wrong."""
    model, _ = grow(session, base[0])
    saver = pe.Saver(delta=True)
    session.run(tf.assign_add(model.table.frozen, np.full([OLD, 4], 1e-3, np.float32)).op)
    saved = saver.save(session, folder("delta.ckpt"))
    with pytest.raises(ValueError, match="the frozen rows differ"):
        pe.merge_checkpoint(base[0], saved, folder("merged"))


def test_rows_of_another_session_are_its_own(session, folder, base):
    """One Saver serves both, and says of each delta what its session had."""
    model, _ = grow(session, base[0])
    saver = pe.Saver(delta=True)
    change = tf.assign_add(model.table.frozen, np.full([OLD, 4], 1e-3, np.float32)).op
    saver.save(session, folder("delta.ckpt"))
    with tf.Session() as second:
        second.run(tf.global_variables_initializer())
        second.run(change)
        saver.save(second, folder("second.ckpt"))
    saver.save(session, folder("third.ckpt"))
    pe.merge_checkpoint(base[0], folder("third.ckpt"), folder("merged"))
    with pytest.raises(ValueError, match="the frozen rows differ"):
        pe.merge_checkpoint(base[0], folder("second.ckpt"), folder("merged"))


def test_rows_that_another_saver_restored(session, folder, base, write_checkpoint):
    """It has them too, whoever saved deltas of that session before."""
    model, _ = grow(session, base[0])
    saver, other = pe.Saver(delta=True), pe.Saver()
    saver.save(session, folder("delta.ckpt"))
    whole = Checkpoint(other.save(session, folder("whole.ckpt")))
    tensors = {name: whole.read(name) for name in whole.shapes}
    tensors["model/ent"] = tensors["model/ent"] + np.float32(1e-3)
    prefix = write_checkpoint(tensors, name="other.ckpt")
    other.restore(session, prefix, allow_other_base=True)
    saver.save(session, folder("second.ckpt"))
    with pytest.raises(ValueError, match="the frozen rows differ"):
        pe.merge_checkpoint(base[0], folder("second.ckpt"), folder("merged"))


@pytest.mark.parametrize("delta", [False, True])
def test_the_base_is_read_once(session, folder, base, delta, monkeypatch):
    """Hashed as it is read: no op reads it a second time, and Python never does."""
    model, _ = grow(session, base[0])
    saver = pe.Saver(delta=delta)
    saved = pe.Saver(delta=True).save(session, folder("delta.ckpt"))
    fed, run = [], session.run

    def watched(fetches, feeds=None, **arguments):
        fed.extend(text for value in (feeds or {}).values() for text in np.ravel(value).tolist())
        return run(fetches, feeds, **arguments)

    monkeypatch.setattr(session, "run", watched)
    monkeypatch.setattr(Checkpoint, "read", None)
    monkeypatch.setattr("partial_embed.saving.restore_ops.check_base", None)
    monkeypatch.setattr("partial_embed.saving.source.read_tensors", lambda prefix, wanted: [])
    saver.restore(session, saved)
    assert fed.count("model/ent") == 1


def test_a_delta_stands_on_the_base_that_was_restored(session, folder, base):
    """What is frozen whole is that base's too, in the delta's manifest and when it is restored."""
    other, others = train_base(folder("other.ckpt"), steps=5)
    model, saver = grow(session, base[0])
    delta = pe.Saver(delta=True)
    for each in (saver, delta):
        each.restore(session, other, allow_other_base=True)
    model.train(session)
    here = values(session)
    saved = delta.save(session, folder("delta.ckpt"))
    manifest = read_delta(Checkpoint(saved))
    assert manifest["tables"]["model/ent"]["base"] == other
    assert manifest["unchanged"]["model/W"]["base"] == other
    merged = Checkpoint(pe.merge_checkpoint(other, saved, folder("merged")))
    whole = Checkpoint(saver.save(session, folder("whole")))
    assert merged.shapes == whole.shapes
    for name in whole.shapes:
        assert merged.read(name).tobytes() == whole.read(name).tobytes(), name
    assert merged.read("model/W/Adam").tobytes() == others["model/W/Adam"].tobytes()
    with tf.Session() as again:
        again.run(tf.global_variables_initializer())
        with pytest.raises(ValueError, match="the frozen rows differ"):
            pe.Saver().restore(again, saved)
        saver.restore(again, other, allow_other_base=True)
        saver.restore(again, saved)
        assert_same(values(again), here)


def test_a_delta_where_the_newest_checkpoint_was_replaced(start, write_checkpoint, tmp_path):
    """Its frozen rows come from what was loaded, where they stand in another order."""
    arrays = {"e": np.arange(8, dtype=np.float32).reshape(4, 2)}
    base = write_checkpoint(arrays, name="base")
    with pe.growing(base, vocabularies={"e": (list("abcd"), list("edbafc"))}):
        table = tf.get_variable("e", [6, 2])
    saver, delta = pe.Saver(), pe.Saver(delta=True)
    session = start()
    before = session.run(table)
    saved = delta.save(session, str(tmp_path / "delta"))
    newest = saver.save(session, str(tmp_path / "newest"))
    assert write_checkpoint(arrays, name="newest") == newest
    saver.restore(session, saved)
    assert session.run(table).tobytes() == before.tobytes()


def test_rows_that_were_restored_by_a_session_inside_of_another(folder, base, write_checkpoint):
    """What is known of frozen rows is known of the session, by whatever object it is reached."""
    checkpoint = Checkpoint(base[0])
    tensors = {name: checkpoint.read(name) for name in checkpoint.shapes}
    tensors["model/ent"] = tensors["model/ent"] + np.float32(1)
    other = write_checkpoint(tensors, name="other.ckpt")
    with pe.growing(base[0], show=None):
        Model(NEW, "GradientDescent")
    saver, raw = pe.Saver(delta=True), []
    hook = tf.train.SessionRunHook()
    hook.after_create_session = lambda session, coord: raw.append(session)
    with tf.train.MonitoredTrainingSession(hooks=[hook]) as session:
        saver.save(session, folder("before"))
        saver.restore(raw[0], other, allow_other_base=True)
        saver.save(session, folder("after"))
    pe.merge_checkpoint(base[0], folder("before"), folder("merged"))
    with pytest.raises(ValueError, match="the frozen rows differ"):
        pe.merge_checkpoint(base[0], folder("after"), folder("merged"))
    pe.merge_checkpoint(other, folder("after"), folder("merged"))
