"""Whole saves: whole tables with whole slots, for every optimizer."""

import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from small_model import (
    NEW,
    OLD,
    OPTIMIZERS,
    WIDTH,
    Model,
    assert_same,
    grow,
    plain_values,
    train_base,
    values,
)

import partial_embed as pe
from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.index import stored_entries
from partial_embed.files.stored_bytes import StoredBytes
from partial_embed.table.embedding import embeddings_in

SOAK = bool(os.environ.get("PARTIAL_EMBED_SOAK"))
each_optimizer = pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))


@pytest.mark.parametrize(
    "optimizer, inside, use_resource, same",
    [
        (optimizer, *form)
        for number, optimizer in enumerate(sorted(OPTIMIZERS))
        for place, form in enumerate([(False, False, True), (True, True, False)])
        if SOAK or place == number % 2 or optimizer == "Adam"
    ],
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


@pytest.mark.parametrize("inside", [False, True])
def test_an_optimizer_that_moved_into_a_scope_or_out_of_it(session, folder, inside):
    prefix, old = train_base(folder("base.ckpt"), inside=not inside)
    _, saver = grow(session, prefix, inside=inside)
    for _ in range(2):
        saved = saver.save(session, folder("grown.ckpt"))
    _, found = plain_values(saved, NEW, inside=inside)  # It looks for the names of its own place.
    assert sorted(found) == sorted(dict(Checkpoint(saved).shapes))
    there, here = ("model/model/", "model/")[:: -1 if inside else 1]
    for slot in ("ent/Adam", "ent/Adam_1", "W/Adam"):
        assert found[here + slot][:OLD].tobytes() == old[there + slot].tobytes()


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


@pytest.mark.parametrize("merge", [False, True])
def test_a_frozen_variable_of_another_dtype_than_the_table(grown_script, merge):
    """Its slots are of its own dtype, or the plain script does not restore them."""

    def script(rows):
        table, weight = tf.get_variable("ent", [rows, 2], tf.float64), tf.get_variable("w", [2])
        loss = tf.reduce_sum(table) + tf.cast(tf.reduce_sum(weight), tf.float64)
        return tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss)

    _, saved = grown_script(script, merge)
    with tf.Graph().as_default(), tf.Session() as session:
        script(6)
        tf.train.Saver().restore(session, saved)  # every variable
        assert session.run("w/Momentum:0").tolist() == [1, 1]


@pytest.mark.parametrize("version", [tf.train.SaverDef.V1, tf.train.SaverDef.V2])
def test_slots_that_a_plain_saver_cut(session, folder, base, version):
    message = "holds only a part of model/ent/Adam.*: a plain tf.train.Saver saved what had grown"
    _, saver = grow(session, base[0])
    here = values(session)
    delta = pe.Saver(delta=True).save(session, folder("delta"))
    plain = tf.train.Saver(write_version=version)
    cut = plain.save(session, folder("cut"))
    for refused in (
        lambda: pe.growing(cut),
        lambda: pe.get_embedding("other", [10, WIDTH], checkpoint=cut, tensor_name="model/ent"),
        lambda: saver.restore(session, cut),
        lambda: pe.merge_checkpoint(cut, delta, folder("merged")),
    ):
        with pytest.raises(ValueError, match=message):
            refused()
    assert_same(values(session), here)
    # The remedy:
    session.run(tf.global_variables_initializer())
    plain.restore(session, cut)
    whole = saver.save(session, folder("whole"))
    with tf.Graph().as_default(), tf.Session() as second:
        _, saver = grow(second, whole, rows=11)
        saver.save(second, folder("again"))


@pytest.mark.parametrize("keys, slots", [("cdab", "e/trainable/Adagrad"), ("abcd", "e/Adagrad")])
def test_what_a_plain_saver_does_not_write_of_rows_that_follow_keys(
    write_checkpoint, start, folder, caplog, keys, slots
):
    base = write_checkpoint({"e": np.ones([3, 2], np.float32)}, "base")

    def grow(checkpoint, old, new):
        with pe.growing(checkpoint, vocabularies={"e": (list(old), list(new))}, show=None):
            table = tf.get_variable("e", [len(new), 2])
        loss = tf.reduce_sum(tf.nn.embedding_lookup(table, [list(new).index("d")]))
        return tf.train.AdagradOptimizer(0.1).minimize(loss)

    step = grow(base, "abc", keys)
    saver = pe.Saver()
    assert not caplog.text
    plain = tf.train.Saver()
    assert f"writes only the new rows of {slots}, which" in caplog.text
    assert "does not record whose keys the rows of e are" in caplog.text
    assert caplog.text.count("Use partial_embed.Saver") == 1
    session = start()
    session.run(step)
    cut = plain.save(session, folder("cut"))
    with pytest.raises(ValueError, match=f"only a part of {slots}: a plain tf.train.Saver saved"):
        pe.growing(cut)
    plain.restore(session, cut)
    whole = saver.save(session, folder("whole"))  # the remedy
    with tf.Graph().as_default():
        grow(whole, keys, keys + "e")


def test_a_plain_saver_records_no_keys(write_checkpoint, caplog):
    base = write_checkpoint({"e": np.ones([3, 2], np.float32)}, "base")
    pe.get_embedding("e", [4, 2], checkpoint=base, vocabulary=(list("abc"), list("abcd")))
    pe.Saver()
    assert not caplog.text
    tf.train.Saver()
    assert "A plain tf.train.Saver does not record whose keys the rows of e are. U" in caplog.text


@pytest.mark.parametrize("use_resource", [False, True])
def test_a_save_before_variables_have_values(write_checkpoint, folder, use_resource):
    base = write_checkpoint({"e": np.ones([3, 2], np.float32)}, "base")
    pe.get_embedding("e", [4, 2], checkpoint=base, use_resource=use_resource)
    with tf.Session() as session, pytest.raises(OSError, match=r"\. Run the initializers of all"):
        pe.Saver().save(session, folder("saved"))


def test_what_comes_after_a_graph_is_finalized(write_checkpoint):
    base = write_checkpoint({"e": np.ones([3, 2], np.float32)}, "base")
    pe.get_embedding("e", [4, 2], checkpoint=base)
    with tf.Session() as session:
        tf.get_default_graph().finalize()
        for late, what in (
            (pe.Saver, r"a Saver, or give it as tf.train.Scaffold\(saver=\)"),
            (lambda: pe.record_frozen_rows(session), "a FrozenRowsHook, which such a session"),
        ):
            with pytest.raises(RuntimeError, match=f"takes no ops any more. Make {what}"):
                late()


def test_a_saver_that_was_made_before_the_optimizer(write_checkpoint, start, folder, caplog):
    base = write_checkpoint({"e": np.ones([3, 2], np.float32)}, "base")
    table = pe.get_embedding("e", [4, 2], checkpoint=base)
    savers = [pe.Saver(), pe.Saver([table])]
    tf.train.AdagradOptimizer(0.1).minimize(tf.reduce_sum(table.lookup([3])))
    session = start()
    for saver in [*savers, savers[0], pe.Saver()]:
        saver.save(session, folder("saved"))
    assert caplog.text.count("Made after this Saver, which does not save them: e/train") == 1


@pytest.fixture
def reads(monkeypatch):
    """A list that has an item for each time that bytes are read before they are copied."""
    found, plain = [], StoredBytes.expect_readable
    monkeypatch.setattr(StoredBytes, "expect_readable", lambda its: (found.append(its), plain(its)))
    return found


@pytest.mark.parametrize("sharded", [False, True])
def test_slots_are_read_once_and_copied_from_then_on(session, folder, base, reads, sharded):
    prefix, old = base
    Model(NEW, "Adam", prefix)
    saver = pe.Saver(max_to_keep=1, sharded=sharded)
    session.run(tf.global_variables_initializer())
    counts = []
    for step in range(4):
        saved = Checkpoint(saver.save(session, folder("run"), step))
        counts.append(len(reads))
        for name in ("model/ent/Adam", "model/ent/Adam_1", "model/W/Adam", "model/W/Adam_1"):
            assert saved.read(name)[: len(old[name])].tobytes() == old[name].tobytes()
            assert saved.shapes[name][0] == (NEW if "ent" in name else WIDTH)
    assert counts == [4] * 4  # those of the table, and of the weight that is frozen


def test_slots_are_those_of_what_was_restored(session, folder, base):
    prefix, old = base
    other, others = train_base(folder("other.ckpt"), steps=5)
    _, saver = grow(session, prefix)
    first = Checkpoint(saver.save(session, folder("first")))
    saver.restore(session, other, allow_other_base=True)
    second = Checkpoint(saver.save(session, folder("second")))
    saver.restore(session, first.prefix)
    third = Checkpoint(saver.save(session, folder("third")))
    for saved, expected in ((first, old), (second, others), (third, old)):
        for name in ("model/ent", "model/ent/Adam", "model/ent/Adam_1", "model/W", "model/W/Adam"):
            found = saved.read(name)[: len(expected[name])]
            assert found.tobytes() == expected[name].tobytes(), name


@pytest.mark.parametrize("then", ["nothing", "delta"])
def test_slots_of_a_base_that_another_saver_restored(session, folder, base, then):
    """They are not known to this one, so it is refused until it restores that base itself."""
    other, others = train_base(folder("other.ckpt"), steps=5)
    model, saver = grow(session, base[0])
    restorer, delta = pe.Saver(), pe.Saver(delta=True)
    saver.save(session, folder("first"))
    restorer.restore(session, other, allow_other_base=True)
    if then == "delta":
        restorer.restore(session, delta.save(session, folder("delta")))
    with pytest.raises(ValueError, match="other.ckpt was restored .*, by another Saver"):
        saver.save(session, folder("second"))
    with tf.Session() as again:
        again.run(tf.global_variables_initializer())
        saver.save(again, folder("third"))
    restorer.save(session, folder("fourth"))
    saver.restore(session, other, allow_other_base=True)
    saver.save(session, folder("fifth"))
    restorer.restore(session, folder("first"))
    with pytest.raises(ValueError, match="other.ckpt was restored .*, in another session or"):
        saver.save(session, folder("sixth"))
    for name, expected in (("third", base[1]), ("fourth", others), ("fifth", others)):
        found = Checkpoint(folder(name))
        for slot in ("model/ent", "model/ent/Adam", "model/W", "model/W/Adam"):
            old = found.read(slot)[: len(expected[slot])]
            assert old.tobytes() == expected[slot].tobytes(), (name, slot)


def test_slots_of_what_is_frozen_under_other_names(session, folder):
    """Where a delta is restored after a whole checkpoint, or one that lacks the variable."""
    prefix, old = train_base(folder("base.ckpt"))
    model, _ = grow(session, prefix)
    names = {v.op.name: v for v in tf.global_variables() if "ent/trainable" not in v.op.name}
    names = {name: v for name, v in names.items() if name not in ("model/ent/frozen", "model/W")}
    names = {**names, "model/ent": model.table, "other": model.weight}
    slots = {
        v.op.name.replace("/trainable", ""): v for v in tf.global_variables() if "Adam" in v.op.name
    }
    saver, delta = pe.Saver({**names, **slots}), pe.Saver({**names, **slots}, delta=True)
    saved = delta.save(session, folder("delta"))
    saver.restore(session, saver.save(session, folder("whole")))
    saver.restore(session, saved)
    found = Checkpoint(saver.save(session, folder("again")))
    assert found.read("model/W/Adam").tobytes() == old["model/W/Adam"].tobytes()


def damage(prefix, name):
    """Changes one byte of each piece of a tensor."""
    shards, entries = stored_entries(prefix)
    for _, entry in entries[name]:
        with open(f"{prefix}.data-{entry.shard_id:05d}-of-{shards:05d}", "r+b") as stream:
            stream.seek(entry.offset)
            byte = stream.read(1)[0]
            stream.seek(entry.offset)
            stream.write(bytes([byte ^ 4]))


def test_slots_that_are_damaged(session, folder, caplog):
    """Those of the newest checkpoint are taken from what was loaded; if that is, too, refused."""
    prefix, old = train_base(folder("base.ckpt"))
    _, saver = grow(session, prefix)
    saved = saver.save(session, folder("saved"))
    damage(saved, "model/ent/Adam")
    third = Checkpoint(saver.save(session, folder("third")))
    assert "saved cannot be read" in caplog.text
    assert "Slots are taken from what was loaded" in caplog.text
    assert third.read("model/ent/Adam")[:OLD].tobytes() == old["model/ent/Adam"].tobytes()
    damage(third.prefix, "model/W/Adam")
    damage(prefix, "model/ent/Adam_1")
    for target in (folder("next"), saved):
        with pytest.raises(ValueError, match="base.ckpt cannot be read: .* It is damaged or incom"):
            saver.save(session, target)
    assert not [name for name in os.listdir(folder()) if name.startswith("next")]


def test_the_base_is_named_if_its_data_is_gone(session, folder):
    prefix, _ = train_base(folder("base.ckpt"))
    _, saver = grow(session, prefix)
    os.unlink(folder("base.ckpt.data-00000-of-00001"))
    with pytest.raises(ValueError, match="base.ckpt cannot be read"):
        saver.save(session, folder("next"))


class _ByRow(tf.train.Optimizer):
    """Its slot has one number a row."""

    def __init__(self):
        super().__init__(False, "ByRow")

    def _create_slots(self, variables):
        for variable in variables:
            self._get_or_make_slot_with_initializer(
                variable, tf.ones_initializer(), variable.shape[:1], tf.float32, "sum", "ByRow"
            )

    def _apply_dense(self, gradient, variable):
        found = self.get_slot(variable, "sum").assign_add(tf.reduce_sum(gradient**2, 1))
        return variable.assign_sub(0.1 * gradient / tf.sqrt(found)[:, None])

    def _apply_sparse(self, gradient, variable):
        return self._apply_dense(tf.convert_to_tensor(gradient), variable)


@pytest.mark.parametrize("merge", [False, True])
def test_a_slot_of_one_number_a_row_of_what_is_frozen(grown_script, merge):
    def script(rows):
        table, weight = tf.get_variable("ent", [rows, 3]), tf.get_variable("w", [3, 2])
        rows = tf.nn.embedding_lookup(table, list(range(rows)))
        return _ByRow().minimize(tf.reduce_sum((tf.matmul(rows, weight) - 1.0) ** 2))

    base, grown = (Checkpoint(prefix) for prefix in grown_script(script, merge))
    assert grown.read("w/ByRow").tobytes() == base.read("w/ByRow").tobytes()
    assert grown.shapes == {**base.shapes, "ent": [6, 3], "ent/ByRow": [6]}


@pytest.mark.parametrize("merge", [False, True])
def test_slots_under_other_names_of_an_optimizer_in_a_scope(session, folder, merge):
    with tf.Graph().as_default(), tf.variable_scope("other"), tf.Session() as first:
        table, weight = tf.get_variable("ent", [4, 3]), tf.get_variable("w", [3, 2])
        loss = tf.reduce_sum(tf.matmul(tf.nn.embedding_lookup(table, [1]), weight) ** 2)
        step = tf.train.AdamOptimizer().minimize(loss)
        first.run(tf.global_variables_initializer())
        first.run(step)
        base = Checkpoint(tf.train.Saver().save(first, folder("base")))
    names = {"ent": "other/ent", "w": "other/w"}
    with pe.growing(base.prefix, names=names, show=None):
        table, weight = tf.get_variable("ent", [6, 3]), tf.get_variable("w", [3, 2])
    loss = tf.reduce_sum(tf.matmul(tf.nn.embedding_lookup(table, [5]), weight) ** 2)
    tf.train.AdamOptimizer().minimize(loss)
    session.run(tf.global_variables_initializer())
    whole = Checkpoint(pe.Saver().save(session, folder("whole")))
    if merge:
        delta = pe.Saver(delta=True).save(session, folder("delta"))
        merged = Checkpoint(pe.merge_checkpoint(base.prefix, delta, folder("merged")))
        assert_same(
            {n: merged.read(n) for n in merged.shapes}, {n: whole.read(n) for n in whole.shapes}
        )
    (name,) = [name for name in whole.shapes if name.endswith("w/Adam")]
    assert whole.read(name).tobytes() == base.read("other/other/w/Adam").tobytes()
    assert np.any(whole.read(name))


@pytest.mark.parametrize("which", ["base", "newest", "both"])
def test_slots_where_another_checkpoint_was_put(session, folder, base, which):
    prefix, old = base
    _, saver = grow(session, prefix)
    newest = saver.save(session, folder("newest"))
    for place in [prefix] * (which != "newest") + [newest] * (which != "base"):
        train_base(place, steps=5)
    if which == "both":
        with pytest.raises(ValueError, match="is gone, or another was put in its place"):
            saver.save(session, folder("next"))
        return
    saved = Checkpoint(saver.save(session, folder("next")))
    for name in ("model/ent/Adam", "model/W/Adam"):
        assert saved.read(name)[: len(old[name])].tobytes() == old[name].tobytes()


@pytest.mark.parametrize("restored", [False, True])
def test_slots_of_what_is_frozen_under_another_name_on_disk(session, folder, base, restored):
    prefix, old = base
    Model(NEW, "Adam", prefix)
    own = {variable.op.name: variable for variable in tf.global_variables()}
    names = {name: v for name, v in own.items() if not name.startswith("model/ent/")}
    names["other"] = names.pop("model/W")
    names.update((n, v) for n, v in own.items() if n.startswith("model/ent/trainable/"))
    saver = pe.Saver({**names, "model/ent": embeddings_in()[0]})
    session.run(tf.global_variables_initializer())
    for step in range(3):
        saved = Checkpoint(saver.save(session, folder("run"), step))
        if restored:
            saver.restore(session, saved.prefix)
        assert saved.read("other").tobytes() == old["model/W"].tobytes()
        for name in ("model/W/Adam", "model/W/Adam_1"):
            assert saved.read(name).tobytes() == old[name].tobytes(), (step, name)


@pytest.mark.parametrize("dtype, keys", [(tf.float16, None), (tf.float32, "ba")])
def test_slots_of_a_table_of_which_every_row_trains(session, folder, dtype, keys):
    """It is joined to be saved: no slice of the file can be of its dtype, or its rows moved."""

    def script(rows):
        table = tf.get_variable("ent", [rows, 2], dtype)
        loss = tf.reduce_sum(tf.square(tf.nn.embedding_lookup(table, list(range(rows)))))
        return table, tf.train.AdagradOptimizer(0.1).minimize(loss)

    with tf.Graph().as_default(), tf.Session() as plain:
        step = script(2)[1]
        plain.run(tf.global_variables_initializer())
        plain.run(step)
        base = tf.train.Saver().save(plain, folder("base"))
    vocabularies = {"ent": (list("ab"), [*keys, "c"])} if keys else None
    how = dict(trainable_rows={"ent": [0, 1]}, slots=True, vocabularies=vocabularies, show=None)
    with pe.growing(base, **how):
        table, step = script(3)
    session.run(tf.global_variables_initializer())
    session.run(step)
    saved = pe.Saver().save(session, folder("saved"))
    (slot,) = [v for v in tf.global_variables() if "Adagrad" in v.op.name]
    assert Checkpoint(saved).read("ent/Adagrad").tobytes() == session.run(slot).tobytes()
    expected = session.run([table, slot])
    session.run(tf.global_variables_initializer())
    pe.Saver().restore(session, saved)
    assert [its.tobytes() for its in session.run([table, slot])] == [e.tobytes() for e in expected]


@pytest.mark.parametrize("merge", [False, True])
def test_slots_of_another_dtype_than_what_is_frozen(grown_script, merge):
    class Mixed(tf.train.Optimizer):
        """Sums gradients of 16 bits in 32."""

        def __init__(self):
            super().__init__(False, "Mixed")

        def _create_slots(self, var_list):
            for variable in var_list:
                zeros = tf.zeros(variable.shape, tf.float32)
                self._get_or_make_slot(variable, zeros, "sum", self._name)

        def _apply_dense(self, grad, var):
            add = tf.assign_add(self.get_slot(var, "sum"), tf.cast(grad, tf.float32))
            return tf.group(tf.assign_sub(var, grad), add)

    def script(rows):
        table = tf.get_variable("ent", [rows, 2], tf.float16, use_resource=False)
        weight = tf.get_variable("w", [2], tf.float16, use_resource=False)
        return Mixed().minimize(tf.reduce_sum(table) + tf.reduce_sum(weight))

    base, saved = grown_script(script, merge)
    assert Checkpoint(saved).read("w/Mixed").tolist() == [1, 1]
    with tf.Graph().as_default(), tf.Session() as session:
        script(6)
        tf.train.Saver().restore(session, saved)
