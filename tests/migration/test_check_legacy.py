"""The scripts of tests/legacy, and what is found in each: all of it."""

import os
import re

import pytest

from partial_embed.migration.check import check_script
from partial_embed.migration.findings import HEADINGS

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SLOTS = "trap: Slots and their names"
RESTORING = "trap: Restoring the old checkpoint into the grown graph"
ENCODER = "trap: Pretrained encoders with a tied output"
ESTIMATORS = "Estimators and feature columns"
# By script: what stands in the line, and what is said of it.
EXPECTED = {
    "transe": [
        ('get_variable("ent_embeddings"', "table: The lines"),
        ('get_variable("rel_embeddings"|rel_embeddings = ', "table: The lines"),
        ('name="global_step"', "trap: Counters"),
        ("tf.train.Saver", RESTORING),
    ],
    "transd": [
        ("tf.train.Saver", SLOTS),
        ("self.ent_embeddings = ", "table: The lines"),
        ("self.rel_embeddings = ", "table: The lines"),
        ("self.ent_transfer = ", "table: The lines"),
        ("self.rel_transfer = ", "table: The lines"),
    ],
    "factorization": [
        (" P = ", "table: The lines"),
        (" Q = ", "table: The lines"),
        ("b_u = ", "table: The lines"),
        ("b_i = ", "table: The lines"),
        ("global_step = ", "trap: Counters"),
        ("exponential_decay", "trap: Counters"),
        ("tf.train.Saver", SLOTS),
    ],
    "word_vectors": [
        ("most_common", "trap: Ids that were renumbered"),
        (" embeddings = tf.Variable", "table: `tf.Variable` tables"),
        ("nce_weights = ", "table: `tf.Variable` tables"),
        ("nce_biases = ", "table: `tf.Variable` tables"),
        ("tf.train.Saver", RESTORING),
    ],
    "language_model": [
        (" embedding = ", "table: The lines"),
        ("softmax_w = ", "table: Decoders"),
        ("softmax_b = ", "table: The lines"),
        ("global_step = ", "trap: Counters"),
        ("tf.train.Saver", RESTORING),
    ],
    "recommender": [
        ("tf.train.Saver", SLOTS),
        ("self.users = ", "table: `tf.Variable` tables"),
        ("self.items = ", "table: `tf.Variable` tables"),
        ("self.user_bias = ", "table: `tf.Variable` tables"),
        ("self.item_bias = ", "table: `tf.Variable` tables"),
        ("self.global_step = ", "trap: Counters"),
        ("while step < steps", "trap: Counters"),
    ],
    "encoder": [
        ("UPDATE_OPS", ENCODER),
        ('"word_embeddings"', "table: The lines"),
        ('"position_embeddings"', "table: The lines"),
        ('"output_bias"', "table: The lines"),
        ("global_step = ", "trap: Counters"),
        ("tf.train.Saver", SLOTS),
    ],
    "graph_recommender": [
        ("tf.concat([self", "trap: Graph recommenders"),
        ('name="user_embedding"', "table: `tf.Variable` tables"),
        ('name="item_embedding"', "table: `tf.Variable` tables"),
        ('name="item_features"', "trap: Data tables"),
        ("tf.train.Saver", SLOTS),
    ],
    "estimator": [
        ("tf.estimator.DNNClassifier", "gone: " + ESTIMATORS),
        ("embedding_column", "table: " + ESTIMATORS),
    ],
    "lookups": [
        ('"embedding"', "table: The lines"),
        ("successor = ", "trap: Data tables"),
        ("global_step = ", "trap: Counters"),
        ("tf.train.Saver", SLOTS),
    ],
}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_script(name):
    path = os.path.join(ROOT, "tests", "legacy", name + ".py")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    lines = text.splitlines()
    found = check_script(text, path)
    said = [f"{its.kind}: {its.heading}" for its in found]
    assert said == [its for _, its in EXPECTED[name]]
    for its, (words, _) in zip(found, EXPECTED[name]):
        assert any(word in lines[its.line - 1] for word in words.split("|")), (its, words)


def test_rows_are_named_as_the_script_writes_them():
    path = os.path.join(ROOT, "tests", "legacy", "recommender.py")
    with open(path, encoding="utf-8") as file:
        found = check_script(file.read(), path)
    rows = [its.remedy.split(":")[0] for its in found if its.kind == "table"]
    assert rows == ["n_users rows", "n_items rows", "n_users entries", "n_items entries"]


def test_every_heading_is_in_the_page():
    with open(os.path.join(ROOT, "docs", "migration.md"), encoding="utf-8") as file:
        headings = re.findall(r"^#+ (.*)$", file.read(), re.M)
    assert HEADINGS - set(headings) == set()
