"""Growth along another axis: a kernel [d, vocabulary] gains columns, as a table gains rows."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe

# Of 8 numbers each: optimizers round those alike that are computed 8 at a time.
OLD, NEW, WIDTH = 8, 16, 8
OPTIMIZERS = {
    "GradientDescent": lambda: tf.train.GradientDescentOptimizer(0.1),
    "Momentum": lambda: tf.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True),
    "Adagrad": lambda: tf.train.AdagradOptimizer(0.1),
    "Adadelta": lambda: tf.train.AdadeltaOptimizer(0.5),
    "RMSProp": lambda: tf.train.RMSPropOptimizer(0.01, centered=True, momentum=0.9),
    "Ftrl": lambda: tf.train.FtrlOptimizer(0.1, l1_regularization_strength=0.001),
    "Adam": lambda: tf.train.AdamOptimizer(0.1),
    "AdagradDA": lambda: tf.train.AdagradDAOptimizer(0.1, tf.train.get_or_create_global_step()),
    "ProximalGradientDescent": lambda: tf.train.ProximalGradientDescentOptimizer(0.1, 0.001),
    "ProximalAdagrad": lambda: tf.train.ProximalAdagradOptimizer(0.1, 0.1, 0.001),
}


def decoder(columns, initializer=None):
    """An output layer as scripts have it: kernel and bias, and a loss of fixed batches."""
    random = np.random.RandomState(0)
    kernel = tf.get_variable("softmax_w", [WIDTH, columns], initializer=initializer)
    bias = tf.get_variable("softmax_b", [columns], initializer=tf.zeros_initializer())
    x = tf.constant(random.randn(16, WIDTH).astype(np.float32))
    labels = tf.constant(random.randint(0, columns, 16))
    logits = tf.matmul(x, kernel) + bias
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    return kernel, bias, tf.reduce_mean(loss)


@pytest.fixture
def base(write_checkpoint):
    """A decoder that was trained with Adagrad."""
    random = np.random.RandomState(1)
    return write_checkpoint(
        {
            "softmax_w": random.randn(WIDTH, OLD).astype(np.float32),
            "softmax_b": random.randn(OLD).astype(np.float32),
            "softmax_w/Adagrad": np.full([WIDTH, OLD], 3.0, np.float32),
            "softmax_b/Adagrad": np.full([OLD], 4.0, np.float32),
        }
    )


def whole(checkpoint, optimizer, start, values):
    """The oracle: one kernel of all columns, the gradient of the old ones dropped."""
    kernel, bias, loss = decoder(NEW)
    keep = tf.constant((np.arange(NEW) >= OLD).astype(np.float32))
    gradients = [
        (gradient * keep, variable)
        for gradient, variable in optimizer.compute_gradients(loss, [kernel, bias])
    ]
    step = optimizer.apply_gradients(gradients)
    session = start()
    for variable, value in zip([kernel, bias], values):
        variable.load(value, session)
    for _ in range(5):
        session.run(step)
        for variable, value in zip([kernel, bias], values):  # Some move what has no gradient.
            old = np.where(np.arange(NEW) < OLD, value, session.run(variable))
            variable.load(old, session)
    slots = [optimizer.get_slot(v, s) for v in (kernel, bias) for s in optimizer.get_slot_names()]
    return session.run([kernel, bias]), session.run(slots)


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_new_columns_match_the_oracle_bit_for_bit(base, start, same_bits, optimizer):
    made = OPTIMIZERS[optimizer]()
    with pe.growing(base):
        kernel, bias, loss = decoder(NEW)
    step = made.minimize(loss)
    session = start()
    first = session.run([kernel, bias])
    for _ in range(5):
        session.run(step)
    trained = session.run([kernel, bias])
    slots = session.run(
        [made.get_slot(e.trainable, name) for e in (kernel, bias) for name in made.get_slot_names()]
    )
    with tf.Graph().as_default():
        expected, whole_slots = whole(base, OPTIMIZERS[optimizer](), start, first)
    old = pe.meta_graph.Checkpoint(base)
    names = "softmax_w", "softmax_b"
    for value, other, before, name in zip(trained, expected, first, names):
        assert same_bits(value[..., :OLD], old.read(name))
        assert same_bits(value[..., OLD:], other[..., OLD:])
        assert (value[..., OLD:] != before[..., OLD:]).all()
    for slot, other in zip(slots, whole_slots):
        assert same_bits(slot, other[..., OLD:])


@pytest.mark.parametrize("how", ["whole", "delta"])
def test_one_tensor_on_disk_slots_too(base, start, tmp_path, how):
    with pe.growing(base):
        kernel, bias, loss = decoder(NEW)
    step = tf.train.AdagradOptimizer(0.1).minimize(loss)
    session = start()
    frozen = pe.record_frozen_rows(session)
    session.run(step)
    assert frozen.verify(session) == 2 * OLD
    values = session.run([kernel, bias])
    prefix = pe.Saver(delta=how == "delta").save(session, str(tmp_path / how))
    if how == "delta":
        prefix = pe.merge_checkpoint(base, prefix, str(tmp_path / "merged"))
    with tf.Graph().as_default():  # a script that has never heard of any of this
        kernel, bias, loss = decoder(NEW)
        optimizer = tf.train.AdagradOptimizer(0.1)
        optimizer.minimize(loss)
        session = start()
        tf.train.Saver().restore(session, prefix)
        restored = session.run([kernel, bias])
        slots = session.run([optimizer.get_slot(v, "accumulator") for v in (kernel, bias)])
    for value, other in zip(restored, values):
        assert value.tolist() == other.tolist()
    assert (slots[0][:, :OLD] == 3).all() and (slots[1][:OLD] == 4).all()
    assert (slots[0][:, OLD:] < 3).all()
    assert pe.meta_graph.Checkpoint(prefix).shapes["softmax_w"] == [WIDTH, NEW]


def test_restoring_what_it_grew_from_and_what_it_saved(base, start, tmp_path):
    with pe.growing(base):
        kernel, _, loss = decoder(NEW)
    step = tf.train.AdagradOptimizer(0.1).minimize(loss)
    saver, deltas = pe.Saver(), pe.Saver(delta=True)
    session = start()
    session.run(step)
    expected = session.run(kernel)
    prefixes = [
        saver.save(session, str(tmp_path / "whole")),
        deltas.save(session, str(tmp_path / "d")),
    ]
    for prefix in prefixes:
        other = start()
        saver.restore(other, prefix)
        assert other.run(kernel).tolist() == expected.tolist()
    saver.restore(session, base)
    assert session.run(kernel).tolist() == expected.tolist()


def test_growing_a_second_time(base, start, tmp_path):
    with pe.growing(base):
        kernel, _, loss = decoder(NEW)
    first = pe.Saver().save(start(), str(tmp_path / "first"))
    with tf.Graph().as_default():
        with pe.growing(first):
            kernel, _, loss = decoder(20)
        session = start()
        values = session.run(kernel)
        assert (
            values[:, :NEW].tolist() == pe.meta_graph.Checkpoint(first).read("softmax_w").tolist()
        )
        second = pe.Saver().save(session, str(tmp_path / "second"))
    for generation, columns in enumerate([OLD, NEW, 20]):
        with tf.Graph().as_default():
            table = pe.get_embedding(
                "softmax_w", [WIDTH, 22], checkpoint=second, generation=generation, axis=1
            )
            assert table.num_frozen_rows == columns
            assert start().run(table)[:, :columns].tolist() == values[:, :columns].tolist()


def test_columns_follow_keys(base, start):
    old = [f"k{i}" for i in range(OLD)]
    new = ["a", *old[::-1], *"bcdefgh"]
    new[2], new[12] = new[12], new[2]
    with pe.growing(base, vocabularies={"*": (old, new)}) as growing:
        kernel, bias, loss = decoder(NEW)
    step = tf.train.AdagradOptimizer(0.1).minimize(loss)
    session = start()
    session.run(step)
    here, there = [new.index(key) for key in old], pe.meta_graph.Checkpoint(base)
    assert session.run(kernel)[:, here].tolist() == there.read("softmax_w").tolist()
    assert session.run(bias)[here].tolist() == there.read("softmax_b").tolist()
    assert "row i keeps its meaning" not in growing.summary()


def test_out_of_vocabulary_rows_stay_at_the_end(write_checkpoint, row_numbers, start):
    base = write_checkpoint({"words": row_numbers([5, 2]), "other": row_numbers([7, 2])})
    vocabularies = {"*": (["a", "b", "c"], ["a", "d", "c", "b"], 2)}
    with pe.growing(base, vocabularies=vocabularies):
        words = tf.get_variable("words", [6, 2], initializer=tf.zeros_initializer())
        tf.get_variable("other", [7, 2])
    assert words.plan.trainable_rows.tolist() == [1]
    assert start().run(words)[:, 0].tolist() == [0, 0, 2, 1, 3, 4]
    unsaid, error = {"*": vocabularies["*"][:2]}, r"say so: \(old, new, 2\)"
    growing = pe.growing(base, vocabularies=unsaid)
    with tf.Graph().as_default(), pytest.raises(ValueError, match=error), growing:
        tf.get_variable("words", [6, 2])


def test_keys_as_many_as_no_table_has_rows(write_checkpoint, row_numbers, start, capsys):
    base = write_checkpoint({"words": row_numbers([4, 2])})  # The first is for padding.
    growing = pe.growing(
        base, vocabularies={"*": (["a", "b", "c"], ["d", "c", "e", "a", "f", "b"])}
    )
    said = r"3 keys before and 6 now, and no variable.* holds: words \[4, 2\] float32\. Give"
    with pytest.raises(ValueError, match=said), growing:
        tf.get_variable("words", [6, 2])
        start()
        assert "warning: no variable obeys *, so far" in capsys.readouterr().err


def test_new_keys_after_old_ones_and_before_those_out_of_vocabulary(
    write_checkpoint, row_numbers, start
):
    base = write_checkpoint({"words": row_numbers([3, 2])})
    with pe.growing(base, vocabularies={"words": (["a", "b"], ["a", "b", "c"], 1)}):
        words = tf.get_variable("words", [4, 2], initializer=tf.zeros_initializer())
    assert start().run(words)[:, 0].tolist() == [0, 1, 0, 2]
    assert words.trainable_keys == ["c"]


def test_two_axes_at_once_are_refused(write_checkpoint, row_numbers):
    base = write_checkpoint({"transitions": row_numbers([3, 3]), "e": row_numbers([3, 2])})
    with pytest.raises(ValueError, match=r"axis 1 and axis 0 differ.*skip="), pe.growing(base):
        tf.get_variable("transitions", [5, 5])
    growing = pe.growing(base, vocabularies={"*": (["a", "b", "c"], ["c", "b", "a"])})
    with tf.Graph().as_default(), pytest.raises(ValueError, match=r"axes 0 and 1.*skip="), growing:
        tf.get_variable("transitions", [3, 3])
    with tf.Graph().as_default(), pe.growing(base, skip="trans*") as growing:
        variable = tf.get_variable("transitions", [5, 5])
        tf.get_variable("e", [4, 2])
    assert not isinstance(variable, pe.PartialEmbedding)
    assert "left alone      transitions: skip=" in growing.summary()


def test_looked_up_along_the_first_axis_and_scored(base, start):
    with pe.growing(base):
        kernel, _, _ = decoder(NEW)
    looked_up = [tf.nn.embedding_lookup(kernel, [[1, 3]]), tf.gather(kernel, [0, 7])]
    scores = kernel.matmul(tf.ones([2, WIDTH]))
    session = start()
    values = session.run(kernel)
    found = session.run(looked_up)
    assert found[0].tolist() == values[np.array([[1, 3]])].tolist()
    assert found[1].tolist() == values[[0, 7]].tolist()
    np.testing.assert_allclose(session.run(scores), np.ones([2, WIDTH]) @ values, rtol=1e-5)
    (gradient,) = tf.gradients(looked_up[0], kernel.trainable)
    assert start().run(tf.convert_to_tensor(gradient)).sum() == 2 * (NEW - OLD)
    with pytest.raises(ValueError, match="grown along axis 1"):
        pe.lookup_cond(kernel, [0], tf.constant(True))


def test_columns_among_old_ones(base, start, tmp_path, plain_restore):
    table = pe.get_embedding(
        "softmax_w", [WIDTH, NEW], checkpoint=base, trainable_rows=[1, 4], axis=1
    )
    step = pe.minimize(
        tf.train.AdagradOptimizer(0.1), tf.reduce_sum(tf.matmul(tf.ones([1, 8]), table))
    )
    session = start()
    before = session.run(table)
    session.run(step)
    after = session.run(table)
    moved = (before != after).all(0)
    assert np.flatnonzero(moved).tolist() == [1, 4, *range(OLD, NEW)]
    assert (before == after).all(0).sum() == OLD - 2
    prefix = pe.Saver().save(session, str(tmp_path / "m"))
    restored = plain_restore(prefix, {"softmax_w": [WIDTH, NEW], "softmax_w/Adagrad": [WIDTH, NEW]})
    assert restored["softmax_w"].tolist() == after.tolist()
    assert (restored["softmax_w/Adagrad"][:, [0, 2, 3, 5, 6, 7]] == 3).all()
