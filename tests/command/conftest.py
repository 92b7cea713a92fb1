"""The command, run in the process of the tests."""

import collections

import pytest

from partial_embed.command import main
from partial_embed.command.quiet import run_told_in_a_line

Ran = collections.namedtuple("Ran", ["status", "output", "errors"])


@pytest.fixture
def folder(tmp_path):
    """Returns `path(name)` in a directory of the test."""
    return lambda name: str(tmp_path / name)


@pytest.fixture
def command(capsys):
    """Returns `command(*words)`: (exit status, output, errors) of `partial-embed words`."""

    def command(*words):
        capsys.readouterr()
        try:
            arguments = main.parser().parse_args(list(map(str, words)))
        except SystemExit as end:
            return Ran(end.code, *capsys.readouterr())
        name = f"partial-embed {arguments.command}"
        status = run_told_in_a_line(name, main.run_subcommand, arguments)
        return Ran(status, *capsys.readouterr())

    return command
