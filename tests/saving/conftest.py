"""What tests of saving share."""

import pytest
import tensorflow.compat.v1 as tf
from small_model import train_base


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
