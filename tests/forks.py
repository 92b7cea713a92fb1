"""Scripts as processes of their own, without an import of TensorFlow for each.

A process of Python's `multiprocessing` imports TensorFlow once, and forks a child for every script.
Its arguments, directory, environment, output and exit status are its own, and it can be killed.
What only a process from its very start can show, such as what TensorFlow says when it is imported,
is for the tests that start one; every script has such a test.
"""

import multiprocessing
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings

# What TensorFlow 2.18 prints of a session, whatever it is told of silence.
_NOTES = re.compile(r"^(WARNING: All log messages before absl|I0000 .* MLIR V1 ).*\n", re.MULTILINE)
_CONTEXT = multiprocessing.get_context("forkserver")


class Script:
    """A script that runs: what `subprocess.Popen` offers of it.

    Args:
        command: path of the script, and its arguments.
        environment: its environment; that of the test if None.
    """

    def __init__(self, command, environment=None):
        self.args = [str(word) for word in command]
        self._folder = tempfile.mkdtemp()
        self._files = [os.path.join(self._folder, name) for name in ("stdout", "stderr")]
        for path in self._files:
            open(path, "x").close()
        environment = dict(os.environ if environment is None else environment)
        _CONTEXT.set_forkserver_preload(["tensorflow.compat.v1"])
        self._process = _CONTEXT.Process(
            target=_run, args=(self.args, os.getcwd(), environment, self._files), daemon=True
        )
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self):
        """The exit status; None while it runs."""
        return self._process.exitcode

    def poll(self):
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def communicate(self, timeout=None):
        """Returns (output, errors) once it has ended; raises `subprocess.TimeoutExpired`."""
        self._process.join(timeout)
        if self.poll() is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        texts = []
        for path in self._files:
            with open(path, encoding="utf-8") as file:
                texts.append(file.read())
        shutil.rmtree(self._folder)
        return tuple(texts)


def run(*command, **arguments):
    """Runs a script to its end; returns a `subprocess.CompletedProcess` with text.

    Args:
        command: path of the script, and its arguments.
        environment: its environment; that of the test if not given.
        timeout: seconds after which it is killed.
    """
    timeout = arguments.pop("timeout", None)
    script = Script(command, **arguments)
    try:
        output, errors = script.communicate(timeout)
    except subprocess.TimeoutExpired:
        script.send_signal(signal.SIGKILL)
        output, errors = script.communicate()
    return subprocess.CompletedProcess(script.args, script.returncode, output, errors)


def without_notes(errors):
    """Returns what a process of its own printed on stderr, less TensorFlow 2.18's notes."""
    return _NOTES.sub("", errors)


def _run(command, directory, environment, files):
    """What the child does."""
    for number, path in enumerate(files, 1):
        handle = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(handle, number)
        os.close(handle)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    warnings.simplefilter("ignore")
    sys.argv = command
    # As Python has it that is given a script.
    paths = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [os.path.dirname(command[0]), *filter(None, paths), *sys.path]
    try:
        runpy.run_path(command[0], run_name="__main__")
    except SystemExit as end:
        if end.code is not None:  # which multiprocessing of Python 3.7 takes for a failure
            raise
