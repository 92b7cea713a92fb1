"""The original session against what TensorFlow 1.15.5 gave, and the script as a user runs it."""

import os
import subprocess
import sys

import forks
import numpy as np
import pytest
import reproduce_qa
import tensorflow.compat.v1 as tf

STEPS = {"brief": 2, "false_first": 2, "dup_ids": 3}


@pytest.fixture(scope="module")
def recorded(data):
    with np.load(data("qa.npz")) as stored:
        return {name: stored[name] for name in stored.files}


@pytest.mark.parametrize("scenario", sorted(STEPS))
def test_the_graph_gives_what_tensorflow_1_15_gave(recorded, start, same_bits, scenario):
    def value(name):
        return recorded[f"{scenario}/{name}"]

    def close(found, expected):
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-7)

    model = reproduce_qa.original_graph(*[value("before/" + name) for name in ("e", "e_old", "W")])
    variables = [model.table.trainable, model.table.frozen, model.weight]
    session = start()
    for step in range(1, STEPS[scenario] + 1):
        feed = {
            tensor: value(f"step{step}/feed_{name}")
            for tensor, name in ((model.x, "x"), (model.y_, "y_"), (model.z, "z"))
        }
        lookup, loss = session.run([model.lookup, model.loss], feed)
        close(lookup, value(f"step{step}/lookup"))
        close(loss, value(f"step{step}/loss"))
        session.run(model.train, feed)
        e, e_old, weight = session.run(variables)
        close(e, value(f"after{step}/e"))
        close(weight, value(f"after{step}/W"))
        assert same_bits(e_old, value("before/e_old"))
    assert f"{scenario}/step{STEPS[scenario] + 1}/feed_x" not in recorded


@pytest.mark.parametrize("load_with", ["growing", "get_embedding"])
@pytest.mark.parametrize("n_e, new", [(5, 1), (12, 3)])
def test_the_askers_problem_is_solved(tmp_path, capsys, load_with, n_e, new):
    for name in ("base", "grown"):
        (tmp_path / name).mkdir()
    promises = reproduce_qa.Promises()
    reproduce_qa.solve_problem(promises, str(tmp_path), n_e, new, 20, 0, load_with)
    assert promises.summary() == 0
    assert "5 of 5 promises kept" in capsys.readouterr().out
    (grown,) = [path for path in (tmp_path / "grown").iterdir() if path.suffix == ".index"]
    tensors = dict(tf.train.list_variables(str(grown.with_suffix(""))))
    assert tensors["embedding"] == [n_e + new, 10]


def test_a_broken_promise_is_the_exit_status(capsys):
    promises = reproduce_qa.Promises()
    promises.check("this one", True)
    promises.check("that one", [])
    assert promises.summary() == 1
    assert "[BROKEN] that one" in capsys.readouterr().out


def test_moved_rows_are_those_with_other_bits():
    before = np.array([[0.0, 1.0], [0.0, 1.0], [2.0, 3.0]])
    after = np.array([[0.0, 1.0], [-0.0, 1.0], [2.0, 3.5]])
    assert reproduce_qa.moved_rows(before, after) == [1, 2]


def run(scripts, *arguments):
    """Runs the script as a user does; returns status, standard output and error."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    process = subprocess.Popen(
        [sys.executable, os.path.join(scripts, "reproduce_qa.py")] + list(arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        universal_newlines=True,
    )
    output, errors = process.communicate()
    return process.returncode, output, forks.without_notes(errors)


def test_the_script(scripts, tmp_path):
    status, output, errors = run(scripts, "--directory=" + str(tmp_path))
    assert status == 0, errors
    assert "7 of 7 promises kept." in output
    assert "[kept] z True: row 0 of e moved, and no other" in output
    assert "[kept] z False: nothing moved" in output
    assert "rows of e that moved: none; rows of e_old: none" in output
    assert "'embedding': [22, 10]" in output
    assert errors == ""
    assert (tmp_path / "grown" / "checkpoint").exists()


def test_help_teaches(scripts):
    found = forks.run(os.path.join(scripts, "reproduce_qa.py"), "--help")
    assert found.returncode == 1  # What absl's --help always returns.
    assert "train only a subset of an embedding matrix" in found.stdout
    assert "--load_with" in found.stdout


def test_a_wrong_argument_is_named(capsys):
    assert reproduce_qa.main(["reproduce_qa.py", "200"]) == 1
    printed = capsys.readouterr()
    assert "expected flags alone, found 200" in printed.err
    assert printed.out == ""
