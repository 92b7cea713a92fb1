"""`grow_checkpoint`: what is larger, what is the same, and a script that goes on from it."""

import json
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from small_model import NEW, OLD, OPTIMIZERS, WIDTH, Model, plain_values, train_base, values

import partial_embed as pe
from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.index import slice_counts, stored_entries

OLD_KEYS, NEW_KEYS = list("abcdef"), list("xbadfyeczw")  # all old ones, in another order


def quietly(*arguments, **keywords):
    return pe.grow_checkpoint(*arguments, show=None, **keywords)


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_slots_of_new_rows_are_where_the_optimizer_starts_them(optimizer, folder):
    """The oracle: a plain graph of the larger shape, just initialized."""
    prefix, old = train_base(folder("base.ckpt"), optimizer)
    grown = quietly(prefix, folder("grown.ckpt"), rows={"model/ent": NEW})
    _, found = plain_values(grown, NEW, optimizer)
    with tf.Graph().as_default(), tf.Session() as session:
        Model(NEW, optimizer)
        session.run(tf.global_variables_initializer())
        fresh = values(session)
    assert found.keys() == fresh.keys()
    for name, value in found.items():
        if value.shape[:1] == (NEW,):
            assert value[:OLD].tobytes() == old[name].tobytes(), name
            if name != "model/ent":
                assert value[OLD:].tobytes() == fresh[name][OLD:].tobytes(), name
        else:
            assert value.tobytes() == old[name].tobytes(), name


def test_moving_averages_start_as_the_rows(folder):
    prefix, _ = train_base(folder("base.ckpt"), "GradientDescent", average=True)
    grown = quietly(prefix, folder("grown.ckpt"), rows={"model/ent": NEW})
    _, found = plain_values(grown, NEW, "GradientDescent", average=True)
    average = found["model/ent/ExponentialMovingAverage"]
    assert average[OLD:].tobytes() == found["model/ent"][OLD:].tobytes()
    assert average[:OLD].tobytes() != found["model/ent"][:OLD].tobytes()


def everything(dtype=np.float32):
    """Arrays of which some have one entry a key, on one axis or the other."""
    random = np.random.RandomState(0)
    shapes = {"ent": [6, 3], "out": [3, 6], "bias": [6], "cube": [2, 6, 3], "other": [5, 3]}
    arrays = {name: random.randn(*shape).astype(dtype) for name, shape in shapes.items()}
    arrays.update({f"scope/{n}/Adam": arrays[n] + 1 for n in ("ent", "out")})
    return dict(arrays, global_step=np.int64(7), counts=np.arange(6))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
@pytest.mark.parametrize("partitions", [1, 3])
def test_all_that_has_one_entry_a_key_follows_its_keys(
    dtype, partitions, write_checkpoint, read_checkpoint, tmp_path
):
    arrays = everything(dtype)
    base = write_checkpoint(arrays, partitions=1 if dtype == np.float16 else partitions)
    grown = quietly(base, str(tmp_path / "grown"), vocabularies={"*": (OLD_KEYS, NEW_KEYS)})
    found = read_checkpoint(grown)
    assert found.keys() == arrays.keys()
    places = [NEW_KEYS.index(key) for key in OLD_KEYS]
    axes = {"ent": 0, "out": 1, "bias": 0, "cube": 1, "counts": 0}
    axes.update({"scope/ent/Adam": 0, "scope/out/Adam": 1})
    for name, old in arrays.items():
        axis = axes.get(name)
        if axis is None:
            assert found[name].tobytes() == old.tobytes(), name
            continue
        assert found[name].shape[axis] == len(NEW_KEYS)
        assert np.take(found[name], places, axis).tobytes() == old.tobytes(), name
        new = np.delete(found[name], places, axis)
        assert new.dtype == old.dtype
        if "/" in name or name == "counts":
            assert not new.any()
        else:
            assert np.isfinite(new).all()
            assert new.any()
    assert (tmp_path / "grown.vocabulary.txt").read_text() == "".join(k + "\n" for k in NEW_KEYS)
    with open(grown + ".growth.json") as stream:
        tables = json.load(stream)["tables"]
    assert sorted(tables) == sorted(name for name in axes if "/" not in name)
    assert tables["out"]["axis"] == 1
    assert tables["ent"]["generations"] == [[[1, 5], [6, 8]], [[0, 1], [5, 6], [8, 10]]]
    assert tables["ent"]["untrained"] == [1]


def test_others_that_have_as_many_rows_are_told(write_checkpoint, tmp_path, capsys):
    base = write_checkpoint({"ent": np.ones([3, 2]), "out": np.ones([4, 3]), "w": np.ones([2, 5])})
    pe.grow_checkpoint(base, str(tmp_path / "g"), rows={"ent": 4})
    assert "warning: out has as many rows or columns as what grows" in capsys.readouterr().err
    pe.grow_checkpoint(base, str(tmp_path / "g"), rows={"ent": 4}, skip="out")
    assert "warning" not in capsys.readouterr().err


def test_rows_that_follow_keys_and_grow_by_number(write_checkpoint, tmp_path, capsys):
    base, keyed = write_checkpoint({"ent": np.ones([3, 2])}), str(tmp_path / "keyed")
    pe.grow_checkpoint(base, keyed, vocabularies={"ent": (list("abc"), list("abcd"))})
    assert "warning" not in capsys.readouterr().err
    pe.grow_checkpoint(keyed, str(tmp_path / "more"), rows={"ent": 5})
    assert "warning: rows of ent follow keys, and grow by number" in capsys.readouterr().err


def test_rows_and_columns_by_number(write_checkpoint, read_checkpoint, tmp_path):
    arrays = everything()
    base = write_checkpoint(arrays)
    grown = quietly(base, str(tmp_path / "grown"), rows={"ent": 8, "bias": 7}, columns={"out": 9})
    found = read_checkpoint(grown)
    assert found["ent"].shape == (8, 3)
    assert found["bias"].shape == (7,)
    assert found["out"].shape == (3, 9)
    assert found["scope/out/Adam"].shape == (3, 9)
    assert found["cube"].shape == (2, 6, 3)
    assert found["out"][:, :6].tobytes() == arrays["out"].tobytes()
    assert not os.path.exists(grown + ".vocabulary.txt")


def test_a_table_without_rows(write_checkpoint, read_checkpoint, tmp_path):
    base = write_checkpoint({"ent": np.zeros([0, 2], np.float32)})
    start = [[1.0, 2.0], [3.0, 4.0]]
    grown = quietly(base, str(tmp_path / "grown"), rows={"ent": 2}, initializers=start)
    assert read_checkpoint(grown)["ent"].tolist() == start


@pytest.mark.parametrize("turned", [False, True])
def test_large_tables_are_written_in_blocks(
    turned, write_checkpoint, read_checkpoint, tmp_path, monkeypatch
):
    monkeypatch.setattr("partial_embed.saving.grow_checkpoint._BLOCK_BYTES", 40)
    arrays = everything()
    base = write_checkpoint(arrays)
    keys = OLD_KEYS[::-1] if turned else OLD_KEYS
    vocabularies = {"*": (OLD_KEYS, [*keys, "x", "y"])}
    seen = []
    grown = quietly(
        base,
        str(tmp_path / "grown"),
        vocabularies=vocabularies,
        progress=lambda done, total: seen.append((done, total)),
    )
    found = read_checkpoint(grown)
    step = -1 if turned else 1
    assert slice_counts(grown)["ent"] == 0 < slice_counts(grown)["out"]  # whose rows lie apart
    assert found["ent"][:6].tobytes() == arrays["ent"][::step].tobytes()
    assert found["out"][:, :6].tobytes() == np.ascontiguousarray(arrays["out"][:, ::step]).tobytes()
    assert found["other"].tobytes() == arrays["other"].tobytes()
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] == sum(array.nbytes for array in arrays.values())


@pytest.mark.parametrize("optimizer", ["Adam", "Adagrad", "GradientDescent"])
@pytest.mark.parametrize("vocabulary", [False, True])
def test_growing_goes_on_from_it(optimizer, vocabulary, folder):
    """All rows are loaded, and the new ones train."""
    prefix, _ = train_base(folder("base.ckpt"), optimizer)
    how = {"rows": {"model/ent": len(NEW_KEYS)}}
    if vocabulary:
        how = {"vocabularies": {"*ent": (OLD_KEYS, NEW_KEYS)}}
    grown = quietly(prefix, folder("grown.ckpt"), **how)
    _, start = plain_values(grown, len(NEW_KEYS), optimizer)
    new = [0, 5, 8, 9] if vocabulary else [6, 7, 8, 9]
    ids = (new[0], 1, new[2], new[0], 3)
    with tf.Graph().as_default(), tf.Session() as session:
        model = Model(len(NEW_KEYS), optimizer, grown)
        saver = pe.Saver()
        session.run(tf.global_variables_initializer())
        assert model.table.plan.trainable_rows.tolist() == new
        assert session.run(model.table).tobytes() == start["model/ent"].tobytes()
        for _ in range(3):
            model.train(session, ids=ids)
        trained = session.run(model.table)
        whole = saver.save(session, folder("trained.ckpt"))
    old = [row for row in range(len(NEW_KEYS)) if row not in new]
    moved = (trained != start["model/ent"]).any(1)
    assert not moved[old].any()
    assert moved[[new[0], new[2]]].all()
    assert not moved[[new[1], new[3]]].any()
    with open(whole + ".growth.json") as stream:
        entry = json.load(stream)["tables"]["model/ent"]
    assert len(entry["generations"]) == 2
    assert "untrained" not in entry


@pytest.mark.parametrize("vocabulary", [False, True])
def test_what_was_added_to_a_table_that_had_grown(vocabulary, folder):
    """Without generation= all is loaded, and only what was added trains; generation=0 is no way."""
    prefix, _ = train_base(folder("base.ckpt"))
    with tf.Graph().as_default(), tf.Session() as session:
        model = Model(8, checkpoint=prefix)
        saver = pe.Saver()
        session.run(tf.global_variables_initializer())
        model.train(session, ids=(6, 7))
        second = saver.save(session, folder("second.ckpt"))
    old, new = list("abcdefgh"), list("xhgfedcbay")
    how = {"vocabularies": {"*ent": (old, new)}} if vocabulary else {"rows": {"model/ent": 10}}
    grown = quietly(second, folder("grown.ckpt"), **how)
    _, start = plain_values(grown, 10)
    for generation in (None, 1):
        with tf.Graph().as_default(), tf.Session() as session:
            model = Model(10, checkpoint=grown, generation=generation)
            session.run(tf.global_variables_initializer())
            assert session.run(model.table).tobytes() == start["model/ent"].tobytes()
            added = [0, 9] if vocabulary else [8, 9]
            assert model.table.plan.trainable_rows.tolist() == added
    with tf.Graph().as_default(), pytest.raises(ValueError, match="say generation=1, or nothing"):
        Model(10, checkpoint=grown, generation=0)


def test_grown_twice_before_it_is_trained(folder):
    prefix, _ = train_base(folder("base.ckpt"))
    one = quietly(prefix, folder("one.ckpt"), rows={"model/ent": 8})
    two = quietly(one, folder("two.ckpt"), rows={"model/ent": 9})
    for generation, trained in ((0, [6, 7, 8, 9]), (1, [8, 9])):
        with tf.Graph().as_default():
            model = Model(10, checkpoint=two, generation=generation)
            assert model.table.plan.trainable_rows.tolist() == trained
            assert model.table.plan.checkpoint_rows == 9
    with tf.Graph().as_default():
        table = pe.get_embedding("model/ent", [9, WIDTH], checkpoint=two, generation=0)
        assert table.plan.trainable_rows.tolist() == [6, 7, 8]
    with tf.Graph().as_default():
        how = dict(checkpoint=two, trainable_rows=np.array([1, 4]))
        table = pe.get_embedding("model/ent", [10, WIDTH], **how)
        assert table.plan.trainable_rows.tolist() == [1, 4, 6, 7, 8, 9]


def test_where_new_rows_start(write_checkpoint, read_checkpoint, tmp_path, random):
    base = write_checkpoint({"ent": random.randn(6, 3).astype(np.float32), "bias": np.ones(6)})
    old = read_checkpoint(base)["ent"]
    given = np.arange(6, dtype=np.float32).reshape([2, 3])
    np.save(tmp_path / "rows.npy", given)
    expected = {
        "mean": np.tile(old.astype(np.float64).mean(0).astype(np.float32), [2, 1]),
        "zeros": np.zeros([2, 3], np.float32),
        "array": given,
        str(tmp_path / "rows.npy"): given,
        "copy": old[[3, 1]],
    }
    kinds = {"array": given, "copy": pe.row_init.mean_of_rows([3, 1])}
    for number, (name, rows) in enumerate(expected.items()):
        grown = quietly(
            base,
            str(tmp_path / f"grown{number}"),
            rows={"ent": 8, "bias": 8},
            initializers={"ent": kinds.get(name, name), "*": "mean"},
        )
        found = read_checkpoint(grown)
        np.testing.assert_array_equal(found["ent"][6:], rows, err_msg=name)
        assert (found["bias"] == 1).all()
    same = [
        read_checkpoint(quietly(base, str(tmp_path / name), rows={"ent": 300}))["ent"]
        for name in ("once", "twice")
    ]
    assert same[0].tobytes() == same[1].tobytes()
    np.testing.assert_allclose(same[0][6:].mean(0), old.mean(0), atol=0.3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Nothing says what grows"),
        ({"rows": {"ent": 6}}, r"ent \[6, 3\] cannot grow to 6 rows: expected a number above 6"),
        ({"rows": {"entt": 9}}, r"The patterns \['entt'\] match nothing in .*: ent \[6, 3\]"),
        ({"columns": {"bias": 9}}, "bias .6. cannot grow to 9 columns"),
        ({"rows": {"ent": 9, "e*": 8}}, "ent is asked to grow in two ways"),
        ({"rows": {"ent": 9}, "skip": "nobody"}, r"The patterns \['nobody'\] match nothing"),
        ({"rows": {"ent": 9}, "initializers": {"x": "mean"}}, r"The patterns \['x'\] match"),
        ({"rows": {"ent": 9}, "slots": {"x": 0.0}}, r"The patterns \['x'\] match"),
        ({"rows": {"ent": 9}, "slots": {"x": "y"}}, "starts at a number, or as the 'rows'"),
        ({"vocabularies": {"square": (list("abc"), list("abcd"))}}, r"3 keys along axes \[0, 1\]"),
        (
            {"vocabularies": {"*": (list("abcdefg"), list("abcdefgh"))}},
            "one entry for each of 7 keys",
        ),
        ({"vocabularies": {"ent": (list("ab"), list("abc"))}}, "of 2 keys along no axis"),
        ({"rows": {"odd": 9}}, "where the optimizer starts odd/Mystery for new rows"),
        ({"rows": {"sums": 9}}, "sums/Adagrad holds 0.0.*, and such sums only grow"),
        ({"rows": {"nan": 9}}, r"nan of .*: rows \[2\] hold NaN or Inf"),
        (
            {"rows": {"ent": 9}, "initializers": "no.npy"},
            "normal, mean, zeros or a .npy file, got 'no.npy'",
        ),
    ],
)
def test_what_is_refused(arguments, message, write_checkpoint, tmp_path):
    ones = np.ones([6, 3], np.float32)
    arrays = {"ent": ones, "bias": np.ones(6), "odd": ones, "odd/Mystery": ones}
    arrays.update({"sums": ones, "sums/Adagrad": ones * 0.01, "nan": ones.copy()})
    arrays["nan"][2, 1] = np.nan
    arrays["square"] = np.ones([3, 3])
    base = write_checkpoint(arrays)
    with pytest.raises(ValueError, match=message):
        quietly(base, str(tmp_path / "grown"), **arguments)
    assert not [name for name in os.listdir(tmp_path) if name.startswith("grown")]


@pytest.mark.parametrize("name", ["ent", "ent/Adagrad", "other"])
def test_a_base_that_is_damaged(name, write_checkpoint, tmp_path):
    arrays = {its: np.ones([6, 3], np.float32) for its in ("ent", "other")}
    arrays["ent/Adagrad"] = np.full([6, 3], 0.1, np.float32)
    base = write_checkpoint(arrays)
    shards, entries = stored_entries(base)
    ((_, entry),) = entries[name]
    with open(f"{base}.data-{entry.shard_id:05d}-of-{shards:05d}", "r+b") as stream:
        stream.seek(entry.offset)
        stream.write(b"\1\2\3")
    with pytest.raises(ValueError, match=" cannot be read: .* It is damaged or incomplete"):
        quietly(base, str(tmp_path / "grown"), rows={"ent": 7})
    assert not [its for its in os.listdir(tmp_path) if "grown" in its or "saving" in its]


def test_what_a_person_says_of_slots(write_checkpoint, read_checkpoint, tmp_path):
    ones = np.ones([6, 3], np.float32)
    arrays = {"ent": ones, "ent/Mystery": ones, "ent/Adagrad": ones * 0.01, "ent/Copy": ones}
    slots = {"*/Mystery": 2, "ent/Adagrad": 0.001, "ent/Copy": "rows"}
    base = write_checkpoint(arrays)
    found = read_checkpoint(quietly(base, str(tmp_path / "g"), rows={"ent": 7}, slots=slots))
    assert (found["ent/Mystery"][6] == 2).all()
    assert (found["ent/Adagrad"][6] == np.float32(0.001)).all()
    assert found["ent/Copy"].tobytes() == found["ent"].tobytes()


def test_a_delta_is_no_base(folder):
    prefix, _ = train_base(folder("base.ckpt"))
    with tf.Graph().as_default(), tf.Session() as session:
        Model(NEW, checkpoint=prefix)
        saver = pe.Saver(delta=True)
        session.run(tf.global_variables_initializer())
        delta = saver.save(session, folder("delta.ckpt"))
    with pytest.raises(ValueError, match="is a delta"):
        quietly(delta, folder("grown.ckpt"), rows={"model/ent": 20})


def test_nan_is_copied_if_asked(write_checkpoint, read_checkpoint, tmp_path):
    base = write_checkpoint({"ent": np.full([3, 2], np.nan), "b": np.zeros(3)})
    grown = quietly(
        base, str(tmp_path / "g"), rows={"ent": 4}, initializers="zeros", allow_nonfinite=True
    )
    assert np.isnan(read_checkpoint(grown)["ent"][:3]).all()


def test_buckets_stay_at_the_end(write_checkpoint, read_checkpoint, tmp_path, capsys):
    base = write_checkpoint({"ent": np.arange(8.0).reshape([4, 2])})
    keys = list("abc"), list("abcde")
    with pytest.raises(ValueError, match=r"has 1 more .* say \(old, new, num_oov_buckets\)"):
        quietly(base, str(tmp_path / "g"), vocabularies={"*": keys})
    grown = pe.grow_checkpoint(base, str(tmp_path / "g"), vocabularies={"*": (*keys, 1)})
    found = read_checkpoint(grown)["ent"]
    assert found[[0, 1, 2, 5]].tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert "grew  ent: [4 -> 6, 2]; new rows 3-4 start at normal" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["v1_adam", "v1_sliced", "v1_float16", "v2_sliced_adam", "v2_float64", "v2_resource"]
)
def test_every_format_of_tensorflow_1(name, data, read_checkpoint, tmp_path):
    old = pe.files.checkpoint.Checkpoint(data(name))
    grown = quietly(data(name), str(tmp_path / "grown"), rows={"embedding": 1003})
    found = read_checkpoint(grown)
    assert found.keys() == old.shapes.keys()
    for tensor in found:
        value = old.read(tensor)
        if value.shape[:1] == (1000,) and tensor.startswith("embedding"):
            assert found[tensor].shape[0] == 1003
            assert found[tensor][:1000].tobytes() == value.tobytes()
        else:
            assert found[tensor].tobytes() == value.tobytes()


def test_slots_of_object_based_checkpoints(write_checkpoint, read_checkpoint, tmp_path):
    """As `tf.train.Checkpoint` names them."""
    table, slot = (
        "e/.ATTRIBUTES/VARIABLE_VALUE",
        "e/.OPTIMIZER_SLOT/opt/m/.ATTRIBUTES/VARIABLE_VALUE",
    )
    with tf.Graph().as_default(), tf.Session() as session:
        values = [tf.get_variable(name, [3, 2]) for name in "ab"]
        session.run(tf.global_variables_initializer())
        saver = tf.train.Saver({table: values[0], slot: values[1]})
        base = saver.save(session, str(tmp_path / "base"), write_meta_graph=False)
    found = read_checkpoint(quietly(base, str(tmp_path / "grown"), rows={table: 4}))
    assert found[table].shape == found[slot].shape == (4, 2)
    assert not found[slot][3].any()


def test_new_rows_of_tables_and_of_growths_are_no_copies(
    write_checkpoint, read_checkpoint, tmp_path
):
    random = np.random.RandomState(0)
    base = write_checkpoint({name: random.randn(40, 3).astype(np.float32) for name in "ab"})
    once = quietly(base, str(tmp_path / "once"), rows={"a": 60, "b": 60})
    twice = read_checkpoint(quietly(once, str(tmp_path / "twice"), rows={"a": 80, "b": 80}))
    parts = [twice["a"][40:60], twice["a"][60:], twice["b"][40:60]]
    for number, one in enumerate(parts):
        for other in parts[:number]:
            assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.6


def test_state_that_is_no_slot_of_its_shape(write_checkpoint, read_checkpoint, tmp_path):
    arrays = {
        "user": np.ones([6, 3]),
        "user/Adafactor_vr": np.ones(6),
        "user/RowWise": np.ones([6, 1]),
    }
    base, how = write_checkpoint(arrays), {"rows": {"user": 8}}
    with pytest.raises(ValueError, match="where the optimizer starts user/Adafactor_vr"):
        quietly(base, str(tmp_path / "g"), **how)
    grown = quietly(base, str(tmp_path / "g"), slots={"*/Adafactor_vr": 0, "*/RowWise": 2}, **how)
    found = read_checkpoint(grown)
    assert found["user/Adafactor_vr"].tolist() == [1] * 6 + [0] * 2
    assert found["user/RowWise"].tolist() == [[1]] * 6 + [[2]] * 2
    keras = "optimizer/_variables/2/.ATTRIBUTES/VARIABLE_VALUE"
    with tf.Graph().as_default(), tf.Session() as session:
        variable = tf.get_variable("x", [6, 3])
        session.run(tf.global_variables_initializer())
        base = tf.train.Saver({keras: variable}).save(session, str(tmp_path / "keras"))
    with pytest.raises(ValueError, match="is state of an optimizer of Keras"):
        quietly(base, str(tmp_path / "h"), vocabularies={"*": (list("abcdef"), list("abcdefg"))})


def test_sums_that_started_higher(write_checkpoint, tmp_path):
    sums = np.full([6, 3], 1.0)
    sums[:4] += 0.5
    base = write_checkpoint({"ent": np.ones([6, 3]), "ent/Adagrad": sums})
    with pytest.raises(ValueError, match="holds 1.0, in whole rows, as those that were never"):
        quietly(base, str(tmp_path / "g"), rows={"ent": 7})
    quietly(base, str(tmp_path / "g"), rows={"ent": 7}, slots={"*/Adagrad": 1.0})


def test_generations_that_end_with_their_last_row(folder):
    """The record's numbers go on being those of its rows."""
    prefix, _ = train_base(folder("base.ckpt"))
    old = list("abcdef")

    def grown(base, name, before, after):
        return quietly(base, folder(name), vocabularies={"*ent": (before, after)})

    first = grown(prefix, "first", old, [*old, "x"])
    with tf.Graph().as_default(), tf.Session() as session:
        model = Model(7, checkpoint=first)
        saver = pe.Saver()
        session.run(tf.global_variables_initializer())
        model.train(session, ids=(6, 0))
        trained = saver.save(session, folder("trained"))
    second = grown(trained, "second", [*old, "x"], [*old, "y"])
    third = grown(second, "third", [*old, "y"], ["z", *old, "y"])
    fourth = grown(second, "fourth", [*old, "y"], ["y", *old])
    for path, rows, fresh in ((second, 7, [6]), (third, 8, [0, 7]), (fourth, 7, [0])):
        with tf.Graph().as_default():
            table = Model(rows, checkpoint=path).table
            assert table.plan.trainable_rows.tolist() == fresh
            assert table.plan.checkpoint_rows == rows


@pytest.mark.parametrize("start", ["normal", "mean", "values.npy"])
def test_new_rows_are_never_nan(start, write_checkpoint, tmp_path):
    rows = np.ones([6, 3])
    rows[2] = np.nan
    base, path = write_checkpoint({"ent": rows}), str(tmp_path / "values.npy")
    np.save(path, np.full([1, 3], np.nan))
    start = path if start.endswith("npy") else start
    with pytest.raises(ValueError, match=r"New rows of ent .* 'zeros'"):
        quietly(
            base, str(tmp_path / "g"), rows={"ent": 7}, initializers=start, allow_nonfinite=True
        )


def test_an_output_that_is_a_directory_or_has_keys_of_another(write_checkpoint, tmp_path):
    base = write_checkpoint({"ent": np.ones([3, 2])})
    with pytest.raises(ValueError, match="is a directory. Name a checkpoint in it"):
        quietly(base, str(tmp_path), rows={"ent": 4})
    output = str(tmp_path / "g")
    quietly(base, output, vocabularies={"ent": (list("abc"), list("cbad"))})
    with pytest.raises(ValueError, match="would stand beside a checkpoint that has no vocabulary"):
        quietly(base, output, rows={"ent": 4})
    linked = tmp_path / "linked"
    linked.symlink_to(tmp_path)
    for path in (output, str(linked / "g")):
        with pytest.raises(ValueError, match="would be replaced. Name another"):
            quietly(output, path, rows={"ent": 4})


def test_a_variable_that_is_left_out_and_has_an_entry_a_key(write_checkpoint, tmp_path, capsys):
    base = write_checkpoint({"ent": np.ones([3, 2]), "other": np.ones([3, 2])})
    how = {"vocabularies": {"*": (list("abc"), list("abcd"))}, "skip": "other"}
    pe.grow_checkpoint(base, str(tmp_path / "g"), **how)
    assert "warning: other [3, 2] stays as it is, and has one entry for each old" in (
        capsys.readouterr().err
    )


def test_a_table_that_is_named_as_a_slot_of_another(write_checkpoint, tmp_path):
    base = write_checkpoint({"ent": np.ones([5, 3], "f"), "ent/v": np.ones([5, 3], "f")})
    output = str(tmp_path / "grown")
    with pytest.raises(ValueError, match=r"if it is no slot but a table, name it: rows="):
        pe.grow_checkpoint(base, output, rows={"ent*": 7}, show=None)
    pe.grow_checkpoint(base, output, rows={"ent": 7, "ent/v": 7}, show=None)
    with tf.Graph().as_default():
        with pe.growing(output, show=None):
            tables = [tf.get_variable(name, [7, 3]) for name in ("ent", "ent/v")]
        assert [table.num_frozen_rows for table in tables] == [5, 5]
    new = tf.train.load_checkpoint(output).get_tensor("ent/v")[5:]
    assert new.any()  # drawn, and not where a slot starts


def test_sums_of_squares_of_rows_of_one_number(write_checkpoint, folder):
    """The least of them is a whole row, and says nothing; two that are equal do."""
    sums = np.array([0.3, 0.2, 0.7, 0.4], np.float32)
    for shape in ([4], [4, 1]):
        held = {"bias": np.ones(shape), "bias/Adagrad": sums.reshape(shape)}
        grown = quietly(write_checkpoint(held), folder("grown.ckpt"), rows={"bias": 5})
        assert Checkpoint(grown).read("bias/Adagrad").ravel()[4] == np.float32(0.1)
        held["bias/Adagrad"] = np.array([0.3, 0.2, 0.7, 0.2], np.float32).reshape(shape)
        with pytest.raises(ValueError, match="in whole rows, as those that were never asked for"):
            quietly(write_checkpoint(held), folder("grown.ckpt"), rows={"bias": 5})
