"""The forms of one training step: what a user of TensorFlow can do so that only new rows train.

All of them compute the same: rows of a table are looked up, multiplied by a weight [dim, 2], which
trains, too, and compared with 1. `FORMS` says which rows each of them trains; `count_wrong_rows`
says which ones it really does.
"""

import collections

import numpy as np
import quiet  # noqa: F401 (before all that imports TensorFlow)
import tensorflow.compat.v1 as tf

import partial_embed as pe

OPTIMIZERS = {
    "SGD": lambda: tf.train.GradientDescentOptimizer(0.1),
    "Momentum": lambda: tf.train.MomentumOptimizer(0.1, 0.9),
    "Adagrad": lambda: tf.train.AdagradOptimizer(0.1),
    "Adam": lambda: tf.train.AdamOptimizer(0.1),
}
SLOTS = {"SGD": 0, "Momentum": 1, "Adagrad": 1, "Adam": 2}

# table: reads all of it; ids: a placeholder; is_new: a bool placeholder if a batch is either new
# ids or old ones, local to their half, else None; train: the op.
Step = collections.namedtuple("Step", "table ids is_new train")


class Tables:
    """The variables of all forms: a whole table, and one whose old rows are frozen.

    Forms in one graph share them, and one optimizer with its slots, so that many of them fit into
    memory. That mixes up what they learn, not what they cost.
    """

    def __init__(self, at, optimizer):
        """Takes sizes, a `benchmark.Setting`, and the name of an optimizer."""
        self.rows, self.new_rows, self.dim = at.rows, at.new_rows, at.dim
        self.optimizer = OPTIMIZERS[optimizer]()
        self._made = {}

    def _make(self, name, make):
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    @property
    def shape(self):
        """[old and new rows, dim]."""
        return [self.rows + self.new_rows, self.dim]

    @property
    def whole(self):
        """One variable."""
        return self._make("whole", lambda: variable("whole", self.shape))

    @property
    def grown(self):
        """A `PartialEmbedding`."""
        settings = dict(num_frozen_rows=self.rows, initializer=tf.zeros_initializer())
        return self._make("grown", lambda: pe.get_embedding("grown", self.shape, **settings))

    @property
    def halves(self):
        """A variable of old rows, which nothing trains, and one of new rows."""
        shape = [self.new_rows, self.dim]
        return self.grown.frozen, self._make("new", lambda: variable("new", shape))

    @property
    def mask(self):
        """A variable [rows, 1]: 1 for new rows, 0 for old ones."""

        def make():
            ones = tf.cast(tf.range(self.shape[0]) >= self.rows, tf.float32)[:, None]
            return tf.get_variable("mask", initializer=ones, trainable=False)

        return self._make("mask", make)

    def fill(self, session, values):
        """Gives the variables that there are the values of a table [rows, dim]."""
        grown = self._made.get("grown")
        for its, part in (
            (self._made.get("whole"), values),
            (self._made.get("new"), values[self.rows :]),
            (grown and grown.frozen, values[: self.rows]),
            (grown and grown.trainable, values[self.rows :]),
        ):
            if its is not None:
                its.load(part, session)

    def wear(self, session, values):
        """Adds values [old rows, dim] to the slots of old rows, as if these had been trained."""
        for name in self.optimizer.get_slot_names() if "whole" in self._made else []:
            slot = self.optimizer.get_slot(self.whole, name)
            slot.load(session.run(slot) + np.pad(values, [(0, self.new_rows), (0, 0)]), session)


def variable(name, shape):
    """Returns a variable of zeros that is the same for all forms of a graph."""
    return tf.get_variable(name, shape, initializer=tf.zeros_initializer())


def look_up_bags(table, ids, safe=False):
    """Returns the means of bags of two rows of a table."""
    ids = tf.cast(ids, tf.int64)
    places = tf.range(tf.size(ids, out_type=tf.int64))
    cells = tf.stack([places // 2, places % 2], 1)
    bags = tf.SparseTensor(cells, ids, tf.stack([tf.size(ids, out_type=tf.int64) // 2, 2]))
    if safe:
        return tf.nn.safe_embedding_lookup_sparse(table, bags, combiner="mean")
    return tf.nn.embedding_lookup_sparse(table, bags, None, combiner="mean")


def _train(tables, form, looked_up, trains, change):
    """Builds the rest of the model, with a weight of its own."""
    weight = tf.get_variable(f"weight_{form}", [tables.dim, 2], initializer=tf.ones_initializer())
    tf.add_to_collection("weights", weight)
    loss = tf.reduce_mean(tf.square(tf.matmul(looked_up, weight) - 1.0))
    if isinstance(trains, pe.PartialEmbedding):
        return pe.minimize(tables.optimizer, loss, [trains], [weight])
    (of_rows, _), of_weight = tables.optimizer.compute_gradients(loss, [trains, weight])
    if change:
        of_rows = change(tables, of_rows)
    return tables.optimizer.apply_gradients([(of_rows, trains), of_weight])


def plain(tables, ids, look_up):
    """One variable, and all of its rows train."""
    return tables.whole, look_up(tables.whole, ids), tables.whole


def partial(tables, ids, look_up):
    """The table of partial_embed."""
    return tables.grown, look_up(tables.grown, ids), tables.grown


def concat(tables, ids, look_up):
    """`tf.concat` of the halves, and a lookup in that."""
    table = tf.concat(tables.halves, 0)
    return table, look_up(table, ids), tables.halves[1]


def where(tables, ids, look_up):
    """A gather in each half, of ids that are clipped to it, and `tf.where`."""
    del look_up
    old, new = tables.halves
    of_old = tf.gather(old, tf.minimum(ids, tables.rows - 1))
    of_new = tf.gather(new, tf.maximum(ids - tables.rows, 0))
    return tf.concat([old, new], 0), tf.where(ids >= tables.rows, of_new, of_old), new


def table_mask(tables, ids, look_up):
    """`tf.stop_gradient` of the old rows, over the whole table, in the forward pass."""
    kept = tables.mask * tables.whole + tf.stop_gradient((1 - tables.mask) * tables.whole)
    return tables.whole, look_up(kept, ids), tables.whole


def mask_dense(tables, gradient):
    """The gradient of all rows, as a tensor, times a mask."""
    return tf.convert_to_tensor(gradient) * tables.mask


def mask_sparse(tables, gradient):
    """The gradient of the rows that were looked up, zero where these are old."""
    new = tf.cast(gradient.indices >= tables.rows, tf.float32)[:, None]
    return tf.IndexedSlices(gradient.values * new, gradient.indices, gradient.dense_shape)


def drop_old(tables, gradient):
    """The gradient of the rows that were looked up, without those that are old."""
    new = gradient.indices >= tables.rows
    return tf.IndexedSlices(
        tf.boolean_mask(gradient.values, new),
        tf.boolean_mask(gradient.indices, new),
        gradient.dense_shape,
    )


# By name: what makes the table, the rows that were looked up and what trains; what becomes of the
# gradient. `report.TITLES` says what they are called.
FORMS = {
    "plain": (plain, None),
    "partial": (partial, None),
    "drop": (plain, drop_old),
    "gradient mask": (plain, mask_sparse),
    "where": (where, None),
    "cond": (None, None),
    "concat": (concat, None),
    "dense mask": (plain, mask_dense),
    "table mask": (table_mask, None),
}


def training_step(tables, form, look_up=tf.nn.embedding_lookup):
    """Builds a form.

    Args:
      tables: `Tables`.
      form: a name of `FORMS`.
      look_up: how rows are looked up, `look_up(table, ids)`.

    Returns:
      A `Step`.
    """
    make, change = FORMS[form]
    ids, is_new = tf.placeholder(tf.int32, [None]), None
    if form == "cond":
        # As the answer has it: the predicate chooses a half, and the lookup comes after that.
        (old, new), is_new = tables.halves, tf.placeholder(tf.bool, [])
        half = tf.cond(is_new, lambda: new, lambda: old)
        table, rows, trains = tf.concat([old, new], 0), look_up(half, ids), new
    else:
        table, rows, trains = make(tables, ids, look_up)
    train = _train(tables, form.replace(" ", "_"), rows, trains, change)
    return Step(table, ids, is_new, train)


def parts_of(form, old, new):
    """Returns a batch of old and of new ids as the batches of each `session.run` of a step."""
    parts = [old, new] if form == "cond" else [np.concatenate([old, new])]
    return [ids for ids in parts if len(ids)]


def feed_of(step, ids, num_old):
    """Returns what a `Step` is fed for a batch of ids, of a table with some old rows."""
    if step.is_new is None:
        return {step.ids: ids}
    is_new = bool(ids[0] >= num_old)
    return {step.ids: ids - num_old * is_new, step.is_new: is_new}


def needs(form, at, optimizer):
    """Returns the bytes that a form needs: (which tables, how much of them), how much for a step.

    Args:
      form: a name of `FORMS`.
      at: a `benchmark.Setting`.
      optimizer: a name of `OPTIMIZERS`.
    """
    table = 4 * at.rows * at.dim
    if form in ("plain", "drop", "gradient mask", "dense mask", "table mask"):
        passing = {"dense mask": 2, "table mask": 5}.get(form, 0) + (optimizer == "Adam")
        return ("whole", (1 + SLOTS[optimizer]) * table), passing * table
    return ("halves", table), (form == "concat") * table


def count_wrong_rows(at, form, optimizer):
    """Trains a form for a few steps, on a table whose old rows have been trained before.

    That is told by the optimizer's slots of old rows, where a form has any: they are not as new.
    New rows are compared with those of one table whose old ids are dropped from the gradient, and
    whose slots *are* as new.

    Args:
      at: a `benchmark.Setting`, of a small table.
      form: a name of `FORMS`.
      optimizer: a name of `OPTIMIZERS`.

    Returns:
      How many old rows have moved, how many new ones are not as they should be (by more than
      rounding), and whether new rows and the weight are those of the oracle bit for bit.
    """
    table, weight, moved = _train_for_a_while(at, form, optimizer, form)
    oracle, its_weight, _ = _train_for_a_while(at, "drop", optimizer, form, worn=False)
    wrong = ~np.isclose(table, oracle, rtol=1e-3, atol=1e-5).all(axis=1)[at.rows :]
    same = table[at.rows :].tobytes() == oracle[at.rows :].tobytes()
    return int(moved.sum()), int(wrong.sum()), same and weight.tobytes() == its_weight.tobytes()


def _train_for_a_while(at, form, optimizer, batches, worn=True):
    """Takes steps, on the batches of some form; returns table, weight, and which old rows moved."""
    random = np.random.RandomState(0)
    with tf.Graph().as_default(), tf.Session() as session:
        tables = Tables(at, optimizer)
        step = training_step(tables, form)
        table, (weight,) = tf.convert_to_tensor(step.table), tf.get_collection("weights")
        session.run(tf.global_variables_initializer())
        tables.fill(session, random.uniform(-0.1, 0.1, tables.shape))
        trained = random.uniform(0.1, 1.0, [at.rows, at.dim])
        if worn:
            tables.wear(session, trained)
        before = session.run(table)
        for _ in range(8):
            old = random.randint(at.rows, size=at.batch // 2)
            new = random.randint(at.new_rows, size=at.batch // 2) + at.rows
            for ids in parts_of(batches, old, new):
                session.run(step.train, feed_of(step, ids, at.rows))
        after, weight = session.run([table, weight])
    return after, weight, (after != before)[: at.rows].any(axis=1)
