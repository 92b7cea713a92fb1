"""`grow_saved_model`: what TensorFlow's own loader serves before and after."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe
from partial_embed.command import main

OLD, NEW = ["ann", "bob", "eve"], ["dan", "ann", "joe", "bob", "eve"]


def write_keys(path, keys):
    with open(path, "w") as stream:
        stream.write("".join(key + "\n" for key in keys))
    return str(path)


def save(folder, use_resource=False, in_graph=False, extra=None, divided=None, size=len(OLD)):
    """A model as it would be served: keys -> rows, scores of all keys, the best key."""
    directory = str(folder / "served")
    words = write_keys(folder / "words.txt", OLD)
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(1)
        if in_graph:
            ids_of = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(
                    tf.constant(OLD), tf.range(size, dtype=tf.int64)
                ),
                -1,
            )
            keys_of = None
        else:
            index = tf.lookup.TextFileIndex
            initializer = tf.lookup.TextFileInitializer
            key, number = index.WHOLE_LINE, index.LINE_NUMBER
            ids_of = tf.lookup.StaticVocabularyTable(
                initializer(words, tf.string, key, tf.int64, number, vocab_size=size), 1
            )
            keys_of = tf.lookup.StaticHashTable(
                initializer(words, tf.int64, number, tf.string, key, vocab_size=size), "?"
            )
        rows = size + (0 if in_graph else 1)
        with tf.variable_scope("model", use_resource=use_resource):
            table = tf.get_variable(
                "ent", [rows, 7], partitioner=divided and tf.fixed_size_partitioner(divided)
            )
            kernel = tf.get_variable("out", [7, rows])
            bias = tf.get_variable("bias", [rows], initializer=tf.ones_initializer())
        keys = tf.placeholder(tf.string, [None], name="keys")
        looked_up = tf.nn.embedding_lookup(table, ids_of.lookup(keys), partition_strategy="div")
        scores = tf.matmul(looked_up, kernel) + bias
        outputs = {"rows": looked_up, "scores": scores}
        if keys_of is not None:
            outputs["best"] = keys_of.lookup(tf.argmax(scores[:, :-1], 1))
        if extra is not None:
            outputs["extra"] = extra(scores, rows)
        # A trained model has an optimizer too, and its slots.
        loss = tf.reduce_sum(tf.square(scores))
        step = tf.train.AdamOptimizer(0.1).minimize(loss)
        session.run([tf.global_variables_initializer(), tf.tables_initializer()])
        session.run(step, {keys: OLD})
        tf.saved_model.simple_save(
            session, directory, {"keys": keys}, outputs, tf.tables_initializer()
        )
    return directory, words


def serve(directory, keys):
    """What a server answers that knows nothing but TensorFlow's loader."""
    with tf.Graph().as_default(), tf.Session() as session:
        meta = tf.saved_model.loader.load(session, ["serve"], directory)
        signature = meta.signature_def["serving_default"]
        outputs = {name: info.name for name, info in signature.outputs.items()}
        return session.run(outputs, {signature.inputs["keys"].name: keys}), signature


@pytest.mark.parametrize("use_resource", [False, True])
def test_unknown_keys_are_served(tmp_path, use_resource, capsys):
    directory, words = save(tmp_path, use_resource)
    new = write_keys(tmp_path / "new.txt", NEW)
    output = str(tmp_path / "grown")
    before, _ = serve(directory, OLD)
    found = pe.grow_saved_model(directory, output, vocabularies={"*": (words, new, 1)})
    assert found == output
    assert "grew  model/ent: [4 -> 6, 7]; new rows 0, 2 start at normal" in capsys.readouterr().err
    after, signature = serve(output, OLD)
    assert after["rows"].tobytes() == before["rows"].tobytes()
    places = [NEW.index(key) for key in OLD] + [len(NEW)]
    np.testing.assert_array_equal(after["scores"][:, places], before["scores"])
    assert signature.outputs["scores"].tensor_shape.dim[1].size == 6
    answers, _ = serve(output, ["dan", "joe", "nobody", "ann"])
    checkpoint = tf.train.load_checkpoint(os.path.join(output, "variables", "variables"))
    table = checkpoint.get_tensor("model/ent")
    np.testing.assert_array_equal(answers["rows"], table[[0, 2, 5, 1]])
    assert set(answers["best"]) <= {key.encode() for key in NEW}
    for name, axis in (("model/ent", 0), ("model/out", 1), ("model/bias", 0)):
        for slot in ("Adam", "Adam_1"):
            held = checkpoint.get_tensor(f"{name}/{slot}")
            assert held.shape == checkpoint.get_tensor(name).shape
            assert not np.take(held, [0, 2], axis).any()
            assert np.take(held, [1, 3, 4], axis).any()
    assert os.listdir(os.path.join(output, "assets")) == ["words.txt"]
    with open(os.path.join(output, "assets", "words.txt")) as stream:
        assert stream.read().split() == NEW
    assert sorted(os.listdir(tmp_path)) == ["grown", "new.txt", "served", "words.txt"]


def test_training_is_left_out(tmp_path):
    directory, words = save(tmp_path)
    output = str(tmp_path / "grown")
    pe.grow_saved_model(directory, output, vocabularies={"*": (words, NEW, 1)}, show=None)
    with tf.Graph().as_default() as graph, tf.Session() as session:
        tf.saved_model.loader.load(session, ["serve"], output)
        names = {op.name for op in graph.get_operations()}
        assert not any(name.startswith("gradients") for name in names)
        assert "Adam" not in names
        # The variables are all there, and a Saver of that graph saves them.
        saved = tf.train.Saver().save(session, str(tmp_path / "again"))
    held = os.path.join(output, "variables", "variables")
    for name, shape in tf.train.list_variables(held):
        assert tf.train.load_checkpoint(saved).get_tensor(name).shape == tuple(shape)


def test_keys_that_are_part_of_the_graph(tmp_path):
    directory, words = save(tmp_path, in_graph=True)
    output = str(tmp_path / "grown")
    before, _ = serve(directory, OLD)
    pe.grow_saved_model(directory, output, vocabularies={"*": (words, NEW)}, show=None)
    after, _ = serve(output, [*OLD, "joe"])
    assert after["rows"][:3].tobytes() == before["rows"].tobytes()


def one_hot(scores, rows):
    return tf.one_hot(tf.argmax(scores, 1), rows, name="chosen")


def test_a_constant_that_counts_rows_is_asked_about(tmp_path):
    directory, words = save(tmp_path, extra=one_hot)
    output, how = str(tmp_path / "grown"), {"vocabularies": {"*": (words, NEW, 1)}, "show": None}
    with pytest.raises(ValueError, match=r"holds 4, an old number of rows .* in .*chosen/depth"):
        pe.grow_saved_model(directory, output, **how)
    assert sorted(os.listdir(tmp_path)) == ["served", "words.txt"]
    constants = {"chosen/depth": 6, "*": "keep"}
    pe.grow_saved_model(directory, output, constants=constants, **how)
    after, _ = serve(output, OLD)
    assert after["extra"].shape == (3, 6)


def a_share(scores, rows):
    return tf.reduce_sum(scores) / tf.constant(rows, tf.float32, name="count")


def small(scores, rows):
    return tf.argmax(scores, 1, output_type=tf.int32) - tf.cast(
        tf.constant(rows, tf.int16, name="count"), tf.int32
    )


@pytest.mark.parametrize("extra", [a_share, small])
def test_numbers_of_any_dtype_that_count_rows(tmp_path, extra):
    directory, words = save(tmp_path, extra=extra)
    output, how = str(tmp_path / "grown"), {"vocabularies": {"*": (words, NEW, 1)}, "show": None}
    with pytest.raises(ValueError, match=r"holds 4, an old number of rows .* in .*count"):
        pe.grow_saved_model(directory, output, **how)
    pe.grow_saved_model(directory, output, constants={"*": "keep", "count": 6}, **how)
    (before, _), (after, _) = serve(directory, OLD), serve(output, OLD)
    assert before["extra"].tolist() != after["extra"].tolist()


def test_the_command(tmp_path, capsys):
    directory, words = save(tmp_path, extra=one_hot)
    new, output = write_keys(tmp_path / "new.txt", NEW), str(tmp_path / "grown")
    arguments = main.parser().parse_args(
        ["grow-saved-model", directory, output, "--vocabulary", words, new, "--num_oov_buckets=1"]
        + ["--constant", "chosen/depth=6", "--constant", "*=keep"]
    )
    assert arguments.module.run(arguments) is None
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.endswith(f"Wrote {output}.\n")
    assert serve(output, ["joe"])[0]["extra"].shape == (1, 6)


def test_what_is_refused(tmp_path):
    directory, words = save(tmp_path)
    output = str(tmp_path / "grown")

    def refused(message, directory=directory, **arguments):
        with pytest.raises(ValueError, match=message):
            pe.grow_saved_model(directory, output, show=None, **arguments)
        assert not os.path.exists(output)
        assert not [name for name in os.listdir(tmp_path) if name.startswith(".partial")]

    refused("Nothing says what grows")
    refused("is no SavedModel", directory=str(tmp_path))
    refused("match nothing", rows={"nobody": 9})
    other = ["a", "b", "c"]
    refused(
        "keys that model/ent is looked up by are not the old vocabulary",
        vocabularies={"*": (other, [*other, "d"], 1)},
    )
    refused(
        "No file and no table of keys of the model is the old vocabulary",
        vocabularies={"model/[bo]*": (other, [*other, "d"], 1)},
    )
    how = {"vocabularies": {"*": (words, NEW, 1)}}
    refused("match no constant", constants={"nothing": 3, "*": "keep"}, **how)
    os.makedirs(output)
    with open(os.path.join(output, "mine"), "w"):
        pass
    with pytest.raises(ValueError, match="is a directory that is not empty"):
        pe.grow_saved_model(directory, output, **how)
    assert os.listdir(output) == ["mine"]


def test_keys_that_are_not_all_of_a_file(tmp_path):
    """A file of which a table takes the first lines alone would give the others new rows."""
    directory, words = save(tmp_path)
    assets = os.path.join(directory, "assets", "words.txt")
    write_keys(assets, [*OLD, "zoe"])
    how = {"vocabularies": {"*": (OLD, [*OLD, "dan"], 1)}, "show": None}
    with pytest.raises(ValueError, match="words.txt shares 3 lines with the old vocabulary, and"):
        pe.grow_saved_model(directory, str(tmp_path / "grown"), **how)
    assert not os.path.exists(str(tmp_path / "grown"))


def test_keys_with_the_odd_ends_of_lines_that_python_knows(tmp_path):
    old, new = ["a\u2028b", "c", "d\x0be"], ["d\x0be", "x", "c", "a\u2028b"]
    directory, words = save(tmp_path)
    write_keys(os.path.join(directory, "assets", "words.txt"), old)
    output = str(tmp_path / "grown")
    before, _ = serve(directory, old)
    pe.grow_saved_model(directory, output, vocabularies={"*": (old, new, 1)}, show=None)
    after, _ = serve(output, old)
    assert after["rows"].tobytes() == before["rows"].tobytes()


def test_grown_again_and_again(tmp_path):
    directory, words = save(tmp_path)
    first, keys = directory, OLD
    before, _ = serve(directory, OLD)
    for night in range(3):
        new = [f"new{night}", *keys]
        output = str(tmp_path / f"night{night}")
        pe.grow_saved_model(directory, output, vocabularies={"*": (keys, new, 1)}, show=None)
        directory, keys = output, new
    after, _ = serve(directory, OLD)
    assert after["rows"].tobytes() == before["rows"].tobytes()
    assert serve(directory, keys)[0]["rows"].shape == (6, 7)
    with pytest.raises(ValueError, match="is inside of what is to grow"):
        pe.grow_saved_model(first, os.path.join(first, "x"), rows={"model/ent": 9})


@pytest.mark.parametrize("keys", [["10", "20", "30"], ["0", "1", "2"]])
def test_numbers_that_are_keys(keys, tmp_path):
    """In the graph, as texts are."""
    directory, new = str(tmp_path / "served"), ["7", *reversed(keys)]
    with tf.Graph().as_default(), tf.Session() as session:
        ids_of = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant([int(key) for key in keys], tf.int64), tf.range(3, dtype=tf.int64)
            ),
            -1,
        )
        table = tf.get_variable("ent", [3, 7])
        asked = tf.placeholder(tf.int64, [None])
        rows = tf.nn.embedding_lookup(table, ids_of.lookup(asked))
        session.run([tf.global_variables_initializer(), tf.tables_initializer()])
        tf.saved_model.simple_save(
            session, directory, {"keys": asked}, {"rows": rows}, tf.tables_initializer()
        )
    output = str(tmp_path / "grown")
    pe.grow_saved_model(directory, output, vocabularies={"*": (keys, new)}, show=None)
    numbers = [int(key) for key in keys]
    before, after = (serve(place, numbers)[0]["rows"] for place in (directory, output))
    assert before.tobytes() == after.tobytes()
    assert serve(output, [7])[0]["rows"].shape == (1, 7)


@pytest.mark.skipif(tf.__version__.startswith("1."), reason="v1 control flow there")
def test_constants_in_branches_are_asked_about(tmp_path):
    directory = str(tmp_path / "served")
    with tf.Graph().as_default(), tf.Session() as session:
        tf.enable_control_flow_v2()
        try:
            table = tf.get_variable("ent", [9, 7], use_resource=True)
            ids, on = tf.placeholder(tf.int32, [None]), tf.placeholder(tf.bool, [])
            rows = tf.cond(
                on, lambda: tf.gather(table, tf.minimum(ids, 8)), lambda: tf.zeros([1, 7])
            )
        finally:
            tf.disable_control_flow_v2()
        session.run(tf.global_variables_initializer())
        tf.saved_model.simple_save(session, directory, {"ids": ids, "on": on}, {"rows": rows})
    output = str(tmp_path / "grown")
    with pytest.raises(ValueError, match=r"holds 8, an old .* last row's, in .*: 10}, or 'keep'"):
        pe.grow_saved_model(directory, output, rows={"ent": 11}, show=None)
    pe.grow_saved_model(directory, output, rows={"ent": 11}, constants={"*": 10}, show=None)
    with tf.Graph().as_default(), tf.Session() as session:
        meta = tf.saved_model.loader.load(session, ["serve"], output)
        signature = meta.signature_def["serving_default"]
        feed = {signature.inputs["ids"].name: [10], signature.inputs["on"].name: True}
        last = session.run(signature.outputs["rows"].name, feed)
        held = tf.train.load_checkpoint(os.path.join(output, "variables", "variables"))
        assert last.tobytes() == held.get_tensor("ent")[10:].tobytes()


def save_two(tmp_path, in_graph=False, default=-1, shared=False):
    """Two tables of one size, each looked up by keys of its own, or both by the same."""
    files = {"user": ["a", "b", "c"], "item": ["a", "b", "c"] if shared else ["p", "q", "r"]}
    paths = {name: write_keys(tmp_path / f"{name}.txt", keys) for name, keys in files.items()}
    directory, index = str(tmp_path / "served"), tf.lookup.TextFileIndex
    with tf.Graph().as_default(), tf.Session() as session:
        inputs, outputs = {}, {}
        for name, path in paths.items():
            if in_graph:
                lines = tf.lookup.KeyValueTensorInitializer(
                    tf.constant(files[name]), tf.range(3, dtype=tf.int64)
                )
            else:
                lines = tf.lookup.TextFileInitializer(
                    path, tf.string, index.WHOLE_LINE, tf.int64, index.LINE_NUMBER, vocab_size=3
                )
            inputs[name] = tf.placeholder(tf.string, [None])
            ids = tf.lookup.StaticHashTable(lines, default).lookup(inputs[name])
            outputs[name] = tf.nn.embedding_lookup(tf.get_variable(name, [3, 7]), ids)
        # Places in a list, and whether a key is known, are no keys.
        for name, numbers in (("place", tf.range(tf.size(ids))), ("known", tf.to_int32(ids >= 0))):
            outputs[name] = tf.gather(tf.get_variable(name, [9, 7]), numbers)
        session.run([tf.global_variables_initializer(), tf.tables_initializer()])
        tf.saved_model.simple_save(session, directory, inputs, outputs, tf.tables_initializer())
    return directory, files, paths


def serve_two(directory, keys):
    """Returns the bytes that each table answers."""
    with tf.Graph().as_default(), tf.Session() as session:
        meta = tf.saved_model.loader.load(session, ["serve"], directory)
        signature = meta.signature_def["serving_default"]
        feed = {signature.inputs[name].name: asked for name, asked in keys.items()}
        fetch = [signature.outputs[name].name for name in keys]
        return [part.tobytes() for part in session.run(fetch, feed)]


def test_two_vocabularies_of_one_size(tmp_path):
    directory, files, paths = save_two(tmp_path)
    output = str(tmp_path / "grown")
    new = {"user": ["x", "c", "b", "a"]}
    vocabularies = {name: (paths[name], keys) for name, keys in new.items()}
    pe.grow_saved_model(directory, output, vocabularies=vocabularies, show=None)
    assert serve_two(output, files) == serve_two(directory, files)


@pytest.mark.parametrize("in_graph", [False, True])
def test_a_table_is_looked_up_by_the_keys_that_its_rows_follow(in_graph, tmp_path):
    directory, files, paths = save_two(tmp_path, in_graph)
    output = str(tmp_path / "grown")

    def refused(message, **vocabularies):
        with pytest.raises(ValueError, match=message):
            pe.grow_saved_model(directory, output, vocabularies=vocabularies, show=None)
        assert not os.path.exists(output)

    user, item = [(files[name], ["x", *files[name]]) for name in ("user", "item")]
    refused("keys that item is looked up by are not the old vocabulary", **{"*": user})
    refused("keys that user is looked up by are not the old vocabulary", user=item)
    pe.grow_saved_model(directory, output, vocabularies={"user": user, "item": item}, show=None)
    assert serve_two(output, files) == serve_two(directory, files)


def test_tables_of_the_same_keys_grow_together(tmp_path):
    directory, files, paths = save_two(tmp_path, shared=True)
    output, keys = str(tmp_path / "grown"), (files["user"], ["x", *files["user"]])
    with pytest.raises(ValueError, match="keys that item is looked up by .* does not grow by them"):
        pe.grow_saved_model(directory, output, vocabularies={"user": keys}, show=None)
    pe.grow_saved_model(directory, output, vocabularies={"*": keys}, show=None)
    assert serve_two(output, files) == serve_two(directory, files)


def test_a_key_that_is_unknown_stays_what_it_was_taken_for(tmp_path):
    directory, files, paths = save_two(tmp_path, default=0)
    output, asked = str(tmp_path / "grown"), {"user": ["a", "who"], "item": ["p", "who"]}
    vocabularies = {"user": (files["user"], ["x", *files["user"]])}
    pe.grow_saved_model(directory, output, vocabularies=vocabularies, show=None)
    assert serve_two(output, asked) == serve_two(directory, asked)
    vocabularies = {"user": (files["user"], ["x", "y", "b", "c"])}
    with pytest.raises(ValueError, match="unknown keys .* row of 'a', which is dropped"):
        pe.grow_saved_model(
            directory, str(tmp_path / "dropped"), vocabularies=vocabularies, show=None
        )


def test_a_divided_table_is_refused(tmp_path):
    directory, words = save(tmp_path, divided=2)
    with pytest.raises(ValueError, match="model/ent is in 2 pieces in the graph"):
        pe.grow_saved_model(
            directory, str(tmp_path / "grown"), vocabularies={"*": (words, NEW, 1)}, show=None
        )


@pytest.mark.parametrize("rows", [8, 11])
def test_rows_of_hashed_keys_are_refused(rows, tmp_path):
    directory, output = str(tmp_path / "export"), str(tmp_path / "grown")
    with tf.Graph().as_default(), tf.Session() as session:
        keys = tf.placeholder(tf.string, [None], name="keys")
        table = tf.get_variable("ent", [rows, 2])
        looked_up = tf.nn.embedding_lookup(table, tf.strings.to_hash_bucket_fast(keys, 8))
        session.run(tf.global_variables_initializer())
        tf.saved_model.simple_save(session, directory, {"keys": keys}, {"rows": looked_up})

    def grow():
        return pe.grow_saved_model(directory, output, rows={"ent": 12}, show=None)

    if rows == 8:
        with pytest.raises(ValueError, match="ent are 8 buckets of hashed keys.* skip='ent'"):
            grow()
    else:  # whose other rows other ids find
        assert grow() == output


@pytest.mark.skipif(tf.__version__.startswith("1."), reason="TensorFlow 2 writes such models")
def test_a_saved_model_of_objects_is_refused(tmp_path):
    code = (
        "import sys, tensorflow as tf; m = tf.Module(); m.t = tf.Variable([[1.0], [2.0]]);"
        "tf.saved_model.save(m, sys.argv[1])"
    )
    directory = str(tmp_path / "objects")
    subprocess.run([sys.executable, "-c", code, directory], check=True, capture_output=True)
    with pytest.raises(ValueError, match="was written by tf.saved_model.save of TensorFlow 2"):
        pe.grow_saved_model(directory, str(tmp_path / "grown"), rows={"t": 3})


@pytest.mark.skipif(not hasattr(tf, "estimator"), reason="TensorFlow 2 with Keras 3 has none")
def test_what_an_estimator_exports(tmp_path):
    words = write_keys(tmp_path / "words.txt", OLD)
    column = tf.feature_column.categorical_column_with_vocabulary_file(
        "word", words, num_oov_buckets=1
    )
    classifier = tf.estimator.DNNClassifier(
        [3],
        [tf.feature_column.embedding_column(column, 7)],
        model_dir=str(tmp_path / "model"),
        activation_fn=tf.tanh,  # Of three relu all can be 0, whatever the row.
    )
    data = {"word": np.array(OLD)}, np.array([0, 1, 0])
    train = tf.estimator.inputs.numpy_input_fn(*data, shuffle=False, num_epochs=3)
    classifier.train(train)
    receive = tf.estimator.export.build_raw_serving_input_receiver_fn(
        {"word": tf.placeholder(tf.string, [None])}
    )
    directory = classifier.export_saved_model(str(tmp_path / "export"), receive).decode()
    output = str(tmp_path / "grown")
    pe.grow_saved_model(directory, output, vocabularies={"*": (words, NEW, 1)}, show=None)

    def predict(directory, keys):
        with tf.Graph().as_default(), tf.Session() as session:
            meta = tf.saved_model.loader.load(session, ["serve"], directory)
            signature = meta.signature_def["predict"]
            feed = {signature.inputs["word"].name: keys}
            return session.run(signature.outputs["logits"].name, feed)

    before = predict(directory, [*OLD, "nobody"])
    assert predict(output, [*OLD, "nobody"]).tobytes() == before.tobytes()
    assert (predict(output, ["joe"]) != before[-1]).any()


def test_a_model_without_tables_of_keys_to_fill(tmp_path, same_bits):
    old, new = str(tmp_path / "1"), str(tmp_path / "2")
    with tf.Graph().as_default(), tf.Session() as session:
        keys = tf.placeholder(tf.int32, [None])
        rows = tf.gather(tf.get_variable("table", [3, 2]), keys)
        session.run(tf.global_variables_initializer())
        tf.saved_model.simple_save(session, old, {"keys": keys}, {"rows": rows})
    pe.grow_saved_model(old, new, rows={"table": 4}, show=None)
    before, after = serve(old, [0, 1, 2])[0], serve(new, [0, 1, 2, 3])[0]
    assert same_bits(after["rows"][:3], before["rows"]) and after["rows"][3].any()


def test_a_signature_that_is_asked_by_row_numbers_beside_one_by_keys(tmp_path):
    directory, output, shown = str(tmp_path / "served"), str(tmp_path / "grown"), []
    with tf.Graph().as_default(), tf.Session() as session:
        keys = tf.constant(OLD)
        ids_of = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(keys, tf.range(len(OLD), dtype=tf.int64)), -1
        )
        table = tf.get_variable("ent", [len(OLD), 7])
        asked = tf.placeholder(tf.string, [None]), tf.placeholder(tf.int64, [None])
        ids = ids_of.lookup(asked[0]), asked[1]
        session.run([tf.global_variables_initializer(), tf.tables_initializer()])
        signature = tf.saved_model.predict_signature_def
        signatures = {
            name: signature({"asked": its}, {"rows": tf.gather(table, number)})
            for name, its, number in zip(("by_key", "by_number"), asked, ids)
        }
        builder = tf.saved_model.Builder(directory)
        builder.add_meta_graph_and_variables(
            session, ["serve"], signatures, main_op=tf.tables_initializer()
        )
        builder.save()
    grown = {"vocabularies": {"*": (OLD, ["new", *OLD])}, "show": shown.append}
    pe.grow_saved_model(directory, output, **grown)
    assert shown[0].warnings == ["by_number asks by row numbers, and rows have other numbers now"]
