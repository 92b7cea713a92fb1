"""Environments of what the benchmark measures beside this library, each made once and kept.

A peer is a program of scripts/peers, which serves players as turns.py says, and what pip installs
for it into `.venv-peer-<name>`. None of that is among what the library or its tests need.
"""

import collections
import json
import os
import subprocess
import sys

SCRIPTS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(SCRIPTS)
Peer = collections.namedtuple("Peer", "program pins threads")
# By name; threads: of each process that takes part, 0 for as many as there are cores.
# That torch is the last one that pip could install by name as a build for CPUs alone. Where pip
# finds the one with CUDA, it takes some GB of disk, and measures the same.
TORCH = "torch==2.13.0"
PEERS = {
    "peft": Peer("trainable_tokens.py", [TORCH, "peft==0.21.2"], (1, 0)),
    "pykeen": Peer("backfill.py", [TORCH, "pykeen==1.11.1"], (1, 0)),
    "tfra": Peer(
        "dynamic_embedding.py",
        ["tensorflow==2.16.2", "tensorflow-recommenders-addons==0.8.1"],
        (0,),
    ),
}


def make(name, directory=ROOT):
    """Makes the environment of a peer, unless there is one of the same pins.

    Args:
      name: a name of `PEERS`.
      directory: where environments are.

    Returns:
      The path of its Python.

    Raises:
      RuntimeError: if something cannot be installed, with pip's last line.
    """
    place = os.path.join(directory, f".venv-peer-{name}")
    python, stamp = os.path.join(place, "bin", "python"), os.path.join(place, "pins")
    pins = "\n".join(PEERS[name].pins)
    if not (os.path.exists(stamp) and _read(stamp) == pins):
        _run([sys.executable, "-m", "venv", "--clear", place])
        quietly = ["--quiet", "--disable-pip-version-check"]
        _run([python, "-m", "pip", "install", *quietly, *PEERS[name].pins])
        with open(stamp, "w", encoding="utf-8") as file:
            file.write(pins)
    return python


def commands(name, python, sizes):
    """Returns the words, and the variables, that start each program of a peer.

    Args:
      name: a name of `PEERS`.
      python: its Python.
      sizes: {rows, new_rows, dim, batch, optimizer, new}, which JSON can hold.
    """
    program = os.path.join(SCRIPTS, "peers", PEERS[name].program)
    given = ([json.dumps(dict(sizes, threads=threads))] for threads in PEERS[name].threads)
    return [([python, "-W", "ignore", program, *words], {"PYTHONPATH": SCRIPTS}) for words in given]


def _read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def _run(command):
    result = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if result.returncode:
        lines = result.stdout.strip().split("\n")
        errors = [line for line in lines if line.startswith("ERROR")]
        raise RuntimeError(f"pip: {(errors or lines)[-1]}")
