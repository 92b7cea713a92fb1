"""Holding keys back, with all that is said of them."""

import numpy as np
import pytest
import small_triples
from hold_back import hold_back
from job import data as job_data


def entities(data):
    return data.vocabularies["entities"]


def relations(data):
    return data.vocabularies["relations"]


def facts(data, split):
    """The triples of a split as a set of strings: what they say, whatever the rows are."""
    return {
        (entities(data)[head], relations(data)[relation], entities(data)[tail])
        for head, relation, tail in small_triples.array(data, split)
    }


def random_dataset(num_entities=20, num_relations=4, num_facts=150, seed=0):
    random = np.random.RandomState(seed)
    names = [f"e{number:02d}" for number in random.permutation(num_entities)]
    sizes = [num_entities, num_relations, num_entities]
    splits = [random.randint(0, sizes, [number, 3]) for number in (num_facts, 20, 20)]
    return small_triples.make(
        names,
        [f"r{row}" for row in range(num_relations)],
        **dict(zip(job_data.SPLITS, splits)),
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_hold_back(tmp_path, seed):
    whole = random_dataset()
    base, grown = hold_back(whole, "entities", 0.1, seed)
    assert len(entities(base)) == 18
    assert entities(grown)[:18] == entities(base)
    assert relations(grown)[: len(relations(base))] == relations(base)
    assert sorted(entities(grown)) == sorted(entities(whole))
    held_back = set(entities(grown)[18:])
    for split in whole.splits:
        assert facts(grown, split) == facts(whole, split)
        expected = {fact for fact in facts(whole, split) if not held_back & {fact[0], fact[2]}}
        assert facts(base, split) == expected

    job_data.write_directory(str(tmp_path / "grown"), grown)
    read = small_triples.read(str(tmp_path / "grown"))
    assert entities(read) == entities(grown)
    np.testing.assert_array_equal(
        small_triples.array(read, "train"), small_triples.array(grown, "train")
    )


def test_hold_back_depends_on_the_seed_and_nothing_else():
    whole = random_dataset()
    first, again, other = [
        entities(hold_back(whole, "entities", 0.2, seed)[1]) for seed in (3, 3, 4)
    ]
    assert first == again
    assert first != other


def test_a_relation_of_new_entities_alone_is_new():
    train = np.array([[0, 0, 1], [1, 2, 0], [0, 1, 2], [2, 2, 2]])
    for seed in range(20):
        whole = small_triples.make(["a", "b", "c"], ["p", "q", "r"], train=train)
        base, grown = hold_back(whole, "entities", 0.34, seed)
        if entities(grown)[2] == "c":
            break
    assert relations(base) == ["p", "r"]
    assert relations(grown) == ["p", "r", "q"]
    np.testing.assert_array_equal(
        grown._replace(num_old=base.sizes()).is_new(grown.splits["train"]),
        [False, False, True, True],
    )


@pytest.mark.parametrize("fraction", [0.0, 0.01, 1.0])
def test_hold_back_needs_one_of_each(fraction):
    with pytest.raises(ValueError, match="at least one must be held back and one kept"):
        hold_back(random_dataset(), "entities", fraction)
