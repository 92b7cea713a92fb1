"""What tests of saving share."""

import os

import forks
import pytest
import tensorflow.compat.v1 as tf
from small_model import train_base

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
def work():
    """Returns `work(*arguments, worker=)`: what that printed, its exit status, its errors."""

    def work(*arguments, **keywords):
        timeout = keywords.pop("timeout", 120)
        worker = os.path.join(TESTS, keywords.pop("worker", "fault_worker.py"))
        found = forks.run(worker, *arguments, timeout=timeout)
        return found.stdout, found.returncode, found.stderr[-3000:]

    return work
