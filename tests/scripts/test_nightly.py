"""A model that grows every night: generations, locks, what stops a run, what is never published."""

import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import time

import forks
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from job import data as job_data
from job import generations, graph, history
from job import hooks as job_hooks
from job.config import Config
from job.data import Data
from job.train import train
from models import hyperparameters  # noqa: F401 (defines the flags)
from small_triples import write

SMALL = {"model": "distmult", "batch_size": 16, "epochs": 2, "seed": 3, "save_every": 1}
SMALL["hyperparameters"] = {"dimension": 6}
TRIPLES = job_data.FORMATS["triples"]


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    root = tmp_path_factory.mktemp("nights")
    return [write(root / f"night{night}", 14 + 2 * night) for night in range(3)]


def job(data_dir, publish, **settings):
    return Config(
        data_dir,
        settings.pop("checkpoint_dir", None),
        publish=str(publish),
        **dict(SMALL, **settings),
    )


@pytest.fixture(scope="module")
def first_night(nights, tmp_path_factory):
    """A directory in which the first night was published."""
    models = tmp_path_factory.mktemp("first") / "models"
    assert train(job(nights[0], models)).published == str(models / "generation-0001")
    return models


@pytest.fixture
def publish(first_night, tmp_path):
    """The same for a test to go on with."""
    shutil.copytree(str(first_night), str(tmp_path / "models"))
    return tmp_path / "models"


def rows(path):
    return tf.train.load_checkpoint(path).get_tensor("entity")


def there(publish):
    return sorted(os.listdir(str(publish)))


def test_a_model_that_grows_every_night(nights, tmp_path, same_bits):
    publish = tmp_path / "models"
    with pytest.raises(FileNotFoundError, match="no generation to grow from; train and publish"):
        train(job(nights[0], publish, grow_from="latest"))
    assert not os.path.exists(str(publish)) or there(publish) == []
    first = train(job(nights[0], publish))
    assert first.published == str(publish / "generation-0001")
    assert there(publish) == ["generation-0001"]
    second = train(job(nights[1], publish, grow_from="latest"))
    third = train(job(nights[2], publish, grow_from="latest"))
    assert there(publish) == [f"generation-000{number}" for number in (1, 2, 3)]
    tables = [rows(result.published) for result in (first, second, third)]
    assert [len(table) for table in tables] == [14, 16, 18]
    for before, after in zip(tables, tables[1:]):
        assert same_bits(after[: len(before)], before)
    with open(os.path.join(third.published, "manifest.json")) as file:
        manifest = json.load(file)
    assert tf.train.latest_checkpoint(third.published) == third.checkpoint
    assert manifest["generation"] == 3 and manifest["grew_from"] == "generation-0002"
    assert manifest["rows"] == {"entities": 18, "relations": 4}
    assert manifest["old_rows"] == {"entities": 16, "relations": 4}
    assert set(manifest["metrics"]) >= {"valid", "test"}
    assert third.checkpoint == os.path.join(third.published, manifest["checkpoint"])
    # A whole checkpoint that stands on its own.
    with open(os.path.join(third.published, "entities.txt")) as file:
        assert len(file.read().split()) == 18

    nothing = train(job(nights[2], publish, grow_from="latest"))
    assert nothing.finished and nothing.checkpoint is None
    assert "There is nothing new to train" in nothing.told
    assert there(publish)[-1] == "generation-0003" and len(there(publish)) == 3
    with pytest.raises(ValueError, match="nothing new to train"):
        train(job(nights[2], publish, grow_from="latest", require_new=True))


def test_an_interrupted_night_goes_on_or_starts_afresh(nights, publish, caplog):
    stops = iter([False] * 3 + [True])
    config = job(nights[1], publish, grow_from="latest", epochs=6)
    stopped = train(config, should_stop=lambda: next(stops))
    assert not stopped.finished and there(publish) == [".training", "generation-0001"]
    with caplog.at_level(logging.INFO, "absl"):
        done = train(config)
    assert "Continuing in" in caplog.text and done.published.endswith("generation-0002")

    stops = iter([False] * 3 + [True])
    config = job(nights[2], publish, grow_from="latest", epochs=6)
    train(config._replace(seed=1), should_stop=lambda: next(stops))
    caplog.clear()
    with caplog.at_level(logging.INFO, "absl"):
        done = train(config._replace(seed=2))
    assert "is given up" in caplog.text and "Continuing in" not in caplog.text
    assert there(publish)[-1] == "generation-0003" and len(there(publish)) == 3


def test_a_generation_that_is_trained_afresh_is_told(nights, tmp_path, caplog):
    publish = tmp_path / "models"
    train(job(nights[0], publish))
    assert "trained afresh" not in caplog.text
    assert train(job(nights[0], publish, seed=4)).published.endswith("generation-0002")
    assert "generation-0001 was not grown from" in caplog.text


def test_two_runs_that_grow_from_one_generation(nights, publish, tmp_path):
    mine = str(tmp_path / "mine")
    stops = iter([False, True])
    config = job(nights[1], publish, grow_from="latest", checkpoint_dir=mine)
    train(config, should_stop=lambda: next(stops))
    train(job(nights[2], publish, grow_from="latest"))
    config = config._replace(grow_from=str(publish / "generation-0001"))
    with pytest.raises(ValueError, match="generation-0002 appeared since this run grew"):
        train(config)
    assert there(publish) == ["generation-0001", "generation-0002"]


def test_generations_under_another_path(nights, tmp_path):
    publish, link = tmp_path / "models", tmp_path / "link"
    first = train(job(nights[0], publish)).published
    link.symlink_to(publish)
    train(job(nights[1], publish, grow_from="latest"))
    with pytest.raises(ValueError, match="generation-0002 appeared since"):
        train(job(nights[2], link, grow_from=first, checkpoint_dir=str(tmp_path / "run")))
    assert there(publish) == ["generation-0001", "generation-0002"]


def test_a_run_is_published_once(nights, tmp_path):
    publish, place = tmp_path / "models", str(tmp_path / "run")
    config = job(nights[0], publish, checkpoint_dir=place)
    first = train(config).published
    train(job(nights[1], publish, grow_from="latest"))
    assert train(config).published == first
    assert there(publish) == ["generation-0001", "generation-0002"]


def test_an_interrupted_night_whose_base_is_another_by_now(nights, publish, tmp_path, caplog):
    night = job(nights[1], publish, grow_from="latest", epochs=6)
    stops = iter([False] * 3 + [True])
    assert not train(night, should_stop=lambda: next(stops)).finished
    other = job(nights[0], publish, checkpoint_dir=str(tmp_path / "other"), seed=4)
    assert train(other).published.endswith("generation-0002")
    assert train(night).published.endswith("generation-0003")
    assert "is given up" in caplog.text


def test_a_base_that_is_not_finished_and_epochs_that_are_past(nights, tmp_path, caplog):
    base = Config(nights[0], str(tmp_path / "base"), **SMALL)
    stops = iter([False] * 3 + [True])
    assert not train(base, should_stop=lambda: next(stops)).finished
    grown = Config(
        nights[1], str(tmp_path / "grown"), grow_from=base.checkpoint_dir, **dict(SMALL, epochs=3)
    )
    assert train(grown).finished and "base is not finished" in caplog.text
    caplog.clear()
    train(grown._replace(epochs=1))
    assert "no epoch is taken back" in caplog.text


def test_one_run_in_a_directory(nights, tmp_path):
    place = str(tmp_path / "run")
    code = "import sys, time; from job import directory\n"
    code += "with directory.locked(sys.argv[1]): open(sys.argv[2], 'w').close(); time.sleep(60)"
    (tmp_path / "holder.py").write_text(code)
    holder = forks.Script([tmp_path / "holder.py", place, tmp_path / "held"])
    try:
        while holder.poll() is None and not os.path.exists(str(tmp_path / "held")):
            time.sleep(0.01)
        with pytest.raises(ValueError, match=f"run is in use by process {holder.pid} on "):
            train(Config(nights[0], place, **SMALL))
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    # The lock ended with its owner.
    assert train(Config(nights[0], place, **SMALL)).finished


@pytest.mark.parametrize("grows", [False, True])
def test_what_is_no_number_is_neither_saved_nor_published(nights, publish, grows):
    settings = {"learning_rate": 1e30, "optimizer": "GradientDescent", "epochs": 4}
    if grows:
        settings["grow_from"] = "latest"
    with pytest.raises(FloatingPointError, match="the training diverged; a smaller"):
        train(job(nights[1], publish, **settings))
    assert [name for name in there(publish) if name.startswith("generation")] == ["generation-0001"]
    for name in os.listdir(str(publish / ".training")):
        if name.endswith(".index"):
            reader = tf.train.load_checkpoint(str(publish / ".training" / name[: -len(".index")]))
            types = reader.get_variable_to_dtype_map()
            for tensor in (name for name, dtype in types.items() if dtype.is_floating):
                assert np.isfinite(reader.get_tensor(tensor)).all()


def test_a_process_that_was_killed_while_it_published(nights, publish, monkeypatch):

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(generations.os, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            train(job(nights[1], publish, grow_from="latest"))
    assert there(publish) == [".making-0002", ".training", "generation-0001"]
    again = train(job(nights[1], publish, grow_from="latest"))
    assert again.published.endswith("generation-0002") and again.seconds == 0
    assert there(publish) == ["generation-0001", "generation-0002"]


def test_early_stopping_ends_with_the_best_weights(nights, tmp_path, monkeypatch, same_bits):
    values = iter([0.2, 0.5, 0.4, 0.3, 0.1])
    answers = []

    def answer(question, graph, batches, session, data):
        answers.append(session.run(tf.get_default_graph().get_tensor_by_name("entity:0")))
        return {"mrr": next(values, 0.0)}

    monkeypatch.setattr("job.hooks.answer", answer)
    settings = dict(SMALL, epochs=50, eval_every=1, early_stopping=2, watch="max:mrr")
    place = str(tmp_path / "run")
    data = write(tmp_path / "data", 18)
    config = Config(data, place, **settings)
    result = train(config)
    assert [moment.metrics["valid"]["mrr"] for moment in result.history] == [0.2, 0.5, 0.4, 0.3]
    per_epoch = result.history[0].step
    assert result.checkpoint.endswith(f"model.ckpt-{2 * per_epoch}")
    assert same_bits(rows(place), answers[1])
    # It is finished, however often it is started.
    again = train(config)
    assert again.checkpoint == result.checkpoint and again.seconds == 0


@pytest.fixture
def by_epoch(monkeypatch, nights):
    """A function of the settings of a run whose metrics, at each epoch, are as given."""
    per_epoch = -(-len(job_data.read_directory(nights[0], TRIPLES).splits["train"]["head"]) // 16)
    told = {"mrr": [0.2, 0.5, 0.4, 0.3, 0.9, 0.0], "hits_at_10": [0.1, 0.7, 0.8, 0.5, 0.4, 0.3]}

    def answer(question, graph, batches, session, data):
        epoch = int(session.run(graph.global_step)) // per_epoch
        return {name: values[epoch - 1] for name, values in told.items()}

    monkeypatch.setattr("job.hooks.answer", answer)
    early = {"eval_every": 1, "epochs": 6, "early_stopping": 2, "watch": "max:mrr"}
    return lambda place, **more: Config(nights[0], str(place), **dict(SMALL, **dict(early, **more)))


def killed_at(moment, does):
    """Returns a function that does what another does, until a process is killed at that moment."""
    calls = []

    def killed(*args, **kwargs):
        if {"asked": True, "kept": "best.ckpt" in args, "decided": "whole" in kwargs}[moment]:
            calls.append(args)
        if len(calls) == (1 if moment == "decided" else 2):
            raise KeyboardInterrupt
        return does(*args, **kwargs)

    return killed


def test_early_stopping_after_a_kill_at_a_bad_moment(tmp_path, monkeypatch, by_epoch):
    whole = train(by_epoch(tmp_path / "whole"))
    assert [moment.epoch for moment in whole.history] == [1, 2, 3, 4]
    # While the second epoch is evaluated; between that and keeping its weights; after the decision.
    for moment in ("asked", "kept", "decided"):
        where, name = (job_hooks, "answer") if moment == "asked" else (job_hooks.Save, "save")
        config = by_epoch(tmp_path / moment)
        with monkeypatch.context() as patch:
            patch.setattr(where, name, killed_at(moment, getattr(where, name)))
            with pytest.raises(KeyboardInterrupt):
                train(config)
        found = train(config)
        assert [moment.metrics for moment in found.history] == [m.metrics for m in whole.history]
        assert os.path.basename(found.checkpoint) == os.path.basename(whole.checkpoint)
        assert tensors(config.checkpoint_dir) == tensors(str(tmp_path / "whole"))


@pytest.mark.parametrize("before", [{"early_stopping": 0}, {"watch": "max:hits_at_10"}])
def test_early_stopping_by_flags_that_an_interrupted_run_did_not_have(tmp_path, by_epoch, before):
    """Only what was kept can be gone back to: the best since then, whose weights it has."""
    whole = train(by_epoch(tmp_path / "whole", early_stopping=0, epochs=3))
    assert len(whole.history) == 3
    config = by_epoch(tmp_path / "run", epochs=4)
    stops = iter([False] * (whole.history[2].step - 1) + [True])
    assert not train(config._replace(**before), should_stop=lambda: next(stops)).finished
    found = train(config)
    assert found.metrics["valid"]["mrr"] == 0.4
    assert tensors(config.checkpoint_dir) == tensors(str(tmp_path / "whole"))


def test_early_stopping_names_the_metrics_there_are(nights, tmp_path):
    settings = dict(SMALL, eval_every=1, early_stopping=1)
    settings["epochs"] = 10000  # it is told before the first step
    with pytest.raises(ValueError, match="--watch=min:loss names no metric .*hits_at_1"):
        train(Config(nights[2], str(tmp_path / "run"), **settings))
    with pytest.raises(ValueError, match="complex.* has tables of entities, rel.*; .* are users"):
        graph.build(Config(None, None), None, Data({"users": ["a"]}, {}, {}, {}), None)


def test_history_forgets_what_is_done_again(tmp_path):
    path = str(tmp_path / "history.jsonl")
    first = history.History(path, 0)
    for step in (5, 10, 15):
        first.add(history.Moment(step, step // 5, 1.0 / step, {"valid": {"mrr": step / 100}}))
    with open(path, "a") as file:
        file.write('{"step": 20, "epo')  # a process that was killed
    again = history.History(path, 10)
    assert [moment.step for moment in again.moments] == [5, 10]
    assert again.moments == first.moments[:2]
    assert again.best("max:mrr").step == 10 and again.since_best("min:mrr") == 1


def test_a_disk_that_is_full(nights, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(small)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if os.getuid() or subprocess.call(command, **quiet):
        pytest.skip("A full disk needs a small file system, and only root may mount one.")
    try:
        config = Config(nights[0], str(small / "run"), **dict(SMALL, epochs=4))
        stops = iter([False] * 6 + [True])
        stopped = train(config, should_stop=lambda: next(stops))
        with open(str(small / "filler"), "wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"x" * 4096):
                pass
        with pytest.raises(OSError, match="No space left"):
            train(config)
        assert tf.train.latest_checkpoint(str(small / "run")) == stopped.checkpoint
        os.remove(str(small / "filler"))
        done = rows(train(config).checkpoint)
    finally:
        subprocess.call(["umount", str(small)])
    whole = Config(nights[0], str(tmp_path / "whole"), **dict(SMALL, epochs=4))
    assert done.tobytes() == rows(train(whole).checkpoint).tobytes()


SOAK = bool(os.environ.get("PARTIAL_EMBED_SOAK"))


def test_killed_at_random_moments_it_ends_with_the_same_bits(nights, tmp_path, scripts):
    """50 kills in a soak, 2 in the suite: the next start goes on, and the end is the same."""
    base = train(Config(nights[0], str(tmp_path / "base"), **SMALL)).checkpoint
    settings = dict(SMALL, epochs=800 if SOAK else 60, save_every=5, eval_every=100)
    settings["grow_from"] = base
    settings.update(settings.pop("hyperparameters"), data_dir=nights[2])
    command = [os.path.join(scripts, "train.py")]
    command += [f"--{name}={value}" for name, value in settings.items()]
    forks.run(command[0], "--help")  # What forks is there by now, and is not timed.
    began = time.time()
    whole = forks.run(*command, f"--checkpoint_dir={tmp_path / 'whole'}")
    assert whole.returncode == 0, whole.stderr[-2000:]
    seconds, expected = time.time() - began, tensors(str(tmp_path / "whole"))
    random = np.random.RandomState(0)
    kills, finished = 50 if SOAK else 2, 0
    while kills or not finished:
        place = str(tmp_path / f"killed{finished}")
        process = forks.Script([*command, f"--checkpoint_dir={place}"])
        try:
            # At any moment of what such a run takes.
            moment = random.uniform(0.1, 0.9) * seconds
            errors = process.communicate(timeout=moment if kills else 300)[1]
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills -= 1
            continue
        assert process.returncode == 0, errors[-2000:]
        assert tensors(place) == expected
        finished += 1


def tensors(path):
    """All tensors of the newest checkpoint, as bytes."""
    reader = tf.train.load_checkpoint(path)
    return {name: reader.get_tensor(name).tobytes() for name in reader.get_variable_to_shape_map()}
