"""What test_faults.py runs in processes of its own, to kill them and to let them crash.

    python fault_worker.py kill save|delta|merge DIRECTORY ROUNDS SEED
    python fault_worker.py full DIRECTORY ELSEWHERE KILOBYTES...
    python fault_worker.py mutate base|whole|delta|manifest DIRECTORY FIRST LAST

`kill` forks a child that saves without end, kills it at a random moment, and
lets another child look at what it left behind; TensorFlow is imported once,
before, and used by children only. Every line that is printed is one finding.
"""

import contextlib
import glob
import itertools
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import time
import traceback

import numpy as np
import tensorflow.compat.v1 as tf

import partial_embed as pe
from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.growth import DELTA_KEY
from partial_embed.files.index import num_shards
from partial_embed.files.tensors import write_part
from partial_embed.saving import merged_table

merged_table._SMALL_BYTES = -1  # they are merged as large ones are
OLD, NEW, WIDTH = 3000, 3500, 8


@contextlib.contextmanager
def session_of(checkpoint=None):
    """A graph with the table (grown, if from a checkpoint), a weight, slots and a step."""
    with tf.Graph().as_default(), tf.Session() as session:
        shape = [NEW, WIDTH]
        zeros = tf.zeros_initializer()
        if checkpoint is None:
            table = tf.get_variable("ent", shape, initializer=zeros)
        else:
            table = pe.get_embedding("ent", shape, checkpoint=checkpoint, initializer=zeros)
        weight = tf.get_variable("weight", [WIDTH, 2], initializer=zeros)
        step = tf.train.get_or_create_global_step()
        loss = tf.reduce_sum(tf.matmul(tf.nn.embedding_lookup(table, [0]), weight))
        tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss)
        yield session, table, weight, step


def mark_op(table, weight, step, number):
    """An op that sets all that trains to one number, by which a save is known."""
    slots = [v for v in tf.global_variables() if "Momentum" in v.op.name]
    variables = [table.trainable, weight] + slots
    ops = [tf.assign(v, tf.fill(v.shape, tf.cast(number, v.dtype.base_dtype))) for v in variables]
    return tf.group(tf.assign(step, tf.cast(number, tf.int64)), *ops)


def old_rows():
    """The rows of the base."""
    return np.arange(OLD * WIDTH, dtype=np.float32).reshape([OLD, WIDTH])


def write_base(prefix):
    """The base, and two deltas on it, marked 1 and 2."""
    with tf.Graph().as_default(), tf.Session() as session:
        tf.get_variable("ent", initializer=old_rows())
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, prefix, write_meta_graph=False, write_state=False)
    with session_of(prefix) as (session, table, weight, step):
        number = tf.placeholder(tf.float32, [])
        mark = mark_op(table, weight, step, number)
        saver, whole = pe.Saver(delta=True), pe.Saver()
        session.run(tf.global_variables_initializer())
        for value in (1, 2):
            session.run(mark, {number: value})
            names = dict(write_meta_graph=False, write_state=False)
            saver.save(session, f"{prefix}-delta{value}", **names)
            whole.save(session, f"{prefix}-whole{value}", **names)


# --- killed while saving ----------------------------------------------------------------------


def save_without_end(kind, base, directory, ready, rounds=None):
    """Saves under increasing steps and under one name for ever; `rounds` times if given."""
    turns = itertools.count() if rounds is None else range(rounds)
    if kind == "merge":
        os.write(ready, b"x")
        for turn in turns:
            delta = f"{base}-delta{1 + turn % 2}"
            pe.merge_checkpoint(base, delta, os.path.join(directory, "same.ckpt"))
        return
    with session_of(base) as (session, table, weight, step):
        number = tf.placeholder(tf.float32, [])
        mark = mark_op(table, weight, step, number)
        saver, same = (pe.Saver(delta=kind == "delta", max_to_keep=3) for _ in range(2))
        session.run(tf.global_variables_initializer())
        state = tf.train.get_checkpoint_state(directory)
        first = 1
        if state:
            saver.recover_last_checkpoints(state.all_model_checkpoint_paths)
            first += int(state.model_checkpoint_path.rsplit("-", 1)[1])
        os.write(ready, b"x")
        for turn in turns:
            session.run(mark, {number: first + turn})
            saver.save(session, os.path.join(directory, "model.ckpt"), global_step=first + turn)
            same.save(session, os.path.join(directory, "same.ckpt"), write_state=False)


def check_marks(values, frozen, what):
    """Raises unless the base's rows are there and all else has one mark; returns it."""
    np.testing.assert_array_equal(frozen, old_rows(), what)
    marks = {float(mark) for value in values for mark in np.unique(value)}
    if len(marks) != 1:
        raise AssertionError(f"{what} mixes saves: {marks}")
    return marks.pop()


def look(kind, base, directory):
    """Restores whatever passes for a checkpoint, by plain TensorFlow and by partial_embed."""
    prefixes = sorted(path[: -len(".index")] for path in glob.glob(directory + "/*.index"))
    latest = tf.train.latest_checkpoint(directory)
    state = tf.train.get_checkpoint_state(directory)
    if state and latest is None:
        raise AssertionError(f"The state file names {state.model_checkpoint_path}")
    # One that was killed before the state file named it stays for ever: look at the newest.
    prefixes = sorted(prefixes, key=lambda prefix: os.path.getmtime(prefix + ".index"))[-5:]
    for prefix in prefixes:
        if kind != "delta":
            with session_of() as (session, table, weight, step):
                tf.train.Saver().restore(session, prefix)
                found, number = session.run([table, weight]), session.run(step)
                slots = [v for v in tf.global_variables() if "Momentum" in v.op.name]
                rows = [session.run(v)[OLD:] for v in slots if v.shape[0] == NEW]
                mark = check_marks([found[0][OLD:], found[1]] + rows, found[0][:OLD], prefix)
            if not (number == mark and os.path.exists(prefix + ".growth.json")):
                raise AssertionError(f"{prefix} {number} {mark}")
        with session_of(base) as (session, table, weight, step):
            pe.Saver().restore(session, prefix)
            found, number = session.run([table, weight]), session.run(step)
            mark = check_marks([found[0][OLD:], found[1]], found[0][:OLD], prefix)
            if number != mark or (
                "-" in os.path.basename(prefix) and str(number) != (prefix.rsplit("-", 1)[1])
            ):
                raise AssertionError(f"{prefix} {number} {mark}")


def look_for_rests(directory):
    """Raises if files are left over that belong to no checkpoint."""
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        data = re.match(r"(.*)\.data-\d{5}-of-(\d{5})$", path)
        manifest = re.match(r"(.*)\.growth\.json$", path)
        graph = re.match(r"(.*)\.meta$", path)
        if graph and not os.path.exists(graph.group(1) + ".index"):
            raise AssertionError("left over: " + name)
        if name.startswith("."):
            raise AssertionError("left over: " + name)
        if data and num_shards(data.group(1)) != int(data.group(2)):
            raise AssertionError("left over: " + name)
        if manifest and not os.path.exists(manifest.group(1) + ".index"):
            raise AssertionError("left over: " + name)


def forked(function, *arguments):
    """Runs a function in a child; returns (its process number, a pipe it may write to)."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    status = 1
    try:
        function(*arguments + (writing,))
        status = 0
    except BaseException:
        traceback.print_exc(file=sys.stdout)
        sys.stdout.flush()
    os._exit(status)


def succeed(function, *arguments):
    """Runs a function in a child and waits; returns whether it succeeded."""
    child, pipe = forked(lambda *given: function(*given[:-1]), *arguments)
    _, status = os.waitpid(child, 0)
    os.close(pipe)
    return status == 0


def kill(kind, directory, rounds, seed):
    """Kills savers at random moments and looks each time."""
    moments = random.Random(seed)
    base = os.path.join(directory, "base", "base.ckpt")
    target = os.path.join(directory, "run")
    os.makedirs(os.path.dirname(base))
    os.makedirs(target)
    if not succeed(write_base, base):
        sys.exit(1)
    for turn in range(rounds):
        child, pipe = forked(save_without_end, kind, base, target)
        os.read(pipe, 1)  # It is about to save.
        time.sleep(moments.random() * 0.3)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(pipe)
        good = succeed(look, kind, base, target)
        # The next success tidies up.
        good = good and succeed(lambda: save_without_end(kind, base, target, 1, rounds=1))
        good = good and succeed(look, kind, base, target) and succeed(look_for_rests, target)
        print("round {} {}".format(turn, "good" if good else "BAD"), flush=True)


# --- no room ------------------------------------------------------------------------------------


def files_of(directory):
    """Names and contents of all files of a directory."""
    found = {}
    for name in sorted(os.listdir(directory)):
        with open(os.path.join(directory, name), "rb") as stream:
            found[name] = stream.read()
    return found


def full(directory, elsewhere, *sizes):
    """Saves into a directory that has less and less room left."""
    base, target = os.path.join(elsewhere, "base.ckpt"), os.path.join(directory, "model.ckpt")
    write_base(base)
    ballast = os.path.join(directory, "ballast")
    with session_of(base) as (session, table, weight, step):
        number = tf.placeholder(tf.float32, [])
        mark = mark_op(table, weight, step, number)
        saver = pe.Saver()
        session.run(tf.global_variables_initializer())
        session.run(mark, {number: 1})
        saver.save(session, target)
        attempts = {
            "save": lambda: saver.save(session, target),
            "another": lambda: saver.save(session, os.path.join(directory, "other.ckpt")),
            "merge": lambda: pe.merge_checkpoint(base, base + "-delta1", target),
        }
        for turn, (kilobytes, (name, attempt)) in enumerate(
            itertools.product(sizes, sorted(attempts.items()))
        ):
            session.run(mark, {number: 2 + turn})
            room = os.statvfs(directory)
            with open(ballast, "wb") as stream:
                stream.write(bytes(max(0, room.f_bavail * room.f_frsize - 1024 * kilobytes)))
            before = files_of(directory)
            try:
                attempt()
                result = "saved"
            except OSError as error:
                result = "OSError: " + str(error).replace("\n", " ")
                if "Nothing was published" in result and files_of(directory) != before:
                    result = "CHANGED " + result
            os.remove(ballast)
            look("save", base, directory)
            look_for_rests(directory)
            for path in glob.glob(os.path.join(directory, "other.ckpt*")):
                os.remove(path)
            print(f"{name} {kilobytes} {result}", flush=True)
            saver.save(session, target)  # With room again it works, and the list is whole.


# --- damaged files ------------------------------------------------------------------------------


def mutate_bytes(content, randomness):
    """Returns (what was done, the changed bytes)."""
    content = bytearray(content)
    kind = randomness.choice(["flip", "flip", "flip", "truncate", "zero", "swap", "tail"])
    at = randomness.randrange(len(content))
    if kind == "flip":
        content[at] ^= 1 << randomness.randrange(8)
    elif kind == "truncate":
        del content[at:]
    elif kind == "zero":
        content[at : at + 64] = bytes(len(content[at : at + 64]))
    elif kind == "swap":
        content[at : at + 16] = content[at : at + 16][::-1]
    else:
        at = max(0, len(content) - 1 - randomness.randrange(48))  # The footer of an index.
        content[at] ^= 1 << randomness.randrange(8)
    return f"{kind} at {at}", bytes(content)


HOSTILE = [None, True, -1, 10**12, 2**63, 1e999, 0.5, "", "x", [], {}, [[0, 10**12]], [[0, 2]]]
HOSTILE += [[[1, 3], [2, 4]], {"": 0}, "[" * 3000, "../../elsewhere", "\0"]


def mutate_manifest(prefix, target, randomness):
    """Writes a delta with one thing changed in what it says of itself; returns what."""
    delta = Checkpoint(prefix)
    manifest = json.loads(delta.read(DELTA_KEY).decode("utf-8"))
    places, todo = [], [manifest]
    while todo:
        node = todo.pop()
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], (dict, list)):
                todo.append(node[key])
    node, key = places[randomness.randrange(len(places))]
    if randomness.random() < 0.2:
        done = f"without {key}"
        del node[key]
    else:
        node[key] = randomness.choice(HOSTILE)
        done = f"{key} = {str(node[key])[:20]!r}"
    tensors = [(name, "", delta.read(name)) for name in sorted(delta.shapes) if name != DELTA_KEY]
    text = np.array(json.dumps(manifest), object)
    write_part(target, tensors + [(DELTA_KEY, "", text)])
    return done.replace(":", ";")


def state(session):
    """Which variables are initialized, and what they hold."""
    missing = set(session.run(tf.get_collection("missing")[0]).tolist())
    return {
        v.op.name: session.run(v).tobytes()
        for v in tf.global_variables()
        if v.op.name.encode() not in missing
    }


def peak_memory():
    """The most memory this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def mutate(kind, directory, first, last):
    """Damages a file in one way a seed, reads, and says what happened."""
    base = os.path.join(directory, "base.ckpt")
    if not os.path.exists(base + ".index"):
        write_base(base)
    deltas = {"delta": base + "-delta1", "manifest": base + "-changed"}
    prefix = {"base": base, "whole": base + "-whole1", **deltas}[kind]
    if kind == "manifest":
        mutate_manifest(deltas["delta"], prefix, random.Random(0))
    files = sorted(p for p in glob.glob(prefix + ".*") if not p.endswith(".copy"))
    originals = {}
    for path in files:
        copy = path + ".copy"
        if not os.path.exists(copy):
            shutil.copy(path, copy)
        shutil.copy(copy, path)
        with open(copy, "rb") as stream:
            originals[path] = stream.read()
    with session_of(base) as (session, table, _, _):
        saver = pe.Saver()
        tf.add_to_collection("missing", tf.identity(tf.report_uninitialized_variables()))
        initialize = tf.global_variables_initializer()
        session.run(initialize)
        saver.restore(session, deltas["delta"] if kind == "manifest" else prefix)
        expected, memory = state(session), peak_memory()
        readers = {"restore": lambda: saver.restore(session, prefix)}
        if kind == "base":
            readers["initialize"] = lambda: session.run(table.initializer)
        for seed in range(first, last):
            print(f"start {seed}", flush=True)
            randomness = random.Random(f"{kind} {seed}")
            # The small files have few bytes, and all of them matter.
            path = randomness.choice(files)
            if kind == "manifest":
                done = mutate_manifest(deltas["delta"], prefix, randomness)
            else:
                done, content = mutate_bytes(originals[path], randomness)
                with open(path, "wb") as stream:
                    stream.write(content)
            findings = []
            for name, reader in sorted(readers.items()):
                session.run(initialize) if name == "restore" and kind != "base" else None
                before = state(session)
                try:
                    reader()
                    same = state(session) == expected
                    findings.append("same" if same else "SILENT")
                except (ValueError, tf.errors.OpError) as error:
                    named = os.path.basename(prefix) in str(error)
                    findings.append("error" if named else f"UNNAMED {str(error)[:300]!r}")
                    if name == "restore" and state(session) != before:
                        findings.append("HALF")
                except Exception as error:  # Whatever it is, it is no good answer.
                    findings.append(f"OTHER {error!r}"[:300])
            with open(path, "wb") as stream:
                stream.write(originals[path])
            where = os.path.basename(path)[len(os.path.basename(prefix)) :]
            if peak_memory() > 2 * memory:
                findings.append(f"MEMORY {peak_memory()} {memory}")
            print("end {} {} {}: {}".format(seed, where, done, " ".join(findings)), flush=True)


def main(what, *arguments):
    tf.disable_v2_behavior()
    tf.logging.set_verbosity(tf.logging.ERROR)
    arguments = [int(text) if text.isdigit() else text for text in arguments]
    {"kill": kill, "full": full, "mutate": mutate}[what](*arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
