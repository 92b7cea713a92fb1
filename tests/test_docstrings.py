"""Docstrings of what is public: examples that run, arguments that are named, results and errors."""

import ast
import doctest
import inspect
import os
import re
import textwrap

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe

NAMES = sorted(pe.__all__) + [f"row_init.{name}" for name in pe.row_init.__all__]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL


def thing(name):
    found = pe
    for part in name.split("."):
        found = getattr(found, part)
    return found


def methods(name):
    """Returns {name: function} of the public methods that a public class defines or inherits."""
    if not inspect.isclass(thing(name)):
        return {}
    return {
        f"{name}.{key}": value
        for its in thing(name).__mro__
        if its.__module__.startswith("partial_embed.")
        for key, value in vars(its).items()
        if inspect.isfunction(value) and not key.startswith("_")
    }


METHODS = {key: value for name in NAMES for key, value in methods(name).items()}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The directory that the package's docstring describes, and what stands beside `base.ckpt`."""
    directory = tmp_path_factory.mktemp("examples")
    base = str(directory / "base.ckpt")
    with tf.Graph().as_default(), tf.Session() as session:
        rows = np.broadcast_to(np.arange(5.0, dtype=np.float32)[:, None], [5, 4])
        table = tf.get_variable("embedding", initializer=tf.constant(rows))
        weight = tf.get_variable("weight", [4, 1])
        ids = tf.placeholder(tf.int32, [None], name="ids")
        scores = tf.matmul(tf.nn.embedding_lookup(table, ids), weight)
        tf.train.AdagradOptimizer(0.1).minimize(tf.reduce_sum(scores, name="loss"))
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, base)
    with tf.Graph().as_default(), tf.Session() as session:
        pe.get_embedding("embedding", [7, 4], checkpoint=base)
        session.run(tf.global_variables_initializer())
        pe.Saver(delta=True).save(session, str(directory / "delta.ckpt"))
    with tf.Graph().as_default(), tf.Session() as session:
        ids = tf.placeholder(tf.int32, [None])
        rows = tf.gather(tf.get_variable("table", [3, 2]), ids)
        session.run(tf.global_variables_initializer())
        tf.saved_model.simple_save(
            session, str(directory / "export" / "1"), {"ids": ids}, {"rows": rows}
        )
    return directory


def examples(name, text):
    names = {"np": np, "tf": tf, "pe": pe}
    return doctest.DocTestParser().get_doctest(text or "", names, name, None, None)


@pytest.mark.parametrize("name", ["partial_embed", *NAMES, *METHODS])
def test_examples_run(name, files, monkeypatch):
    monkeypatch.chdir(files)
    found = pe if name == "partial_embed" else METHODS.get(name) or thing(name)
    test, told = examples(name, inspect.getdoc(found)), []
    doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=told.append)
    assert told == [], "".join(told)
    with tf.Session() as session:
        session.run(tf.no_op())  # What growing has to say it says before a graph's first run.


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_has_an_example(name):
    text = inspect.getdoc(thing(name))
    assert "\nExample:\n    >>> " in text
    code = "".join(example.source for example in examples(name, text).examples)
    shown = {"PartialEmbedding": "get_embedding", "GrownGraph": "grow_meta_graph"}
    shown.update(dict.fromkeys(["Audit", "Finding", "VariableReport"], "audit"))
    shown.update(Vocabulary="align_vocabularies")
    assert f"pe.{shown.get(name, name)}" in code


def sections(text):
    """Returns {title: lines} of a Google-style docstring."""
    parts = re.split(r"^(Args|Attributes|Returns|Raises|Example):\n", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def named(section):
    """Returns the names before the colons of a section's first indentation."""
    found = re.findall(r"^    ((?:\*{0,2}\w+(?:, )?)+)(?=:)", section, flags=re.M)
    return {name.lstrip("*") for line in found for name in line.split(", ")}


def asked(function):
    parameters = inspect.signature(function).parameters
    return {name for name in parameters if name not in ("self", "cls")}


@pytest.mark.parametrize("name", [n for n in NAMES if callable(thing(n))])
def test_every_argument_is_named(name):
    found = thing(name)
    told = sections(inspect.getdoc(found))
    place = "Attributes" if inspect.isclass(found) and issubclass(found, tuple) else "Args"
    assert named(told.get(place, "")) == asked(found)


@pytest.mark.parametrize("name", METHODS)
def test_methods_name_all_of_their_arguments_or_none(name):
    text = inspect.getdoc(METHODS[name])
    assert text
    if "\nArgs:\n" in text:
        assert named(sections(text)["Args"]) == asked(METHODS[name])


@pytest.mark.parametrize("name", [n for n in NAMES if inspect.isfunction(thing(n))])
def test_what_is_returned_and_raised_is_said(name):
    source = ast.parse(textwrap.dedent(inspect.getsource(thing(name)))).body[0]
    told = sections(inspect.getdoc(thing(name)))
    # A first line "Returns ..." says it as well.
    nodes = list(own_nodes(source))
    if any(isinstance(node, ast.Return) and node.value is not None for node in nodes):
        assert "Returns" in told or inspect.getdoc(thing(name)).startswith("Returns ")
    raised = {
        node.exc.func.id
        for node in nodes
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
    }
    assert raised <= named(told.get("Raises", ""))


def own_nodes(function):
    """Yields the nodes of a function that are not those of a function inside of it."""
    todo = list(function.body)
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.Lambda)):
            todo.extend(ast.iter_child_nodes(node))


def test_the_base_of_the_examples_is_as_the_package_says(files):
    reader = tf.train.load_checkpoint(os.path.join(str(files), "base.ckpt"))
    assert reader.get_tensor("embedding").tolist() == [[i] * 4 for i in range(5)]
    names = {"embedding", "embedding/Adagrad", "weight", "weight/Adagrad"}
    assert set(reader.get_variable_to_shape_map()) == names
