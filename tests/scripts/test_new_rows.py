"""Where new rows start: train.py --new_rows and the comparison, on capitals and rivers."""

import compare_new_rows
import numpy as np
import pytest
import small_triples
import tensorflow.compat.v1 as tf
from demo import Keep
from job import data as job_data
from job import new_rows
from job.config import Config
from job.train import train

SMALL = {"model": "distmult", "batch_size": 8, "epochs": 2, "seed": 3}
SMALL["hyperparameters"] = {"dimension": 4}
OLD = ["berlin", "europe", "france", "germany", "paris", "rhine", "seine"]
# The facts of the new ones name their neighbours: lyon shares three places with paris and one with
# berlin; loire shares one with rhine and seine; nowhere shares none.
NEW = ["loire", "lyon", "nowhere"]
BASE = [
    ("paris", "city_of", "france"),
    ("paris", "lies_in", "europe"),
    ("berlin", "city_of", "germany"),
    ("berlin", "lies_in", "europe"),
    ("seine", "flows_by", "paris"),
    ("rhine", "flows_through", "france"),
    ("seine", "flows_through", "france"),
    ("rhine", "flows_through", "germany"),
    ("rhine", "longer_than", "seine"),
]
MORE = [
    ("lyon", "city_of", "france"),
    ("lyon", "lies_in", "europe"),
    ("seine", "flows_by", "lyon"),
    ("loire", "flows_through", "france"),
    ("nowhere", "longer_than", "nowhere"),
]
NEIGHBOURS = {"loire": ["seine", "rhine"], "lyon": ["paris", "berlin"], "nowhere": OLD}


@pytest.fixture(scope="module")
def directories(tmp_path_factory):
    """Directories of triples, and of a run on the old ones: base-data, grown-data, base."""
    root = tmp_path_factory.mktemp("starts")
    found = {name: str(root / name) for name in ("base-data", "grown-data", "base")}
    relations = sorted({relation for _, relation, _ in BASE})
    for name, entities, facts in (("base", OLD, BASE), ("grown", OLD + NEW, BASE + MORE)):
        rows = np.array(
            [(entities.index(h), relations.index(r), entities.index(t)) for h, r, t in facts]
        )
        data = small_triples.make(entities, relations, train=rows, test=rows[-2:])
        job_data.write_directory(found[name + "-data"], data)
    train(Config(found["base-data"], found["base"], **SMALL))
    return found


def entity(directory):
    return tf.train.load_checkpoint(directory).get_tensor("entity")


def grow(directories, directory, start, more_hooks=()):
    settings = dict(SMALL, grow_from=directories["base"], new_rows=start)
    config = Config(directories["grown-data"], str(directory), **settings)
    return train(config, more_hooks=more_hooks)


@pytest.mark.parametrize("start", new_rows.STARTS)
def test_each_start_gives_what_it_promises_and_leaves_the_old_rows(
    start, directories, tmp_path, same_bits
):
    old = entity(directories["base"])
    keep = Keep("entity")
    grow(directories, tmp_path / start, start, [keep])
    first, grown = keep.table[len(OLD) :], entity(str(tmp_path / start))
    assert same_bits(keep.table[: len(OLD)], old)
    assert same_bits(grown[: len(OLD)], old)
    assert np.all(np.any(grown[len(OLD) :] != first, axis=1))
    mean = old.astype(np.float64).mean(0).astype(np.float32)
    if start == "neighbours":
        for row, key in zip(first, NEW):
            near = old[[OLD.index(name) for name in NEIGHBOURS[key]]].astype(np.float64)
            assert same_bits(row, near.mean(0).astype(np.float32))
    elif start == "mean":
        np.testing.assert_allclose(first, np.stack([mean] * len(NEW)), atol=1e-7)
    else:
        assert len(np.unique(first, axis=0)) == len(NEW)
        # As the model draws (stddev .1), or as far from the mean as old rows are.
        assert np.abs(first - mean).max() < 5 * max(0.1, old.std(0).max())


def neighbours(num_old, facts, num_entities):
    data = small_triples.make([f"e{row}" for row in range(num_entities)], ["p", "q"], train=facts)
    data.num_old["entities"] = num_old
    return new_rows.neighbours(data, "entities")


def test_neighbours_prefer_those_with_few_other_places():
    # 3 is new. Both 0 and 1 stand where it stands, but 1 stands elsewhere too.
    assert neighbours(3, [[0, 0, 2], [1, 0, 2], [1, 1, 2], [3, 0, 2]], 4) == [[0, 1]]
    # Only the three best count; of equals, the first.
    assert neighbours(6, [[head, 0, 5] for head in (4, 2, 1, 0, 6)], 7) == [[0, 1, 2]]


def test_a_growth_of_relations_alone_has_no_start_of_entities_to_choose(directories, tmp_path):
    data = small_triples.read(directories["base-data"])
    data.vocabularies["relations"].append("near")
    row = len(data.vocabularies["relations"]) - 1
    grown = small_triples.make(*data.vocabularies.values(), train=[[0, row, 1]])
    job_data.write_directory(str(tmp_path / "data"), grown)
    settings = dict(SMALL, grow_from=directories["base"], new_rows="neighbours")
    train(Config(str(tmp_path / "data"), str(tmp_path / "run"), **settings))
    assert entity(str(tmp_path / "run")).tobytes() == entity(directories["base"]).tobytes()


def test_a_start_without_growth_or_of_another_name_is_refused(directories, tmp_path):
    with pytest.raises(ValueError, match="--new_rows=mean is for a run that grows"):
        train(Config(directories["base-data"], str(tmp_path), new_rows="mean"))
    with pytest.raises(ValueError, match="--new_rows=best is none of drawn, normal"):
        grow(directories, tmp_path, "best")


def test_a_run_goes_on_with_the_start_it_began_with(directories, tmp_path):
    grow(directories, tmp_path, "mean")
    with pytest.raises(ValueError, match="a run with new_rows=mean, and this one has normal"):
        grow(directories, tmp_path, "normal")


def test_the_comparison_measures_every_start(directories, tmp_path, monkeypatch):
    monkeypatch.setitem(compare_new_rows.demo.SETTINGS, "distmult", {"dimension": 4})
    heads, relations = np.meshgrid(np.arange(20), np.arange(3))
    facts = np.stack([heads, relations, (heads + relations + 1) % 20], -1).reshape([-1, 3])
    facts = np.random.RandomState(0).permutation(facts)
    keys = [f"e{row:02d}" for row in range(20)]
    data = small_triples.make(
        keys, ["r0", "r1", "r2"], train=facts[20:], valid=facts[:10], test=facts[10:20]
    )
    found = compare_new_rows.measure("distmult", 0, data, str(tmp_path / "out"), 0.2, 6, 0.0)
    assert np.shape(found) == (len(new_rows.STARTS), 3)
    assert np.all((np.array(found) > 0) & (np.array(found) <= 1))
    lines = compare_new_rows.table("distmult", [found, found], 6, markdown=True)
    assert lines[0] == "| distmult | step 0 | 5 epochs | 6 epochs |"
    assert lines[1] == "| --- | ---: | ---: | ---: |"
    assert lines[-1].startswith(f"| neighbours | {found[-1][0]:.3f} ± 0.000 | ")
    assert compare_new_rows.table("distmult", [found], 6, False)[1].startswith("drawn  ")
