"""Where new rows start: train.py --new_rows and the comparison, on capitals and rivers."""

import compare_new_rows
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from knowledge_graph import new_rows, training, triples
from knowledge_graph.settings import Config

SMALL = {"model": "distmult", "dimension": 4, "batch_size": 8, "epochs": 2, "seed": 3}
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
        dataset = triples.Dataset(entities, relations, rows, rows[:0], rows[-2:])
        triples.write_dataset(found[name + "-data"], dataset)
    training.train(Config(found["base-data"], found["base"], **SMALL))
    return found


def entity(directory):
    return tf.train.load_checkpoint(directory).get_tensor("entity")


def grow(directories, directory, start, **extra):
    settings = dict(SMALL, grow_from=directories["base"], new_rows=start, **extra)
    return training.train(Config(directories["grown-data"], str(directory), **settings))


@pytest.mark.parametrize("start", new_rows.STARTS)
def test_each_start_gives_what_it_promises_and_leaves_the_old_rows(
    start, directories, tmp_path, same_bits
):
    old = entity(directories["base"])
    result = grow(directories, tmp_path / start, start)
    first = result.entity_before[len(OLD) :]
    assert same_bits(result.entity_before[: len(OLD)], old)
    assert same_bits(result.entity[: len(OLD)], old)
    assert same_bits(entity(str(tmp_path / start)), result.entity)
    assert np.all(np.any(result.entity[len(OLD) :] != first, axis=1))
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


def test_neighbours_prefer_those_with_few_other_places():
    # 3 is new. Both 0 and 1 stand where it stands, but 1 stands elsewhere too.
    facts = np.array([[0, 0, 2], [1, 0, 2], [1, 1, 2], [3, 0, 2]])
    assert new_rows.neighbours(facts, 3, 4) == [[0, 1]]
    # Only the three best count; of equals, the first.
    facts = np.array([[head, 0, 5] for head in (4, 2, 1, 0, 6)])
    assert new_rows.neighbours(facts, 6, 7) == [[0, 1, 2]]


def test_a_growth_of_relations_alone_has_no_start_to_choose(directories, tmp_path):
    dataset = triples.read_dataset(directories["base-data"])
    grown = dataset._replace(
        relations=dataset.relations + ["near"], train=np.array([[0, len(dataset.relations), 1]])
    )
    triples.write_dataset(str(tmp_path / "data"), grown)
    settings = dict(SMALL, grow_from=directories["base"], new_rows="neighbours")
    result = training.train(Config(str(tmp_path / "data"), str(tmp_path / "run"), **settings))
    assert result.entity.tobytes() == entity(directories["base"]).tobytes()


def test_a_start_without_growth_or_of_another_name_is_refused(directories, tmp_path):
    with pytest.raises(ValueError, match="--new_rows=mean is for a run that grows"):
        training.train(Config(directories["base-data"], str(tmp_path), new_rows="mean"))
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
    data = triples.Dataset(keys, ["r0", "r1", "r2"], facts[20:], facts[:10], facts[10:20])
    found = compare_new_rows.measure("distmult", 0, data, str(tmp_path / "out"), 0.2, 6, 0.0)
    assert np.shape(found) == (len(new_rows.STARTS), 3)
    assert np.all((np.array(found) > 0) & (np.array(found) <= 1))
    lines = compare_new_rows.table("distmult", [found, found], 6, markdown=True)
    assert lines[0] == "| distmult | step 0 | 5 epochs | 6 epochs |"
    assert lines[1] == "| --- | ---: | ---: | ---: |"
    assert lines[-1].startswith(f"| neighbours | {found[-1][0]:.3f} ± 0.000 | ")
    assert compare_new_rows.table("distmult", [found], 6, False)[1].startswith("drawn  ")
