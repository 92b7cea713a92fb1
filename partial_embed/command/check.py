"""Read TensorFlow 1 scripts and say what can grow, what is gone, and what bites.

Nothing is run or imported, TensorFlow neither; directories are searched for .py files. Each
finding has a line, a kind (`table`: it can gain rows; `gone`: TensorFlow 2 does not have it;
`trap`: it runs, and does something else than it seems), what to do, and the heading in
docs/migration.md that says more.

  partial-embed check train.py models/

The exit status is 1 if a script could not be read, as one in Python 2.
"""

import json
import os
import sys
import textwrap
from collections import Counter

from partial_embed.migration.check import check_script
from partial_embed.migration.findings import GONE, SYNTAX, TABLE, TRAP

NEEDS_TENSORFLOW = False
WIDTH = 100


def add_arguments(parser):
    """Adds what `check` takes to an `argparse` parser."""
    parser.add_argument("scripts", nargs="+", metavar="SCRIPT", help="a .py file or a directory")
    parser.add_argument("--json", action="store_true", help="a list of findings, as JSON")


def run(arguments):
    """Prints what is found in the scripts.

    Returns:
        1 if a script could not be read, else 0.

    Raises:
        OSError: if a script is not there.
        ValueError: if a directory has no .py file.
    """
    paths = [path for given in arguments.scripts for path in _scripts(given)]
    found = []
    for path in paths:
        with open(path, "rb") as file:
            found.extend(check_script(file.read(), path))
    if arguments.json:
        json.dump([its._asdict() for its in found], sys.stdout, indent=2)
        print()
    else:
        print(_report(found, len(paths)))
    return 1 if any(its.kind == SYNTAX for its in found) else 0


def _scripts(given):
    if not os.path.isdir(given):
        if os.path.exists(given) and not os.path.isfile(given):
            raise ValueError(f"{given} is a pipe or a device; expected a script.")
        return [given]
    paths = []
    for directory, inner, files in os.walk(given):
        inner[:] = [name for name in inner if not name.startswith(".")]  # .git, .venv
        names = (name for name in files if name.endswith(".py") and not name.startswith("."))
        # No pipes, which would wait for ever.
        paths += [
            path for path in (os.path.join(directory, n) for n in names) if os.path.isfile(path)
        ]
    if not paths:
        raise ValueError(f"Expected a script or a directory of .py files, found none in {given}.")
    return sorted(paths)


def _report(found, count):
    """Returns the findings by script, in columns, and a line that counts them."""
    lines, path = [], None
    for its in found:
        if its.path != path:
            path = its.path
            lines += ["", path] if lines else [path]
        lines.append(f"{its.line:6d}  {its.kind:6s}  {its.seen}")
        said = its.remedy + " [" + its.heading.replace(" ", "\xa0") + "]"  # which is not divided
        indent = " " * 16
        said = textwrap.wrap(said, WIDTH, initial_indent=indent, subsequent_indent=indent)
        lines += [line.replace("\xa0", " ") for line in said]
    kinds = Counter(its.kind for its in found)
    unread = f"; {_count(kinds[SYNTAX], 'script')} not read" if kinds[SYNTAX] else ""
    closing = (
        f"{_count(count, 'script')}: {_count(kinds[TABLE], 'table')}, {kinds[GONE]} gone, "
        f"{_count(kinds[TRAP], 'trap')}{unread}. In brackets: the heading in docs/migration.md."
    )
    return "\n".join([*lines, "", closing] if lines else [closing])


def _count(number, word):
    return f"{number} {word}{'' if number == 1 else 's'}"
