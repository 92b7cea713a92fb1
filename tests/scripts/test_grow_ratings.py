"""Ratings: matrix factorization, time, fold-in, and growth of both tables with their biases."""

import grow_ratings
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from models.matrix_factorization import matrix_factorization


@pytest.fixture
def ratings(tmp_path, random):
    """A file in which, late, two users and a film appear."""
    lines = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    for time in range(300):
        late = time >= 240
        user = random.randint(12 if late else 10)
        item = random.randint(9 if late else 8)
        lines.append(f"u{user}\ti{item}\t{1 + (user + item) % 5}\t{880000000 + time}")
    path = tmp_path / "ratings.tsv"
    path.write_text("\n".join(lines[:1] + lines[:0:-1]) + "\n")
    return str(path)


def test_what_is_new_comes_later_and_is_halved(ratings):
    base, first, second = grow_ratings.split_by_time(ratings)
    assert len(base) == 240
    users, items = {user for user, _, _ in base}, {item for _, item, _ in base}
    assert all(user not in users or item not in items for user, item, _ in first + second)
    assert {user for user, _, _ in first} >= {"u10", "u11"}
    for user in ("u10", "u11"):
        halves = [sum(rating[0] == user for rating in half) for half in (first, second)]
        assert 0 <= halves[0] - halves[1] <= 1


def test_only_new_rows_move_and_fold_in_is_the_minimum(ratings, tmp_path, monkeypatch, random):
    monkeypatch.setitem(grow_ratings.HYPERPARAMETERS, "dimension", 3)
    monkeypatch.setitem(grow_ratings.SETTINGS, "epochs", 2)
    base, first, second = grow_ratings.split_by_time(ratings)
    found, changed = grow_ratings.run(base, first, second, str(tmp_path / "out"), 0)
    assert changed == 0
    assert all(0 < error < 5 for errors, _ in found.values() for error in errors)

    model = grow_ratings.Model(str(tmp_path / "out" / "base"))
    old = {name: dict(rows) for name, rows in model.rows.items()}
    solved = model.fold_in(first, 0.1)
    rated = [(item, float(v)) for user, item, v in first if user == "u10" and item in old["item"]]

    def cost(row, bias):
        rest = [
            v - solved.mean - solved.biases["item"][i] - bias - row @ old["item"][i]
            for i, v in rated
        ]
        return np.sum(np.square(rest)) + 0.1 * len(rated) * (row @ row + bias**2)

    row, bias = solved.rows["user"]["u10"], solved.biases["user"]["u10"]
    for _ in range(20):
        assert cost(row + 0.01 * random.randn(3), bias + 0.01 * random.randn()) > cost(row, bias)
    assert solved.rows["item"]["i0"] is old["item"]["i0"]


def test_the_model_is_its_formula(start):
    class Flags:
        dimension, l2, mean = 2, 0.5, 3.5

    features = {"user": tf.constant([1, 0]), "item": tf.constant([2, 2])}
    features["value"] = tf.constant([4.0, 1.0])
    loss, metrics = matrix_factorization(features, {"users": 2, "items": 3}, Flags)
    session = start()
    session.run(tf.local_variables_initializer())
    variables = {variable.op.name: variable for variable in tf.trainable_variables()}
    for name in ("user_bias", "item_bias"):
        variables[name].load(np.arange(1.0, 1.0 + int(variables[name].shape[0])), session)
    value = session.run(variables)
    rated, cost = [], 0.0
    for user, item, rating in ((1, 2, 4.0), (0, 2, 1.0)):
        p, q = value["user"][user], value["item"][item]
        bias = value["user_bias"][user] + value["item_bias"][item]
        rated.append(value["mean"] + bias + p @ q - rating)
        cost += rated[-1] ** 2 + 0.5 * (p @ p + q @ q + bias**2)
    np.testing.assert_allclose(session.run(loss), cost / 2, rtol=1e-5)
    session.run([update for _, update in metrics.values()])
    np.testing.assert_allclose(
        session.run(metrics["rmse"][0]), np.sqrt(np.mean(np.square(rated))), rtol=1e-5
    )
    np.testing.assert_allclose(session.run(metrics["mae"][0]), np.mean(np.abs(rated)), rtol=1e-5)
