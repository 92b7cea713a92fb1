"""docs/training.md: the example of a user's own model and pipeline, run as it says."""

import os
import re
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from job.config import Config
from job.train import train
from models import hyperparameters  # noqa: F401 (defines the flags)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@pytest.fixture(scope="module", autouse=True)
def clicks(tmp_path_factory):
    with open(os.path.join(ROOT, "docs", "training.md"), encoding="utf-8") as file:
        (source,) = re.findall(r"```python\n(.*?)```", file.read(), re.DOTALL)
    directory = tmp_path_factory.mktemp("module")
    (directory / "clicks.py").write_text(source)
    sys.path.insert(0, str(directory))
    yield
    sys.path.remove(str(directory))


def write(directory, num_users, num_pages=6):
    os.makedirs(str(directory))
    random = np.random.RandomState(0)
    users, pages = [f"u{row}" for row in range(num_users)], [f"p{row}" for row in range(num_pages)]
    examples = [(user, page) for user in range(num_users) for page in range(num_pages)]
    lines = [f"{users[u]}\t{pages[p]}\t{(u + p) % 2}" for u, p in random.permutation(examples)]
    content = {"users": users, "pages": pages, "train": lines[8:], "valid": lines[:8]}
    for name, its in content.items():
        (directory / (name + ".txt")).write_text("".join(line + "\n" for line in its))
    return str(directory)


def settings(directory, **more):
    found = {"model": "clicks:model", "data": "clicks:clicks", "batch_size": 8, "epochs": 30}
    return Config(data_dir=directory, **dict(found, **more))


def tensors(directory):
    reader = tf.train.load_checkpoint(directory)
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def test_a_model_and_a_pipeline_of_the_users_own(tmp_path, same_bits):
    base, grown = str(tmp_path / "base"), str(tmp_path / "grown")
    first = train(settings(write(tmp_path / "data", 10), checkpoint_dir=base))
    assert first.finished and set(first.metrics["valid"]) == {"auc", "loss"}
    assert first.metrics["valid"]["loss"] < 0.5
    more = write(tmp_path / "more", 12)
    second = train(settings(more, checkpoint_dir=grown, grow_from=base, new_rows="normal"))
    assert second.finished
    before, after = tensors(base), tensors(grown)
    assert after["user"].shape == (12, 8)
    assert same_bits(after["user"][:10], before["user"])
    for name in ("page", "hidden", "logit"):
        assert same_bits(after[name], before[name])


def test_a_pipeline_that_was_stopped_ends_with_the_same_bits(tmp_path):
    data = write(tmp_path / "data", 10)
    train(settings(data, checkpoint_dir=str(tmp_path / "whole")))
    stopped = settings(data, checkpoint_dir=str(tmp_path / "stopped"))
    stops = iter([False] * 100 + [True])
    assert not train(stopped, should_stop=lambda: next(stops)).finished
    assert train(stopped).finished
    found, expected = (tensors(str(tmp_path / name)) for name in ("stopped", "whole"))
    assert sorted(found) == sorted(expected)
    for name, values in expected.items():
        assert found[name].tobytes() == values.tobytes(), name
