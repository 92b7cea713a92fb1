"""What test_writers.py runs: many writers, readers and a killer over one directory.

    python writers_worker.py campaign processes|threads|namespaces DIRECTORY SECONDS SEED
    python writers_worker.py write DIRECTORY NAME SECONDS

Each writer saves under a prefix that all share and under names of its own, and
notes every save that was reported as done. In the end each of those must be
there and whole, and nothing else. Every line that is printed is one finding.
"""

import collections
import glob
import os
import random
import signal
import subprocess
import sys
import threading
import time

import tensorflow.compat.v1 as tf
from fault_worker import (
    OLD,
    check_marks,
    forked,
    look_for_rests,
    mark_op,
    session_of,
    succeed,
    write_base,
)

import partial_embed as pe


def log_of(directory, name):
    """Opens what one of them notes its findings in."""
    return open(os.path.join(directory, f"{name}.log"), "a", buffering=1)


def write(directory, name, seconds, ready=None):
    """Saves until the time is up; notes in `name.log` what was done, refused or wrong."""
    base, run = os.path.join(directory, "base", "base.ckpt"), os.path.join(directory, "run")
    with log_of(directory, name) as log, session_of(base) as (session, table, weight, step):
        number = tf.placeholder(tf.float32, [])
        mark = mark_op(table, weight, step, number)
        saver = pe.Saver(max_to_keep=None)
        session.run(tf.global_variables_initializer())
        last, turn = time.time() + seconds, 0
        while time.time() < last:
            turn += 1
            # A number of this writer's own, that float32 holds exactly.
            own = hash((name, os.getpid(), turn, time.time())) % 2**23
            session.run(mark, {number: own})
            for prefix in ("same", f"own-{name}-{own}"):
                path = os.path.join(run, prefix)
                try:
                    saver.save(session, path, write_meta_graph=turn % 3 == 0)
                    log.write(f"saved {prefix} {own}\n")
                except OSError as error:
                    refused = "is being saved by" in str(error)
                    log.write("refused\n" if refused else f"BAD {prefix} {error}\n")
                except Exception as error:
                    log.write(f"BAD {prefix} {error!r}\n")


def read(directory, seconds, ready):
    """Restores the shared prefix until the time is up: whole each time, or one clear error."""
    base = os.path.join(directory, "base", "base.ckpt")
    same = os.path.join(directory, "run", "same")
    with log_of(directory, "reader") as log, session_of(base) as (session, table, weight, step):
        saver = pe.Saver()
        session.run(tf.global_variables_initializer())
        last = time.time() + seconds
        while time.time() < last:
            if not os.path.exists(same + ".index"):
                continue
            try:
                saver.restore(session, same)
                found = session.run([table, weight])
                check_marks([found[0][OLD:], found[1]], found[0][:OLD], same)
                log.write("read\n")
            except ValueError as error:
                replaced = "was replaced while it was read" in str(error)
                log.write("refused\n" if replaced else f"BAD read {error}\n")
            except Exception as error:
                log.write(f"BAD read {error!r}\n")


def write_in_threads(directory, name, seconds, ready):
    """Four threads with graphs and Savers of their own."""
    threads = [
        threading.Thread(target=write, args=(directory, f"{name}{number}", seconds))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def look(directory):
    """Raises unless every save that was reported is whole, and holds what was saved."""
    base, run = os.path.join(directory, "base", "base.ckpt"), os.path.join(directory, "run")
    saved, counts = {}, collections.Counter()
    for path in glob.glob(os.path.join(directory, "*.log")):
        with open(path) as log:
            for line in log.read().split("\n"):
                counts[line.split(" ")[0]] += 1
                if line.startswith("saved"):
                    _, prefix, number = line.split(" ")
                    saved.setdefault(prefix, set()).add(int(number))
                if line.startswith("BAD"):
                    print(line[:500], flush=True)
    with session_of(base) as (session, table, weight, step):
        saver = pe.Saver()
        session.run(tf.global_variables_initializer())
        for prefix, numbers in sorted(saved.items()):
            saver.restore(session, os.path.join(run, prefix))
            found = session.run([table, weight])
            mark = check_marks([found[0][OLD:], found[1]], found[0][:OLD], prefix)
            if prefix != "same" and {mark} != numbers:
                raise AssertionError(f"{prefix} holds {mark}, not {numbers}")
        saver.save(session, os.path.join(run, "last"))  # It tidies.
    look_for_rests(run)
    print("counts", dict(counts), flush=True)


def campaign(kind, directory, seconds, seed):
    """Lets writers and a reader run, kills some of them, and looks."""
    moments = random.Random(seed)
    os.makedirs(os.path.join(directory, "base"))
    os.makedirs(os.path.join(directory, "run"))
    if not succeed(write_base, os.path.join(directory, "base", "base.ckpt")):
        sys.exit(1)
    last, children, others = time.time() + seconds, {}, []
    names = ["writer0", "writer1", "writer2"] + ([] if kind == "threads" else ["writer3"])

    def start(name):
        left = max(0.5, last - time.time())
        target = {"writer0": write_in_threads}.get(name, write) if kind == "threads" else write
        children[forked(target, directory, name, left)[0]] = name

    for name in names:
        if kind == "namespaces" and name in ("writer0", "writer1"):
            command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-W", "ignore"]
            arguments = ["write", directory, name, str(seconds)]
            others.append(subprocess.Popen(command + [os.path.abspath(__file__)] + arguments))
        else:
            start(name)
    reader = forked(read, directory, seconds)[0]
    while time.time() < last:
        time.sleep(min(moments.random() * 2, max(0, last - time.time())))
        victim = moments.choice(sorted(children))
        os.kill(victim, signal.SIGKILL)
        os.waitpid(victim, 0)
        if time.time() < last:
            start(children.pop(victim))
        else:
            del children[victim]
    statuses = [os.waitpid(child, 0)[1] for child in [*children, reader]]
    statuses += [process.wait() for process in others]
    print("ended", statuses, flush=True)
    print("good" if succeed(look, directory) and not any(statuses) else "BAD", flush=True)


def main(what, *arguments):
    tf.disable_v2_behavior()
    tf.logging.set_verbosity(tf.logging.ERROR)
    if what == "campaign":
        kind, directory, seconds, seed = arguments
        campaign(kind, directory, float(seconds), int(seed))
    else:
        directory, name, seconds = arguments
        write(directory, name, float(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
