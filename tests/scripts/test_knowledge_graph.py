"""Reading triples, holding entities back, the models' formulas, ranks against a slow reference."""

import os

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from knowledge_graph import evaluation, models, triples


def write(directory, **files):
    os.makedirs(str(directory), exist_ok=True)
    for name, content in files.items():
        with open(os.path.join(str(directory), name + ".txt"), "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode("utf-8"))
    return str(directory)


def facts(dataset, split):
    """The triples of a split as a set of strings: what they say, whatever the rows are."""
    return {
        (dataset.entities[head], dataset.relations[relation], dataset.entities[tail])
        for head, relation, tail in getattr(dataset, split)
    }


def random_dataset(num_entities=20, num_relations=4, num_facts=150, seed=0):
    random = np.random.RandomState(seed)
    names = [f"e{number:02d}" for number in random.permutation(num_entities)]
    sizes = [num_entities, num_relations, num_entities]
    splits = [random.randint(0, sizes, [number, 3]) for number in (num_facts, 20, 20)]
    return triples.Dataset(names, [f"r{row}" for row in range(num_relations)], *splits)


# Reading.


def test_reads_keys_in_alphabetical_order_if_there_is_no_vocabulary(tmp_path):
    directory = write(tmp_path, train="b\tlikes\ta\r\nc\tsees\tb\n", valid="a\tlikes\td\n")
    dataset = triples.read_dataset(directory)
    assert dataset.entities == ["a", "b", "c", "d"]
    assert dataset.relations == ["likes", "sees"]
    np.testing.assert_array_equal(dataset.train, [[1, 0, 0], [2, 1, 1]])
    np.testing.assert_array_equal(dataset.valid, [[0, 0, 3]])
    assert dataset.test.shape == (0, 3)


def test_old_keys_keep_their_rows(tmp_path):
    directory = write(tmp_path, train="b\tlikes\ta\nc\tsees\tb\n")
    dataset = triples.read_dataset(directory, ["c", "z"], ["sees"])
    assert dataset.entities == ["c", "z", "a", "b"]
    assert dataset.relations == ["sees", "likes"]


def test_the_line_of_a_vocabulary_is_the_row(tmp_path):
    # U+2028 ends a line for str.splitlines, but not here.
    directory = write(
        tmp_path, train="a\tr\tb\u2028\n", entities="b\u2028\nx\na\n", relations="r\n"
    )
    dataset = triples.read_dataset(directory)
    assert dataset.entities == ["b\u2028", "x", "a"]
    np.testing.assert_array_equal(dataset.train, [[2, 0, 0]])


@pytest.mark.parametrize(
    "files, message",
    [
        (
            {"train": "a\tr\tb\na\tr\n"},
            r"train.txt, line 2: expected head, relation and tail.*'a\\tr'",
        ),
        ({"train": "a\tr\tb\n\na\tr\tb\n"}, "train.txt, line 2: expected head, relation and tail"),
        ({"train": "a\tr\tb\na\t\tb\n"}, "train.txt, line 2"),
        ({"train": "a\tr\tb\tc\n"}, "train.txt, line 1"),
        (
            {"train": "a\tr\tb\n", "test": b"a\tr\tb\na\tr\t\xff\n"},
            "test.txt, line 2: this is not UTF-8",
        ),
        ({"train": ""}, "train.txt holds no triples"),
        (
            {"train": "a\tr\tb\na\tr\tc\n", "entities": "a\nb\n"},
            r"train.txt, line 2: 'c' is not in entities.txt; add it at the end",
        ),
        (
            {"train": "a\tr\tb\n", "valid": "a\ts\tb\n", "relations": "r\n"},
            r"valid.txt, line 1: 's' is not in relations.txt; add it at the end",
        ),
        (
            {"train": "a\tr\tb\n", "entities": "a\nb\na\n"},
            "entities.txt, line 3: the key 'a' stands on line 1 already",
        ),
        ({"train": "a\tr\tb\n", "entities": "a\n\nb\n"}, "entities.txt, line 2: empty"),
    ],
)
def test_bad_lines_are_named(tmp_path, files, message):
    with pytest.raises(ValueError, match=message):
        triples.read_dataset(write(tmp_path, **files))


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no directory of triples .*nowhere"):
        triples.read_dataset(str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="No such file .*train.txt"):
        triples.read_dataset(write(tmp_path, test="a\tr\tb\n"))


# Holding back.


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_hold_back(tmp_path, seed):
    whole = random_dataset()
    base, grown = triples.hold_back(whole, 0.1, seed)
    assert len(base.entities) == 18
    assert grown.entities[:18] == base.entities
    assert grown.relations[: len(base.relations)] == base.relations
    assert sorted(grown.entities) == sorted(whole.entities)
    held_back = set(grown.entities[18:])
    for split in triples.SPLITS:
        assert facts(grown, split) == facts(whole, split)
        expected = {fact for fact in facts(whole, split) if not held_back & {fact[0], fact[2]}}
        assert facts(base, split) == expected

    triples.write_dataset(str(tmp_path / "grown"), grown)
    read = triples.read_dataset(str(tmp_path / "grown"))
    assert read.entities == grown.entities
    np.testing.assert_array_equal(read.train, grown.train)


def test_hold_back_depends_on_the_seed_and_nothing_else():
    whole = random_dataset()
    first, again, other = [triples.hold_back(whole, 0.2, seed)[1].entities for seed in (3, 3, 4)]
    assert first == again
    assert first != other


def test_a_relation_of_new_entities_alone_is_new():
    train = np.array([[0, 0, 1], [1, 2, 0], [0, 1, 2], [2, 2, 2]])
    none = np.zeros([0, 3], np.int64)
    for seed in range(20):
        whole = triples.Dataset(["a", "b", "c"], ["p", "q", "r"], train, none, none)
        base, grown = triples.hold_back(whole, 0.34, seed)
        if grown.entities[2] == "c":
            break
    assert base.relations == ["p", "r"]
    assert grown.relations == ["p", "r", "q"]
    np.testing.assert_array_equal(
        triples.touches_new(grown.train, 2, 2), [False, False, True, True]
    )


@pytest.mark.parametrize("fraction", [0.0, 0.01, 1.0])
def test_hold_back_needs_one_of_each(fraction):
    with pytest.raises(ValueError, match="at least one must be held back and one kept"):
        triples.hold_back(random_dataset(), fraction)


# Models.


def random_model(name, graph_inputs=(5, 3, 4)):
    model = models.MODELS[name](*graph_inputs)
    entities = tf.nn.embedding_lookup(model.entity, [0, 3, 4])
    relations = tf.nn.embedding_lookup(model.relation, [2, 0, 2])
    query = model.query(entities, relations)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return model, session.run([model.entity, entities, relations, query, model.scores(query)])


@pytest.mark.parametrize("name", sorted(models.MODELS))
def test_numpy_scores_are_the_scores(name):
    model, (table, _, _, query, scores) = random_model(name)
    np.testing.assert_allclose(model.numpy_scores(query, table), scores, rtol=1e-5, atol=1e-6)


def test_complex_is_about_complex_numbers():
    _, (table, entities, relations, _, scores) = random_model("complex")

    def number(rows):
        return rows[:, :4] + 1j * rows[:, 4:]

    expected = np.matmul(number(entities) * number(relations), np.conj(number(table)).T)
    np.testing.assert_allclose(scores, np.real(expected), rtol=1e-5, atol=1e-6)


def test_transe_is_a_distance():
    _, (table, entities, relations, _, scores) = random_model("transe")
    for row in range(3):
        for candidate in range(5):
            expected = -np.sum(np.abs(entities[row] + relations[row] - table[candidate]))
            np.testing.assert_allclose(scores[row, candidate], expected, rtol=1e-5)


# Evaluation.


def slow_metrics(asked, everything, score, candidates):
    """Filtered, tie-averaged ranks as one would explain them: `score(side, triple, candidate)`."""
    known = {tuple(triple) for part in everything for triple in part.tolist()}
    ranks = []
    for side in (2, 0):
        for triple in asked.tolist():
            higher = equal = 0
            for candidate in candidates:
                other = list(triple)
                other[side] = candidate
                if candidate == triple[side] or tuple(other) in known:
                    continue
                difference = score(side, triple, candidate) - score(side, triple, triple[side])
                higher += difference > 0
                equal += difference == 0
            ranks.append(1 + higher + equal / 2)
    hits = [float(np.mean([rank <= limit for rank in ranks])) for limit in (1, 3, 10)]
    return [float(np.mean([1 / rank for rank in ranks]))] + hits + [len(ranks)]


class Toy:
    """A model of small whole numbers, so that many scores tie."""

    def __init__(self, num_entities, num_relations, seed):
        random = np.random.RandomState(seed)
        self.table = random.randint(-1, 2, [num_entities, 2]).astype(np.float32)
        self.relation = random.randint(-1, 2, [num_relations, 2]).astype(np.float32)

    def queries(self, asked):
        relation = self.relation[asked[:, 1]]
        return self.table[asked[:, 0]] * relation, self.table[asked[:, 2]] * relation

    def score(self, side, triple, candidate):
        known = self.table[triple[2 - side]] * self.relation[triple[1]]
        return float(np.dot(known, self.table[candidate]))

    def evaluate(self, asked, everything, candidates=None):
        known = evaluation.KnownTriples(*everything)
        score = models.DistMult.numpy_scores
        return evaluation.evaluate(asked, self.queries, self.table, score, known, candidates)


@hypothesis.given(
    num_entities=st.integers(2, 15),
    num_facts=st.integers(1, 60),
    restrict=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_metrics_against_the_slow_reference(num_entities, num_facts, restrict, seed):
    random = np.random.RandomState(seed)
    parts = [random.randint(0, [num_entities, 3, num_entities], [n, 3]) for n in (num_facts, 9)]
    asked = parts[1]
    candidates = range(num_entities)
    if restrict:
        candidates = sorted(set(asked[:, 0]) | set(asked[:, 2]))
    toy = Toy(num_entities, 3, seed)
    found = toy.evaluate(asked, parts, candidates)
    np.testing.assert_allclose(found, slow_metrics(asked, parts, toy.score, candidates), rtol=1e-12)


def test_a_model_that_says_nothing_is_no_better_than_chance():
    toy = Toy(9, 1, 0)
    toy.table[:] = 0
    asked = np.array([[0, 0, 1]])
    assert toy.evaluate(asked, [asked]).mrr == 1 / 5


def test_more_rows_change_no_digit_over_the_old_candidates():
    random = np.random.RandomState(0)
    known = evaluation.KnownTriples(np.zeros([0, 3], np.int64))
    asked = random.randint(0, [40, 3, 40], [100, 3])
    found = []
    table = random.standard_normal([97, 33]).astype(np.float32)
    for num_rows in (40, 41, 64, 97):
        found.append(
            evaluation.evaluate(
                asked,
                lambda some: (table[some[:, 0]], table[some[:, 2]]),
                table[:num_rows],
                models.DistMult.numpy_scores,
                known,
                np.arange(40),
            )
        )
    assert found == [found[0]] * 4


def test_a_diverged_model_is_not_a_perfect_one():
    toy = Toy(5, 1, 0)
    toy.table[3] = np.nan
    asked = np.array([[0, 0, 1]])
    with pytest.raises(FloatingPointError, match="diverged; a smaller learning rate"):
        toy.evaluate(asked, [asked])


def test_what_cannot_be_ranked_is_an_error():
    toy = Toy(5, 1, 0)
    asked = np.array([[0, 0, 4]])
    with pytest.raises(ValueError, match="The tail 4 of a triple is not among the candidates"):
        toy.evaluate(asked, [asked], range(3))
    with pytest.raises(ValueError, match="no triple to evaluate"):
        toy.evaluate(asked[:0], [asked])
