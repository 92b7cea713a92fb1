"""Tables that grow again and again, and which rows came when."""

import json
import os
import shutil

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from small_model import (
    OLD,
    WIDTH,
    Model,
    assert_same,
    grow,
    plain_values,
    train_base,
    values,
)

import partial_embed as pe


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


@pytest.mark.parametrize("more", [-1, 0, 1])  # rows than the checkpoint's, from an earlier one
def test_growing_from_an_earlier_generation_whatever_the_size(folder, more):
    tables, prefix = grow_again(folder, 2)
    with tf.Graph().as_default(), tf.Session() as session:
        with pe.growing(prefix, generation=1, show=None):
            model = Model(OLD + 4 + more, "Adagrad", inside=True)
        session.run(tf.global_variables_initializer())
        assert model.table.num_frozen_rows == OLD + 2
        assert session.run(model.table)[: OLD + 2].tobytes() == tables[1].tobytes()
        assert session.run(model.table)[OLD + 2 :].tobytes() != tables[2][OLD + 2 :].tobytes()


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


def test_a_generation_is_by_name_and_not_by_number_of_rows(folder, write_checkpoint):
    # Two tables of as many rows, of which one grew at its end and one by keys; one that never grew.
    rows = np.arange(8, dtype=np.float32).reshape([4, 2])
    base = write_checkpoint({"end": rows, "keys": rows + 10, "never": np.zeros([6, 2], np.float32)})
    with tf.Graph().as_default(), tf.Session() as session:
        with pe.growing(base, vocabularies={"keys": (list("abcd"), list("xbadcy"))}):
            for name in ("end", "keys", "never"):
                tf.get_variable(name, [6, 2])
        session.run(tf.global_variables_initializer())
        grown = pe.Saver().save(session, folder("grown.ckpt"))

    def restored(**shapes):
        with tf.Graph().as_default(), tf.Session() as session:
            variables = {name: tf.get_variable(name, [n, 2]) for name, n in shapes.items()}
            pe.Saver().restore(session, grown, generation=0)
            return session.run(variables)

    found = restored(end=4, keys=4, never=6)
    assert found["end"].tolist() == rows.tolist()
    assert found["keys"].tolist() == (rows + 10)[[1, 0, 3, 2]].tolist()
    with pytest.raises(ValueError, match="never needs never .4, 2.* holds never .6, 2"):
        restored(end=4, never=4)


def test_a_generation_that_lost_all_its_rows_keeps_its_number(folder, write_checkpoint):
    prefix = write_checkpoint({"ent": np.ones([3, 2], np.float32)})
    for old, new in (("abc", "abcx"), ("abcx", "abcy"), ("abcy", "abcyz")):
        with tf.Graph().as_default(), tf.Session() as session:
            with pe.growing(prefix, vocabularies={"ent": (list(old), list(new))}, show=None):
                tf.get_variable("ent", [len(new), 2])
            session.run(tf.global_variables_initializer())
            prefix = pe.Saver().save(session, folder(new))
    with open(prefix + ".growth.json") as stream:
        found = json.load(stream)["tables"]["ent"]["generations"]
    assert found == [[[0, 3]], [], [[3, 4]], [[4, 5]]]
