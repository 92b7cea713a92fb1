"""Grows a TransE of 2017: a whole session script, and the lines that a growth changes in it.

A town has streets and avenues; an entity is a corner, a relation a walk such as "two blocks east".
`script` is the script as it was: it trains the corners of the town and saves them. Then the town
gains an avenue, and `grown_script` trains its corners among the old ones, which do not move: the
same script, but for the lines marked `# changed`. Last, `script` itself takes the result over.

  python scripts/grow_transe.py
  python scripts/grow_transe.py --directory=town    # and keep base.ckpt and grown.ckpt

Nothing needs to be prepared. What comes out:

  script: 48 corners trained, mean rank 1.00
  grown_script: 6 more, by 103 facts; on 11 unseen ones, mean rank 32.00 before, 1.09 after
  old rows unchanged, to the last bit: 48 of 48
  new rows trained: 6 of 6
  rows that script, by tf.train.Saver, restored: 54 of 54

The last three lines are promises; if one was not kept, the exit status is 1.
"""

import collections
import os
import tempfile

import numpy as np
import quiet  # only for what is printed
import tensorflow.compat.v1 as tf
from absl import app, flags, logging

import partial_embed as pe  # changed

STREETS, AVENUES = 6, 8
WALKS = [
    (east, north) for east in range(-2, 3) for north in range(-2, 3) if (east, north) != (0, 0)
]
hidden_size, margin, learning_rate, batch_size = 16, 1.0, 0.1, 64

Model = collections.namedtuple("Model", "positive negative entity relation train_op")


# --- as it was, and as it grows -------------------------------------------------------------


def script(triples, n_entity, model_file, epochs):
    with tf.Graph().as_default(), tf.Session() as sess:
        with tf.variable_scope("model"):
            model = build_model(n_entity, len(WALKS))
        saver = tf.train.Saver()
        sess.run(tf.global_variables_initializer())
        if tf.train.checkpoint_exists(model_file):
            saver.restore(sess, model_file)
        first = sess.run([model.entity, model.relation])
        train(sess, model, triples, n_entity, epochs)
        saver.save(sess, model_file)
        return first, sess.run([model.entity, model.relation])


def grown_script(triples, n_entity, model_file, epochs, base):
    with tf.Graph().as_default(), tf.Session() as sess:
        with tf.variable_scope("model"), pe.growing(base):  # changed
            model = build_model(n_entity, len(WALKS))
        saver = pe.Saver()  # changed
        sess.run(tf.global_variables_initializer())
        if tf.train.checkpoint_exists(model_file):
            saver.restore(sess, model_file)
        first = sess.run([model.entity, model.relation])
        train(sess, model, triples, n_entity, epochs)
        saver.save(sess, model_file)
        return first, sess.run([model.entity, model.relation])


# --- the rest of the script, of which nothing changes ---------------------------------------


def build_model(n_entity, n_relation):
    positive = tf.placeholder(tf.int32, [None, 3], name="positive")
    negative = tf.placeholder(tf.int32, [None, 3], name="negative")
    xavier = tf.glorot_uniform_initializer(seed=1)
    entity = tf.get_variable("entity", [n_entity, hidden_size], initializer=xavier)
    relation = tf.get_variable("relation", [n_relation, hidden_size], initializer=xavier)

    def distance(triples):
        h = tf.nn.embedding_lookup(entity, triples[:, 0])
        r = tf.nn.embedding_lookup(relation, triples[:, 1])
        t = tf.nn.embedding_lookup(entity, triples[:, 2])
        return tf.reduce_sum(tf.abs(h + r - t), 1)

    loss = tf.reduce_sum(tf.maximum(distance(positive) - distance(negative) + margin, 0))
    train_op = tf.train.AdagradOptimizer(learning_rate).minimize(loss)
    return Model(positive, negative, entity, relation, train_op)


def train(sess, model, triples, n_entity, epochs):
    rng = np.random.RandomState(7)
    for _ in range(epochs):
        for batch in np.array_split(rng.permutation(triples), len(triples) // batch_size + 1):
            corrupted = batch.copy()
            side = rng.choice([0, 2], len(batch))
            corrupted[np.arange(len(batch)), side] = rng.randint(0, n_entity, len(batch))
            sess.run(model.train_op, {model.positive: batch, model.negative: corrupted})


# --- a town, and the proof ------------------------------------------------------------------


def town(avenues):
    """Returns all facts of a town, int array [n, 3]: corner, walk, the corner one comes to.

    Corner (avenue, street) has the number `avenue * STREETS + street`, so an avenue more in the
    east leaves the numbers of the others as they are.
    """
    return np.array(
        [
            (avenue * STREETS + street, walk, (avenue + east) * STREETS + street + north)
            for avenue in range(avenues)
            for street in range(STREETS)
            for walk, (east, north) in enumerate(WALKS)
            if 0 <= avenue + east < avenues and 0 <= street + north < STREETS
        ]
    )


def mean_rank(tables, triples):
    """At which place, on average, the corner one comes to stands among all corners; 1 is best."""
    entity, relation = tables
    goals = entity[triples[:, 0]] + relation[triples[:, 1]]
    distances = np.abs(goals[:, None] - entity).sum(2)
    return 1 + (distances < distances[np.arange(len(triples)), triples[:, 2], None]).sum(1).mean()


def same_rows(left, right):
    """Says of each row whether all of its bits are the same: bools [n]."""
    return np.array([a.tobytes() == b.tobytes() for a, b in zip(left, right)])


def run(directory, epochs):
    """Trains, grows and restores in a directory; returns whether all promises were kept."""
    base, grown = os.path.join(directory, "base.ckpt"), os.path.join(directory, "grown.ckpt")
    n_old, n_all = AVENUES * STREETS, (AVENUES + 1) * STREETS
    _, old = script(town(AVENUES), n_old, base, epochs)
    print(f"script: {n_old} corners trained, mean rank {mean_rank(old, town(AVENUES)):.2f}")

    facts = np.random.RandomState(0).permutation(town(AVENUES + 1))
    facts = facts[np.any(facts[:, [0, 2]] >= n_old, axis=1)]
    unseen, facts = np.split(facts, [len(facts) // 10])
    first, last = grown_script(facts, n_all, grown, epochs, base)
    print(
        f"grown_script: {n_all - n_old} more, by {len(facts)} facts; on {len(unseen)} unseen ones, "
        f"mean rank {mean_rank(first, unseen):.2f} before, {mean_rank(last, unseen):.2f} after"
    )
    restored, _ = script(facts, n_all, grown, epochs=0)

    kept = same_rows(last[0][:n_old], old[0])
    trained = ~same_rows(last[0][n_old:], first[0][n_old:])
    plain = same_rows(restored[0], last[0])
    print(f"old rows unchanged, to the last bit: {sum(kept)} of {len(kept)}")
    print(f"new rows trained: {sum(trained)} of {len(trained)}")
    print(f"rows that script, by tf.train.Saver, restored: {sum(plain)} of {len(plain)}")
    return kept.all() and trained.all() and plain.all()


@quiet.command
def main():
    logging.set_verbosity(logging.INFO)  # what pe.growing did
    with tempfile.TemporaryDirectory() as temporary:
        directory = flags.FLAGS.directory or temporary
        os.makedirs(directory, exist_ok=True)
        if tf.train.checkpoint_exists(os.path.join(directory, "base.ckpt")):
            raise ValueError(f"--directory={directory} holds a base.ckpt; name another.")
        return 0 if run(directory, flags.FLAGS.epochs) else 1


if __name__ == "__main__":
    flags.DEFINE_string("directory", None, "Where to keep the checkpoints; nowhere by default.")
    flags.DEFINE_integer("epochs", 100, "Of each training.", lower_bound=1)
    app.run(main)
