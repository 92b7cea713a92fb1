"""What tests of saving share."""

import os

import forks
import pytest
import tensorflow.compat.v1 as tf
from small_model import train_base

import partial_embed as pe

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@pytest.fixture
def session():
    """A session on the test's graph."""
    with tf.Session() as session:
        yield session


@pytest.fixture
def folder(tmp_path):
    """Returns `folder(name)`: a path in a directory of the test's own."""
    return lambda *names: str(tmp_path.joinpath(*names))


@pytest.fixture
def base(folder):
    """(prefix, values) of a trained base, with Adam's slots."""
    return train_base(folder("base.ckpt"))


@pytest.fixture
def grown_script(folder):
    """Returns `grown_script(script, merge)`: (base, grown) of a script that grows from 4 to 6 rows.

    `script(rows)` makes the graph and returns its step, of which each run takes one. What is grown
    is saved whole, or as a delta that is merged.
    """

    def train(step, saver, name):
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            session.run(step)
            return saver.save(session, folder(name))

    def grown_script(script, merge):
        with tf.Graph().as_default():
            base = train(script(4), tf.train.Saver(), "base")
        with tf.Graph().as_default():
            with pe.growing(base):
                step = script(6)
            saved = train(step, pe.Saver(delta=merge), "grown")
        return base, pe.merge_checkpoint(base, saved, folder("merged")) if merge else saved

    return grown_script


@pytest.fixture
def work():
    """Returns `work(*arguments, worker=)`: what that printed, its exit status, its errors."""

    def work(*arguments, **keywords):
        timeout = keywords.pop("timeout", 120)
        worker = os.path.join(TESTS, keywords.pop("worker", "fault_worker.py"))
        found = forks.run(worker, *arguments, timeout=timeout)
        return found.stdout, found.returncode, found.stderr[-3000:]

    return work
