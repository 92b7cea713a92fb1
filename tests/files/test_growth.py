"""What stands beside a checkpoint about growth, and what a delta says of itself."""

import json

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe
from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.growth import (
    DELTA_KEY,
    growth_text,
    read_delta,
    read_generations,
    rows_of_generation,
)
from partial_embed.files.hashes import read_digest
from partial_embed.files.tensors import write_part

TABLES = {"ent": {"rows": 9, "generations": [[[0, 3], [5, 6]], [[3, 5]], [[6, 9]]]}}


@pytest.fixture
def prefix(write_checkpoint):
    return write_checkpoint({"ent": np.zeros([9, 2], np.float32)})


@pytest.fixture
def write(prefix):
    """Returns `write(content)`: a `Checkpoint` with this record beside it."""

    def write(content):
        content = content if isinstance(content, bytes) else content.encode("utf-8")
        with open(prefix + ".growth.json", "wb") as stream:
            stream.write(content)
        return Checkpoint(prefix)

    return write


def test_what_is_written_is_read(write, prefix):
    checkpoint = write(growth_text(TABLES, prefix))
    assert read_generations(checkpoint) == TABLES
    assert rows_of_generation(checkpoint, "ent", 0).tolist() == [0, 1, 2, 5]
    assert rows_of_generation(checkpoint, "ent", 1).tolist() == [0, 1, 2, 3, 4, 5]
    assert rows_of_generation(checkpoint, "ent", 2).tolist() == list(range(9))


def test_a_plain_checkpoint(prefix):
    assert read_generations(Checkpoint(prefix)) == {}
    with pytest.raises(ValueError, match="no .growth.json stands beside it"):
        rows_of_generation(Checkpoint(prefix), "ent", 0)


def test_a_record_of_another_checkpoint_counts_as_none(write, write_checkpoint, prefix, caplog):
    text = growth_text(TABLES, prefix)
    # A plain Saver has saved the same table again, and knows nothing of the record.
    write_checkpoint({"ent": np.ones([9, 2], np.float32)})
    with caplog.at_level("WARNING"):
        assert read_generations(write(text)) == {}
    assert "is of another checkpoint" in caplog.text


@pytest.mark.parametrize("generation", [-1, 3])
def test_a_generation_that_is_not_there(write, prefix, generation):
    checkpoint = write(growth_text(TABLES, prefix))
    with pytest.raises(ValueError, match="knows no generation .*: it knows 0 to 2"):
        rows_of_generation(checkpoint, "ent", generation)
    with pytest.raises(ValueError, match="knows no generation 0 of other: its record does not"):
        rows_of_generation(checkpoint, "other", 0)


def test_every_damage_is_noticed(write, prefix):
    text = growth_text(TABLES, prefix)
    inside = text.index(json.loads(text)["index"])
    text = text.encode("utf-8")
    for at in range(len(text)):
        if inside <= at < inside + 16:
            continue  # Another checksum of the index: a record of another checkpoint.
        for changed in (text[:at], text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :]):
            with pytest.raises(ValueError, match="is damaged") as error:
                read_generations(write(changed))
            assert prefix in str(error.value)


def entry(rows, *generations):
    return {"ent": {"rows": rows, "generations": list(generations)}}


@pytest.mark.parametrize(
    "tables, place",
    [
        ({"other": entry(9, [[0, 9]])["ent"]}, "table other: the checkpoint holds no such tensor"),
        (entry(10, [[0, 10]]), "table ent: rows: expected 9, found 10"),
        (entry(-1), "table ent: rows: -1"),
        (entry(9.0, [[0, 9]]), "table ent: rows: expected int, found 9.0"),
        (entry(True, [[0, 9]]), "table ent: rows: True"),
        (entry(9, [[0, 10**12]]), "is no run of rows from 0 to 9"),
        (entry(9, [[0, 1e999]]), "Infinity is no number"),
        (entry(9, [[0, 9.0]]), "is no run of rows"),
        (entry(9, [[None, 9]]), "is no run of rows"),
        (entry(9, [[-3, 9]]), "is no run of rows"),
        (entry(9, [[4, 4]]), "is no run of rows"),
        (entry(9, "0-9"), "expected list, found '0-9'"),
        (entry(9, [[0, 5], [4, 9]]), "row 4 stands there twice"),
        (entry(9, [[0, 5]], [[4, 9]]), "generations: row 4 stands there twice"),
        (entry(9, [[0, 5]]), "they hold 5 rows of 9"),
        ({"ent": {"rows": 9}}, "generations: expected list, found None"),
        ({"ent": None}, "rows: expected int, found None"),
        ([], "tables: expected dict, found \\[\\]"),
    ],
)
def test_a_record_that_cannot_be(write, prefix, tables, place):
    with pytest.raises(ValueError, match="is damaged: .*" + place) as error:
        read_generations(write(growth_text(tables, prefix)))
    assert prefix + ".growth.json" in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "3", "[" * 10**6, '{"format": null}', '{"format": true}', "\xff"],
    ids=lambda text: ascii(text[:20]),
)
def test_a_record_that_is_none(write, text):
    with pytest.raises(ValueError, match="is damaged"):
        read_generations(write(text.encode("latin-1")))


def test_a_newer_format(write, prefix):
    content = dict(json.loads(growth_text(TABLES, prefix)), format=2)
    with pytest.raises(ValueError, match="written in format 2.*reads up to 1. Upgrade"):
        read_generations(write(json.dumps(content)))


def test_what_a_delta_says(write_checkpoint, tmp_path, start):
    prefix = write_checkpoint({"ent": np.zeros([4, 2], np.float32)})
    table = pe.get_embedding("mine", [6, 2], checkpoint=prefix, tensor_name="ent")
    tf.train.AdagradOptimizer(0.1).minimize(tf.reduce_sum(table.lookup([5])))
    saved = pe.Saver(delta=True).save(start(), str(tmp_path / "delta.ckpt"))
    content = read_delta(Checkpoint(saved))
    assert content["unchanged"] == {}
    entry = content["tables"]["mine"]
    assert {key: entry[key] for key in ("base", "base_name", "rows", "checkpoint_rows")} == {
        "base": prefix,
        "base_name": "ent",
        "rows": 6,
        "checkpoint_rows": 4,
    }
    assert entry["trainable"] == [[4, 6]]
    assert entry["generations"] == [[[0, 4]], [[4, 6]]]
    assert abs(entry["slots"]["mine/Adagrad"] - 0.1) < 1e-6
    assert entry["keys"] is None
    assert len(read_digest(entry["frozen"])) == 5


def test_tables_without_a_checkpoint(tmp_path, start):
    pe.get_embedding("ent", [6, 2], num_frozen_rows=4)
    pe.get_embedding("rel", [6, 2], trainable_rows=[1, 3])
    pe.get_embedding("all", [3, 2], num_frozen_rows=3)
    saved = pe.Saver().save(start(), str(tmp_path / "model.ckpt"))
    found = {
        name: entry["generations"] for name, entry in read_generations(Checkpoint(saved)).items()
    }
    assert found == {
        "ent": [[[0, 4]], [[4, 6]]],
        "rel": [[[0, 1], [2, 3], [4, 6]], [[1, 2], [3, 4]]],
        "all": [[[0, 3]]],
    }


# --- the manifest of a delta: what is changed in it, and what the error says -----------


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A `Checkpoint` of a delta as it was saved."""
    folder = tmp_path_factory.mktemp("delta")
    with tf.Graph().as_default(), tf.Session() as session:
        for name, shape in (("ent", [4, 2]), ("w", [3])):
            tf.get_variable(name, shape, initializer=tf.zeros_initializer())
        session.run(tf.global_variables_initializer())
        base = tf.train.Saver().save(session, str(folder / "base.ckpt"))
    with tf.Graph().as_default(), tf.Session() as session:
        with pe.growing(base, vocabularies={"ent": (list("abcd"), list("bacxy"))}):
            table = tf.get_variable("ent", [5, 2])
            tf.get_variable("w", [3])
        tf.train.AdagradOptimizer(0.1).minimize(tf.reduce_sum(table.lookup([4])))
        session.run(tf.global_variables_initializer())
        return Checkpoint(pe.Saver(delta=True).save(session, str(folder / "delta.ckpt")))


@pytest.fixture
def delta(good, tmp_path):
    """Returns `delta(change)`: a `Checkpoint` of a delta whose manifest was changed."""

    def delta(change):
        manifest = read_delta(good)
        change(manifest, manifest["tables"]["ent"])
        path = str(tmp_path / "changed.ckpt")
        tensors = [(n, "", good.read(n)) for n in good.shapes if n != DELTA_KEY]
        write_part(path, tensors + [(DELTA_KEY, "", np.array(json.dumps(manifest), object))])
        return Checkpoint(path)

    return delta


def set_to(key, value):
    return lambda manifest, entry: entry.__setitem__(key, value)


@pytest.mark.parametrize(
    "change, place",
    [
        (set_to("rows", 10**12), "table ent: 1000000000000 rows, 2 of them new"),
        (set_to("rows", 4), "is no run of rows from 0 to 4"),
        (set_to("checkpoint_rows", 5), "5 rows, 2 of them new, of 5 of 4"),
        (set_to("trainable", [[-1, 1]]), "trainable: .* is no run of rows"),
        (set_to("trainable", [[4, 5], [3, 4]]), "in ascending order"),
        (set_to("trainable", [[3, 4]]), "trainable: expected 2 rows"),
        (set_to("source", [[0, 2], [0, 1], [-1, 0], [-1, 0]]), "source: row 0 stands there twice"),
        (
            set_to("source", [[0, 3], [-1, 0]]),
            "expected a row of the base, or -1, for each",
        ),
        (set_to("source", [[0, 10**12]]), "source: .* is no run of rows from -1 to 4"),
        (set_to("source", [[-1, 0], [1, 3], [-1, 0], [0, 1]]), "not in the base, and does not"),
        (set_to("keys", ["x"]), "keys: expected 2 texts"),
        (set_to("keys", [1, 2]), "keys: expected 2 texts"),
        (lambda _, entry: entry.pop("source"), "source: expected list or NoneType"),
        (set_to("slots", {}), "it does not name ent/Adagrad/delta_rows"),
        (set_to("frozen", 7), "frozen: expected str, found 7"),
        (set_to("base_name", None), "base_name: expected str"),
        (set_to("slots", {"ent/Adagrad": "zero"}), "the initial value of ent/Adagrad: 'zero'"),
        (set_to("slots", {"ent": 0.1}), "the name of the slot ent"),
        (set_to("slots", {"w": 0.1}), "no tensor w/delta_rows"),
        (set_to("slots", {"ent/Adam": 0.1}), "no tensor ent/Adam/delta_rows"),
        (set_to("generations", [[[0, 5]], [[4, 5]]]), "generations: row 4 stands there twice"),
        (lambda manifest, _: manifest.pop("unchanged"), "unchanged: expected dict, found None"),
        (lambda manifest, _: manifest["unchanged"].update(w=[]), "variable w: no entry"),
        (
            lambda manifest, _: manifest["tables"].update(other={}),
            "table other: base: expected str or NoneType",
        ),
        (
            lambda manifest, entry: manifest["unchanged"].update(ent=dict(entry, slots={})),
            "ent is a table and frozen whole",
        ),
    ],
)
def test_a_manifest_that_cannot_be(delta, change, place):
    changed = delta(change)
    with pytest.raises(ValueError, match="is damaged: .*" + place) as error:
        read_delta(changed)
    assert changed.prefix in str(error.value)


def test_a_manifest_that_is_unchanged(delta):
    assert read_delta(delta(lambda manifest, entry: None))["tables"]["ent"]["rows"] == 5
