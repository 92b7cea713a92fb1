"""FrozenRows, record_frozen_rows and FrozenRowsHook: a changed bit is found and named."""

import logging

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe
from partial_embed.files.hashes import fingerprint_of


@pytest.mark.parametrize("use_resource", [False, True])
def test_training_leaves_them_alone(numbered, start, use_resource):
    table = numbered(use_resource=use_resource)
    loss = tf.reduce_sum(tf.square(table.lookup([0, 5])))
    train = pe.minimize(tf.train.AdamOptimizer(0.1), loss)
    session = start()
    frozen = pe.record_frozen_rows(session)
    session.run(train)
    assert frozen.verify(session) == 4


@pytest.mark.parametrize("partitioner", [None, tf.fixed_size_partitioner(3)])
def test_changed_rows_are_named(numbered, start, monkeypatch, partitioner):
    # Two rows at a time, so that rows are read in several pieces.
    monkeypatch.setattr("partial_embed.files.hashes._BLOCK_BYTES", 2 * 2 * 4)
    table = numbered((10, 2), 8, name="model/embedding", partitioner=partitioner)
    other = numbered(name="other")
    parts = table.frozen_parts
    flip = [tf.assign(part, part + [[0.0, 0.5]]) for part in parts]
    session = start()
    frozen = pe.record_frozen_rows(session)
    assert frozen.verify(session) == 12
    session.run(flip[-1])
    with pytest.raises(RuntimeError) as error:
        frozen.verify(session)
    rows = {None: "8 of 8 frozen rows of model/embedding changed: rows 0-7."}
    assert rows.get(partitioner, "2 of 8 frozen rows of model/embedding changed: rows 6-7.") in str(
        error.value
    )
    assert parts[-1].name in str(error.value)
    assert pe.FrozenRows([other]).record(session).verify(session) == 4


def test_rows_are_those_of_the_table_not_of_the_half(numbered, start):
    table = numbered((8, 2), trainable_rows=[0, 3])  # Frozen: 1 2 4 5 6 7.
    change = tf.scatter_update(table.frozen, [1, 2], [[9.0, 9.0]] * 2)
    session = start()
    frozen = pe.record_frozen_rows(session)
    session.run(change)
    with pytest.raises(RuntimeError, match="2 of 6 frozen rows of embedding changed: rows 2, 4. "):
        frozen.verify(session)


def test_tables_without_frozen_rows_and_unrecorded_ones(numbered, start):
    numbered(num_frozen_rows=0)
    session = start()
    assert pe.record_frozen_rows(session).verify(session) == 0
    with pytest.raises(RuntimeError, match="call record"):
        pe.FrozenRows().verify(session)


def test_variables_that_growing_froze_whole(write_checkpoint, start):
    prefix = write_checkpoint(
        {
            "layer/weight": np.ones([3, 2], np.float32),
            "layer/scale": np.float32(2.0),
            "global_step": np.int64(7),
        }
    )
    with pe.growing(prefix), tf.variable_scope("layer"):
        weight, scale = tf.get_variable("weight", [3, 2]), tf.get_variable("scale", [])
    with pe.growing(prefix):
        step = tf.train.get_or_create_global_step()
    count = tf.assign_add(step, 1)
    change_weight = tf.scatter_update(weight, [1], [[5.0, 5.0]])
    change_scale = tf.assign(scale, 3.0)
    session = start()
    frozen = pe.record_frozen_rows(session)
    session.run(count)  # A counter was never meant to stay as it is.
    assert frozen.verify(session) == 3 + 1
    session.run(change_weight)
    with pytest.raises(RuntimeError, match="1 of 3 frozen rows of layer/weight changed: rows 1. "):
        frozen.verify(session)
    frozen.record(session)
    session.run(change_scale)
    with pytest.raises(RuntimeError, match="1 of 1 frozen rows of layer/scale changed"):
        frozen.verify(session)


@pytest.mark.parametrize("dtype", [tf.float32, tf.string])
def test_a_variable_that_is_divided_by_columns(write_checkpoint, start, dtype):
    rows = np.arange(6).reshape([3, 2]).astype(dtype.as_numpy_dtype)
    rows = rows if dtype == tf.float32 else np.array([[b"%d" % i for i in row] for row in rows])
    with pe.growing(write_checkpoint({"weight": rows})):
        divided = tf.fixed_size_partitioner(2, axis=1)
        weight = tf.get_variable("weight", [3, 2], dtype, partitioner=divided)
    change = tf.assign(list(weight)[1], rows[::-1, 1:])
    session = start()
    frozen = pe.record_frozen_rows(session)
    assert frozen.verify(session) == 3
    assert frozen.digests(session) == {weight.name: fingerprint_of(rows)}
    session.run(change)
    with pytest.raises(RuntimeError, match="2 of 3 frozen rows of weight changed: rows 0, 2. "):
        frozen.verify(session)


def test_strings_are_compared_by_what_they_say(write_checkpoint, start):
    """As growing loads and freezes them; TensorFlow hands out a new array at every fetch."""
    with pe.growing(write_checkpoint({"keys": np.array([b"a", b"Paris", b""], object)})):
        keys = tf.get_variable("keys", [3], tf.string)
    change = tf.assign(keys, [b"a", b"", b"Paris"])
    session = start()
    frozen = pe.record_frozen_rows(session)
    assert frozen.verify(session) == 3
    session.run(change)
    with pytest.raises(RuntimeError, match="2 of 3 frozen rows of keys changed: rows 1-2. "):
        frozen.verify(session)


def monitored(train, hooks, steps=3, **arguments):
    with tf.train.MonitoredTrainingSession(
        hooks=hooks, log_step_count_steps=None, save_summaries_steps=None, **arguments
    ) as session:
        for _ in range(steps):
            session.run(train)


def test_the_hook_lets_a_good_run_pass_and_says_so(numbered, caplog):
    table = numbered()
    tf.train.get_or_create_global_step()
    train = pe.minimize(
        tf.train.MomentumOptimizer(0.1, 0.9), tf.reduce_sum(tf.square(table.lookup([0, 4])))
    )
    with caplog.at_level(logging.INFO, logger="absl"):
        monitored(train, [pe.FrozenRowsHook()])
    assert "0 of 4 frozen rows changed" in caplog.text


def test_the_hook_fails_a_run_that_changed_a_row(numbered):
    table = numbered()
    tf.train.get_or_create_global_step()
    loss = tf.reduce_sum(tf.square(table.lookup([0, 4])))
    train = pe.minimize(tf.train.GradientDescentOptimizer(0.1), loss)
    hook = pe.FrozenRowsHook([table])

    class Decay(tf.train.SessionRunHook):
        def begin(self):  # after the other hook has looked for such ops
            self.decay = tf.assign(table.frozen, table.frozen * 0.5)

        def after_run(self, run_context, run_values):
            run_context.session.run(self.decay)

    with pytest.raises(RuntimeError, match="3 of 4 frozen rows of embedding changed: rows 1-3"):
        monitored(train, [hook, Decay()])


def test_the_hook_compares_what_a_new_session_restored(numbered, tmp_path):
    """After a preemption MonitoredSession makes its session anew, from the last checkpoint."""
    table = numbered()
    step = tf.train.get_or_create_global_step()
    count = tf.assign_add(step, 1)

    class Preempt(tf.train.SessionRunHook):
        done = False

        def after_run(self, run_context, run_values):
            if not self.done:
                self.done = True
                raise tf.errors.AbortedError(None, None, "preempted")

    hook = pe.FrozenRowsHook([table])
    monitored(count, [hook, Preempt()], checkpoint_dir=str(tmp_path), save_checkpoint_steps=1)

    saver = tf.train.Saver()

    class PreemptAndSpoil(tf.train.SessionRunHook):
        done = False

        def begin(self):
            self.wrong = tf.assign(table.frozen, table.frozen + 1.0)

        def after_run(self, run_context, run_values):
            if not self.done:
                self.done = True
                run_context.session.run(self.wrong)
                saver.save(run_context.session, str(tmp_path / "model.ckpt"), 99)
                raise tf.errors.AbortedError(None, None, "preempted")

    # A graph is finalized after its first MonitoredSession; its hooks' ops need a fresh one.
    with pytest.raises(RuntimeError, match="4 of 4 frozen rows"):
        tf.get_default_graph()._unsafe_unfinalize()
        monitored(
            count,
            [pe.FrozenRowsHook([table]), PreemptAndSpoil()],
            checkpoint_dir=str(tmp_path),
            save_checkpoint_secs=None,
            save_checkpoint_steps=None,
        )
