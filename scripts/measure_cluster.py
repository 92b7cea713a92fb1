"""What a table costs on parameter servers: to load, step, prove, save and restore.

  python scripts/measure_cluster.py --rows=1000000             # a first impression
  python scripts/measure_cluster.py --rows=50000000 --dim=16   # 3.2 GB, as in docs/scaling.md

Parameter servers and one worker run on this machine. The base is written in --slices, as servers
write theirs; TensorFlow reads a tensor that is in one piece (--slices=1) whole for every slice of
it that is asked for. What comes out is a table in Markdown: seconds, the most memory a server held,
bytes that a step sends between tasks, and what a table of --target rows would take.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import quiet  # before all that imports TensorFlow
import tensorflow.compat.v1 as tf
from absl import app, flags
from job import cluster as job_cluster
from launch_local_cluster import free_hosts

import partial_embed as pe
from partial_embed.files.publish import publish, staging
from partial_embed.files.tensors import slice_spec, write_part

flags.DEFINE_integer("rows", 1000000, "Rows of the base.", lower_bound=1)
flags.DEFINE_integer("dim", 16, "Numbers a row, float32.", lower_bound=1)
flags.DEFINE_integer("new_rows", 1000, "Rows the table gains.", lower_bound=1)
flags.DEFINE_integer("batch", 1024, "Ids in a step.", lower_bound=1)
flags.DEFINE_integer("ps", 2, "How many parameter servers.", lower_bound=1)
flags.DEFINE_integer("slices", 32, "In how many pieces the base is written.", lower_bound=1)
flags.DEFINE_integer("target", 1000000000, "Rows to compute the last column for.", lower_bound=1)
flags.DEFINE_string("directory", None, "Where checkpoints are put and removed again.")

_TRAIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "train.py")


def write_base(prefix, rows, dim, slices):
    """Writes a table of random rows in so many pieces, one in memory at a time."""
    bounds = [rows * number // slices for number in range(slices + 1)]
    with staging(prefix) as stage:
        for first, end in zip(bounds, bounds[1:]):
            shape = [end - first, dim]
            spec = slice_spec([rows, dim], [first, 0], shape) if slices > 1 else ""
            value = lambda shape=shape: tf.random_uniform(shape)  # noqa: E731
            write_part(stage.part(), [("table", spec, value)])
        publish(stage)


def memory_of(process, what):
    """VmHWM (the most ever) or VmRSS of a process in bytes."""
    with open(f"/proc/{process.pid}/status", encoding="ascii") as file:
        (line,) = [line for line in file if line.startswith(what + ":")]
    return int(line.split()[1]) * 1024


def sent_bytes(session, fetches, feeds):
    """Bytes that a run sends from one task to another, by its step statistics."""
    options, found = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE), tf.RunMetadata()
    session.run(fetches, feeds, options, found)
    return sum(
        output.tensor_description.allocation_description.requested_bytes
        for device in found.step_stats.dev_stats
        for node in device.node_stats
        if node.node_name == "RecvTensor"
        for output in node.output
    )


def timed(function, *arguments):
    """(What a call returns, seconds)."""
    start = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - start


def size_of(prefix):
    """Bytes of a checkpoint's files."""
    directory, name = os.path.split(prefix)
    return sum(
        os.path.getsize(os.path.join(directory, file))
        for file in os.listdir(directory)
        if file.startswith(name + ".") and not file.endswith(".meta")
    )


def measure(values, directory):
    """Returns [(what, number, unit, whether it grows with the rows), ...]."""
    base = os.path.join(directory, "base.ckpt")
    write_base(base, values.rows, values.dim, values.slices)
    hosts = free_hosts(values.ps + 1)
    found, processes = [], []
    cluster = job_cluster.Cluster(tuple(hosts[:-1]), tuple(hosts[-1:]), "worker", 0)
    try:
        for task in range(values.ps):
            command = [sys.executable, _TRAIN, "--job_name=ps", f"--task_index={task}"]
            command += ["--ps_hosts=" + ",".join(hosts[:-1]), "--worker_hosts=" + hosts[-1]]
            processes.append(subprocess.Popen(command))
        member = job_cluster.Member(cluster)
        with tf.Graph().as_default(), tf.device(member.placement()):
            with pe.growing(base, partitioner=tf.fixed_size_partitioner(values.ps), show=None):
                table = tf.get_variable("table", [values.rows + values.new_rows, values.dim])
            ids = tf.placeholder(tf.int64, [None])
            loss = tf.reduce_sum(tf.square(tf.nn.embedding_lookup(table, ids)))
            train = pe.minimize(tf.train.AdagradOptimizer(0.1), loss)
            whole, delta = (pe.Saver(sharded=True, delta=only) for only in (False, True))
            proof, initialize = pe.FrozenRows(), tf.global_variables_initializer()
            master, config = member.session["master"], member.session["config"]
            with tf.Session(master, config=config) as session:
                session.run(tf.no_op())  # All are there.
                empty = max(memory_of(process, "VmRSS") for process in processes)

                def most():
                    return max(memory_of(process, "VmHWM") for process in processes) - empty

                _, seconds = timed(session.run, initialize)
                found.append(("load the base", seconds, "s", True))
                found.append(("memory of a server: the most while loading", most(), "GB", True))
                held = max(memory_of(process, "VmRSS") for process in processes) - empty
                found.append(("memory of a server, after it", held, "GB", True))
                random, times = np.random.RandomState(0), []
                total = values.rows + values.new_rows
                for _ in range(100):
                    feeds = {ids: random.randint(0, total, values.batch)}
                    times.append(timed(session.run, train, feeds)[1])
                found.append(("a step", statistics.median(times[20:]) * 1e3, "ms", False))
                sent = sent_bytes(session, train, feeds)
                found.append(("a step sends between tasks", sent / 1e3, "kB", False))
                _, seconds = timed(proof.record, session)
                found.append(("prove the frozen rows, a pass", seconds, "s", True))
                prefix, seconds = timed(delta.save, session, os.path.join(directory, "delta"))
                found.append(("save a delta (hashes the frozen rows, once)", seconds, "s", True))
                _, seconds = timed(delta.save, session, prefix)
                found.append(("save it again", seconds, "s", False))
                found.append(("size of a delta", size_of(prefix) / 1e6, "MB", False))
                _, seconds = timed(delta.restore, session, prefix)
                found.append(("restore a delta", seconds, "s", True))
                prefix, seconds = timed(whole.save, session, os.path.join(directory, "whole"))
                found.append(("save all of it, with Adagrad's slots", seconds, "s", True))
                found.append(("size of that", size_of(prefix), "GB", True))
                found.append(("memory of a server: the most of all", most(), "GB", True))
        member.dismiss_servers()
        for process in processes:
            process.wait(30)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return found


@quiet.command
def main():
    values = flags.FLAGS
    with tempfile.TemporaryDirectory(dir=values.directory) as directory:
        found = measure(values, directory)
    size, times = 4 * values.rows * values.dim, values.target / values.rows
    print(
        f"| {values.rows:,} x {values.dim} float32 ({size / 1e9:.1f} GB) on {values.ps} servers, "
        f"batch {values.batch} | measured | {values.target:,} rows on as many servers |"
    )
    print("|---|---:|---:|")
    for what, number, unit, grows in found:
        shown = number / 1e9 if unit == "GB" else number
        then = f"{shown * times:,.0f} {unit}" if grows else f"{shown:,.2f} {unit}"
        print(f"| {what} | {shown:,.2f} {unit} | {then} |")


if __name__ == "__main__":
    app.run(main)
