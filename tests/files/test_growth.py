"""What stands beside a checkpoint about growth, and what a delta says of itself."""

import json

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe
from partial_embed.files.growth import growth_text, read_delta, read_generations, rows_of_generation


@pytest.fixture
def write(tmp_path):
    """Returns `write(content)`: a prefix with this manifest beside it."""

    def write(content):
        content = content if isinstance(content, bytes) else content.encode("utf-8")
        (tmp_path / "model.ckpt.growth.json").write_bytes(content)
        return str(tmp_path / "model.ckpt")

    return write


TABLES = {"ent": {"rows": 9, "generations": [[[0, 3], [5, 6]], [[3, 5]], [[6, 9]]]}}


def test_what_is_written_is_read(write):
    prefix = write(growth_text(TABLES))
    assert read_generations(prefix) == TABLES
    assert rows_of_generation(prefix, "ent", 0).tolist() == [0, 1, 2, 5]
    assert rows_of_generation(prefix, "ent", 1).tolist() == [0, 1, 2, 3, 4, 5]
    assert rows_of_generation(prefix, "ent", 2).tolist() == list(range(9))


def test_a_plain_checkpoint(tmp_path):
    prefix = str(tmp_path / "model.ckpt")
    assert read_generations(prefix) == {}
    with pytest.raises(ValueError, match="no .growth.json stands beside it"):
        rows_of_generation(prefix, "ent", 0)


@pytest.mark.parametrize("generation", [-1, 3])
def test_a_generation_that_is_not_there(write, generation):
    prefix = write(growth_text(TABLES))
    with pytest.raises(ValueError, match="knows no generation .*: it knows 0 to 2"):
        rows_of_generation(prefix, "ent", generation)
    with pytest.raises(ValueError, match="knows no generation 0 of other"):
        rows_of_generation(prefix, "other", 0)


def test_every_damage_is_noticed(write):
    text = growth_text(TABLES).encode("utf-8")
    for at in range(len(text)):
        for changed in (text[:at], text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :]):
            prefix = write(changed)
            with pytest.raises(ValueError) as error:
                read_generations(prefix)
            assert prefix in str(error.value)


def test_a_newer_format(write):
    content = dict(json.loads(growth_text(TABLES)), format=2)
    with pytest.raises(ValueError, match="written in format 2.*reads up to 1. Upgrade"):
        read_generations(write(json.dumps(content)))


def test_what_a_delta_says(write_checkpoint, tmp_path, start):
    prefix = write_checkpoint({"ent": np.zeros([4, 2], np.float32)})
    table = pe.get_embedding("mine", [6, 2], checkpoint=prefix, tensor_name="ent")
    tf.train.AdagradOptimizer(0.1).minimize(tf.reduce_sum(table.lookup([5])))
    saved = pe.Saver(delta=True).save(start(), str(tmp_path / "delta.ckpt"))
    content = read_delta(saved)
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
    assert len(entry["frozen"]) == 32


def test_tables_without_a_checkpoint(tmp_path, start):
    pe.get_embedding("ent", [6, 2], num_frozen_rows=4)
    pe.get_embedding("rel", [6, 2], trainable_rows=[1, 3])
    pe.get_embedding("all", [3, 2], num_frozen_rows=3)
    saved = pe.Saver().save(start(), str(tmp_path / "model.ckpt"))
    found = {name: entry["generations"] for name, entry in read_generations(saved).items()}
    assert found == {
        "ent": [[[0, 4]], [[4, 6]]],
        "rel": [[[0, 1], [2, 3], [4, 6]], [[1, 2], [3, 4]]],
        "all": [[[0, 3]]],
    }
