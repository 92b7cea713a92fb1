"""What tests of exporting share: TensorFlow in a process of its own, and the foreign readers."""

import glob
import json
import os
import subprocess
import sys
import urllib.request

import numpy as np
import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.dirname(os.path.dirname(HERE))


@pytest.fixture
def folder(tmp_path):
    """Returns `folder(name)`: a path in a directory of the test's own."""
    return lambda *names: str(tmp_path.joinpath(*names))


@pytest.fixture(scope="session")
def native():
    """Returns `native(do, path, **arguments)`: what TensorFlow says that is asked; see its file."""
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", os.path.join(HERE, "native_worker.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd=HERE,
    )
    port = int(process.stdout.readline())

    def ask(do, path, **arguments):
        content = json.dumps(dict(arguments, do=do, path=str(path))).encode("utf-8")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", content, timeout=100) as answer:
            return json.loads(answer.read().decode("utf-8"))

    yield ask
    process.stdin.close()
    process.wait(20)
    process.stdout.close()


@pytest.fixture(scope="session")
def foreign():
    """Returns `foreign(folder)`: {file name: arrays} that gensim, safetensors, TensorBoard read."""
    python = os.environ.get(
        "PARTIAL_EMBED_READERS", os.path.join(REPOSITORY, ".venv-readers", "bin", "python")
    )
    if not os.path.exists(python):
        pytest.skip("gensim, safetensors and TensorBoard are not there: make .venv-readers/test")

    def read(folder):
        environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
        subprocess.run(
            [python, os.path.join(HERE, "foreign_readers.py"), str(folder)],
            check=True,
            env=environment,
            timeout=120,
        )
        found = {}
        for path in glob.glob(os.path.join(str(folder), "*.read.npz")):
            with np.load(path) as arrays:
                found[os.path.basename(path)[: -len(".read.npz")]] = dict(arrays)
        return found

    return read


@pytest.fixture(scope="session")
def other_python():
    """Returns the path of a Python with the other TensorFlow."""
    other = ".venv" if sys.version_info[:2] == (3, 7) else ".venv-tf1"
    python = os.environ.get(
        "PARTIAL_EMBED_OTHER_PYTHON", os.path.join(REPOSITORY, other, "bin", "python")
    )
    if not os.path.exists(python):
        pytest.skip(f"The other TensorFlow is not there: make {other}/test")
    return python
