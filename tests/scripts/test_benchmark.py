"""What the benchmark measures is what its lines say; no test looks at a time."""

import benchmark
import measures
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from partial_embed.files.checkpoint import Checkpoint

LINES = [(part, line) for part, lines in benchmark.PARTS.items() for line in lines]


@pytest.fixture(scope="module")
def at(tmp_path_factory):
    """Small sizes, in a directory where everything is prepared."""
    at = benchmark.Setting(50, 4, 5, 8, str(tmp_path_factory.mktemp("benchmark")))
    with tf.Graph().as_default():
        measures.prepare(at)
    return at


@pytest.mark.parametrize("part, line", LINES, ids=[line for _, line in LINES])
def test_every_line_can_be_measured(at, part, line):
    function, *arguments = benchmark.PARTS[part][line]
    arguments = [5 if its == 50 else its for its in arguments]  # lookups in one graph
    assert getattr(measures, function)(at, *arguments) > 0


def test_what_is_prepared(at, same_bits):
    def tensor(name, prefix, slots=True):
        return Checkpoint(measures.place(at, prefix, slots)).read(name)

    for name in ("embedding", "embedding/Adam", "embedding/Adam_1"):
        assert tensor(name, "base").shape == (50, 4)
        assert tensor(name, "whole").shape == (55, 4)
        assert same_bits(tensor(name, "whole")[:50], tensor(name, "base"))
    assert Checkpoint(measures.place(at, "base", False)).shapes == {"embedding": [50, 4]}


@pytest.mark.parametrize("optimizer", sorted(measures.OPTIMIZERS))
@pytest.mark.parametrize("form", ["partial", "gradient mask", "concat", "table mask", "plain"])
def test_forms_of_a_step(at, form, optimizer):
    table, ids, train = measures.training_step(at, form, measures.OPTIMIZERS[optimizer]())
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        before = session.run(table)
        session.run(train, {ids: [3, 3, 51]})
        moved = np.flatnonzero((session.run(table) != before).any(axis=1)).tolist()
    assert moved == ([3, 51] if form == "plain" else [51])


def test_a_mask_on_the_sparse_gradient_lets_old_rows_drift_that_moved_before(at):
    """Which is why it is no substitute, and only measured beside one."""
    table, ids, train = measures.training_step(
        at, "gradient mask", tf.train.MomentumOptimizer(0.1, 0.9)
    )
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        (momentum,) = [v for v in tf.global_variables() if v.op.name == "embedding/Momentum"]
        session.run(tf.assign(momentum, tf.ones_like(momentum)))
        before = session.run(table)
        session.run(train, {ids: [3, 51]})
        assert (session.run(table)[3] != before[3]).all()


def test_ops_are_counted_not_timed(at):
    one, ten = (measures.build(at, True, number, False, True) for number in (1, 10))
    assert ten == 10 * one


def test_the_lines_of_a_part():
    found = {"plain": [(2.0, 500), (1.0, 300), (4.0, 400)], "grown": [(3.0, 300), (2.5, 300)]}
    assert benchmark.lines_of("load", found, 100, 200) == [
        "| plain | 2.00 s | 1 | 1.50 |",
        "| grown | 2.75 s | 1.38 (2.50) | 1.00 |",
    ]
    assert benchmark.lines_of("step, Adam", {"plain": [(0.0021, 5)]}, 0, 1) == [
        "| plain | 2.10 ms | 1 |  |"
    ]
    assert benchmark.lines_of("ops", {"plain": [(7, 5)], "grown": [(14, 5)]}, 0, 1) == [
        "| plain | 7 | 1 |  |",
        "| grown | 14 | 2.00 (2.00) |  |",
    ]
