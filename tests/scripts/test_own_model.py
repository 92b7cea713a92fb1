"""docs/training.md: the example of a user's own model and pipeline, run as it says."""

import functools
import os
import re
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from job import graph
from job.cluster import Cluster
from job.config import Config
from job.data import Source
from job.train import train
from launch_local_cluster import free_hosts
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


KEYS = ["a", "b", "c"]


def model_of_ratings(features, sizes, flags):
    table = tf.get_variable("user", [sizes["users"]])
    error = tf.nn.embedding_lookup(table, features["user"]) - features["value"]
    return tf.reduce_mean(error**2), {}


def own(monkeypatch, tmp_path, source, builder=model_of_ratings, **settings):
    """Trains a model on a `Source`."""
    for name, its in (("source", lambda flags: source), ("model", builder)):
        monkeypatch.setattr(sys.modules[__name__], name, its, raising=False)
    settings = dict({"model": f"{__name__}:model", "epochs": 2}, **settings)
    return train(Config(None, str(tmp_path / "run"), data=f"{__name__}:source", **settings))


def columns(user=KEYS, value=(1, 2, 3), vocabularies=None, split="train", **more):
    splits = {split: {"user": list(user), "value": list(value), **more}}
    return Source(vocabularies or {}, {"user": "users", "value": None}, splits)


def test_columns_of_the_users_own(monkeypatch, tmp_path):
    assert own(monkeypatch, tmp_path, columns()).finished


def pipeline_of(examples):
    def pipeline(split, vocabularies, num_old):
        return tf.data.Dataset.from_tensor_slices(examples).batch(2) if split == "train" else None

    return Source({"users": KEYS}, pipeline=pipeline)


@pytest.mark.parametrize(
    "source, message",
    [
        (columns(user=[0, 1, 2]), "train column user of --data holds 0; a key is text .* '0'"),
        (columns(user=["a", "b\n", "c"]), r"column user of --data holds 'b\\n'"),
        (columns(vocabularies={"users": ["a", " "]}), "vocabulary users of --data holds ' '"),
        (columns(vocabularies={"users": ["a", "c"]}), "holds 'b', which is not in the vocabulary"),
        (columns(value=[1, 2]), "columns of the train examples of --data differ: .*'value': 2"),
        (columns(value=[1, 2, float("nan")]), "column value of --data holds numbers that are not"),
        (columns(time=[1, 2, 3]), "have the columns time, user, value, and its columns are user,"),
        (columns(split="valid"), "--data has no train examples"),
        (columns(user=(), value=()), "--data has no train examples"),
        (pipeline_of({"user": np.zeros([0], np.int32), "value": np.zeros([0], np.float32)}),
         "has no train examples: it ended at once"),
    ],
)  # fmt: skip
def test_a_source_that_is_not_as_it_must_be(monkeypatch, tmp_path, source, message):
    with pytest.raises(ValueError, match=message):
        own(monkeypatch, tmp_path, source)


@pytest.mark.parametrize(
    "returned, message",
    [
        (lambda loss: loss, "must return a loss and metrics .* it returned .*Tensor"),
        (lambda loss: (loss, None), "as metrics it returned NoneType"),
        (lambda loss: (loss + tf.zeros([2]), {}), r"must return one number as its loss.*\(2,\)"),
    ],
)
def test_a_model_that_returns_something_else(monkeypatch, tmp_path, returned, message):
    def model(*args):
        return returned(model_of_ratings(*args)[0])

    with pytest.raises(ValueError, match=message):
        own(monkeypatch, tmp_path, columns(), model)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"model": "complex"}, "--model=complex has tables of entities, relations; the vocab"),
        ({"early_stopping": 1}, "--early_stopping=1 looks at the valid examples"),
    ],
)
def test_a_model_that_does_not_fit_the_data(monkeypatch, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        own(monkeypatch, tmp_path, columns(), **settings)


@pytest.mark.parametrize(
    "settings", [{"replay": 1.0}, {"new_rows": "neighbours"}, {"move": ["users:0.5"]}]
)
def test_what_a_pipeline_does_not_show(monkeypatch, tmp_path, settings):
    with pytest.raises(ValueError, match="which a pipeline does not show"):
        own(monkeypatch, tmp_path, pipeline_of({}), grow_from=str(tmp_path), **settings)


def test_nobody_knows_the_last_step_of_a_pipeline(monkeypatch, tmp_path):
    examples = {"user": np.zeros([2], np.int32), "value": np.zeros([2], np.float32)}
    with pytest.raises(ValueError, match="--decay=linear needs to know how many steps"):
        own(monkeypatch, tmp_path, pipeline_of(examples), decay="linear")


def test_several_workers_cannot_divide_a_pipeline(monkeypatch, tmp_path):
    hosts = free_hosts(3)
    cluster = Cluster(tuple(hosts[:1]), tuple(hosts[1:]), "worker", 0)
    monkeypatch.setattr(sys.modules[__name__], "train", functools.partial(train, cluster=cluster))
    with pytest.raises(ValueError, match="have no numbers by which several workers could divide"):
        own(monkeypatch, tmp_path, pipeline_of({}))


def test_the_flags_of_a_run_are_those_of_its_model_and_data():
    import clicks  # noqa: F401 (defines the flags)

    assert graph.hyperparameters(Config(None, None, model="clicks:model")) == {"width": 8}
    found = graph.hyperparameters(Config(None, None, hyperparameters={"dimension": 3}))
    assert found["dimension"] == 3 and "width" not in found and "verbosity" not in found
    assert set(found) == {"dimension", "dropout", "n3", "l2", "mean", "negatives"}
