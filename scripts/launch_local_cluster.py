r"""Runs a training job on a cluster of this machine alone: a rehearsal of a real one.

Parameter servers and workers are processes on 127.0.0.1. What follows -- are the flags of
scripts/train.py:

  python scripts/launch_local_cluster.py --ps=2 --workers=2 -- --data_dir=data/umls \
      --checkpoint_dir=runs/base

On several machines each member is started by whatever starts your jobs, with flags of its own:

  python scripts/train.py ... --ps_hosts=a:2222,b:2222 --worker_hosts=c:2222,d:2222 \
      --job_name=ps --task_index=0

A member that is killed is started again, and the run goes on: workers without a pause, after the
loss of a parameter server from the newest checkpoint. The job ends when its first worker ends, with
that one's exit status; ctrl-c or SIGTERM stops it, and the same command continues it.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time

from absl import app, flags
from job.signals import StopSignals

_SECONDS_TO_END = 30.0
_PR_SET_PDEATHSIG = 1
_TRAIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "train.py")


def main(arguments):
    hosts = free_hosts(flags.FLAGS.ps + flags.FLAGS.workers)
    servers, workers = hosts[: flags.FLAGS.ps], hosts[flags.FLAGS.ps :]
    members = [("ps", task) for task in range(len(servers))]
    members += [("worker", task) for task in range(len(workers))]
    command = [sys.executable, _TRAIN, *arguments[1:]]
    command += ["--ps_hosts=" + ",".join(servers), "--worker_hosts=" + ",".join(workers)]
    last = time.monotonic() + flags.FLAGS.timeout
    with StopSignals() as stop:
        job = _Job(command, members)
        try:
            status = job.wait(lambda: stop.received or time.monotonic() > last)
            if status is None and not stop.received:
                _say(f"not finished after {flags.FLAGS.timeout:g} seconds; it is stopped.")
            status = job.stop() if status is None else status
            job.end(5.0 if status == 0 else 0.0)
            return status
        finally:
            job.end(0.0)


class _Job:
    """The processes of the members, by (job, task)."""

    def __init__(self, command, members):
        self._command = command
        self._processes = {member: self._start(*member) for member in members}

    def _start(self, job, task):
        process = subprocess.Popen(
            [*self._command, f"--job_name={job}", f"--task_index={task}"],
            stdin=subprocess.DEVNULL,
            # Signals of a terminal reach this process, which passes them on.
            start_new_session=True,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 (there are no threads)
        )
        _say(f"{job} {task} is process {process.pid}.")
        return process

    def wait(self, should_stop):
        """The exit status of the chief, None if `should_stop()` comes first."""
        while not should_stop():
            for member, process in self._processes.items():
                status = process.poll()
                number = _signal_of(status)
                if number and not (member == ("worker", 0) and status > 0):
                    _say(f"{' '.join(map(str, member))} was killed by signal {number}.")
                    self._processes[member] = self._start(*member)
                elif status and member != ("worker", 0):
                    _say(f"{' '.join(map(str, member))} failed, and with it the job.")
                    return 1
            status = self._processes["worker", 0].poll()
            if status is not None and status >= 0:
                return status
            time.sleep(0.1)
        return None

    def stop(self):
        """Stops the workers, the chief saves; returns its exit status."""
        for (job, _), process in self._processes.items():
            if job == "worker" and process.poll() is None:
                process.send_signal(signal.SIGTERM)
        try:
            status = self._processes["worker", 0].wait(_SECONDS_TO_END)
            return 128 - status if status < 0 else status
        except subprocess.TimeoutExpired:
            _say("the first worker did not end when it was told to.")
            return 1

    def end(self, seconds):
        """Waits so long for those who are left, then ends them."""
        last = time.monotonic() + seconds
        for end in ("wait", "terminate", "kill"):
            for process in self._processes.values():
                try:
                    process.wait(max(0.0, last - time.monotonic()))
                except subprocess.TimeoutExpired:
                    if end != "wait":
                        getattr(process, end)()
            last = time.monotonic() + 5.0
        for process in self._processes.values():
            process.wait()


def _signal_of(status):
    """The number of the signal that ended a process, 0 if none did."""
    if status is None or 0 <= status <= 128:
        return 0
    return -status if status < 0 else status - 128


def _end_with_parent():
    """On Linux: has the system kill this process when the one that started it is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def free_hosts(count):
    """So many addresses of this machine that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    hosts = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return hosts


def _say(text):
    print(f"launch: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    flags.DEFINE_integer("ps", 1, "How many parameter servers.", lower_bound=1)
    flags.DEFINE_integer("workers", 2, "How many workers.", lower_bound=1)
    flags.DEFINE_float(
        "timeout", 24 * 3600, "Seconds after which the job is stopped.", lower_bound=1
    )
    app.run(main)
