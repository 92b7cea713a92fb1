"""A job on a cluster of this machine: it grows, loses members, and goes on."""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
import tensorflow.compat.v1 as tf
from job import cluster as job_cluster
from job import directory
from job.config import Config
from job.train import train
from models import hyperparameters  # noqa: F401 (defines the flags)
from small_triples import write

SOAK = bool(os.environ.get("PARTIAL_EMBED_SOAK"))
FLAGS = ["--model=distmult", "--batch_size=16", "--seed=3", "--dimension=6", "--eval_every=100000"]
SECONDS = 200


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory with a base of 16 entities and data of 20."""
    root = tmp_path_factory.mktemp("cluster")
    for name, count in (("old", 16), ("new", 20)):
        write(root / name, count)
    given = {"model": "distmult", "batch_size": 16, "epochs": 2, "seed": 3}
    train(Config(str(root / "old"), str(root / "base"), hyperparameters={"dimension": 6}, **given))
    return root


class Job:
    """A job that grows on a local cluster; `pids` are the processes of its members, by name."""

    def __init__(self, scripts, place, run, epochs, servers=2, workers=2, seconds=SECONDS):
        self.run = place / run
        script = os.path.join(scripts, "launch_local_cluster.py")
        command = [sys.executable, script, f"--ps={servers}", f"--workers={workers}"]
        command += [f"--timeout={seconds}", "--", f"--data_dir={place / 'new'}", *FLAGS]
        command += [f"--grow_from={place / 'base'}", f"--checkpoint_dir={self.run}"]
        command += [f"--epochs={epochs}", "--save_every=20", "--min_slice_bytes=64"]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
        )
        self.pids, self.lines = {}, []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.process.poll() is None:  # The members end with it.
            self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stdout.close()
        self.process.stderr.close()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)
            found = re.match(r"launch: (\w+ \d+) is process (\d+)", line)
            if found:
                self.pids[found.group(1)] = int(found.group(2))

    def wait_for(self, condition):
        last = time.monotonic() + SECONDS
        while not condition() and self.process.poll() is None and time.monotonic() < last:
            time.sleep(0.05)
        assert condition(), "".join(self.lines)

    def kill(self, member):
        with contextlib.suppress(ProcessLookupError):  # between two lives
            os.kill(self.pids[member], signal.SIGKILL)

    def step(self):
        newest = tf.train.latest_checkpoint(str(self.run)) if self.run.exists() else None
        return int(newest.split("-")[-1]) if newest else 0

    def end(self):
        """Returns the path that was printed; fails unless the job ended well."""
        out = self.process.stdout.read()
        assert self.process.wait(SECONDS) == 0, "".join(self.lines)
        return out.strip()


def test_members_are_lost_and_the_run_goes_on(scripts, place, same_bits):
    with Job(scripts, place, "killed", epochs=400) as job:
        job.wait_for(lambda: job.step() > 0)
        os.kill(job.pids["worker 1"], signal.SIGTERM)
        job.kill("ps 1")
        checkpoint = job.end()
    told = "".join(job.lines)
    assert "launch: ps 1 was killed by signal 9." in told
    assert "launch: worker 1 was killed by signal 15." in told
    assert re.search(r"Restored .*delta.ckpt-\d+, a delta on the base", told), told
    assert "0 of 24 frozen rows changed" in told
    reader = tf.train.load_checkpoint(checkpoint)
    base = tf.train.load_checkpoint(str(place / "base"))
    assert reader.get_tensor("entity").shape == (20, 6)
    assert same_bits(reader.get_tensor("entity")[:16], base.get_tensor("entity"))
    # Goes on elsewhere: finished is finished, on one machine too.
    flags = dict(batch_size=16, seed=3, epochs=400, hyperparameters={"dimension": 6})
    again = train(
        Config(
            str(place / "new"),
            str(job.run),
            model="distmult",
            grow_from=str(place / "base"),
            **flags,
        )
    )
    assert again.checkpoint == checkpoint


@pytest.mark.skipif(not SOAK, reason="a hundred kills take an hour: make soak")
def test_a_hundred_kills(scripts, place, same_bits):
    generator, base = random.Random(0), tf.train.load_checkpoint(str(place / "base"))
    kills = run = 0
    while kills < 100:
        run += 1
        with Job(scripts, place, f"soak{run}", epochs=4000, seconds=3000) as job:
            job.wait_for(lambda: job.step() > 0)  # noqa: B023
            while kills < 100 and job.process.poll() is None:
                time.sleep(generator.uniform(0, 12))
                job.kill(generator.choice(["ps 0", "ps 1", "worker 0", "worker 1"]))
                kills += 1
            checkpoint = job.end()
        rows = tf.train.load_checkpoint(checkpoint).get_tensor("entity")
        assert same_bits(rows[:16], base.get_tensor("entity"))
        assert "frozen rows changed" in "".join(job.lines)


def test_what_workers_would_move_meanwhile_is_refused(place):
    config = Config(str(place / "new"), str(place / "never"), early_stopping=2)
    hosts = "127.0.0.1:1", "127.0.0.1:2"
    with pytest.raises(ValueError, match="several workers move them meanwhile"):
        train(config, cluster=job_cluster.Cluster(("127.0.0.1:3",), hosts, "worker", 0))


def test_a_worker_with_other_flags_is_refused_and_told(tmp_path, monkeypatch):
    monkeypatch.setattr("job.directory._SECONDS_OF_A_CHIEF", 0.5)
    ours = {"epochs": 4, "learning_rate": 0.5}
    with pytest.raises(ValueError, match="has opened no run in"):
        directory.join_run(str(tmp_path), ours, lambda: False)
    directory.write_json(str(tmp_path / directory.JOB), {"epochs": 4, "learning_rate": 0.1})
    with pytest.raises(ValueError, match=r"\(learning_rate: it has 0.1, here it is 0.5\)"):
        directory.join_run(str(tmp_path), ours, lambda: False)
    assert not directory.join_run(str(tmp_path), ours, lambda: True)
    directory.write_json(str(tmp_path / directory.JOB), ours)
    assert directory.join_run(str(tmp_path), ours, lambda: False)
    directory.write_json(str(tmp_path / directory.RESULT), {"epochs": 4})
    assert not directory.join_run(str(tmp_path), ours, lambda: False)


HOSTS = ["a:1", "b:1"], ["c:1", "d:1"]


def test_flags_of_a_cluster():
    found = job_cluster.from_flags(*HOSTS, "worker", 0, {})
    assert found.is_chief and found.label == ""
    assert found.spec().as_dict() == {"ps": HOSTS[0], "worker": HOSTS[1]}
    assert job_cluster.from_flags(*HOSTS, "worker", 1, {}).label == "worker 1: "
    assert not job_cluster.from_flags(*HOSTS, "ps", 0, {}).is_chief
    assert job_cluster.from_flags([], [], None, None, {}) is None


@pytest.mark.parametrize(
    "flags, message",
    [
        ((HOSTS[0], [], "ps", 0), "A cluster needs --ps_hosts, --worker_hosts"),
        ((*HOSTS, None, 0), "A cluster needs --ps_hosts"),
        ((*HOSTS, "ps", 2), "this is ps 2, and there are ps 0 to 1 and worker 0 to 1"),
        ((HOSTS[0], HOSTS[0], "ps", 0), "name a:1 twice"),
        ((["a:1", ""], HOSTS[1], "ps", 0), "'' is no host:port of a member"),
    ],
)
def test_flags_that_make_no_cluster(flags, message):
    with pytest.raises(ValueError, match=message):
        job_cluster.from_flags(*flags, {})


def in_environment(cluster, job, index):
    text = json.dumps({"cluster": cluster, "task": {"type": job, "index": index}})
    return job_cluster.from_flags([], [], None, None, {"TF_CONFIG": text})


def test_tf_config():
    cluster = {"chief": ["c:1"], "ps": ["a:1"], "worker": ["d:1", "e:1"]}
    assert in_environment(cluster, "chief", 0).is_chief
    second = in_environment(cluster, "worker", 1)
    assert (second.task, second.workers) == (2, ("c:1", "d:1", "e:1"))
    assert in_environment(cluster, "ps", 0).job == "ps"
    assert in_environment({"worker": ["d:1"]}, "worker", 0) is None
    with pytest.raises(ValueError, match="no parameter servers"):
        in_environment({"worker": ["d:1", "e:1"]}, "worker", 0)
    for hosts in (cluster, {"worker": ["d:1"]}):
        with pytest.raises(
            ValueError, match="this is evaluator 0; a member is ps, worker or chief"
        ):
            in_environment(hosts, "evaluator", 0)
    with pytest.raises(ValueError, match="the hosts of a job are a list"):
        in_environment({"ps": "a:1", "worker": ["d:1"]}, "ps", 0)
    with pytest.raises(ValueError, match="TF_CONFIG is not what TensorFlow reads"):
        job_cluster.from_flags([], [], None, None, {"TF_CONFIG": "{"})
