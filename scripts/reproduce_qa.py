"""Answers "train only a subset of an embedding matrix", by running it.

The question was asked in 2018. A model with an `embedding` of n_e rows is trained and
saved; then entities are added, and only their rows may change. Two things are shown
here, and what is said of them is checked on the way:

1. The session of the original answer, step by step: a table in two halves, of which
   e trains and e_old does not, a flag z that says which half a batch is in, and one
   training step for each of its values. Both tables are printed before and after.

2. What the asker was after. The asker's training script (here the function
   `training_script`, plain TensorFlow) trains n_e entities and saves them. Two more
   arrive: the same function runs with n_e + 2 under pe.growing, in batches that hold
   old and new entities together. Then it runs once more with n_e + 2, without
   partial_embed, to restore what was saved and to train on.

    python scripts/reproduce_qa.py
    python scripts/reproduce_qa.py --n_e=100 --new=5 --load_with=get_embedding
    python scripts/reproduce_qa.py --directory=/tmp/qa    # and keep the checkpoints

The last line says how many promises were kept. If one was broken, the exit status is 1.
"""

import collections
import functools
import os
import tempfile

import numpy as np
import quiet  # before all that imports TensorFlow
import tensorflow.compat.v1 as tf
from absl import app, flags

import partial_embed as pe

DIMENSIONS = 10

Session2018 = collections.namedtuple("Session2018", "x y_ z table weight lookup loss train")
Script = collections.namedtuple("Script", "embedding pairs labels scores loss step train saver")


class Promises:
    """What was promised, and whether it was kept."""

    def __init__(self):
        self._kept = []

    def check(self, promise, kept):
        """Notes a promise and prints it; `kept` is computed from what the session gave."""
        self._kept.append(bool(kept))
        print(f"  [{'kept' if kept else 'BROKEN'}] {promise}")

    def summary(self):
        """Prints the count; returns the exit status."""
        print(f"\n{sum(self._kept)} of {len(self._kept)} promises kept.")
        return 0 if all(self._kept) else 1


def moved_rows(before, after):
    """Returns the list of the rows that are not bit for bit what they were."""
    return [row for row in range(len(before)) if before[row].tobytes() != after[row].tobytes()]


# --- 1. the session of the answer ---------------------------------------------------


def original_graph(e, e_old, weight):
    """Builds the answer's graph in the default graph.

    Args:
        e: array [5, 10], first values of the rows that train.
        e_old: array [5, 10], the rows that do not.
        weight: array [10, 2], first values of W.

    Returns:
        A `Session2018` of tensors, the table and the training op.
    """
    y_ = tf.placeholder(tf.float32, [None, 2], name="y_")
    x = tf.placeholder(tf.int32, [None], name="x")
    z = tf.placeholder(tf.bool, [], name="z")

    # The answer made two variables by hand. Here they are the halves of one table of 10 rows.
    table = pe.get_embedding(
        "embedding",
        [len(e_old) + len(e), DIMENSIONS],
        initializer=np.concatenate([e_old, e]),
        num_frozen_rows=len(e_old),
    )
    # The answer: out = tf.cond(z, lambda: e, lambda: e_old); tf.nn.embedding_lookup(out, x).
    lookup = pe.lookup_cond(table, x, z)

    w = tf.get_variable("W", initializer=weight)
    y = tf.nn.softmax(tf.nn.relu(tf.matmul(lookup, w)))
    cross_entropy = tf.reduce_mean(-tf.reduce_sum(y_ * tf.log(y), axis=1))
    train = pe.minimize(tf.train.GradientDescentOptimizer(0.5), cross_entropy, var_list=[w])
    return Session2018(x, y_, z, table, w, lookup, cross_entropy, train)


def reproduce_session(promises, seed):
    """Runs the answer's session and prints what it printed."""
    random = np.random.RandomState(seed)
    values = [
        (random.randn(*shape) * 0.3).astype(np.float32) for shape in ((5, 10), (5, 10), (10, 2))
    ]
    with tf.Graph().as_default():
        model = original_graph(*values)
        e, e_old = model.table.trainable, model.table.frozen
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            first_e, first_e_old = session.run([e, e_old])
            print(f"e, which trains:\n{first_e}\ne_old, which does not:\n{first_e_old}")

            for z, half in ((True, "e"), (False, "e_old")):
                feed = {model.x: [0], model.y_: [[0, 1]], model.z: z}
                before = session.run([e, e_old, model.lookup], feed)
                session.run(model.train, feed)
                after = session.run([e, e_old, model.lookup], feed)
                print(f"\none step on x = [0], y_ = [[0, 1]], z = {z}")
                print(f"row 0 of {half} before and after:\n{before[2][0]}\n{after[2][0]}")
                moved = [moved_rows(*pair) for pair in zip(before[:2], after[:2])]
                said = [rows or "none" for rows in moved]
                print(f"rows of e that moved: {said[0]}; rows of e_old: {said[1]}")
                if z:
                    promises.check("z True: row 0 of e moved, and no other", moved == [[0], []])
                else:
                    promises.check("z False: nothing moved, not e and not e_old", moved == [[], []])


# --- 2. what the asker was after ----------------------------------------------------


def training_script(n_e, seed=0, make_embedding=tf.get_variable):
    """The asker's training script: a table of n_e entities and a loss on pairs of them.

    Plain TensorFlow, but for the xavier initializer that left it together with contrib.

    Args:
        n_e: int, the number of entities, all that ever changes here.
        seed: int, of the first values.
        make_embedding: what makes the table, `tf.get_variable`.

    Returns:
        A `Script`.
    """
    xavier = pe.xavier_initializer(uniform=False, seed=seed)
    embedding = make_embedding("embedding", shape=[n_e, DIMENSIONS], initializer=xavier)
    pairs = tf.placeholder(tf.int32, [None, 2], name="pairs")
    labels = tf.placeholder(tf.float32, [None], name="labels")
    left, right = tf.unstack(tf.nn.embedding_lookup(embedding, pairs), axis=1)
    scores = tf.reduce_sum(left * right, axis=1)
    loss = tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=scores))

    global_step = tf.train.get_or_create_global_step()
    optimizer = tf.train.GradientDescentOptimizer(0.01)
    gradients = optimizer.compute_gradients(loss)
    train = optimizer.apply_gradients(gradients, global_step=global_step)
    return Script(embedding, pairs, labels, scores, loss, global_step, train, tf.train.Saver())


def pairs_that_touch(entities, n_e):
    """Returns pairs [count, 2] with one of `entities`, and whether the two are alike, [count].

    The made-up fact to learn: even numbers go with even numbers, odd with odd.
    """
    pairs = [(i, j) for i in entities for j in range(n_e) if i != j]
    return np.array(pairs, np.int32), np.array([(i + j) % 2 == 0 for i, j in pairs], np.float32)


def train_on(session, script, pairs, labels, steps, seed):
    """Trains on random batches of 128 pairs."""
    random = np.random.RandomState(seed)
    for _ in range(steps):
        batch = random.randint(len(pairs), size=128)
        session.run(script.train, {script.pairs: pairs[batch], script.labels: labels[batch]})


def accuracy(session, script, pairs, labels):
    """Returns the part of the pairs whose score has the right sign."""
    scores = session.run(script.scores, {script.pairs: pairs})
    return np.mean((scores > 0) == (labels > 0))


def train_base(directory, n_e, steps, seed):
    """Trains n_e entities with the asker's script and saves them.

    Returns:
        The checkpoint's prefix and the table [n_e, 10] as the session had it.
    """
    pairs, labels = pairs_that_touch(range(n_e), n_e)
    with tf.Graph().as_default(), tf.Session() as session:
        script = training_script(n_e, seed)
        session.run(tf.global_variables_initializer())
        train_on(session, script, pairs, labels, steps, seed)
        right = accuracy(session, script, pairs, labels)
        print(f"trained {n_e} entities: {right:.0%} of the pairs right")
        prefix = os.path.join(directory, "base", "model.ckpt")
        return script.saver.save(session, prefix, script.step), session.run(script.embedding)


def grow(promises, directory, base, n_e, new, steps, seed, load_with):
    """Adds entities to the saved model, and trains only those.

    Args:
        promises: a `Promises`.
        directory: where to save.
        base: prefix of the base model's checkpoint.
        n_e: int, entities in it.
        new: int, entities to add.
        steps: int.
        seed: int.
        load_with: "growing" or "get_embedding".

    Returns:
        The new checkpoint's prefix and the table [n_e + new, 10].
    """
    pairs, labels = pairs_that_touch(range(n_e, n_e + new), n_e + new)
    with tf.Graph().as_default(), tf.Session() as session:
        if load_with == "growing":
            with pe.growing(base, show=None) as growing:
                script = training_script(n_e + new, seed + 2)
            print(f"pe.growing:\n{growing.summary()}")
        else:
            make_embedding = functools.partial(pe.get_embedding, checkpoint=base)
            script = training_script(n_e + new, seed + 2, make_embedding)
        session.run(tf.global_variables_initializer())
        first = session.run(script.embedding)
        before = accuracy(session, script, pairs, labels)
        frozen = pe.record_frozen_rows(session)
        train_on(session, script, pairs, labels, steps, seed)
        frozen.verify(session)
        after = accuracy(session, script, pairs, labels)
        print(
            f"added {new}: {before:.0%} of the new pairs right before training, {after:.0%} after"
        )
        last = session.run(script.embedding)
        promises.check(
            f"training moved the {new} new rows and no other",
            moved_rows(first, last) == list(range(n_e, n_e + new)),
        )
        prefix = os.path.join(directory, "grown", "model.ckpt")
        return script.saver.save(session, prefix, script.step), last


def solve_problem(promises, directory, n_e, new, steps, seed, load_with="growing"):
    """Trains, saves, adds entities, trains those, saves; restores without partial_embed."""
    base, old_rows = train_base(directory, n_e, steps, seed)
    grown, table = grow(promises, directory, base, n_e, new, steps, seed, load_with)
    promises.check(
        f"the {n_e} old rows are bit-identical to those of the base model",
        moved_rows(old_rows, table[:n_e]) == [],
    )
    tensors = dict(tf.train.list_variables(grown))
    print(f"{os.path.basename(grown)} holds {tensors}")
    promises.check(
        f"the checkpoint holds one `embedding` [{n_e + new}, {DIMENSIONS}], and the step",
        tensors == {"embedding": [n_e + new, DIMENSIONS], "global_step": []},
    )

    pairs, labels = pairs_that_touch(range(n_e, n_e + new), n_e + new)
    with tf.Graph().as_default(), tf.Session() as session:
        script = training_script(n_e + new, seed)
        script.saver.restore(session, grown)
        promises.check(
            f"the asker's script, n_e = {n_e + new}, no partial_embed, restores it bit for bit",
            moved_rows(table, session.run(script.embedding)) == [],
        )
        train_on(session, script, pairs, labels, 1, seed)
        moved = moved_rows(table, session.run(script.embedding))
        promises.check("and trains on, old rows and new", moved and moved[0] < n_e <= moved[-1])


@quiet.command
def main():
    options = flags.FLAGS
    promises = Promises()
    print("1. The session of the answer\n")
    reproduce_session(promises, options.seed)
    print("\n2. What the asker was after\n")
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.directory or temporary
        for name in ("base", "grown"):
            os.makedirs(os.path.join(directory, name), exist_ok=True)
        sizes = options.n_e, options.new, options.steps
        solve_problem(promises, directory, *sizes, options.seed, options.load_with)
    return promises.summary()


if __name__ == "__main__":
    flags.DEFINE_integer("n_e", 20, "Entities of the base model.", lower_bound=2)
    flags.DEFINE_integer("new", 2, "Entities that are added.", lower_bound=1)
    flags.DEFINE_integer("steps", 400, "Training steps of each run of part 2.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Of the start values.")
    flags.DEFINE_enum(
        "load_with",
        "growing",
        ["growing", "get_embedding"],
        "How the asker's script comes to its grown table: unchanged, under "
        "`with pe.growing(checkpoint)`; or with pe.get_embedding(..., checkpoint=...) where it "
        "called tf.get_variable.",
    )
    flags.DEFINE_string("directory", None, "Where to keep the checkpoints; nowhere by default.")
    app.run(main)
