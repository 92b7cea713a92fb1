"""Slots of what does not train: whose they are by their names, and that none is lost."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe
from partial_embed.files.checkpoint import Checkpoint

WIDTH = 4


def read_all(prefix):
    checkpoint = Checkpoint(prefix)
    return {name: checkpoint.read(name) for name in checkpoint.shapes}


def taken(step, saver, prefix):
    """Takes two steps in a session of its own; returns (prefix, values of variables)."""
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for _ in range(2):
            session.run(step)
        saved = [its.save(session, prefix + name) for name, its in saver.items()]
        return saved, {v.op.name: session.run(v) for v in tf.global_variables()}


def rows_of_steps(table, count):
    return tf.reduce_sum(tf.square(tf.nn.embedding_lookup(table, [0, 1, count - 2, count - 1])))


@pytest.mark.parametrize(
    "old, new, trains",
    [
        ((5, 9), (7, 11), ["ent", "model/ent", "w", "layer/w"]),
        ((5, 5), (7, 7), ["ent", "model/ent"]),
        ((5, 5), (7, 8), ["model/ent", "layer/w"]),
        ((5, 9), (7, 14), ["model/ent", "w"]),
    ],
)
def test_a_table_beside_one_of_its_name_in_a_scope(folder, same_bits, old, new, trains):
    def script(sizes, which):
        names = ["ent", "model/ent", "w", "layer/w"]
        shapes = [[size, WIDTH] for size in (*sizes, WIDTH, WIDTH)]
        made = {name: tf.get_variable(name, shape) for name, shape in zip(names, shapes)}
        pairs = (("ent", "w", sizes[0]), ("model/ent", "layer/w", sizes[1]))
        losses = [
            tf.reduce_sum(tf.square(tf.matmul(tf.gather(made[table], [0, n - 1]), made[weight])))
            for table, weight, n in pairs
        ]
        variables = which and [made[name] for name in which]
        optimizer = tf.train.AdagradOptimizer(0.1)
        return names, optimizer.minimize(losses[0] + 2 * losses[1], var_list=variables)

    with tf.Graph().as_default():
        names, step = script(old, trains)
        (base,), _ = taken(step, {"base": tf.train.Saver()}, folder(""))
    with tf.Graph().as_default():
        with pe.growing(base, show=None):
            _, step = script(new, None)
        savers = {"whole": pe.Saver(), "delta": pe.Saver(delta=True)}
        (whole, delta), here = taken(step, savers, folder(""))
    merged = pe.merge_checkpoint(base, delta, folder("merged"))
    before = read_all(base)
    for after in (read_all(whole), read_all(merged)):
        assert sorted(after) == sorted(f"{n}{end}" for n in names for end in ("", "/Adagrad"))
        for name in names:
            start = np.full_like(before[name], 0.1)
            slot, count = after[f"{name}/Adagrad"], len(start)
            assert same_bits(slot[:count], before.get(f"{name}/Adagrad", start))
            if "ent" in name:
                assert same_bits(slot[count:], here[f"{name}/trainable/Adagrad"])
    with tf.Graph().as_default(), tf.Session() as session:
        script(new, None)
        tf.train.Saver().restore(session, whole)  # every variable


@pytest.mark.parametrize("moves", [False, True])
def test_a_variable_that_is_named_and_shaped_like_a_slot(folder, same_bits, moves):
    """`emb/emb` of `emb`, and `w/w` of `w`: variables of the script, frozen or moved by keys."""

    def script(rows):
        tables = [tf.get_variable(name, [rows[name], WIDTH]) for name in ("emb", "emb/emb", "new")]
        weights = [tf.get_variable(name, [WIDTH, WIDTH]) for name in ("w", "w/w")]
        loss = sum(rows_of_steps(its, its.shape.as_list()[0]) for its in tables)
        loss += sum(tf.reduce_sum(tf.square(its)) for its in weights)
        return tf.train.AdagradOptimizer(0.1).minimize(loss)

    sizes = {"emb": 3, "emb/emb": 3, "new": 3}
    with tf.Graph().as_default():
        (base,), _ = taken(script(sizes), {"base": tf.train.Saver()}, folder(""))
    keys = (list("abc"), list("cab")) if moves else (list("abc"), list("abc"))
    vocabularies = {"emb*": keys} if moves else None
    with tf.Graph().as_default():
        with pe.growing(base, vocabularies=vocabularies, show=None):
            step = script(dict(sizes, new=4))
        savers = {"whole": pe.Saver(), "delta": pe.Saver(delta=True)}
        (whole, delta), _ = taken(step, savers, folder(""))
    merged, before = pe.merge_checkpoint(base, delta, folder("merged")), read_all(base)
    for after in (read_all(whole), read_all(merged)):
        assert sorted(after) == sorted(before)
        for name in set(before).difference(["new", "new/Adagrad"]):
            order = [2, 0, 1] if moves and name.startswith("emb") else slice(None)
            assert same_bits(after[name], before[name][order])
    with tf.Graph().as_default(), tf.Session() as session:
        script(dict(sizes, new=4))
        tf.train.Saver().restore(session, merged)  # every variable


KEYS = {"user": ("abcde", "abcdefg"), "item": ("xyz", "zxy")}


def night(base, keys, folder, name, optimizer=None):
    """Grows two tables by keys; returns the prefixes of a whole save and of a delta."""
    vocabularies = {table: tuple(map(list, pair)) for table, pair in keys.items()}
    with tf.Graph().as_default():
        with pe.growing(base, vocabularies=vocabularies, show=None):
            step = two_tables(*(len(new) for _, new in keys.values()), optimizer)
        savers = {"whole": pe.Saver(), "delta": pe.Saver(delta=True)}
        return taken(step, savers, folder(name))[0]


def two_tables(users, items, optimizer=None):
    tables = tf.get_variable("user", [users, WIDTH]), tf.get_variable("item", [items, WIDTH])
    loss = sum(rows_of_steps(table, table.shape.as_list()[0]) for table in tables)
    return (optimizer or tf.train.AdagradOptimizer(0.1)).minimize(loss)


@pytest.fixture
def base(folder):
    """Prefix of two tables that were trained."""
    with tf.Graph().as_default():
        return taken(two_tables(5, 3), {"base": tf.train.Saver()}, folder(""))[0][0]


def test_a_table_that_only_moves_rows(base, folder, same_bits):
    whole, delta = night(base, KEYS, folder, "one")
    merged = pe.merge_checkpoint(base, delta, folder("merged"))
    before, after = read_all(base), read_all(whole)
    for name in ("item", "item/Adagrad"):
        assert same_bits(after[name], before[name][[2, 0, 1]])
    found = read_all(merged)
    assert sorted(found) == sorted(after)
    assert all(same_bits(found[name], after[name]) for name in after)
    with tf.Graph().as_default(), tf.Session() as session:
        two_tables(7, 3)
        tf.train.Saver().restore(session, merged)  # every variable
    again, _ = night(merged, {"user": ("abcdefg",) * 2, "item": ("zxy", "zxyw")}, folder, "two")
    assert same_bits(read_all(again)["item/Adagrad"][:3], after["item/Adagrad"])


def test_a_delta_of_a_table_of_which_no_row_trains(base, folder):
    whole, delta = night(base, KEYS, folder, "one")
    vocabularies = {table: tuple(map(list, pair)) for table, pair in KEYS.items()}
    found = []
    for prefix in (whole, delta):
        with tf.Graph().as_default(), tf.Session() as session:
            with pe.growing(base, vocabularies=vocabularies, show=None):
                two_tables(7, 3)
            pe.Saver().restore(session, prefix)
            found.append([session.run(v).tobytes() for v in tf.global_variables()])
    assert found[0] == found[1]


def test_an_optimizer_that_was_changed(base, folder):
    """Its slots start, also of a table of which no row trains; those of the other are gone."""
    whole, delta = night(base, KEYS, folder, "one", tf.train.MomentumOptimizer(0.1, 0.9))
    for saved in (whole, pe.merge_checkpoint(base, delta, folder("merged"))):
        found = read_all(saved)
        assert sorted(found) == ["item", "item/Momentum", "user", "user/Momentum"]
        assert found["item/Momentum"].shape == (3, WIDTH) and not found["item/Momentum"].any()


@pytest.mark.parametrize("of_layers, rows", [(False, 5), (True, 7)])
def test_layers_beside_tables_without_such_slots(folder, same_bits, of_layers, rows):
    """No table grows; or Adagrad is the layers', and tables are trained without slots."""

    def script(rows):
        user, w = tf.get_variable("user", [rows, WIDTH]), tf.get_variable("w", [WIDTH, WIDTH])
        head = tf.get_variable("head", [WIDTH, 1])
        looked_up = tf.nn.embedding_lookup(user, [0, rows - 1])
        loss = tf.reduce_sum(tf.matmul(tf.matmul(looked_up, w), head))
        adagrad, trained = tf.train.AdagradOptimizer(0.1), tf.trainable_variables()
        if not of_layers:
            return adagrad.minimize(loss)
        layers = [v for v in trained if "user" not in v.name]
        tables = [v for v in trained if "user" in v.name]
        descent = tf.train.GradientDescentOptimizer(0.1).minimize(loss, var_list=tables)
        return tf.group(adagrad.minimize(loss, var_list=layers), descent)

    with tf.Graph().as_default():
        (base,), _ = taken(script(5), {"base": tf.train.Saver()}, folder(""))
    with tf.Graph().as_default():
        with pe.growing(base, train="head", show=None):
            step = script(rows)
        savers = {"whole": pe.Saver()}
        savers.update({"delta": pe.Saver(delta=True)} if rows > 5 else {})
        saved, _ = taken(step, savers, folder(""))
        only = pe.Saver([v for v in tf.global_variables() if v.op.name == "w"])
        (part,), _ = taken(step, {"part": only}, folder(""))
    assert list(Checkpoint(part).shapes) == ["w"]
    before = read_all(base)
    for prefix in [saved[0], *(pe.merge_checkpoint(base, d, folder("m")) for d in saved[1:])]:
        after = read_all(prefix)
        assert sorted(after) == sorted(before)
        assert same_bits(after["w/Adagrad"], before["w/Adagrad"])
        with tf.Graph().as_default(), tf.Session() as session:
            script(rows)
            tf.train.Saver().restore(session, prefix)  # every variable


def adam_of_layers(rows, tables, scope=""):
    """A table and two layers, one in the other's name; layers train by an Adam of their own."""
    table = tf.get_variable("user", [rows, WIDTH])
    layers = [tf.get_variable(name, [WIDTH, WIDTH]) for name in ("model", "model/w")]
    loss = tf.matmul(tf.matmul(tf.gather(table, [0, rows - 1]), layers[0]), layers[1])
    loss = tf.reduce_sum(tf.square(loss - 1.0))
    train, steps = tf.trainable_variables(), []
    with tf.variable_scope(scope or tf.get_variable_scope()):
        for optimizer, names in ((tf.train.AdamOptimizer(0.1, 0.5), "model"), (tables, "user")):
            variables = [variable for variable in train if variable.op.name.startswith(names)]
            if variables:
                steps.append(optimizer.minimize(loss, var_list=variables))
    return tf.group(*steps)


@pytest.mark.parametrize("scope", ["", "model"])
@pytest.mark.parametrize("listed", [False, True])
def test_powers_of_an_adam_that_is_not_here(folder, same_bits, scope, listed):
    with tf.Graph().as_default():
        step = adam_of_layers(5, tf.train.AdagradOptimizer(0.1), scope)
        (base,), _ = taken(step, {"base": tf.train.Saver()}, folder(""))
    with tf.Graph().as_default():
        with pe.growing(base, show=None):
            step = adam_of_layers(7, tf.train.AdagradOptimizer(0.1), scope)
        items = tf.global_variables() if listed else None
        savers = {"whole": pe.Saver(items), "delta": pe.Saver(delta=True)}
        (whole, delta), _ = taken(step, savers, folder(""))
    merged, before = pe.merge_checkpoint(base, delta, folder("merged")), read_all(base)
    assert [before[name] for name in before if name.endswith("beta1_power")] == [0.125]
    for prefix in (whole, merged):
        after = read_all(prefix)
        assert set(before) <= set(after)
        for name in set(before).difference(["user", f"{scope}/user/Adagrad".lstrip("/")]):
            assert same_bits(after[name], before[name])
        with tf.Graph().as_default(), tf.Session() as session:
            adam_of_layers(7, tf.train.AdagradOptimizer(0.1), scope)
            tf.train.Saver().restore(session, prefix)  # every variable


def test_of_two_adams_one_is_here(folder, caplog):
    with tf.Graph().as_default():
        step = adam_of_layers(5, tf.train.AdamOptimizer(0.1))
        (base,), _ = taken(step, {"base": tf.train.Saver()}, folder(""))
    for train, number in (((), 1), ("model", 0)):
        caplog.clear()
        with tf.Graph().as_default():
            with pe.growing(base, show=None, train=train):
                adam_of_layers(7, tf.train.AdamOptimizer(0.1))
            pe.Saver()
        said = [text for text in caplog.messages if "beta1_power_1 and beta2_power_1" in text]
        assert len(said) == number


def test_a_delta_beside_a_layer_that_is_named_as_the_scope_of_slots(folder, same_bits):
    """`model/user/Adam` is the slot of `user`, made in the scope `model`, and none of `model`."""
    with tf.Graph().as_default():
        step = adam_of_layers(5, tf.train.AdamOptimizer(0.1), "model")
        (base,), _ = taken(step, {"base": tf.train.Saver()}, folder(""))
    with tf.Graph().as_default():
        with pe.growing(base, show=None):
            step = adam_of_layers(7, tf.train.AdamOptimizer(0.1), "model")
        savers = {"whole": pe.Saver(), "delta": pe.Saver(delta=True)}
        (whole, delta), _ = taken(step, savers, folder(""))
    merged = read_all(pe.merge_checkpoint(base, delta, folder("merged")))
    whole, before = read_all(whole), read_all(base)
    assert sorted(merged) == sorted(whole) and "model/user/Adam" in whole
    for name in before:
        if "user" not in name and "power" not in name:
            assert same_bits(whole[name], before[name]) and same_bits(merged[name], before[name])


def tables_in_a_scope(sizes, optimizers, names=("ent", "model/ent")):
    """Tables of which one has the other's name in a scope, in which their optimizers are made."""
    tables = [tf.get_variable(name, [size, 2]) for name, size in zip(names, sizes)]
    with tf.variable_scope("model"):
        steps = [
            optimizer.minimize(rows_of_steps(table, size), var_list=[_trained(table)])
            for table, size, optimizer in zip(tables, sizes, optimizers)
        ]
    return tf.group(*steps)


def _trained(table):
    return table.trainable if isinstance(table, pe.PartialEmbedding) else table


def an_adagrad_each():
    return [tf.train.AdagradOptimizer(0.1), tf.train.AdagradOptimizer(0.1)]


@pytest.mark.parametrize("old, new", [((5, 4), (7, 5)), ((5, 5), (7, 7))])
@pytest.mark.parametrize("keyed", [False, True])
def test_an_optimizer_in_the_scope_that_another_table_is_in(folder, same_bits, old, new, keyed):
    """`model/ent/Adagrad` is that of `ent`; that of `model/ent` is `model/model/ent/Adagrad`."""
    orders = [np.r_[np.arange(size)[::-1]] if keyed else np.arange(size) for size in old]
    vocabularies = {
        name: (list(range(size)), [*order.tolist(), *range(size, larger)])
        for name, size, larger, order in zip(("ent", "model/ent"), old, new, orders)
    }
    texts = {name: [list(map(str, keys)) for keys in pair] for name, pair in vocabularies.items()}
    with tf.Graph().as_default():
        step = tables_in_a_scope(old, an_adagrad_each())
        (base,), _ = taken(step, {"base": tf.train.Saver()}, folder(""))
    with tf.Graph().as_default():
        with pe.growing(base, vocabularies=texts if keyed else None, show=None):
            step = tables_in_a_scope(new, an_adagrad_each())
        savers = {"whole": pe.Saver(), "delta": pe.Saver(delta=True)}
        (whole, delta), here = taken(step, savers, folder(""))
    merged, before = pe.merge_checkpoint(base, delta, folder("merged")), read_all(base)
    for prefix in (whole, merged):
        after = read_all(prefix)
        assert sorted(after) == sorted(before)
        for table, order in zip(("ent", "model/ent"), orders):
            slot = after[f"model/{table}/Adagrad"]
            assert same_bits(slot[: len(order)], before[f"model/{table}/Adagrad"][order])
            assert same_bits(slot[len(order) :], here[f"model/{table}/trainable/Adagrad"])
        with tf.Graph().as_default(), tf.Session() as session:
            tables_in_a_scope(new, an_adagrad_each())
            tf.train.Saver().restore(session, prefix)  # every variable


def test_slots_are_taken_along_of_the_table_that_they_are_of(folder, same_bits):
    with tf.Graph().as_default():
        step = tables_in_a_scope((5, 5), an_adagrad_each())
        (base,), _ = taken(step, {"base": tf.train.Saver()}, folder(""))
    rows = {"ent": [0, 1], "model/ent": [3, 4]}
    with tf.Graph().as_default(), tf.Session() as session:
        with pe.growing(base, trainable_rows=rows, slots=True, show=None):
            tables_in_a_scope((5, 5), an_adagrad_each())
        session.run(tf.global_variables_initializer())
        here = {v.op.name: session.run(v) for v in tf.global_variables()}
    before = read_all(base)
    for table, which in rows.items():
        slot = before[f"model/{table}/Adagrad"][which]
        assert same_bits(here[f"model/{table}/trainable/Adagrad"], slot)


@pytest.mark.parametrize("train", ["w", "model/w", ()])
def test_weights_of_which_one_is_in_the_scope_of_their_optimizer(folder, train):
    def script(rows):
        weights = [tf.get_variable(name, [WIDTH, WIDTH]) for name in ("w", "model/w")]
        table = tf.get_variable("table", [rows, WIDTH])
        loss = tf.matmul(tf.matmul(tf.gather(table, [0, rows - 1]), weights[0]), weights[1])
        loss, trained = tf.reduce_sum(tf.square(loss)), tf.trainable_variables()
        its = [v for v in trained if "table" in v.op.name]
        weights = [v for v in trained if v not in its]
        with tf.variable_scope("model"):
            steps = [tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss, var_list=its)]
            if weights:
                steps.append(tf.train.AdagradOptimizer(0.1).minimize(loss, var_list=weights))
        return tf.group(*steps)

    with tf.Graph().as_default():
        (base,), _ = taken(script(5), {"base": tf.train.Saver()}, folder(""))
    with tf.Graph().as_default():
        with pe.growing(base, train=train, show=None):
            step = script(7)
        savers = {"whole": pe.Saver(), "delta": pe.Saver(delta=True)}
        (whole, delta), _ = taken(step, savers, folder(""))
    for prefix in (whole, pe.merge_checkpoint(base, delta, folder("merged"))):
        assert sorted(read_all(prefix)) == sorted(read_all(base))


def layers_of_momentum(rows, weight="w"):
    table = tf.get_variable("user", [rows, WIDTH])
    layers = [tf.get_variable(name, [WIDTH, WIDTH]) for name in (weight, "head")]
    loss = tf.matmul(tf.matmul(tf.gather(table, [0, rows - 1]), layers[0]), layers[1])
    loss = tf.reduce_sum(loss)
    trained = tf.trainable_variables()
    its = [v for v in trained if v.op.name in ("user", "user/trainable")]
    layers = [v for v in trained if v not in its]
    steps = [tf.train.AdagradOptimizer(0.1).minimize(loss, var_list=its)] if its else []
    if layers:
        steps.append(tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss, var_list=layers))
    return tf.group(*steps)


@pytest.mark.parametrize("weight", ["w", "user/w"])
def test_state_is_taken_along_again_and_again(folder, same_bits, weight):
    """Frozen layers have another optimizer than the table, and get no slot of that one's."""
    with tf.Graph().as_default():
        step = layers_of_momentum(5, weight)
        (newest,), _ = taken(step, {"base": tf.train.Saver()}, folder(""))
    first = read_all(newest)
    for rows in (7, 9):
        with tf.Graph().as_default():
            with pe.growing(newest, train="head", slots=True, show=None):
                step = layers_of_momentum(rows, weight)
            (newest,), _ = taken(step, {f"of{rows}": pe.Saver()}, folder(""))
        after = read_all(newest)
        assert sorted(after) == sorted(first)
        assert same_bits(after[f"{weight}/Momentum"], first[f"{weight}/Momentum"])


def test_state_of_a_layer_beside_a_table_whose_rows_only_move(folder, same_bits):
    with tf.Graph().as_default():
        (base,), _ = taken(layers_of_momentum(5), {"base": tf.train.Saver()}, folder(""))
    keys = {"user": (list("abcde"), list("edcba"))}
    with tf.Graph().as_default():
        with pe.growing(base, train="head", slots=True, vocabularies=keys, show=None):
            step = layers_of_momentum(5)
        (whole,), _ = taken(step, {"whole": pe.Saver()}, folder(""))
    after, before = read_all(whole), read_all(base)
    assert same_bits(after["user/Adagrad"], before["user/Adagrad"][::-1])


def test_of_two_adams_one_is_no_whole_state(folder):
    with tf.Graph().as_default():
        step = adam_of_layers(5, tf.train.AdamOptimizer(0.1))
        (base,), _ = taken(step, {"base": tf.train.Saver()}, folder(""))
    growing = pe.growing(base, show=None, trainable_rows={"user": [1]}, slots=True)
    said = pytest.raises(ValueError, match="nobody took beta1_power_1")
    with tf.Graph().as_default(), said, growing:
        adam_of_layers(5, tf.train.AdamOptimizer(0.1))
