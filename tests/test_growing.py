"""growing: an unchanged script, a larger table, and nothing else that moves."""

import contextlib
import os
import shutil

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe


@pytest.fixture
def base(write_checkpoint, row_numbers):
    """A checkpoint of a model: two tables of row numbers, a layer, a step and slots."""
    return write_checkpoint(
        {
            "entity": row_numbers([4, 2]),
            "relation": row_numbers([3, 2]),
            "decoder/weight": np.full([2, 2], 0.5, np.float32),
            "decoder/bias": np.full([2], 0.25, np.float32),
            "global_step": np.int64(50),
            "entity/Adam": np.full([4, 2], 8.0, np.float32),
            "entity/Adam_1": np.full([4, 2], 9.0, np.float32),
            "decoder/weight/Adam": np.full([2, 2], 7.0, np.float32),
            "decoder/weight/Adam_1": np.full([2, 2], 7.0, np.float32),
            "beta1_power": np.float32(0.1),
            "beta2_power": np.float32(0.2),
        },
        name="model.ckpt-50",
    )


def script(entities, relations=3, optimizer=None, **arguments):
    """A script that knows nothing of the library; returns its variables and training op."""
    entity = tf.get_variable("entity", [entities, 2], **arguments)
    relation = tf.get_variable("relation", [relations, 2], **arguments)
    with tf.variable_scope("decoder"):
        weight = tf.get_variable("weight", [2, 2], **arguments)
        bias = tf.get_variable("bias", [2], **arguments)
    step = tf.train.get_or_create_global_step()
    never_seen = tf.get_variable("never_seen", [2], initializer=tf.ones_initializer())
    rows = tf.nn.embedding_lookup(entity, [0, 3, entities - 1])
    rows += tf.nn.embedding_lookup(relation, [0, 2, relations - 1])
    loss = tf.reduce_sum(tf.square(tf.matmul(rows, weight) + bias - 7.0 * never_seen))
    optimizer = optimizer or tf.train.GradientDescentOptimizer(0.01)
    train = optimizer.minimize(loss, global_step=step)
    variables = dict(
        entity=entity, relation=relation, weight=weight, bias=bias, step=step, never_seen=never_seen
    )
    return variables, train


def moved_by(start, variables, train):
    """Returns (values before training, names of the variables that one step moves)."""
    session = start()
    before = session.run(variables)
    session.run(train)
    after = session.run(variables)
    return before, {name for name in variables if np.any(before[name] != after[name])}


@pytest.mark.parametrize("use_resource", [False, True])
def test_new_rows_and_never_seen_variables_train_and_nothing_else(base, start, use_resource):
    with pe.growing(base):
        variables, train = script(6, use_resource=use_resource)
    assert isinstance(variables["entity"], pe.PartialEmbedding)
    assert {v.op.name for v in tf.trainable_variables()} == {"entity/trainable", "never_seen"}
    before, moved = moved_by(start, variables, train)
    assert before["entity"][:4, 0].tolist() == [0, 1, 2, 3]
    assert before["relation"][:, 0].tolist() == [0, 1, 2]
    assert before["weight"].tolist() == [[0.5, 0.5]] * 2
    assert before["bias"].tolist() == [0.25, 0.25]
    assert before["step"] == 0  # of a fresh optimizer
    assert before["never_seen"].tolist() == [1, 1]
    assert moved == {"entity", "never_seen", "step"}


def test_which_rows_moved(base, start):
    with pe.growing(base):
        variables, train = script(6)
    session = start()
    before = session.run(variables["entity"])
    session.run(train)
    moved = (session.run(variables["entity"]) != before).any(axis=1)
    assert moved.tolist() == [False] * 5 + [True]


def test_several_tables_grow(base, start):
    with pe.growing(base):
        variables, train = script(6, relations=4)
    assert [variables[name].num_frozen_rows for name in ("entity", "relation")] == [4, 3]
    before, moved = moved_by(start, variables, train)
    assert before["relation"][:3, 0].tolist() == [0, 1, 2]
    assert moved == {"entity", "relation", "never_seen", "step"}


@pytest.mark.parametrize(
    "train, expected",
    [
        ((), set()),
        ("decoder/*", {"weight", "bias"}),
        (["decoder/bias"], {"bias"}),
        (["rel*", "*/weight"], {"relation", "weight"}),
        ("all", {"relation", "weight", "bias"}),
        (["all"], {"relation", "weight", "bias"}),
    ],
)
def test_train_names_what_goes_on_training(base, start, train, expected):
    with pe.growing(base, train=train):
        variables, step = script(6)
    before, moved = moved_by(start, variables, step)
    assert before["weight"].tolist() == [[0.5, 0.5]] * 2  # Loaded all the same.
    assert moved == expected | {"entity", "never_seen", "step"}


def test_all_leaves_the_choice_of_the_script(base):
    with pe.growing(base, train="all"):
        entity = tf.get_variable("entity", [4, 2], trainable=False)
        tf.get_variable("relation", [3, 2])
    assert [v.op.name for v in tf.trainable_variables()] == ["relation"]
    assert not isinstance(entity, pe.PartialEmbedding)


@pytest.mark.parametrize("fault, found", [("gone", "is not there"), ("cut", "ends after 9 of")])
def test_a_base_without_its_data_is_refused_before_a_graph_is_made(base, tmp_path, fault, found):
    copy = str(tmp_path / "copy")
    for ending in (".index", ".data-00000-of-00001"):
        shutil.copy(base + ending, copy + ending)
    if fault == "gone":
        os.remove(copy + ".data-00000-of-00001")
    else:
        os.truncate(copy + ".data-00000-of-00001", 9)
    for grow in (
        lambda: pe.growing(copy),
        lambda: pe.get_embedding("entity", [6, 2], checkpoint=copy),
        lambda: pe.grow_checkpoint(copy, str(tmp_path / "grown"), rows={"entity": 6}, show=None),
    ):
        with pytest.raises(ValueError, match=f"{copy} is damaged .*data-00000-of-00001 {found}"):
            grow()
    assert not tf.global_variables()


def test_an_optimizer_of_frozen_rows_is_refused_though_nobody_asks(base):
    """The script names its variables itself, and saves with a plain Saver, or not at all."""
    message = r"update_entity/frozen/.* can write to entity/frozen:0.*leave it out of the var_list"
    with pytest.raises(ValueError, match=message), pe.growing(base, show=None):
        loss = tf.reduce_sum(tf.gather(tf.get_variable("entity", [6, 2]), [0, 5]))
        mine = tf.get_collection(tf.GraphKeys.GLOBAL_VARIABLES, "entity")
        tf.train.GradientDescentOptimizer(0.1).minimize(loss, var_list=mine)


def test_a_pattern_that_matches_nothing(base):
    with pytest.raises(ValueError) as error, pe.growing(base, train=["decoder/*", "encoder/*"]):
        script(6)
    text = str(error.value)
    assert "['encoder/*'] match no variable" in text
    for name in ("entity", "relation", "decoder/weight", "decoder/bias"):
        assert name in text.split("There are:")[1]


@pytest.mark.parametrize("argument", ["trainable_rows", "vocabularies", "initializers", "names"])
def test_what_belongs_to_a_name_is_a_dict(base, argument):
    with pytest.raises(TypeError, match=argument + r"= must be a dict .*; found \['entity'\]"):
        pe.growing(base, **{argument: ["entity"]})


@pytest.mark.parametrize("argument", ["train", "skip", "hold"])
@pytest.mark.parametrize("value", [True, 5, [5]])
def test_what_says_which_variables_is_names(base, argument, value):
    with pytest.raises(TypeError, match="Expected names or patterns of variables, 'all' for every"):
        pe.growing(base, **{argument: value})


def accumulating(rows):
    """Sums of gradients of several batches, as scripts of TensorFlow 1 keep them."""
    table = tf.get_variable("table", [rows, 3], initializer=tf.ones_initializer())
    ids = tf.placeholder(tf.int32, [None])
    optimizer, trained = tf.train.GradientDescentOptimizer(0.1), tf.trainable_variables()
    sums = [tf.Variable(tf.zeros_like(v.initialized_value()), trainable=False) for v in trained]
    zero = tf.group(*[tf.assign(its, tf.zeros_like(its)) for its in sums])
    loss = tf.reduce_sum(tf.square(tf.gather(table, ids) - 3.0))
    gradients = optimizer.compute_gradients(loss, trained)
    add = tf.group(*[tf.assign_add(its, g) for its, (g, _) in zip(sums, gradients)])
    step = optimizer.apply_gradients([(its / 2.0, v) for its, v in zip(sums, trained)])
    return table, ids, zero, add, step


@pytest.mark.parametrize("rows", [6, 9, 14])
def test_sums_of_gradients_are_of_new_rows(tmp_path, rows, capsys):
    """They have the name of those of all old rows, and may be more, or fewer, than these."""

    def run(session, rows, base=None):
        with pe.growing(base) if base else contextlib.ExitStack():
            table, ids, zero, add, step = accumulating(rows)
        session.run(tf.global_variables_initializer())
        for batch in ([rows - 1], [rows - 1, 4]):
            session.run(zero)
            session.run(add, {ids: batch})
            session.run(add, {ids: batch})
            session.run(step)
        return session.run(table)

    with tf.Graph().as_default(), tf.Session() as session:
        run(session, 5)
        base = tf.train.Saver().save(session, str(tmp_path / "base"))
    with tf.Graph().as_default(), tf.Session() as session:
        grown = run(session, rows, base)
    with tf.Graph().as_default(), tf.Session() as session:
        plain = run(session, rows)
    assert grown[5:].tobytes() == plain[5:].tobytes()
    assert "Variable: it has one entry for each new row of table" in capsys.readouterr().err


def test_a_name_counts_before_a_pattern_that_fits_it(base):
    rows = {"e*": [0], "entity": [1, 2]}
    with tf.Graph().as_default(), pe.growing(base, trainable_rows=rows, show=None):
        variables, _ = script(6)
        assert variables["entity"].plan.trainable_rows.tolist() == [1, 2, 4, 5]


def test_a_table_of_the_same_size_stays_a_plain_variable(base, start):
    with pe.growing(base):
        variables, train = script(4)
    assert not isinstance(variables["entity"], pe.PartialEmbedding)
    _, moved = moved_by(start, variables, train)
    assert moved == {"never_seen", "step"}


def test_nothing_is_left_open_afterwards(base):
    scope = tf.get_variable_scope()
    with pe.growing(base):
        tf.get_variable("entity", [6, 2])
    assert scope.custom_getter is None
    assert not isinstance(tf.get_variable("relation", [5, 2]), pe.PartialEmbedding)
    with pytest.raises(ZeroDivisionError), pe.growing(base):
        1 / 0  # noqa: B018
    assert scope.custom_getter is None


# --- scopes --------------------------------------------------------------------------


def test_nested_scopes(write_checkpoint, row_numbers, start):
    prefix = write_checkpoint({"model/inner/entity": row_numbers([4, 2])})
    with pe.growing(prefix), tf.variable_scope("model"), tf.variable_scope("inner"):
        inside = tf.get_variable("entity", [6, 2])
    assert inside.name == "model/inner/entity:0"
    assert inside.trainable.name == "model/inner/entity/trainable:0"
    assert start().run(inside)[:4, 0].tolist() == [0, 1, 2, 3]


def test_opened_inside_a_scope(write_checkpoint, row_numbers, start):
    prefix = write_checkpoint({"model/entity": row_numbers([4, 2])})
    with tf.variable_scope("model"):
        with pe.growing(prefix):
            table = tf.get_variable("entity", [6, 2])
        tf.get_variable("afterwards", [6, 2])
    assert start().run(table)[:4, 0].tolist() == [0, 1, 2, 3]


def test_default_names_are_not_disturbed(write_checkpoint, row_numbers):
    prefix = write_checkpoint({"model/entity": row_numbers([4, 2])})
    with tf.variable_scope("model"):
        with tf.variable_scope(None, "layer") as first:
            pass
        with pe.growing(prefix):
            tf.get_variable("entity", [6, 2])
            with tf.variable_scope(None, "layer") as second:
                pass
        with tf.variable_scope(None, "layer") as third:
            pass
    assert [s.name for s in (first, second, third)] == [
        "model/layer",
        "model/layer_1",
        "model/layer_2",
    ]


@pytest.mark.parametrize("reuse", [True, tf.AUTO_REUSE])
def test_reuse(base, start, reuse):
    with pe.growing(base):
        with tf.variable_scope("", reuse=tf.AUTO_REUSE):
            tables = [tf.get_variable("entity", [6, 2]), tf.get_variable("relation", [3, 2])]
        with tf.variable_scope("", reuse=reuse):
            again = [tf.get_variable("entity", [6, 2]), tf.get_variable("relation", [3, 2])]
    assert [one is other for one, other in zip(tables, again)] == [True, True]
    assert len(tf.global_variables()) == 3
    with pytest.raises(
        ValueError, match=r"specified shape \(7, 2\) and found shape \(6, 2\)"
    ), pe.growing(base), tf.variable_scope("", reuse=reuse):
        tf.get_variable("entity", [7, 2])


def test_making_one_twice_is_refused_as_ever(base):
    with pytest.raises(ValueError, match="entity already exists.*AUTO_REUSE"), pe.growing(base):
        tf.get_variable("entity", [6, 2])
        tf.get_variable("entity", [6, 2])


def test_as_a_custom_getter_in_a_graph_of_its_own(base):
    def legacy_script(custom_getter):
        with tf.Graph().as_default(), tf.variable_scope("", custom_getter=custom_getter):
            entity = tf.get_variable("entity", [6, 2])
            with tf.variable_scope("decoder"):
                tf.get_variable("weight", [2, 2])
            with tf.Session() as session:
                session.run(tf.global_variables_initializer())
                return session.run(entity), [v.op.name for v in tf.trainable_variables()]

    values, trainable = legacy_script(pe.growing(base))
    assert values[:4, 0].tolist() == [0, 1, 2, 3]
    assert trainable == ["entity/trainable"]
    _, trainable = legacy_script(pe.growing(base, train="decoder/*"))
    assert trainable == ["entity/trainable", "decoder/weight"]


def test_nothing_made_inside_is_an_error(base):
    with pytest.raises(ValueError) as error, pe.growing(base):
        pass
    assert f"No variable of {base} was made while growing was open" in str(error.value)
    assert "decoder/weight" in str(error.value)


def test_one_inside_of_another_is_refused(base, start):
    message = f"Growing from {base} inside of another growing"
    scope = tf.get_variable_scope()
    with pe.growing(base):
        table = tf.get_variable("entity", [6, 2])
        with pytest.raises(ValueError, match=message), pe.growing(base):
            pass
        with pytest.raises(ValueError, match=message), tf.Graph().as_default(), pe.growing(base):
            pass
        with tf.variable_scope("", custom_getter=pe.growing(base)), pytest.raises(
            ValueError, match=message
        ):
            tf.get_variable("relation", [5, 2])
    with tf.variable_scope("", custom_getter=pe.growing(base)), pe.growing(base):
        with pytest.raises(ValueError, match=message):
            tf.get_variable("relation", [5, 2])
        tf.Variable(tf.ones([2]), name="decoder/bias")
    assert scope.custom_getter is None
    with pe.growing(base):  # one after the other
        other = tf.get_variable("relation", [5, 2])
    found = start().run([table, other])
    assert [rows[:3, 0].tolist() for rows in found] == [[0, 1, 2]] * 2


def test_the_error_of_the_script_is_not_hidden(base):
    with pytest.raises(KeyError, match="of the script"), pe.growing(base, train="no such"):
        raise KeyError("of the script")


def test_a_custom_getter_of_the_script(base, start):
    seen = []

    def custom_getter(getter, name, *args, **kwargs):
        seen.append(name)
        return getter(name, *args, **kwargs)

    with tf.variable_scope("", custom_getter=custom_getter), pe.growing(base):
        outside = tf.get_variable("entity", [6, 2])
    assert isinstance(outside, pe.PartialEmbedding)
    assert seen == ["entity/frozen", "entity/trainable"]
    with pe.growing(base), tf.variable_scope("", custom_getter=custom_getter):
        inside = tf.get_variable("relation", [5, 2])
    assert isinstance(inside, pe.PartialEmbedding)
    session = start()
    assert session.run(outside)[:4, 0].tolist() == [0, 1, 2, 3]
    assert session.run(inside)[:3, 0].tolist() == [0, 1, 2]


def test_a_table_that_was_dealt_out_in_turn_is_told_and_put_in_order(start, tmp_path, capsys):
    """A plain lookup in parts is by "mod", and the order on disk is not that of the ids."""
    with tf.Graph().as_default():
        table = tf.get_variable("table", [7, 1], partitioner=tf.fixed_size_partitioner(3))
        rows, session = tf.nn.embedding_lookup(table, tf.range(7)), start()
        prefix, meant = tf.train.Saver().save(session, str(tmp_path / "old")), session.run(rows)
    with tf.Graph().as_default():
        (warning,) = warnings_of(prefix, lambda: tf.get_variable("table", [9, 1]))
        assert "table was divided by a partitioner when it was saved" in warning
    old = [str(key) for part in range(3) for key in range(part, 7, 3)]
    new = [str(key) for key in range(9)]
    with pe.growing(prefix, vocabularies={"table": (old, new)}):
        table = tf.get_variable("table", [9, 1])
    rows = tf.nn.embedding_lookup(table, tf.range(7))
    np.testing.assert_array_equal(start().run(rows), meant)
    assert "divided" not in capsys.readouterr().err


def test_what_growing_saved_was_not_dealt_out(base, start, tmp_path):
    with tf.Graph().as_default():
        with pe.growing(base):
            tf.get_variable("entity", [6, 2])
        prefix = pe.Saver().save(start(), str(tmp_path / "grown"))
    told = warnings_of(prefix, lambda: tf.get_variable("entity", [7, 2]))
    assert not [warning for warning in told if "divided" in warning]


def warnings_of(prefix, script, **arguments):
    """Returns what growing warns of, when a script grows."""
    told = []
    with pe.growing(prefix, show=lambda report: told.extend(report.warnings()), **arguments):
        script()
    return told


def test_frozen_rows_divided_by_growing(base, start):
    divide = tf.fixed_size_partitioner(2)
    with pe.growing(base, partitioner=divide):
        entity = tf.get_variable("entity", [6, 2])
        weight = tf.get_variable("decoder/weight", [2, 2])
    assert [part.shape.as_list() for part in entity.frozen_parts] == [[2, 2], [2, 2]]
    assert entity.trainable.shape.as_list() == [2, 2] == weight.shape.as_list()
    ids = [5, 0, 3, 2, 1]
    looked_up, whole = start().run([tf.nn.embedding_lookup(entity, ids), entity])
    np.testing.assert_array_equal(looked_up, whole[ids])
    np.testing.assert_array_equal(whole[:4, 0], range(4))


@pytest.mark.parametrize("partitions", [2, 3])
def test_a_partitioner_of_the_scope(base, start, partitions):
    partitioner = tf.fixed_size_partitioner(partitions)
    with pe.growing(base), tf.variable_scope("", partitioner=partitioner):
        entity = tf.get_variable("entity", [6, 2])
        relation = tf.get_variable("relation", [3, 2])
    assert len(entity.frozen_parts) == len(list(relation)) == partitions
    session = start()
    assert session.run(entity)[:4, 0].tolist() == [0, 1, 2, 3]
    assert session.run(tf.convert_to_tensor(relation))[:, 0].tolist() == [0, 1, 2]
    assert tf.trainable_variables() == [entity.trainable]


def test_use_resource_of_the_scope(base):
    with pe.growing(base), tf.variable_scope("", use_resource=True):
        entity = tf.get_variable("entity", [6, 2])
        relation = tf.get_variable("relation", [3, 2])
    for variable in entity.variables + [relation]:
        assert variable.op.type == "VarHandleOp"


@pytest.mark.parametrize("dtype", [tf.float16, tf.float64])
def test_other_dtypes(write_checkpoint, row_numbers, start, dtype):
    prefix = write_checkpoint({"entity": row_numbers([4, 2], dtype.as_numpy_dtype)})
    with pe.growing(prefix), tf.variable_scope("", dtype=dtype):
        entity = tf.get_variable("entity", [6, 2])
    assert entity.dtype == dtype
    assert start().run(entity)[:4, 0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("trainable", [False, True])
def test_first_values_without_a_shape(write_checkpoint, start, trainable):
    first = {"count": 0, "rate": [0.5, 0.25], "ids": np.arange(6), "deep": np.full([6, 2], 3.0)}
    first["ones"] = tf.ones([6], tf.float64)
    held = {"count": np.int32(7), "rate": np.float32([2, 1]), "ids": np.arange(4)}
    held.update(deep=np.ones([4, 2]), ones=np.full([6], 5.0))
    with pe.growing(write_checkpoint(held)):
        made = {
            name: tf.get_variable(name, initializer=value, trainable=trainable)
            for name, value in first.items()
        }
    found = start().run(made)
    assert [found[name].dtype.name for name in ("count", "ids", "deep")] == [
        "int32",
        "int64",
        "float64",
    ]
    assert found["count"] == 0
    assert found["rate"].tolist() == ([2, 1] if trainable else [0.5, 0.25])
    assert isinstance(made["ids"], pe.PartialEmbedding) == trainable
    assert found["ids"].tolist() == list(range(6))
    assert found["deep"][:, 0].tolist() == [1] * 4 + [3] * 2
    assert found["ones"].tolist() == [5] * 6


def test_initializers_that_are_arrays(base, start):
    with pe.growing(base):
        entity = tf.get_variable("entity", initializer=np.full([6, 2], 9.0, np.float32))
        relation = tf.get_variable("relation", initializer=tf.zeros([3, 2]))
        other = tf.get_variable("other", initializer=np.full([2], 3.0, np.float32))
    session = start()
    assert session.run(entity)[:, 0].tolist() == [0, 1, 2, 3, 9, 9]
    assert session.run(relation)[:, 0].tolist() == [0, 1, 2]
    assert session.run(other).tolist() == [3, 3]


# --- optimizers ------------------------------------------------------------------------


@pytest.mark.parametrize("train", [(), "all"])
def test_slots_start_afresh(base, start, train):
    optimizer = tf.train.AdamOptimizer(0.01)
    with pe.growing(base, train=train):
        variables, step = script(6, optimizer=optimizer)
    session = start()
    slots = [v for v in tf.global_variables() if "Adam" in v.op.name]
    # Two for each variable that trains, all zero and not the checkpoint's 7, 8 and 9.
    assert len(slots) == 2 * len(tf.trainable_variables())
    assert all(not session.run(slot).any() for slot in slots)
    session.run(step)
    assert session.run(variables["entity"])[:4, 0].tolist() == [0, 1, 2, 3]


def test_an_initializer_of_all_variables_is_all_it_needs(base):
    with pe.growing(base):
        variables, _ = script(6)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run(tf.report_uninitialized_variables()).tolist() == []
        assert session.run(variables["entity"])[:4, 0].tolist() == [0, 1, 2, 3]


def test_under_a_monitored_session(base):
    with pe.growing(base):
        variables, train = script(6)
    hooks = [pe.FrozenRowsHook()]
    with tf.train.MonitoredTrainingSession(hooks=hooks, log_step_count_steps=None) as session:
        for _ in range(3):
            session.run(train)
        step, entity = session.run([variables["step"], variables["entity"]])
    assert step == 3
    assert entity[:4, 0].tolist() == [0, 1, 2, 3]


def test_grown_twice(base, start, tmp_path, plain_restore):
    with pe.growing(base):
        variables, train = script(6)
    session = start()
    session.run(train)
    first = session.run(variables["entity"])
    prefix = tf.train.Saver().save(session, str(tmp_path / "grown.ckpt"))
    with tf.Graph().as_default(), tf.Session() as session:
        with pe.growing(prefix):
            variables, train = script(9)
        session.run(tf.global_variables_initializer())
        session.run(train)
        assert variables["entity"].num_frozen_rows == 6
        assert session.run(variables["entity"])[:6].tolist() == first.tolist()
        assert session.run(variables["step"]) == 1
        prefix = tf.train.Saver().save(session, str(tmp_path / "again.ckpt"))
    restored = plain_restore(prefix, {"entity": [9, 2], "decoder/weight": [2, 2]})
    assert restored["entity"][:6].tolist() == first.tolist()


def test_the_report(base):
    with pe.growing(base, train="*/bias") as growing:
        script(6)
    assert growing.summary().splitlines() == [
        f"partial_embed: growing from {base}",
        "  grew            entity: [4 -> 6, 2], 4 rows frozen, 2 train",
        "  loaded, frozen  relation, decoder/weight",
        "  loaded, trains  decoder/bias",
        "  new, trains     never_seen",
        "  starts afresh   global_step: a counter: global steps belong to the optimizer",
        "                  row i keeps its meaning: no vocabulary was given",
    ]


def test_a_table_used_twice_is_one_in_the_report(write_checkpoint, row_numbers):
    base = write_checkpoint({"m/keyed": row_numbers([2, 2]), "m/other": row_numbers([4, 2])})
    with pe.growing(base, vocabularies={"m/keyed": (["a", "b"], ["b", "c", "a"])}) as growing:
        for reuse in (False, True):
            with tf.variable_scope("m", reuse=reuse):
                tf.get_variable("keyed", [3, 2])
                tf.get_variable("other", [6, 2])
    assert "row i of m/other keeps its meaning" in growing.summary()


def test_the_graph_does_not_hold_the_table(write_checkpoint, graph):
    prefix = write_checkpoint({"entity": np.ones([2000, 8], np.float32)})  # 64,000 bytes
    with pe.growing(prefix):
        tf.get_variable("entity", [2001, 8])
    assert graph.as_graph_def().ByteSize() < 20000


def test_a_delta_is_no_base(base, start, tmp_path):
    with pe.growing(base):
        script(6)
    delta = pe.Saver(delta=True).save(start(), str(tmp_path / "delta"))
    for make in (
        lambda: pe.growing(delta),
        lambda: pe.get_embedding("entity", [6, 2], checkpoint=delta),
    ):
        with tf.Graph().as_default(), pytest.raises(ValueError, match="is a delta") as error:
            make()
        assert f"merge_checkpoint({base!r}, {delta!r}, output)" in str(error.value)


def test_a_table_is_found_again_after_growing(base):
    with pe.growing(base):
        table = script(6)[0]["entity"]
        with tf.variable_scope("", reuse=True):
            assert tf.get_variable("entity") is table
            assert tf.get_variable("decoder/weight").op.name == "decoder/weight"
    for reuse in (True, tf.AUTO_REUSE):
        with tf.variable_scope("", reuse=reuse):
            assert tf.get_variable("entity", [6, 2]) is table
            assert tf.get_variable("entity") is table
    with tf.variable_scope("", reuse=True), pytest.raises(ValueError, match="shape"):
        tf.get_variable("entity", [7, 2])
    with tf.variable_scope(""), pytest.raises(ValueError, match="already exists"):
        tf.get_variable("entity", [6, 2])


def test_a_base_that_has_grown_already_is_warned_about(base, start, tmp_path, capsys):
    with pe.growing(base):
        tf.get_variable("entity", [6, 2])
    grown = pe.Saver().save(start(), str(tmp_path / "grown"))
    with tf.Graph().as_default(), pe.growing(grown):
        tf.get_variable("entity", [6, 2])
        start()
    assert (
        "no table grew: each has as many rows as in the checkpoint, where entity grew already"
        in (capsys.readouterr().err)
    )


def test_a_path_that_is_none(tmp_path):
    with pytest.raises(ValueError, match="the path is None"):
        pe.growing(tf.train.latest_checkpoint(str(tmp_path / "nowhere")))


def test_train_may_be_none(base):
    with pe.growing(base, train=None):
        variables, _ = script(6)
    assert variables["weight"] not in tf.trainable_variables()


def test_state_below_a_variable_is_no_slot_of_it(write_checkpoint, start, capsys):
    held = {"e": np.ones([4, 3]), "w": np.ones([3, 3]), "w/u": np.full([1, 3], 7.0)}
    held.update({"w/bn/mean": np.full([3], 8.0), "e/bias": np.full([4], 9.0)})
    base = write_checkpoint({name: its.astype(np.float32) for name, its in held.items()})
    zeros = dict(initializer=tf.zeros_initializer(), trainable=False)
    with pe.growing(base):
        tf.get_variable("e", [6, 3])
        tf.get_variable("w", [3, 3])
        state = tf.get_variable("w/u", [1, 3], **zeros), tf.get_variable("w/bn/mean", [3], **zeros)
        tf.get_variable("e_bias", [6])
    session, printed = start(), capsys.readouterr().err
    assert "loaded, state   w/u, w/bn/mean" in printed
    assert "nobody took it: e/bias." in printed
    assert [its.ravel().tolist() for its in session.run(state)] == [[7] * 3, [8] * 3]
    saver = pe.Saver()
    session.run([tf.assign(its, tf.zeros_like(its)) for its in state])
    saver.restore(session, base)
    assert [its.ravel().tolist() for its in session.run(state)] == [[7] * 3, [8] * 3]


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
@pytest.mark.parametrize("rows", [None, [1]])
def test_slots_that_an_optimizer_starts_at_a_tensor(tmp_path, start, dtype, rows):
    """As Ftrl does, which TensorFlow 1 takes without a shape."""

    def script(count):
        table = tf.get_variable("e", [count, 2], dtype)
        loss = tf.reduce_sum(tf.square(tf.nn.embedding_lookup(table, [0, count - 1])))
        return tf.train.FtrlOptimizer(0.1).minimize(loss)

    with tf.Graph().as_default(), tf.Session() as session:
        step = script(4)
        session.run(tf.global_variables_initializer())
        session.run(step)
        base = tf.train.Saver().save(session, str(tmp_path / "base"))
        old = session.run("e/Ftrl:0")
    with pe.growing(base, slots=True, trainable_rows={"e": rows} if rows else None, show=None):
        script(6)
    saved = pe.Saver().save(start(), str(tmp_path / "grown"))
    found = tf.train.load_checkpoint(saved).get_tensor("e/Ftrl")
    assert found[:4].tobytes() == old.tobytes() and (found[4:] == found[4, 0]).all()
