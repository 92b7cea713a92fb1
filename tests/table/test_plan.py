"""Which rows are frozen, which train, and where they are loaded from."""

import tracemalloc
from collections import namedtuple

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hypothesis import given
from hypothesis import strategies as st

import partial_embed as pe
from partial_embed.files.runs import from_runs, to_runs
from partial_embed.table.loading import row_indices
from partial_embed.table.make_table import make_table
from partial_embed.table.plan import RowPlan, plan_rows
from partial_embed.table.row_init import as_row_init, normal_like_old_rows, old_rows
from partial_embed.table.table_plan import TablePlan
from partial_embed.training.frozen_rows import FrozenRows


def test_the_drawing_in_the_docstring():
    plan = plan_rows("embedding", 6, checkpoint_rows=4, trainable_rows=[1])
    assert plan.frozen_rows().tolist() == [0, 2, 3]
    assert plan.loaded_rows() == range(4)
    assert plan.trainable_rows.tolist() == [1, 4, 5]
    assert plan.source_of(np.arange(6)).tolist() == [0, 1, 2, 3, -1, -1]
    assert plan.num_frozen_rows == 3
    assert not plan.contiguous


@pytest.mark.parametrize(
    "arguments, trainable, contiguous",
    [
        (dict(checkpoint_rows=4), [4, 5], True),
        (dict(checkpoint_rows=6), [], True),
        (dict(num_frozen_rows=2), [2, 3, 4, 5], True),
        (dict(num_frozen_rows=0), [0, 1, 2, 3, 4, 5], True),
        (dict(trainable_rows=[4, 5]), [4, 5], True),
        (dict(trainable_rows=[0]), [0], False),
        (dict(trainable_rows=[]), [], True),
        (dict(num_frozen_rows=4, trainable_rows=[3]), [3, 4, 5], True),
        (dict(checkpoint_rows=4, trainable_rows=[2, 0]), [0, 2, 4, 5], False),
        (dict(checkpoint_rows=4, trainable_rows=np.array([5])), [4, 5], True),
    ],
)
def test_rows_that_train(arguments, trainable, contiguous):
    plan = plan_rows("embedding", 6, **arguments)
    assert plan.trainable_rows.tolist() == trainable
    assert plan.trainable_rows.dtype == np.int64
    assert plan.contiguous == contiguous
    assert plan.num_frozen_rows == 6 - len(trainable)


def test_a_source_of_its_own():
    plan = plan_rows("embedding", 4, checkpoint_rows=3, source=np.array([2, -1, 0, 1]))
    assert plan.trainable_rows.tolist() == [1]
    assert plan.source_of(plan.frozen_rows()).tolist() == [2, 0, 1]
    assert plan.loaded_rows().tolist() == [2, 0, 1]
    assert not RowPlan(2, 2, np.array([1]), source=np.array([1, -1])).contiguous


@pytest.mark.parametrize(
    "rows, message",
    [
        ([6], r"embedding must be from 0 to 5, the last of its 6 rows; found \[6\]"),
        ([-1, 2], r"found \[-1\]"),
        ([1, 3, 1, 3], r"embedding names rows more than once: \[1, 3\]. Name each row once"),
        ([0.5], "must be row numbers, got float64"),
        ([True, False], "must be row numbers, got bool"),
    ],
)
def test_rows_that_cannot_be(rows, message):
    with pytest.raises(ValueError, match=message):
        plan_rows("embedding", 6, num_frozen_rows=4, trainable_rows=rows)


@pytest.mark.parametrize("rows", [2, "2", True])
def test_rows_that_are_no_list(rows):
    with pytest.raises(TypeError, match=f"of embedding must be a list of ids, got {rows!r}"):
        plan_rows("embedding", 6, num_frozen_rows=4, trainable_rows=rows)


ROWS = st.lists(st.integers(0, 40), unique=True, max_size=30)


@given(ROWS.map(sorted))
def test_runs_are_the_rows(rows):
    runs = to_runs(np.array(rows, np.int64))
    assert from_runs(runs).tolist() == rows
    # Runs are as long as they can be.
    assert all(stop < start for (_, stop), (start, _) in zip(runs, runs[1:]))


@given(ROWS)
def test_row_indices_are_the_rows_in_their_order(rows):
    with tf.Graph().as_default(), tf.Session() as session:
        assert session.run(row_indices(np.array(rows, np.int64))).tolist() == rows


def test_row_indices_stay_out_of_the_graph(graph):
    row_indices(np.arange(1000000))
    assert graph.as_graph_def().ByteSize() < 10000
    shuffled = np.random.RandomState(0).permutation(150000)
    indices = row_indices(shuffled)
    assert graph.as_graph_def().ByteSize() < 20000
    assert indices.shape.as_list() == [150000]
    with tf.Session() as session:
        assert (session.run(indices) == shuffled).all()


@given(st.integers(1, 8), st.integers(0, 8), st.data())
def test_every_row_is_in_one_half(old, new, data):
    rows = data.draw(st.lists(st.integers(0, old + new - 1), unique=True, max_size=5))
    plan = plan_rows("embedding", old + new, checkpoint_rows=old, trainable_rows=rows)
    both = np.concatenate([plan.frozen_rows(), plan.trainable_rows])
    assert sorted(both.tolist()) == list(range(old + new))
    assert set(plan.trainable_rows.tolist()) == set(rows) | set(range(old, old + new))


def test_tables_of_no_columns():
    with pytest.raises(ValueError, match="The table table needs a shape .* above 0, got .4, 0"):
        pe.get_embedding("table", [4, 0], num_frozen_rows=2)


BILLIONS = 1 << 33
Huge = namedtuple("Huge", ["prefix", "shapes", "dtypes"])  # what is asked of a `Checkpoint`


@pytest.fixture
def little_memory():
    """Fails the test if Python and numpy hold more than a few MB at any time in it."""
    tracemalloc.start()
    yield
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 64 << 20


def huge_table(initializer, checkpoint_rows=BILLIONS, **arguments):
    """The plan of a table of 2^33 old rows and 2 new ones."""
    checkpoint = None
    if checkpoint_rows:
        checkpoint = Huge("huge", {"ent": [checkpoint_rows, 2]}, {"ent": tf.float32})
    rows = plan_rows("ent", BILLIONS + 2, checkpoint_rows, **arguments)
    shape, initializer = [BILLIONS + 2, 2], as_row_init(initializer)
    return TablePlan(
        "ent", shape, tf.float32, rows, initializer, checkpoint, "ent", None, False, None
    )


def test_frozen_rows_are_not_listed(little_memory):
    plan = huge_table(normal_like_old_rows())
    assert plan.rows.frozen_rows() == range(BILLIONS)
    assert plan.rows.source_of(range(BILLIONS)) == range(BILLIONS)
    assert plan.rows.source_of(plan.rows.trainable_rows).tolist() == [-1, -1]
    assert to_runs(plan.rows.frozen_rows()) == [[0, BILLIONS]]
    for rows in (plan.rows.frozen_rows(), plan.rows.trainable_rows):
        value = plan.initial_values(rows)([len(rows), 2])
        assert value.shape.as_list() == [len(rows), 2]
    assert old_rows(plan).shape.as_list() == [1 << 17, 2]


def test_a_table_of_billions_of_rows_is_made(little_memory):
    def getter(name, **arguments):
        return tf.get_variable(name, use_resource=True, **arguments)

    table = make_table(getter, huge_table(tf.zeros_initializer()))
    assert table.lookup(tf.zeros([3], tf.int64)).shape.as_list() == [3, 2]
    FrozenRows()
    pe.Saver()


def test_billions_of_frozen_rows_of_no_checkpoint(little_memory):
    plan = huge_table(tf.zeros_initializer(), 0, num_frozen_rows=BILLIONS, trainable_rows=[])
    rows = plan.rows.frozen_rows()
    assert rows == range(BILLIONS)
    assert plan.initial_values(rows)([len(rows), 2]).shape.as_list() == [BILLIONS, 2]
