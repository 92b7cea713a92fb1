"""Traps are found where they are, and not beside."""

import pytest

LINES, VARIABLES = "The lines", "`tf.Variable` tables"
TABLE = "e = tf.get_variable('e', [n, 3])\nrows = tf.gather(e, ids)\n"


def traps(said, source):
    return {(line, heading) for line, kind, heading in said(source) if kind == "trap"}


@pytest.mark.parametrize(
    "line, heading, source",
    [
        (1, "Counters", "step = tf.train.get_or_create_global_step()"),
        (1, "Counters", "tf.Variable(0, name='global_step', trainable=False)"),
        (1, "Counters", "self.global_step = tf.Variable(0, trainable=False)"),
        (1, "Counters", "tf.Variable(0, name='batch_pointer', trainable=False, dtype=tf.int32)"),
        (
            1,
            "Counters",
            "s = tf.get_variable('global_step', [], None, tf.zeros_initializer(), trainable=False)",
        ),
        (1, "Counters", "n = tf.Variable(0)\nopt.minimize(loss, global_step=n)"),
        (1, "Counters", "self.n = tf.Variable(0)\nr = decay(0.1, global_step=self.n)"),
        (1, "Counters", "rate = tf.train.exponential_decay(0.1, step, 100, 0.9)"),
        (2, "Counters", "_, step = sess.run([train, step_op])\nwhile step < 9:\n    pass"),
        (2, "Counters", "global_step = model.load()\nwhile global_step < n:\n    pass"),
        (1, "Counters", "while tf.train.global_step(sess, gs) < 9:\n    pass"),
        (1, "Data tables", "tf.Variable(features, trainable=False, name='f')"),
        (1, "Data tables", "tf.get_variable('x', initializer=np.load(p), trainable=False)"),
        (
            1,
            "Data tables",
            "tf.get_variable('x', [2], None, tf.constant_initializer(features), trainable=False)",
        ),
        (1, LINES, "tf.get_variable('e', initializer=np.zeros([n, 3]))"),
        (1, LINES, "tf.get_variable('e', [n, 3], initializer=tf.constant_initializer(vectors))"),
        (1, LINES, "tf.get_variable('e', initializer=pre_trained)"),
        (2, LINES, "array = np.concatenate([old, new])\nx = tf.Variable(array)"),
        (3, VARIABLES, TABLE + "tf.assign(e, value)"),
        (3, VARIABLES, TABLE + "e.assign(placeholder)"),
        (3, VARIABLES, TABLE + "e.load(vectors, sess)"),
        (3, VARIABLES, TABLE + "tf.scatter_update(e, ids, value)"),
        (1, VARIABLES, "ok = isinstance(v, tf.Variable)"),
        (1, VARIABLES, "ok = isinstance(v, (tf.Tensor, tf.Variable))"),
        (1, VARIABLES, "vs = [v for v in tf.trainable_variables() if v.name == 'e:0']"),
        (1, VARIABLES, "vs = [v for v in all if v.name in ['e:0', 'b:0']]"),
        (3, VARIABLES, TABLE + "opt.minimize(loss, var_list=[e])"),
        (3, VARIABLES, TABLE + "vs = [w, e]\nopt.minimize(loss, var_list=vs)"),
        (3, LINES, TABLE + "opt.compute_gradients(loss, rows)"),
        (3, LINES, TABLE + "opt.compute_gradients(loss, var_list=[rows])"),
        (1, "Partition strategies", "tf.nn.embedding_lookup(e, ids, partition_strategy='div')"),
        (1, "Partition strategies", "p = tf.fixed_size_partitioner(3)"),
        (3, "Partition strategies", TABLE + "tf.nn.embedding_lookup([e, other], ids)"),
        (3, "`tf.cond` and momentum", TABLE + "tf.cond(z, lambda: e, lambda: other)"),
        (3, "`tf.cond` and momentum", TABLE + "tf.cond(z, lambda: tf.gather(e, i), lambda: o)"),
        (3, LINES, TABLE + "whole = tf.concat([e_old, e], 0)"),
        (3, LINES, TABLE + "whole = tf.concat(axis=0, values=[e_old, e])"),
        (1, "Slots and their names", "tf.train.AdamOptimizer(0.1); s = tf.train.Saver()"),
        (1, "Slots and their names", "s = tf.train.Saver(max_to_keep=1)"),
        (1, "Savers of a list", "s = tf.train.Saver(tf.trainable_variables())"),
        (3, "Savers of a list", "vs = []\nvs += tf.trainable_variables()\ns = tf.train.Saver(vs)"),
        (2, "Savers of a list", "vs = tf.trainable_variables()\ns = tf.train.Saver(var_list=vs)"),
        (
            1,
            "Savers of a list",
            "s = tf.train.Saver({v.op.name: v for v in tf.trainable_variables()})",
        ),
        (1, "Only the files are left", "tf.train.import_meta_graph(path)"),
        (
            1,
            "Pretrained encoders with a tied output",
            "tf.train.init_from_checkpoint(path, {'bert/': 'bert/'})",
        ),
        (
            1,
            "Pretrained encoders with a tied output",
            "ops = tf.get_collection(tf.GraphKeys.UPDATE_OPS)",
        ),
    ],
)
def test_traps(said, line, heading, source):
    assert (line, heading) in traps(said, source)


def test_tables_of_two_kinds_that_are_joined(said):
    source = """
    u = tf.get_variable("user_embedding", [n_users, 3])
    i = tf.get_variable("item_embedding", [n_items, 3])
    ego = tf.concat([u, i], axis=0)
    """
    assert traps(said, source) == {(3, "Graph recommenders")}


def test_savers_without_slots(said):
    train = "tf.train.GradientDescentOptimizer(0.1).minimize(loss)\ns = tf.train.Saver()\n"
    assert traps(said, train) == set()
    heading = "Restoring the old checkpoint into the grown graph"
    assert traps(said, train + "s.restore(sess, path)") == {(2, heading)}


@pytest.mark.parametrize(
    "source",
    [
        "step = 0\nwhile step < 9:\n    step += 1",
        "step = 1\nwhile step * batch_size < n:\n    step += 1",
        "while True:\n    pass",
        "_, loss = sess.run([train, loss_op])\nwhile loss > 0.1:\n    pass",
        "lr = tf.Variable(0.0, trainable=False)",
        "lr = tf.Variable(self.learning_rate, trainable=False)",
        "mean = tf.get_variable('mean', [3], initializer=tf.zeros_initializer(), trainable=False)",
        "w = tf.get_variable('w', [3], initializer=tf.constant_initializer([0.1, -0.2, -0.1]))",
        "b = tf.get_variable('b', [3], initializer=tf.constant_initializer(0.1))",
        "w = tf.get_variable('w', [3, 3], initializer=self.weights_initializer)",
        "b = tf.get_variable('b', [3], initializer=tf.constant_initializer(bias_init))",
        "value = [0.0]\nb = tf.get_variable('b', [1], initializer=tf.constant_initializer(value))",
        "n = tf.Variable(0)",
        "x = np.zeros([3])\nx = tf.zeros([3])\nw = tf.Variable(x, name='w')",
        "tf.assign(lr, new_lr)",
        "json.load(file)",
        "data = np.load(path)",
        "ok = isinstance(v, str)",
        "ok = v.name == 'train'",
        "ok = name == 'e:0'",
        "opt.compute_gradients(loss, tf.trainable_variables())",
        "opt.minimize(loss, var_list=variables)",
        "tf.cond(z, lambda: a, lambda: b)",
        "x = tf.concat([h, c], 1)",
        "x = tf.concat([h, c], 0)",
        TABLE + "x = tf.concat([rows, h], 0)",
        TABLE + "x = tf.concat([e, h], 1)",
        "saver.save(sess, path)",
    ],
)
def test_near_misses(said, source):
    assert traps(said, source) == set()
