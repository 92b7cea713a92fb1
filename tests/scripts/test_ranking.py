"""The models' formulas, and ranks against a slow reference."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from models import knowledge_graph, ranking

MODELS = {
    "complex": knowledge_graph.ComplEx,
    "distmult": knowledge_graph.DistMult,
    "transe": knowledge_graph.TransE,
}


def random_model(name, graph_inputs=(5, 3, 4)):
    model = MODELS[name](*graph_inputs)
    entities = tf.nn.embedding_lookup(model.entity, [0, 3, 4])
    relations = tf.nn.embedding_lookup(model.relation, [2, 0, 2])
    query = model.query(entities, relations)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return model, session.run([model.entity, entities, relations, query, model.scores(query)])


@pytest.mark.parametrize("name", sorted(MODELS))
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
            expected = -np.linalg.norm(entities[row] + relations[row] - table[candidate])
            np.testing.assert_allclose(scores[row, candidate], expected, rtol=1e-4)


# Evaluation.


def slow_metrics(asked, everything, score, candidates, num_old):
    """Filtered, tie-averaged ranks as one would explain them: `score(side, triple, candidate)`."""
    known = {tuple(triple) for part in everything for triple in part.tolist()}
    ranks, outranked = [], []
    for side in (2, 0):
        for triple in asked.tolist():
            higher = equal = 0
            outranked.append(False)
            for candidate in candidates:
                other = list(triple)
                other[side] = candidate
                if candidate == triple[side] or tuple(other) in known:
                    continue
                difference = score(side, triple, candidate) - score(side, triple, triple[side])
                higher += difference > 0
                outranked[-1] |= difference > 0 and candidate >= num_old
                equal += difference == 0
            ranks.append(1 + higher + equal / 2)
    hits = [float(np.mean([rank <= limit for rank in ranks])) for limit in (1, 3, 10)]
    return [float(np.mean([1 / rank for rank in ranks]))] + hits + [np.mean(outranked), len(ranks)]


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

    def evaluate(self, asked, everything, candidates=None, num_old=None):
        known = ranking.KnownTriples(*everything)
        score = knowledge_graph.DistMult.numpy_scores
        return ranking.evaluate(asked, self.queries, self.table, score, known, candidates, num_old)


@hypothesis.given(
    num_entities=st.integers(2, 15),
    num_facts=st.integers(1, 60),
    restrict=st.booleans(),
    num_old=st.integers(0, 16),
    seed=st.integers(0, 1000),
)
def test_metrics_against_the_slow_reference(num_entities, num_facts, restrict, num_old, seed):
    random = np.random.RandomState(seed)
    parts = [random.randint(0, [num_entities, 3, num_entities], [n, 3]) for n in (num_facts, 9)]
    asked = parts[1]
    candidates = range(num_entities)
    if restrict:
        candidates = sorted(set(asked[:, 0]) | set(asked[:, 2]))
    toy = Toy(num_entities, 3, seed)
    found = toy.evaluate(asked, parts, candidates, num_old)
    expected = slow_metrics(asked, parts, toy.score, candidates, num_old)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_model_that_says_nothing_is_no_better_than_chance():
    toy = Toy(9, 1, 0)
    toy.table[:] = 0
    asked = np.array([[0, 0, 1]])
    assert toy.evaluate(asked, [asked]).mrr == 1 / 5


def test_more_rows_change_no_digit_over_the_old_candidates():
    random = np.random.RandomState(0)
    known = ranking.KnownTriples(np.zeros([0, 3], np.int64))
    asked = random.randint(0, [40, 3, 40], [100, 3])
    found = []
    table = random.standard_normal([97, 33]).astype(np.float32)
    for num_rows in (40, 41, 64, 97):
        found.append(
            ranking.evaluate(
                asked,
                lambda some: (table[some[:, 0]], table[some[:, 2]]),
                table[:num_rows],
                knowledge_graph.DistMult.numpy_scores,
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


@pytest.mark.parametrize("name", sorted(MODELS))
def test_drawn_entities_are_scored_as_all_are(name):
    model = MODELS[name](7, 2, 3)
    head, target = tf.nn.embedding_lookup(model.entity, [0, 3]), tf.constant([2, 5])
    query = model.query(head, tf.nn.embedding_lookup(model.relation, [1, 0]))
    rows = tf.nn.embedding_lookup(model.entity, target)
    drawn = knowledge_graph.draw(6, 7, [3, 4])
    found = knowledge_graph.logits_of_drawn(model, query, target, rows, drawn)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        found, every, drawn = session.run([found, model.scores(query), drawn])
    assert drawn.min() >= 0 and drawn.max() < 7
    expected = every[:, drawn]
    expected[drawn == [[2], [5]]] = -1e9
    np.testing.assert_allclose(found[:, 1:], expected, rtol=1e-5)
    np.testing.assert_allclose(found[:, 0], every[[0, 1], [2, 5]], rtol=1e-5)
