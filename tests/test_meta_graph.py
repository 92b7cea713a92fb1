"""grow_meta_graph: a model of which only the files are left learns new rows.

The files are those of `legacy/lookups.py`, by TensorFlow 1.15.5 and by the version that runs.
"""

import os
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe
from partial_embed.meta_graph_audit import audit_meta_graph
from partial_embed.table.embedding import embeddings_in

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "legacy"))
import lookups  # noqa: E402

OLD, NEW = 6, 8
IDS = [0, 5, 3, 3, 1]
OUTPUTS = ["rows", "chain", "bags", "scores", "unit", "columns", "logits", "loss"]


@pytest.fixture(scope="module", params=["1.15.5", "ref", "resource"])
def model(request, data, tmp_path_factory):
    """The prefix of a model's files."""
    if request.param == "1.15.5":
        return data("legacy", "lookups.ckpt")
    prefix = str(tmp_path_factory.mktemp("lookups") / "model.ckpt")
    with tf.Graph().as_default():
        tf.set_random_seed(1)
        lookups.main(prefix, OLD, use_resource=request.param == "resource")
    return prefix


def grow(prefix, rows=NEW, **arguments):
    return pe.grow_meta_graph(
        prefix + ".meta", prefix, {"model/embedding": rows, "model/successor": rows}, **arguments
    )


def outputs(session, ids):
    return session.run([name + ":0" for name in OUTPUTS], lookups.feed(ids))


def of_the_old_model(prefix, ids):
    with tf.Graph().as_default(), tf.Session() as session:
        tf.train.import_meta_graph(prefix + ".meta").restore(session, prefix)
        return outputs(session, ids)


def test_old_rows_give_what_they_gave(model, start, same_bits):
    expected = of_the_old_model(model, IDS)
    grown = grow(model)
    table = grown.embeddings["model/embedding"]
    assert table.shape.as_list() == [NEW, 4]
    assert table.num_frozen_rows == OLD
    found = outputs(start(), IDS)
    for name, left, right in zip(OUTPUTS, found, expected):
        # What is made of all rows at once has last bits that depend on how many there are.
        if name == "scores":
            np.testing.assert_allclose(left[:, :OLD], right, rtol=1e-6)
        elif name == "unit":
            np.testing.assert_allclose(left[:OLD], right, rtol=1e-6)
        elif name == "columns":
            assert same_bits(left[:OLD], right)
            assert len(left) == NEW
        else:
            assert same_bits(left, right), name


def test_all_rows_give_what_a_larger_model_gives(model, start, read_checkpoint, tmp_path):
    """The plain script, with as many rows, restored from what a Saver here writes."""
    grow(model)
    session = start()
    ids = [0, 7, 6, 3, 7]
    found = outputs(session, ids)
    prefix = pe.Saver().save(session, str(tmp_path / "grown.ckpt"), write_meta_graph=False)
    assert read_checkpoint(prefix)["model/embedding"].shape == (NEW, 4)
    with tf.Graph().as_default(), tf.Session() as session:
        lookups.build_model(NEW)
        variables = [v for v in tf.global_variables() if "Momentum" not in v.op.name]
        tf.train.Saver(variables).restore(session, prefix)
        expected = outputs(session, ids)
    for name, left, right in zip(OUTPUTS, found, expected):
        np.testing.assert_allclose(left, right, rtol=1e-6, atol=1e-7, err_msg=name)


def test_only_new_rows_train(model, start, same_bits):
    grown = grow(model)
    table = grown.embeddings["model/embedding"]
    loss = tf.get_default_graph().get_tensor_by_name("loss:0")
    step = pe.minimize(tf.train.MomentumOptimizer(0.5, 0.9), loss)
    assert tf.trainable_variables() == [table.trainable]
    session = start()
    before = session.run([table] + grown.variables)
    session.run(step, lookups.feed([7, 0, 7]))
    # Momentum, and old ids only: nothing may move now.
    new_rows = session.run(table)
    session.run(step, lookups.feed([0, 2, 1]))
    after = session.run([table] + grown.variables)
    assert same_bits(after[0], new_rows)
    moved = (before[0] != after[0]).any(axis=1)
    # 7 is row 7, and the row that its successor, drawn as 0, stands for is an old one.
    assert moved.tolist() == [False] * 7 + [True]
    assert all(map(same_bits, before[1:], after[1:]))


@pytest.mark.parametrize(
    "train, expected",
    [
        ((), set()),
        ("model/weight", {"model/weight"}),
        (["*bias", "*weight"], {"model/weight", "model/bias"}),
        ("all", {"model/weight", "model/bias"}),
    ],
    ids=["none", "a name", "patterns", "all"],  # a set has no order to name a test by
)
def test_train_names_what_goes_on_training(model, start, train, expected):
    grown = grow(model, train=train)
    names = {v.op.name for v in tf.trainable_variables()}
    assert names == expected | {"model/embedding/trainable"}
    loss = tf.get_default_graph().get_tensor_by_name("loss:0")
    step = tf.train.MomentumOptimizer(0.5, 0.9).minimize(loss)
    session = start()
    variables = {v.op.name: v for v in grown.variables}
    before = session.run(variables)
    session.run(step, lookups.feed([6, 1]))
    after = session.run(variables)
    assert {name for name in before if (before[name] != after[name]).any()} == expected
    assert set(before) == {"model/weight", "model/bias", "global_step"}
    assert before["global_step"] == 3


def test_frozen_rows_and_variables_are_proved(model, start):
    grow(model)
    loss = tf.get_default_graph().get_tensor_by_name("loss:0")
    step = pe.minimize(tf.train.AdamOptimizer(0.1), loss)
    session = start()
    frozen = pe.record_frozen_rows(session)
    session.run(step, lookups.feed([7, 0]))
    assert frozen.verify(session) > OLD


def test_the_whole_table_and_its_slots_restore_in_the_plain_script(
    model, start, tmp_path, same_bits, read_checkpoint
):
    grown = grow(model, train="all")
    loss = tf.get_default_graph().get_tensor_by_name("loss:0")
    step = pe.minimize(
        tf.train.MomentumOptimizer(0.1, 0.9), loss, var_list=tf.trainable_variables()[1:]
    )
    session = start()
    session.run(step, lookups.feed([7, 6, 0]))
    table = session.run(grown.embeddings["model/embedding"])
    prefix = pe.Saver().save(session, str(tmp_path / "grown.ckpt"), write_meta_graph=False)
    old, new = read_checkpoint(model), read_checkpoint(prefix)
    assert set(new) == set(old)
    slot = "model/embedding/Momentum"
    assert same_bits(new[slot][:OLD], old[slot])
    with tf.Graph().as_default(), tf.Session() as session:
        lookups.build_model(NEW)
        tf.train.Saver().restore(session, prefix)
        assert same_bits(session.run("model/embedding:0"), table)
        session.run("train", lookups.feed([7, 0, 1]))


def test_lookups_are_lookups_and_old_training_is_gone(model, graph):
    grow(model, rows=1000)
    above, pending = set(), [graph.get_tensor_by_name(n).op for n in ("rows:0", "chain:0")]
    while pending:
        op = pending.pop()
        if op not in above:
            above.add(op)
            pending.extend(tensor.op for tensor in op.inputs)
    for op in above:
        sizes = [t.shape.as_list()[:1] for t in op.outputs if t.shape.rank]
        assert [1000] not in sizes, op
    names = {op.name for op in graph.get_operations()}
    assert "train" not in names
    assert "model/embedding/Momentum" not in names
    types = {op.type for op in graph.get_operations()}
    assert not any("Apply" in name or "Save" in name for name in types)


def test_a_model_of_several_scripts_lines(data, start, same_bits):
    """The factorization: tables of rank 1 and 2, Adam, clipping, a rate that decays."""
    prefix = data("legacy", "factorization.ckpt")
    rows = {"mf/P": 16, "mf/b_u": 16, "mf/Q": 23, "mf/b_i": 23}
    feed = {"user:0": [0, 3, 13], "item:0": [19, 2, 0]}
    with tf.Graph().as_default(), tf.Session() as session:
        tf.train.import_meta_graph(prefix + ".meta").restore(session, prefix)
        expected = session.run("predicted:0", feed)
    grown = pe.grow_meta_graph(prefix + ".meta", prefix, rows)
    assert list(grown.embeddings) == list(rows)
    assert [v.op.name for v in grown.variables] == ["mf/mu", "global_step"]
    predicted = tf.get_default_graph().get_tensor_by_name("predicted:0")
    loss = tf.reduce_sum(tf.square(predicted - 1.0))
    step = pe.minimize(tf.train.AdamOptimizer(0.1), loss)
    session = start()
    assert same_bits(session.run(predicted, feed), expected)
    before = session.run(grown.embeddings)
    session.run(step, {"user:0": [15, 0], "item:0": [22, 0]})
    after = session.run(grown.embeddings)
    for name, count in rows.items():
        moved = (before[name] != after[name]).reshape([count, -1]).any(axis=1)
        assert moved.tolist() == [False] * (count - 1) + [True]


def test_a_meta_graph_that_is_open_already(model, start):
    definition = tf.MetaGraphDef()
    with open(model + ".meta", "rb") as stream:
        definition.ParseFromString(stream.read())
    before = definition.SerializeToString(deterministic=True)
    grown = pe.grow_meta_graph(
        definition, model, {"model/embedding": 7}, initializer=tf.constant_initializer(9.0)
    )
    assert definition.SerializeToString(deterministic=True) == before
    values = start().run(grown.embeddings["model/embedding"])
    assert values[6].tolist() == [9.0] * 4


def test_no_more_rows_than_there_are_freezes_the_table(model, start, same_bits):
    expected = of_the_old_model(model, IDS)
    grown = pe.grow_meta_graph(model + ".meta", model, {"model/embedding": OLD})
    assert grown.embeddings["model/embedding"].trainable is None
    found = outputs(start(), IDS)
    assert all(map(same_bits, found, expected))


def test_a_variable_that_the_checkpoint_lacks_starts_as_it_did(model, start, write_checkpoint):
    reader = tf.train.load_checkpoint(model)
    names = ["model/embedding", "model/weight", "global_step", "model/successor"]
    prefix = write_checkpoint({name: reader.get_tensor(name) for name in names}, "less.ckpt")
    grown = pe.grow_meta_graph(model + ".meta", prefix, {"model/embedding": NEW})
    (bias,) = [v for v in grown.variables if v.op.name == "model/bias"]
    assert start().run(bias).tolist() == [0, 0]
    assert "model/bias" in {v.op.name for v in tf.trainable_variables()}  # It is new: it trains.


def test_operations_without_a_name_of_their_own_keep_theirs(tmp_path, start):
    """`Placeholder`, `Identity`, `concat`: what anything else would be called too."""
    prefix = str(tmp_path / "model.ckpt")
    with tf.Graph().as_default() as graph, tf.Session() as session:
        tf.set_random_seed(1)
        table = tf.get_variable("embedding", [6, 2], use_resource=True)
        rows = tf.identity(tf.gather(table, tf.placeholder(tf.int32, [None])))
        tf.concat([rows, rows, table], 0)
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, prefix)
        names = {op.name for op in graph.get_operations() if op.type in ("Placeholder", "ConcatV2")}
        expected = session.run("concat:0", {"Placeholder:0": [5, 0]})
    assert names == {"Placeholder", "concat"}
    pe.grow_meta_graph(prefix + ".meta", prefix, {"embedding": 8})
    found = start().run("concat:0", {"Placeholder:0": [5, 0]})
    assert found.shape == (12, 2)
    assert found[:10].tolist() == expected.tolist()


# --- what is imported ----------------------------------------------------------------------------


def save_small_model(prefix, build, use_resource=False):
    """Saves what build(table, rows) makes beside a loss, a step of Adam and what they need."""
    with tf.Graph().as_default(), tf.Session() as session:
        table = tf.get_variable("embedding", [6, 2], use_resource=use_resource)
        ids = tf.placeholder(tf.int32, [None], name="ids")
        with tf.control_dependencies([tf.assert_less(ids, 8, message="too large")]):
            rows = tf.gather(table, ids, name="rows")
        loss = tf.reduce_sum(tf.square(rows), name="loss")
        build(table, rows, loss)
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, prefix)


def test_outputs_name_what_is_imported(model, graph, start, same_bits):
    expected = of_the_old_model(model, IDS)[OUTPUTS.index("chain")]
    grown = grow(model, outputs=["chain:0"])
    names = {op.name for op in graph.get_operations()}
    assert not names & {"rows", "bags", "scores", "unit", "columns", "logits", "loss", "labels"}
    # All variables are there, so that what a Saver writes suits the plain script.
    assert {v.op.name for v in grown.variables} == {"model/weight", "model/bias", "global_step"}
    assert same_bits(start().run("chain:0", {"ids:0": IDS}), expected)


def test_outputs_can_be_names_of_operations_and_the_tables(model, graph):
    grow(model, outputs=["loss", "model/embedding:0"])
    names = {op.name for op in graph.get_operations()}
    assert {"loss", "logits", "chain", "bags"} <= names
    assert not names & {"scores", "unit", "columns", "loss_1"}


def test_outputs_that_are_not_there(model):
    with pytest.raises(ValueError) as error:
        grow(model, outputs=["loss", "logit:0"])
    text = str(error.value)
    assert "no operation 'logit', which outputs= names. Nearest are: logits" in text
    assert len(text.split("Nearest are: ")[1].split(", ")) <= 12


@pytest.mark.parametrize("use_resource", [False, True])
def test_outputs_that_need_the_old_training(use_resource, tmp_path):
    def build(table, rows, loss):
        tf.train.AdamOptimizer().minimize(loss, name="train")

    prefix = str(tmp_path / "model.ckpt")
    save_small_model(prefix, build, use_resource)
    with pytest.raises(
        ValueError, match=r"embedding is read inside .*\(a function, a branch, training"
    ):
        pe.grow_meta_graph(prefix + ".meta", prefix, {"embedding": 8}, outputs=["train"])


def made_of_gradients(table, rows, loss):
    loss = tf.add(loss, tf.norm(tf.gradients(loss, [rows])[0]), name="total")
    optimizer = tf.train.AdamOptimizer()
    gradients, variables = zip(*optimizer.compute_gradients(loss))
    gradients, _ = tf.clip_by_global_norm(gradients, 1.0, name="clip")
    optimizer.apply_gradients(zip(gradients, variables))


def handed_on_after_the_step(table, rows, loss):
    loss = tf.exp(loss, name="total")
    with tf.control_dependencies([tf.train.AdamOptimizer().minimize(loss)]):
        tf.identity(loss, name="after_step")


@pytest.mark.parametrize("use_resource", [False, True])
@pytest.mark.parametrize("build", [made_of_gradients, handed_on_after_the_step])
def test_a_loss_is_kept_and_its_training_is_not(build, use_resource, tmp_path, graph):
    prefix = str(tmp_path / "model.ckpt")
    save_small_model(prefix, build, use_resource)
    grown = pe.grow_meta_graph(prefix + ".meta", prefix, {"embedding": 8})
    names = {op.name for op in graph.get_operations()}
    assert {"rows", "loss", "total"} <= names
    wrong = ("clip", "Adam", "beta", "after_step")
    assert not [name for name in names if any(part in name for part in wrong)]
    assert grown.variables == []


def test_what_collections_and_signatures_name_is_kept(model, graph):
    definition = tf.MetaGraphDef()
    with open(model + ".meta", "rb") as stream:
        definition.ParseFromString(stream.read())
    # Consumed by training alone, so that nothing but its name tells of it.
    step = definition.graph_def.node.add(name="step_size", op="Const")
    step.attr["dtype"].type = tf.float32.as_datatype_enum
    step.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(0.5))
    (train,) = [node for node in definition.graph_def.node if node.name == "train"]
    train.input.append("^step_size")
    pe.grow_meta_graph(definition, model, {"model/embedding": NEW})
    assert "step_size" not in {op.name for op in graph.get_operations()}
    definition.signature_def["rate"].outputs["rate"].name = "step_size:0"
    with tf.Graph().as_default() as other:
        pe.grow_meta_graph(definition, model, {"model/embedding": NEW})
    assert "step_size" in {op.name for op in other.get_operations()}


def test_a_moving_average_is_kept_where_it_is_asked_for(tmp_path, start):
    def build(table, rows, loss):
        average = tf.train.ExponentialMovingAverage(0.5)
        weight = tf.get_variable("weight", [], initializer=tf.ones_initializer())
        with tf.control_dependencies([tf.train.AdamOptimizer().minimize(loss * weight)]):
            average.apply([weight])
        tf.multiply(loss, average.average(weight), name="averaged")

    prefix = str(tmp_path / "model.ckpt")
    save_small_model(prefix, build)
    rows = {"embedding": 8}
    with tf.Graph().as_default():
        grown = pe.grow_meta_graph(prefix + ".meta", prefix, rows)
        assert [v.op.name for v in grown.variables] == ["weight"]
    grown = pe.grow_meta_graph(prefix + ".meta", prefix, rows, outputs=["averaged", "loss"])
    assert [v.op.name for v in grown.variables] == ["weight", "weight/ExponentialMovingAverage"]
    averaged, loss = start().run(["averaged:0", "loss:0"], {"ids:0": [7]})
    assert averaged == loss


@pytest.mark.parametrize("use_resource", [False, True])
def test_state_below_a_variable_is_no_slot_of_it(use_resource, tmp_path, start):
    """Moving statistics stand below a layer, and are neither shaped like it nor made beside it."""
    prefix = str(tmp_path / "model")
    with tf.Graph().as_default(), tf.Session() as session:
        with tf.variable_scope("", use_resource=use_resource):
            table = tf.get_variable("table", [5, 3])
            mean = tf.get_variable("table/bn/mean", [3], trainable=False)
        rows = tf.nn.embedding_lookup(table, [0, 4]) - mean
        loss = tf.reduce_sum(rows**2, name="loss")
        tf.train.AdamOptimizer().minimize(loss)
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, prefix)
        expected = session.run([mean, loss])
    grown = pe.grow_meta_graph(prefix + ".meta", prefix, {"table": 6})
    names = ["table/bn/mean"]
    assert [variable.op.name for variable in grown.variables] == names
    found = start().run([grown.variables[0], "loss:0"])
    assert found[0].tobytes() == expected[0].tobytes()
    assert found[1] == expected[1]
    reports = audit_meta_graph(prefix + ".meta", prefix).variables
    assert [report.name for report in reports] == ["table", *names]


def test_a_lookup_waits_for_what_it_waited_for(tmp_path, start):
    """An assertion that the script put before it, with a number of its own."""
    prefix = str(tmp_path / "model.ckpt")
    save_small_model(prefix, lambda *unused: None)
    pe.grow_meta_graph(prefix + ".meta", prefix, {"embedding": 20})
    session = start()
    assert session.run("rows:0", {"ids:0": [7]}).shape == (1, 2)
    with pytest.raises(tf.errors.InvalidArgumentError, match="too large"):
        session.run("rows:0", {"ids:0": [8]})


# --- errors --------------------------------------------------------------------------------------


def test_an_unknown_table(model):
    with pytest.raises(ValueError) as error:
        pe.grow_meta_graph(model + ".meta", model, {"embedding": NEW})
    text = str(error.value)
    assert "The MetaGraph has no variable 'embedding'" in text
    assert "It has: global_step, model/bias, " in text
    assert "model/embedding, " in text


def test_parts_of_a_partitioned_table(tmp_path):
    prefix = str(tmp_path / "model.ckpt")
    with tf.Graph().as_default(), tf.Session() as session:
        tf.get_variable("embedding", [6, 2], partitioner=tf.fixed_size_partitioner(2))
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, prefix)
    with pytest.raises(ValueError, match="no variable 'embedding'.*parts of a partitioned table"):
        pe.grow_meta_graph(prefix + ".meta", prefix, {"embedding": 8})


@pytest.mark.parametrize("part", [".index", ".data-00000-of-00001", ".no_such"])
def test_files_that_are_no_meta_graph(data, part):
    prefix = data("legacy", "lookups.ckpt")
    with pytest.raises(ValueError, match="cannot be read as a MetaGraph.*Expected the .meta file"):
        pe.grow_meta_graph(prefix + part, prefix, {"model/embedding": NEW})


def test_checkpoints_that_do_not_fit(model, write_checkpoint, tmp_path):
    def attempt(checkpoint, rows=NEW):
        with tf.Graph().as_default():
            pe.grow_meta_graph(model + ".meta", checkpoint, {"model/embedding": rows})

    with pytest.raises(ValueError, match="No checkpoint at"):
        attempt(str(tmp_path / "none.ckpt"))
    other = write_checkpoint({"entity": np.zeros([6, 4], np.float32)}, "other.ckpt")
    with pytest.raises(ValueError, match="holds no tensor 'model/embedding'.*entity"):
        attempt(other)
    wide = write_checkpoint({"model/embedding": np.zeros([6, 5], np.float32)}, "wide.ckpt")
    with pytest.raises(ValueError, match=r"model/embedding \[8, 4\].*\[6, 5\]"):
        attempt(wide)
    with pytest.raises(ValueError, match="can gain rows, not lose them"):
        attempt(model, rows=5)
    layer = {"model/embedding": np.zeros([6, 4]), "model/weight": np.zeros([4, 3])}
    layer = {name: array.astype(np.float32) for name, array in layer.items()}
    with pytest.raises(ValueError, match=r"model/weight \[4, 2\].*\[4, 3\]"):
        attempt(write_checkpoint(layer, "layer.ckpt"))


def test_a_graph_that_is_not_empty(model):
    tf.constant(1.0, name="rows")
    with pytest.raises(ValueError, match="names already: rows. Open a graph"):
        grow(model)
    assert tf.global_variables() == []


def test_a_pattern_that_matches_nothing(model):
    with pytest.raises(ValueError) as error:
        grow(model, train=["*/bias", "decoder/*"])
    text = str(error.value)
    assert "['decoder/*'] match no variable" in text
    assert "model/weight" in text


def test_a_table_inside_a_function(tmp_path):
    """What tf.cond makes in TensorFlow 2 with resource variables."""
    was_on = tf.control_flow_v2_enabled()
    tf.enable_control_flow_v2()
    prefix = str(tmp_path / "model.ckpt")
    try:
        with tf.Graph().as_default(), tf.Session() as session:
            table = tf.get_variable("embedding", [6, 2], use_resource=True)
            which = tf.placeholder(tf.bool, [], name="which")
            tf.cond(which, lambda: tf.gather(table, [0]), lambda: tf.zeros([1, 2]))
            session.run(tf.global_variables_initializer())
            tf.train.Saver().save(session, prefix)
    finally:
        if not was_on:
            tf.disable_control_flow_v2()
    with pytest.raises(ValueError, match="embedding is read inside cond .*function"):
        pe.grow_meta_graph(prefix + ".meta", prefix, {"embedding": 8})


def test_a_table_inside_a_branch(tmp_path, start):
    """As tf.cond of TensorFlow 1 makes it: it switches the variable's handle."""

    def build(table, rows, loss):
        which = tf.placeholder(tf.bool, [], name="which")
        tf.cond(which, lambda: tf.gather(table, [0]), lambda: tf.gather(table, [1]))

    was_on = tf.control_flow_v2_enabled()
    tf.disable_control_flow_v2()
    prefix = str(tmp_path / "model.ckpt")
    try:
        save_small_model(prefix, build, use_resource=True)
    finally:
        if was_on:
            tf.enable_control_flow_v2()
    with pytest.raises(ValueError, match="embedding is read inside cond/.*Name in outputs= what"):
        pe.grow_meta_graph(prefix + ".meta", prefix, {"embedding": 8})
    pe.grow_meta_graph(prefix + ".meta", prefix, {"embedding": 8}, outputs=["loss"])
    assert start().run("loss:0", {"ids:0": [7]}) > 0


def looping(rows, nested):
    """A model with a loop, and another in it if asked; returns its loss and step."""
    ids = tf.placeholder(tf.int32, [None], name="ids")
    table = tf.get_variable("table", [rows, 3])

    def turn(number, sums):
        if nested:
            sums = tf.while_loop(
                lambda i, _: i < 2, lambda i, s: (i + 1, tf.tanh(s) * 1.5), [0, sums]
            )[1]
        return number + 1, tf.tanh(sums) + tf.gather(table, ids)

    start = [0, tf.gather(table, ids)]
    sums = tf.while_loop(lambda number, _: number < 3, turn, start)[1]
    loss = tf.reduce_sum(tf.square(sums - 1.0), name="loss")
    return loss, tf.train.AdamOptimizer(0.1).minimize(loss)


@pytest.mark.parametrize("nested", [False, True])
def test_a_model_with_loops_trains(nested, tmp_path, same_bits):
    with tf.Graph().as_default(), tf.Session() as session:
        _, step = looping(5, nested)
        session.run(tf.global_variables_initializer())
        session.run(step, {"ids:0": [0, 4]})
        base = tf.train.Saver().save(session, str(tmp_path / "base"))

    def train(optimizer, make):
        with tf.Graph().as_default() as graph, tf.Session() as session:
            table = make()
            loss = graph.get_tensor_by_name("loss:0")
            step = pe.minimize(optimizer, loss)
            session.run(tf.global_variables_initializer())
            table.trainable.load(np.ones([2, 3], np.float32), session)
            for batch in ([0, 5], [6, 6, 1], [5, 2]):
                session.run(step, {"ids:0": batch})
            return session.run(table)

    def by_code():
        with pe.growing(base, show=None):
            looping(7, nested)
        return embeddings_in()[0]

    def by_file():
        return pe.grow_meta_graph(base + ".meta", base, {"table": 7}).embeddings["table"]

    def sgd():
        return tf.train.GradientDescentOptimizer(0.1)

    found, expected = train(sgd(), by_file), train(sgd(), by_code)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert same_bits(found[:5], expected[:5]) and not np.allclose(found[5:], 1.0)


def test_constants_that_count_rows(tmp_path, caplog):
    with tf.Graph().as_default(), tf.Session() as session:
        ids = tf.placeholder(tf.int32, [None], name="ids")
        table = tf.get_variable("table", [5, 3])
        tf.gather(table, tf.minimum(ids, 4, name="last"), name="rows")
        session.run(tf.global_variables_initializer())
        base = tf.train.Saver().save(session, str(tmp_path / "base"))
    for constants, row, number in ((None, 4, 1), ({"last/y": "keep"}, 4, 0), ({"last/y": 6}, 6, 0)):
        caplog.clear()
        with tf.Graph().as_default(), tf.Session() as session:
            given = dict(outputs=["rows"], constants=constants)
            grown = pe.grow_meta_graph(base + ".meta", base, {"table": 7}, **given)
            session.run(tf.global_variables_initializer())
            rows = session.run(grown.embeddings["table"])
            np.testing.assert_array_equal(session.run("rows:0", {"ids:0": [6]}), rows[[row]])
        assert sum("last/y (4)" in text for text in caplog.messages) == number
    with tf.Graph().as_default(), pytest.raises(ValueError, match="match no constant"):
        pe.grow_meta_graph(base + ".meta", base, {"table": 7}, constants={"other": 1})


def test_a_model_that_a_constant_keeps_from_fitting(tmp_path):
    base = str(tmp_path / "base")
    with tf.Graph().as_default(), tf.Session() as session:
        table = tf.get_variable("table", [5, 2])
        ids = tf.placeholder(tf.int32, [None], name="ids")
        tf.matmul(tf.one_hot(ids, 5, name="chosen"), table, name="rows")
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, base)
    message = r"not fit its larger tables: .* 5 and 7.*constants="
    with tf.Graph().as_default(), pytest.raises(ValueError, match=message):
        pe.grow_meta_graph(base + ".meta", base, {"table": 7}, outputs=["rows"])
    with tf.Graph().as_default() as graph, tf.Session() as session:
        given = dict(outputs=["rows"], constants={"chosen/depth": 7})
        grown = pe.grow_meta_graph(base + ".meta", base, {"table": 7}, **given)
        session.run(tf.global_variables_initializer())
        last = session.run(graph.get_tensor_by_name("rows:0"), {"ids:0": [6]})
        assert last.tobytes() == session.run(grown.embeddings["table"])[6:].tobytes()
