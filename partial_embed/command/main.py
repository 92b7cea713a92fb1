"""The command `partial-embed`: one subcommand a file of this room.

Each has a docstring, which is its help, `add_arguments(parser)` and `run(arguments)`, which returns
an exit status or None. TensorFlow is imported when one of them runs, so that help is there at once.
"""

import argparse
import importlib
import re

from absl import app, flags, logging
from absl.flags import argparse_flags

import partial_embed
from partial_embed.command.quiet import import_tensorflow, run_told_in_a_line

_DESCRIPTION = """Trained TensorFlow tables that gain rows, outside of a training script.

  partial-embed inspect run/                      what a checkpoint holds, and what can grow
  partial-embed grow run/ out/model.ckpt --rows embedding=110
  partial-embed diff run/model.ckpt-50 out/model.ckpt

Each has --help with an example. A PATH of a checkpoint is a prefix, a directory, or its
`checkpoint` file. The exit status is 0 if all went well, else 1 or more."""
# In the order in which help lists them.
COMMANDS = ("inspect", "grow", "grow-saved-model", "merge", "diff", "audit", "export", "check")
# What arguments of the library are called here, where its errors tell what to do.
_OPTIONS = {
    **{name: name for name in ("rows", "columns", "skip", "policy", "allow_nonfinite")},
    **{"tables": "table", "names": "name", "slots": "slot", "constants": "constant"},
    **{"tensor_name": "tensor", "vocabulary": "vocabulary", "vocabularies": "vocabulary"},
}


def parser():
    """Returns the parser of the whole command line."""
    whole = argparse_flags.ArgumentParser(
        prog="partial-embed",
        inherited_absl_flags=flags.FLAGS,
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=partial_embed.__version__)
    commands = whole.add_subparsers(metavar="COMMAND", dest="command")
    commands.required = True
    for name in COMMANDS:
        module = importlib.import_module(f"partial_embed.command.{name.replace('-', '_')}")
        its = commands.add_parser(
            name,
            inherited_absl_flags=None,  # They stand before the name of the subcommand.
            help=module.__doc__.split("\n")[0].rstrip("."),
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(its)
        its.set_defaults(module=module)
    return whole


def main():
    """Runs the command with the words of the command line, and exits."""
    app.run(_run, flags_parser=lambda words: parser().parse_args(words[1:]))


def _run(arguments):
    name = f"partial-embed {arguments.command}"
    return run_told_in_a_line(name, _run_quietly, arguments)


def _run_quietly(arguments):
    if getattr(arguments.module, "NEEDS_TENSORFLOW", True):
        import_tensorflow()
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    return run_subcommand(arguments)


def run_subcommand(arguments):
    """Runs what was parsed; returns its exit status. Its errors name options, not arguments."""
    try:
        return arguments.module.run(arguments)
    except ValueError as error:
        raise ValueError(_as_options(str(error), arguments)) from error


def _as_options(message, arguments):
    """Returns an error's text that names options of a subcommand in place of arguments."""
    for name, option in _OPTIONS.items():
        if hasattr(arguments, option):
            argument = rf"(?<![-\w]){name}="
            message = re.sub(argument + r"\{('[^']*'): (.*?)\}", rf"--{option} \1=\2", message)
            message = re.sub(argument + r"(True)?(?=[ .,])", f"--{option}", message)
            message = re.sub(argument, f"--{option} ", message)
    return message
