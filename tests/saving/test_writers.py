"""Many writers in one directory: nothing lost, nothing mixed, nothing left over.

A sample runs with every test run; `make soak` runs the whole campaign.
"""

import os
import random
import re
import subprocess

import pytest

SOAK = bool(os.environ.get("PARTIAL_EMBED_SOAK"))
SECONDS = 60 if SOAK else 3


@pytest.mark.parametrize("kind", ["processes", "threads", "namespaces"])
def test_many_writers(work, tmp_path, kind):
    if kind == "namespaces":
        if not SOAK:
            pytest.skip("Two more processes of TensorFlow: with `make soak`.")
        if subprocess.call(["unshare", "--pid", "--fork", "--mount-proc", "true"]) != 0:
            pytest.skip("Process namespaces need a Linux, and the right to make them.")
    seed = random.SystemRandom().randrange(10**6) if SOAK else 1
    run = ("campaign", kind, tmp_path / "writers", SECONDS, seed)
    output, status, errors = work(*run, worker="writers_worker.py", timeout=120 + 10 * SECONDS)
    assert status == 0 and output.endswith("good\n"), (seed, output, errors)
    assert "BAD" not in output, (seed, output)
    counts = {word: int(n) for word, n in re.findall(r"'(\w+)': (\d+)", output)}
    assert counts.get("saved"), output  # How many is the machine's affair.
