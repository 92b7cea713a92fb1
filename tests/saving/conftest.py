"""What tests of saving share."""

import os
import subprocess
import sys

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
def work(tmp_path):
    """Returns `work(*arguments, worker=)`: what that printed, its exit status, its errors."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(pe.__file__)))

    def work(*arguments, **keywords):
        timeout = keywords.pop("timeout", 120)
        worker = os.path.join(TESTS, keywords.pop("worker", "fault_worker.py"))
        environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3")
        environment["PYTHONPATH"] = root + os.pathsep + environment.get("PYTHONPATH", "")
        with open(str(tmp_path / "errors.txt"), "w+") as errors:
            process = subprocess.Popen(
                [sys.executable, "-W", "ignore", worker] + [str(text) for text in arguments],
                stdout=subprocess.PIPE,
                stderr=errors,
                universal_newlines=True,
                env=environment,
            )
            try:
                output, _ = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                output, _ = process.communicate()
            errors.seek(0)
            return output, process.returncode, errors.read()[-3000:]

    return work
