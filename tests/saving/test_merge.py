"""Base + deltas = the whole checkpoint, and the scripts that merge and inspect."""

import json
import os
import threading

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from small_model import NEW, OLD, OPTIMIZERS, WIDTH, Model, assert_same, train_base

import partial_embed as pe
from partial_embed.files.checkpoint import Checkpoint, index_checksum
from partial_embed.files.index import slice_counts, stored_entries

SOAK = bool(os.environ.get("PARTIAL_EMBED_SOAK"))


@pytest.fixture(autouse=True)
def large(monkeypatch):
    """Tables are written as large ones are; those of test_merge_union.py as small ones."""
    monkeypatch.setattr("partial_embed.saving.merged_table._SMALL_BYTES", -1)


def read(prefix):
    """Everything a checkpoint holds."""
    checkpoint = Checkpoint(prefix)
    return {name: checkpoint.read(name) for name in checkpoint.shapes}


def grow(base, folder, name="a", rows=NEW, ids=(1, 7, 7, 3), steps=3, **arguments):
    """Grows and trains; returns prefixes of (whole, delta) that one session saved."""
    with tf.Graph().as_default(), tf.Session() as session:
        model = Model(rows, checkpoint=base, **arguments)
        whole, delta = pe.Saver(), pe.Saver(delta=True)
        session.run(tf.global_variables_initializer())
        model.train(session, steps, ids)
        return (
            whole.save(session, folder(name + "-whole.ckpt"), write_meta_graph=False),
            delta.save(session, folder(name + "-delta.ckpt"), write_meta_graph=False),
        )


def assert_merged(merged, whole):
    """The same tensors, bit for bit, and the same generations."""
    assert_same(read(merged), read(whole))
    with open(merged + ".growth.json") as left, open(whole + ".growth.json") as right:
        records = [json.load(stream) for stream in (left, right)]
    for record in records:  # whose it is: the two lie in other files
        del record["index"]
    assert records[0] == records[1]


@pytest.mark.parametrize(
    "optimizer, same, inside, train",
    [(optimizer, True, False, ()) for optimizer in sorted(OPTIMIZERS)]
    + [(optimizer, False, True, "all") for optimizer in ("Adagrad", "Adam", "Ftrl")]
    if SOAK
    else [(name, True, False, ()) for name in ("GradientDescent", "CenteredRMSProp", "Adadelta")]
    + [(name, False, True, "all") for name in ("Adam", "Ftrl")],
)
def test_base_and_delta_are_the_whole(folder, optimizer, same, inside, train):
    other = optimizer if same else "GradientDescent"
    prefix, _ = train_base(folder("base.ckpt"), other, inside=inside, average=same)
    whole, delta = grow(
        prefix, folder, optimizer=optimizer, inside=inside, train=train, average=True
    )
    merged = pe.merge_checkpoint(prefix, delta, folder("merged.ckpt"))
    assert_merged(merged, whole)
    with tf.Graph().as_default(), tf.Session() as session:
        Model(NEW, optimizer, inside=inside, average=True)
        tf.train.Saver().restore(session, merged)


@pytest.mark.parametrize(
    "arguments",
    [
        dict(trainable_rows={"*ent": [4, 1]}),
        dict(
            rows=8,
            vocabularies={"*ent": pe.align_vocabularies(list("abcdef"), list("xcaybfzd"))},
        ),
        dict(use_resource=True, partitioner=tf.fixed_size_partitioner(2)),
        dict(rows=OLD + 1),
    ],
)
def test_other_ways_to_grow(folder, base, arguments):
    whole, delta = grow(base[0], folder, ids=(1, 6, 5, 3), **arguments)
    assert_merged(pe.merge_checkpoint(base[0], [delta], folder("merged.ckpt")), whole)


@pytest.mark.parametrize("kind", ["plain", "whole", "partitioned", "axis"])
def test_a_plain_saver_finds_one_piece(folder, kind):
    """For it would join others in twice the memory; but what is divided stays so."""
    if kind == "axis":
        base = folder("base.ckpt")
        with tf.Graph().as_default(), tf.Session() as session:
            tf.get_variable("model/ent", [WIDTH, OLD])
            session.run(tf.global_variables_initializer())
            tf.train.Saver().save(session, base)
        with tf.Graph().as_default(), tf.Session() as session:
            table = pe.get_embedding("model/ent", [WIDTH, NEW], checkpoint=base, axis=1)
            pe.minimize(tf.train.AdamOptimizer(0.1), tf.reduce_sum(table.lookup([NEW - 1])))
            session.run(tf.global_variables_initializer())
            delta = pe.Saver(delta=True).save(session, folder("delta.ckpt"))
    else:
        base, _ = train_base(folder("base.ckpt"))
        rows = NEW
        if kind == "whole":
            base, _ = grow(base, folder, "first")
            rows += 3
        elif kind == "partitioned":
            cut = tf.fixed_size_partitioner(2)
            base, _ = grow(base, folder, "first", rows=OLD + 2, partitioner=cut)
            rows += 3
        _, delta = grow(base, folder, "second", rows=rows, ids=(1, rows - 1))
    counts = slice_counts(pe.merge_checkpoint(base, delta, folder("merged.ckpt")))
    for name in ("model/ent", "model/ent/Adam", "model/ent/Adam_1"):
        assert counts[name] == {"partitioned": 4, "axis": 2}.get(kind, 0), name


def test_a_base_in_slices_of_columns(folder):
    base = folder("base.ckpt")
    with tf.Graph().as_default(), tf.Session() as session:
        cut = tf.fixed_size_partitioner(2, axis=1)
        table = tf.get_variable("ent", [OLD, WIDTH], partitioner=cut)
        step = tf.train.AdamOptimizer(0.1).minimize(tf.reduce_sum(tf.convert_to_tensor(table)))
        session.run(tf.global_variables_initializer())
        session.run(step)
        tf.train.Saver().save(session, base)
    with tf.Graph().as_default(), tf.Session() as session:
        table = pe.get_embedding("ent", [NEW, WIDTH], checkpoint=base)
        step = pe.minimize(tf.train.AdamOptimizer(0.1), tf.reduce_sum(table.lookup([0, NEW - 1])))
        session.run(tf.global_variables_initializer())
        session.run(step)
        whole = pe.Saver().save(session, folder("whole.ckpt"))
        delta = pe.Saver(delta=True).save(session, folder("delta.ckpt"))
    merged = pe.merge_checkpoint(base, delta, folder("merged.ckpt"))
    assert_merged(merged, whole)
    assert slice_counts(merged)["ent"] == slice_counts(merged)["ent/Adam"] == 3


def test_where_python_starts_no_thread(folder, base, monkeypatch):
    """As when it ends: a script may save, or merge, at exit."""

    def refuse(self):
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    whole, delta = grow(base[0], folder)
    assert_merged(pe.merge_checkpoint(base[0], delta, folder("merged.ckpt")), whole)


@pytest.mark.parametrize("name", ["model/ent", "model/ent/Adam_1", "model/W", "model/W/Adam"])
def test_a_base_that_is_damaged(folder, base, name):
    _, delta = grow(base[0], folder)
    shards, entries = stored_entries(base[0])
    ((_, entry),) = entries[name]
    with open(f"{base[0]}.data-{entry.shard_id:05d}-of-{shards:05d}", "r+b") as stream:
        stream.seek(entry.offset)
        stream.write(b"\1\2\3")
    with pytest.raises(ValueError, match="base.ckpt cannot be read: .* It is damaged or incom"):
        pe.merge_checkpoint(base[0], delta, folder("merged.ckpt"))
    assert not [name for name in os.listdir(folder()) if "merged" in name or "saving" in name]


def test_from_an_earlier_generation(folder, base):
    first, _ = grow(base[0], folder, "first")
    whole, delta = grow(first, folder, "second", rows=OLD + 2, ids=(6, 7), generation=0)
    assert_merged(pe.merge_checkpoint(first, delta, folder("merged.ckpt")), whole)
    with open(whole + ".growth.json") as stream:
        entry = json.load(stream)["tables"]["model/ent"]
    assert entry["generations"] == [[[0, OLD]], [[OLD, OLD + 2]]]


@pytest.mark.parametrize("held, trainable", [(0, None), (3, [0, 1, 2])])
def test_where_nothing_is_frozen(folder, write_checkpoint, held, trainable):
    """All rows train, of the base too, or it has none: a delta stands on nothing, and is read."""
    base = write_checkpoint({"ent": np.ones([held, 2], np.float32)})
    with tf.Graph().as_default(), tf.Session() as session:
        table = pe.get_embedding("ent", [4, 2], checkpoint=base, trainable_rows=trainable)
        session.run(tf.global_variables_initializer())
        whole = pe.Saver().save(session, folder("whole.ckpt"))
        saver = pe.Saver(delta=True)
        delta = saver.save(session, folder("delta.ckpt"))
        expected = session.run(table.value())
        session.run(tf.assign(table.trainable, tf.zeros([4, 2])).op)
        saver.restore(session, delta)
        assert session.run(table.value()).tolist() == expected.tolist()
    assert_merged(pe.merge_checkpoint(base, delta, folder("merged.ckpt")), whole)
    with tf.Graph().as_default(), tf.Session() as session:
        table = pe.get_embedding("ent", [5, 2], checkpoint=whole)
        session.run(tf.global_variables_initializer())
        assert session.run(table.value())[:4].tolist() == expected.tolist()


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float64])
@pytest.mark.parametrize("row", [[], [2, 3]])
def test_dtypes_and_ranks(folder, write_checkpoint, dtype, row, random):
    values = random.randn(*([5] + row)).astype(dtype.as_numpy_dtype)
    prefix = write_checkpoint({"ent": values})
    with tf.Graph().as_default(), tf.Session() as session:
        pe.get_embedding("ent", [7] + row, dtype, checkpoint=prefix)
        session.run(tf.global_variables_initializer())
        whole = pe.Saver().save(session, folder("whole.ckpt"))
        delta = pe.Saver(delta=True).save(session, folder("delta.ckpt"))
    assert_merged(pe.merge_checkpoint(prefix, delta, folder("merged.ckpt")), whole)


@pytest.mark.parametrize("turns", [4])
def test_over_the_base_and_over_itself(folder, base, turns, caplog):
    whole, delta = grow(base[0], folder)
    expected = read(whole)
    for _ in range(turns):
        merged = pe.merge_checkpoint(base[0], delta, folder("merged.ckpt"))
        assert_same(read(merged), expected)
    data = {name for name in os.listdir(folder()) if name.startswith("merged.ckpt.data")}
    assert len({name.rsplit("-", 1)[1] for name in data}) == 1
    assert len(data) == int(next(iter(data)).rsplit("-", 1)[1])
    assert "was the base, and is replaced" not in caplog.text
    assert pe.merge_checkpoint(base[0], delta, base[0]) == base[0]
    assert f"{base[0]} was the base, and is replaced" in caplog.text
    assert_same(read(base[0]), expected)
    with pytest.raises(ValueError, match="Give the base it was trained on"):
        pe.merge_checkpoint(base[0], delta, base[0])  # It is not the base any more.
    assert_same(read(base[0]), expected)


# --- several ----------------------------------------------------------------------------


def test_a_delta_that_is_named_twice(folder, base):
    _, delta = grow(base[0], folder)
    with pytest.raises(ValueError, match="delta.* was given more than once"):
        pe.merge_checkpoint(base[0], [delta, os.path.relpath(delta)], folder("merged.ckpt"))
    for name in os.listdir(folder()):
        if name.startswith("a-delta.ckpt"):
            os.symlink(folder(name), folder(name.replace("a-delta", "linked")))
    with pytest.raises(ValueError, match="delta.* was given more than once"):
        pe.merge_checkpoint(base[0], [delta, folder("linked.ckpt")], folder("merged.ckpt"))
    with pytest.raises(TypeError, match="deltas must be a prefix, or a list of them, got 5"):
        pe.merge_checkpoint(base[0], 5, folder("merged.ckpt"))


@pytest.fixture
def two(folder, base):
    """Two people's deltas: keys u, v of the first; x, y, z of the second."""
    grown = []
    for name, keys in (("first", "uv"), ("second", "xyz")):
        vocabulary = pe.align_vocabularies(list("abcdef"), list("abcdef" + keys))
        rows = OLD + len(keys)
        grown.append(
            grow(
                base[0],
                folder,
                name,
                rows,
                ids=(rows - 1, OLD, 0),
                vocabularies={"*ent": vocabulary},
            )
        )
    return grown


def test_deltas_of_different_keys(folder, base, two):
    (whole1, delta1), (whole2, delta2) = two
    with open(folder("keys.txt"), "w") as stream:
        stream.write("".join(key + "\n" for key in "abcdef"))
    merged = pe.merge_checkpoint(
        base[0], [delta1, delta2], folder("merged.ckpt"), vocabulary=folder("keys.txt")
    )
    found, first, second = read(merged), read(whole1), read(whole2)
    for name in ("model/ent", "model/ent/Adam", "model/ent/Adam_1"):
        expected = np.concatenate([first[name], second[name][OLD:]])
        assert found[name].tobytes() == expected.tobytes(), name
    assert found["model/W"].tobytes() == base[1]["model/W"].tobytes()
    with open(merged + ".vocabulary.txt") as stream:
        assert stream.read().split() == list("abcdefuvxyz")
    with open(folder("keys.txt"), "w") as stream:
        stream.write("".join(key + "\n" for key in "fedcba"))
    with pytest.raises(ValueError, match="model/ent in .* are of other keys, or in another order"):
        pe.merge_checkpoint(
            base[0], [delta1, delta2], folder("other"), vocabulary=folder("keys.txt")
        )
    with open(merged + ".growth.json") as stream:
        entry = json.load(stream)["tables"]["model/ent"]
    assert entry.pop("vocabulary")
    assert entry.pop("grew_from") == index_checksum(base[0])
    assert entry == {"rows": 11, "generations": [[[0, 6]], [[6, 11]]]}
    with tf.Graph().as_default(), tf.Session() as session:
        model = Model(11)
        tf.train.Saver().restore(session, merged)
        model.train(session, 1)


def test_a_key_in_two_deltas(folder, base):
    deltas, wholes = [], []
    for name, keys in (("first", "uv"), ("second", "vw")):
        vocabulary = pe.align_vocabularies(list("abcdef"), list("abcdef" + keys))
        whole, delta = grow(
            base[0], folder, name, OLD + 2, ids=(OLD, OLD + 1), vocabularies={"*ent": vocabulary}
        )
        deltas.append(delta)
        wholes.append(read(whole)["model/ent"])
    with pytest.raises(ValueError) as error:
        pe.merge_checkpoint(base[0], deltas, folder("merged.ckpt"))
    text = str(error.value)
    assert "1 keys are of model/ent in more than one delta: v is in" in text
    assert all(delta in text for delta in deltas)
    assert "policy= 'first', 'last', 'mean'" in text
    assert not os.path.exists(folder("merged.ckpt.index"))
    u, v1 = wholes[0][OLD:]
    v2, w = wholes[1][OLD:]
    for policy, v in (("first", v1), ("last", v2), ("mean", (v1.astype(float) + v2) / 2)):
        merged = pe.merge_checkpoint(base[0], deltas, folder("merged.ckpt"), policy=policy)
        found = read(merged)["model/ent"]
        np.testing.assert_array_equal(found[OLD:], np.float32([u, v, w]))
        np.testing.assert_array_equal(found[:OLD], base[1]["model/ent"])


def test_rows_without_keys(folder, base):
    # Without vocabularies a row's number is its key, so two growths of one base collide.
    deltas = [grow(base[0], folder, name)[1] for name in ("first", "second")]
    with pytest.raises(ValueError, match="3 rows are of model/ent .*: row 6 is in"):
        pe.merge_checkpoint(base[0], deltas, folder("merged.ckpt"))
    merged = pe.merge_checkpoint(base[0], deltas, folder("merged.ckpt"), policy="first")
    assert read(merged)["model/ent"].shape == (NEW, WIDTH)


def test_old_rows_that_trained_in_two_deltas(folder, base):
    pairs = [
        grow(base[0], folder, name, OLD, ids=rows, trainable_rows={"*ent": rows})
        for name, rows in (("first", (0, 1)), ("second", (4, 5)))
    ]
    merged = pe.merge_checkpoint(base[0], [pair[1] for pair in pairs], folder("merged.ckpt"))
    found = read(merged)["model/ent"]
    first, second = (read(pair[0])["model/ent"] for pair in pairs)
    assert (found[[0, 1]] == first[[0, 1]]).all()
    assert (found[[4, 5]] == second[[4, 5]]).all()
    assert (found[[2, 3]] == base[1]["model/ent"][[2, 3]]).all()


def test_other_variables_that_differ(folder, base, caplog):
    vocabularies = [
        {"*ent": pe.align_vocabularies(list("abcdef"), list("abcdef" + key))} for key in "uv"
    ]
    pairs = [
        grow(base[0], folder, name, OLD + 1, ids=(OLD, 0), train="*/W", vocabularies=vocabulary)
        for name, vocabulary in zip(("first", "second"), vocabularies)
    ]
    deltas = [pair[1] for pair in pairs]
    with pytest.raises(ValueError, match="trained model/W to different values"):
        pe.merge_checkpoint(base[0], deltas, folder("merged.ckpt"))
    weights = [read(pair[0])["model/W"] for pair in pairs]
    for policy, expected in (("first", weights[0]), ("last", weights[1])):
        caplog.clear()
        merged = pe.merge_checkpoint(base[0], deltas, folder("merged.ckpt"), policy=policy)
        assert read(merged)["model/W"].tobytes() == expected.tobytes()
        assert "does not know whose keys the rows of model/ent are" in caplog.text
    merged = pe.merge_checkpoint(base[0], deltas, folder("merged.ckpt"), policy="mean")
    np.testing.assert_allclose(read(merged)["model/W"], np.mean(weights, 0), rtol=1e-6)


# --- what is refused --------------------------------------------------------------------


def refused(folder, base, deltas, **arguments):
    before = sorted(os.listdir(folder()))
    with pytest.raises(ValueError) as error:
        pe.merge_checkpoint(base, deltas, folder("merged.ckpt"), **arguments)
    assert sorted(os.listdir(folder())) == before  # Nothing is written, nothing left.
    return str(error.value)


def test_another_base(folder, base):
    _, delta = grow(base[0], folder)
    for steps, rows in ((3, OLD), (2, OLD + 1)):
        other, _ = train_base(folder(f"other{rows}.ckpt"), steps=steps, rows=rows)
        text = refused(folder, other, delta)
        assert delta in text
        assert base[0] in text
        assert other in text
        assert "Give the base it was trained on" in text


def test_what_is_no_delta(folder, base):
    whole, delta = grow(base[0], folder)
    assert whole + " is no delta: it holds" in refused(folder, base[0], whole)
    assert delta + " is a delta. Give the base first" in refused(folder, delta, delta)
    assert "name one delta at least" in refused(folder, base[0], [])
    assert "policy must be one of" in refused(folder, base[0], delta, policy="best")
    assert "No checkpoint at" in refused(folder, base[0], folder("nowhere.ckpt"))
    with pytest.raises(OSError, match="Saving .* failed: .*File exists"):
        pe.merge_checkpoint(base[0], delta, folder(base[0] + ".index", "merged.ckpt"))


def test_deltas_of_other_tables(folder, base, write_checkpoint):
    _, delta = grow(base[0], folder)
    prefix = write_checkpoint({"other": np.zeros([2, 2], np.float32)})
    with tf.Graph().as_default(), tf.Session() as session:
        pe.get_embedding("other", [3, 2], checkpoint=prefix)
        session.run(tf.global_variables_initializer())
        second = pe.Saver(delta=True).save(session, folder("second.ckpt"))
    for deltas in ([delta, second], second):
        assert "holds no tensor 'other'" in refused(folder, base[0], deltas)


def test_damaged_files(folder, base):
    _, delta = grow(base[0], folder)
    for prefix in (base[0], delta):
        for name in sorted(os.listdir(folder())):
            if name.startswith(os.path.basename(prefix) + ".data"):
                with open(folder(name), "rb") as stream:
                    content = stream.read()
                # Of the base, only the rows and slots are read.
                at = max(content.find(base[1]["model/ent"].tobytes()), 0)
                flipped = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
                for bad in (content[: at + 9], flipped):
                    with open(folder(name), "wb") as stream:
                        stream.write(bad)
                    assert prefix in refused(folder, base[0], delta)
                with open(folder(name), "wb") as stream:
                    stream.write(content)
    pe.merge_checkpoint(base[0], delta, folder("merged.ckpt"))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rows_that_are_no_numbers(folder, write_checkpoint, bad):
    values = np.ones([OLD, WIDTH], np.float32)
    values[2, 1] = bad
    prefix = write_checkpoint({"model/ent": values, "model/W": np.ones([WIDTH, 2], np.float32)})
    _, delta = grow(prefix, folder, allow_nonfinite=True)
    text = refused(folder, prefix, delta)
    assert "model/ent: rows [2] of the base hold NaN or Inf" in text
    merged = pe.merge_checkpoint(prefix, delta, folder("merged.ckpt"), allow_nonfinite=True)
    np.testing.assert_array_equal(read(merged)["model/ent"][:OLD], values)


@pytest.mark.parametrize("which", ["slot", "weight"])
def test_a_slot_or_a_weight_that_is_no_number(folder, base, which):
    """Nobody could restore what comes out."""
    with tf.Graph().as_default(), tf.Session() as session:
        with pe.growing(base[0], train="*/W", show=None):
            model = Model(NEW, "Adagrad")
        saver = pe.Saver(delta=True)
        session.run(tf.global_variables_initializer())
        model.train(session)
        is_bad = {"slot": "ent/trainable/Adagrad", "weight": "/W"}[which]
        (bad,) = [v for v in tf.global_variables() if v.op.name.endswith(is_bad)]
        bad.load(np.full(bad.shape.as_list(), np.nan), session)
        delta = saver.save(session, folder("delta.ckpt"))
    text = refused(folder, base[0], delta)
    assert {"slot": "model/ent/Adagrad", "weight": "model/W"}[which] in text
    assert "of the delta hold NaN or Inf" in text
    pe.merge_checkpoint(base[0], delta, folder("merged.ckpt"), allow_nonfinite=True)


# --- as a user runs them ----------------------------------------------------------------


def test_a_name_for_the_merged_checkpoint(folder, base):
    _, delta = grow(base[0], folder)
    with pytest.raises(ValueError, match="is no name for a checkpoint"):
        pe.merge_checkpoint(base[0], delta, "")


def test_the_vocabulary_of_renumbered_rows(folder):
    old, new = folder("old.txt"), folder("new.txt")
    for path, keys in ((old, "abcde"), (new, "xcayeb")):
        with open(path, "w") as stream:
            stream.write("".join(key + "\n" for key in keys))
    base, _ = train_base(folder("base.ckpt"), rows=5)
    whole, delta = grow(base, folder, rows=6, ids=(0, 3), vocabularies={"model/ent": (old, new)})
    merged = pe.merge_checkpoint(base, delta, folder("merged"), vocabulary=old)
    assert_merged(merged, whole)
    with open(merged + ".vocabulary.txt", "rb") as left, open(new, "rb") as right:
        assert left.read() == right.read()
    with pytest.raises(ValueError, match="has 6 keys"):
        pe.merge_checkpoint(base, delta, folder("other"), vocabulary=new)
    with open(old, "w") as stream:
        stream.write("".join(key + "\n" for key in "bacde"))
    with pytest.raises(ValueError, match="are of other keys, or in another order"):
        pe.merge_checkpoint(base, delta, folder("other"), vocabulary=old)
    assert not os.path.exists(folder("other.index"))


@pytest.mark.parametrize("axis", [0, 1], ids=["rows", "columns"])
@pytest.mark.parametrize("delta", [False, True], ids=["whole", "merged"])
def test_slots_of_partitioned_variables_that_growing_froze(grown_script, delta, axis):
    def script(rows):
        with tf.variable_scope("m", partitioner=tf.fixed_size_partitioner(2)):
            table = tf.get_variable("table", [rows, 3])
            divided = tf.fixed_size_partitioner(2, axis)
            weight = tf.get_variable("weight", [3, 2], partitioner=divided)
        loss = tf.reduce_sum(tf.matmul(tf.nn.embedding_lookup(table, [0, rows - 1]), weight) ** 2)
        return tf.train.AdamOptimizer(0.1).minimize(loss)

    base, saved = grown_script(script, delta)
    with tf.Graph().as_default(), tf.Session() as session:
        script(6)
        tf.train.Saver().restore(session, saved)  # every variable
    for name in ("m/weight/Adam", "m/weight/Adam_1"):
        np.testing.assert_array_equal(
            tf.train.load_variable(saved, name), tf.train.load_variable(base, name)
        )


@pytest.mark.parametrize(
    "given, rows",
    [
        ({"trainable_rows": [2]}, 6),
        ({"num_frozen_rows": 6}, 8),
        ({"num_frozen_rows": 3}, 6),
        ({"num_frozen_rows": 6, "trainable_rows": [2]}, 8),
    ],
)
def test_tables_that_grew_from_no_checkpoint_and_were_restored(folder, given, rows):
    def train(table):
        loss = tf.reduce_sum(tf.square(tf.nn.embedding_lookup(table, [0, 2, 5]) + 1.0))
        return tf.train.AdagradOptimizer(0.1).minimize(loss)

    with tf.Graph().as_default(), tf.Session() as session:
        step = train(tf.get_variable("ent", [6, 2]))
        session.run(tf.global_variables_initializer())
        session.run(step)
        base = tf.train.Saver().save(session, folder("base"))
    with tf.Graph().as_default(), tf.Session() as session:
        step = train(pe.get_embedding("ent", [rows, 2], **given))
        saver, deltas = pe.Saver(), pe.Saver(delta=True)
        session.run(tf.global_variables_initializer())
        for each in (saver, deltas):
            each.restore(session, base)
        session.run(step)
        whole, delta = saver.save(session, folder("whole")), deltas.save(session, folder("delta"))
    assert_same(read(pe.merge_checkpoint(base, delta, folder("merged"))), read(whole))
