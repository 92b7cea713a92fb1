"""Past one machine: who is in a cluster, and what keeps its members together.

Parameter servers hold the variables, each its share. Every worker builds the same graph and takes
steps of its own; the first one, the chief, also evaluates, saves and publishes. The servers are
TensorFlow's own: `tf.train.Server`.
"""

import json
import re
import threading
import time
from typing import NamedTuple, Tuple

import tensorflow.compat.v1 as tf
from absl import logging

from job import signals

_SECONDS_FOR_LAST_STEPS, _SECONDS_UNTIL_TOLD = 10.0, 10.0
_SERVERS, _WORKERS = "ps", "worker"


class Cluster(NamedTuple):
    """Who is in a cluster, and which of them this process is.

    `servers` and `workers` are host:port of each; `job` is ps or worker, `task` the number of this
    one among those.
    """

    servers: Tuple[str, ...]
    workers: Tuple[str, ...]
    job: str
    task: int

    @property
    def is_chief(self):
        """Whether this is the worker that evaluates and saves."""
        return (self.job, self.task) == (_WORKERS, 0)

    @property
    def label(self):
        """What the lines of a worker begin with; nothing for the chief's."""
        return "" if self.is_chief else f"{self.job} {self.task}: "

    @property
    def devices(self):
        """The devices of the parameter servers."""
        return [f"/job:{_SERVERS}/task:{task}" for task in range(len(self.servers))]

    def spec(self):
        """The `tf.train.ClusterSpec`."""
        return tf.train.ClusterSpec({_SERVERS: self.servers, _WORKERS: self.workers})

    def start(self):
        """Starts this member's server, which ends with the process."""
        try:
            return tf.train.Server(self.spec(), self.job, self.task)
        except tf.errors.OpError as error:
            host = (self.servers if self.job == _SERVERS else self.workers)[self.task]
            raise OSError(
                f"{self.job} {self.task} cannot listen on {host} ({error.message}). Is another "
                "process there, or the host another one?"
            ) from error

    def session_config(self):
        """A worker's session sees the parameter servers and itself, a server's only itself."""
        seen = [f"/job:{self.job}/task:{self.task}"]
        seen += [f"/job:{_SERVERS}"] if self.job == _WORKERS else []
        return tf.ConfigProto(device_filters=seen)


def from_flags(ps_hosts, worker_hosts, job_name, task_index, environment):
    """The `Cluster` that flags or `TF_CONFIG` describe; None for one machine.

    Args:
      ps_hosts, worker_hosts: lists of host:port.
      job_name: ps or worker.
      task_index: int.
      environment: dict that perhaps holds TF_CONFIG; the flags count if both are given.

    Raises:
      ValueError: if they make no cluster.
    """
    if ps_hosts or worker_hosts or job_name or task_index is not None:
        what = "--ps_hosts, --worker_hosts, --job_name and --task_index"
        if not (ps_hosts and worker_hosts and job_name and task_index is not None):
            raise ValueError(f"A cluster needs {what}; leave all of them out for one machine.")
        hosts = {_SERVERS: ps_hosts, _WORKERS: worker_hosts}
    else:
        what = "TF_CONFIG"
        hosts, job_name, task_index = _of_environment(environment.get(what))
        if not hosts:
            return None
    servers, workers = tuple(hosts[_SERVERS]), tuple(hosts[_WORKERS])
    for host in servers + workers:
        if not re.fullmatch(r"[^,/\s]+:\d+", host):
            raise ValueError(f"{what}: {host!r} is no host:port of a member.")
    twice = sorted({host for host in servers + workers if (servers + workers).count(host) > 1})
    if twice:
        raise ValueError(f"{what} name {twice[0]} twice; each member needs a host:port of its own.")
    if job_name not in hosts or not 0 <= task_index < len(hosts[job_name]):
        raise ValueError(
            f"By {what} this is {job_name} {task_index}, and there are ps 0 to "
            f"{len(servers) - 1} and worker 0 to {len(workers) - 1}."
        )
    return Cluster(servers, workers, job_name, task_index)


def _of_environment(text):
    """(hosts of each job, job, task) that TF_CONFIG says; the hosts are {} without a cluster."""
    try:
        found = json.loads(text or "{}")
        cluster, task = found.get("cluster", {}), found.get("task", {})
        first = list(cluster.get("chief", [])) + list(cluster.get("master", []))
        servers, workers = list(cluster.get(_SERVERS, [])), list(cluster.get(_WORKERS, []))
        if any(isinstance(hosts, str) for hosts in cluster.values()):
            raise ValueError("the hosts of a job are a list")
        job, index = task.get("type", _WORKERS), int(task.get("index", 0))
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"TF_CONFIG is not what TensorFlow reads: {error}.") from error
    if job in ("chief", "master"):
        job = _WORKERS
    elif job == _WORKERS:
        index += len(first)
    if job not in (_SERVERS, _WORKERS):
        raise ValueError(f"By TF_CONFIG this is {job} {index}; a member is ps, worker or chief.")
    if not servers and len(first + workers) <= 1:
        return {}, job, index
    if not (servers and first + workers):
        raise ValueError(
            "TF_CONFIG has no parameter servers, or no workers: its cluster needs ps and worker."
        )
    return {_SERVERS: servers, _WORKERS: first + workers}, job, index


def serve(cluster, should_stop):
    """Is a parameter server until the chief has finished; returns whether it has.

    It also ends when `should_stop()`.
    """
    server = cluster.start()
    with tf.Graph().as_default():
        is_over = _Signal(cluster.devices[cluster.task], "over")
        with tf.Session(server.target, config=cluster.session_config()) as session:
            while not should_stop():
                if is_over.count(session):
                    return True
                time.sleep(0.2)
    return False


class Alone:
    """One machine, which is asked what the member of a cluster is.

    Attributes:
      in_cluster: whether there are others.
      is_chief: whether it evaluates, saves and publishes.
      label: what its lines begin with.
      worker: (which worker it is, of how many).
      size: dict of how many members there are of each kind.
      session: dict of what a session is opened with.
    """

    in_cluster, is_chief, label, worker, size, session = False, True, "", (0, 1), {}, {}

    def placement(self):
        """A device function for all that the graph holds, or None."""

    def partitioner(self, min_slice_bytes):
        """What divides frozen rows, in parts of so many bytes at least, or None."""
        del min_slice_bytes

    def creating(self, scaffold, directory):
        """What makes the sessions: a `tf.train.SessionCreator`."""
        return tf.train.ChiefSessionCreator(scaffold, checkpoint_dir=directory, **self.session)

    def meet(self, global_step):
        """Adds to the graph what the workers tell each other by."""

    def wait(self, session):
        """Ends the training, and waits for the last steps of the others."""

    def dismiss_servers(self):
        """Tells the parameter servers that all is done."""


ALONE = Alone()


class Member(Alone):
    """A worker of a cluster, as `Alone`; its server ends with the process.

    Args:
      cluster: a `Cluster`.
    """

    in_cluster = True

    def __init__(self, cluster):
        self.is_chief, self.label = cluster.is_chief, cluster.label
        self.worker = cluster.task, len(cluster.workers)
        self._cluster, self._server = cluster, cluster.start()
        self.session = {"master": self._server.target, "config": cluster.session_config()}
        self.size = {"servers": len(cluster.servers), "workers": len(cluster.workers)}
        self.workers = None

    def placement(self):
        """Variables on the parameter servers in turn, the rest here."""
        device = f"/job:{_WORKERS}/task:{self._cluster.task}"
        return tf.train.replica_device_setter(cluster=self._cluster.spec(), worker_device=device)

    def partitioner(self, min_slice_bytes):
        return tf.min_max_variable_partitioner(
            len(self._cluster.servers), min_slice_size=min_slice_bytes
        )

    def meet(self, global_step):
        self.workers = Workers(self._cluster, global_step)

    def wait(self, session):
        self.workers.wait(session)

    def creating(self, scaffold, directory):
        members = ", ".join(self._cluster.servers)
        inner = Join(self.session)
        if self.is_chief:
            inner = super().creating(scaffold, directory)
        return Wait(inner, f"{self.label}Waiting for the parameter servers {members}")

    def dismiss_servers(self):
        with tf.Graph().as_default():
            signals = [_Signal(device, "over") for device in self._cluster.devices]
            with tf.Session(self.session["master"], config=self.session["config"]) as session:
                for signal in signals:
                    signal.give(session)


class Workers:
    """What the workers tell each other, by way of the first parameter server.

    A worker ends when there is nothing more for it to do. The chief waits for that, as long as
    there are steps; then it tells those who are still there that the training has ended.

    Args:
      cluster: a `Cluster`.
      global_step: the variable that counts the steps of all.
    """

    def __init__(self, cluster, global_step):
        self._cluster, self._global_step = cluster, global_step
        self._stop = _Signal(cluster.devices[0], "stop")
        self._left = _Signal(cluster.devices[0], "left")

    def are_to_stop(self, session):
        """Whether the chief has ended the training."""
        return self._stop.count(session) > 0

    def leave(self, session):
        """Says that a worker has taken its last step."""
        self._left.give(session)

    def wait(self, session):
        """Waits for the last steps of the others, and ends the training."""
        step, since = -1, time.time()
        while self._left.count(session) < len(self._cluster.workers) - 1:
            now = session.run(self._global_step)
            if now != step:
                step, since = now, time.time()
            elif time.time() - since > _SECONDS_FOR_LAST_STEPS:
                logging.warning(
                    "Not all workers are there at the end; what one had to do is not done."
                )
                break
            time.sleep(0.05)
        self._stop.give(session)


class Wait(tf.train.SessionCreator):
    """Makes sessions by another creator; who waits long for that is told, and can be stopped.

    Args:
      inner: a `tf.train.SessionCreator`.
      message: what is told.
    """

    def __init__(self, inner, message):
        self._inner, self._message = inner, message

    def create_session(self):
        timer = threading.Timer(_SECONDS_UNTIL_TOLD, logging.warning, [self._message])
        timer.daemon = True
        timer.start()
        try:
            with signals.as_always():
                return self._inner.create_session()
        finally:
            timer.cancel()


class Join(tf.train.SessionCreator):
    """Makes the session of a worker that is not the chief, once that has initialized the variables.

    TensorFlow's own looks every half a minute.

    Args:
      session: dict of master and config.
    """

    def __init__(self, session):
        self._session = session
        self._scaffold = tf.train.Scaffold(local_init_op=tf.tables_initializer())

    def create_session(self):
        scaffold = self._scaffold.finalize()
        manager = tf.train.SessionManager(
            local_init_op=scaffold.local_init_op,
            ready_op=scaffold.ready_op,
            ready_for_local_init_op=scaffold.ready_for_local_init_op,
            graph=tf.get_default_graph(),
            recovery_wait_secs=1,
        )
        return manager.wait_for_session(**self._session)


class Follow(tf.train.SessionRunHook):
    """Ends a worker when the chief has ended the training."""

    def __init__(self, workers):
        self._workers = workers

    def after_run(self, run_context, run_values):
        if self._workers.are_to_stop(run_context.session):
            run_context.request_stop()


class _Signal:
    """Something to be said to whoever asks, on a parameter server: a queue of nothing."""

    def __init__(self, device, name):
        with tf.device(device):
            queue = tf.FIFOQueue(1 << 20, tf.bool, [], shared_name=name, name=name)
            self._give, self._count = queue.enqueue(True), queue.size()

    def give(self, session):
        session.run(self._give)

    def count(self, session):
        return int(session.run(self._count))
