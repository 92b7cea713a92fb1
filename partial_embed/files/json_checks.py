"""JSON that may come from elsewhere, checked before it is believed.

Each check raises ValueError that says what is wrong; `at` and `damage` say where.
"""

import contextlib
import json

import numpy as np

from partial_embed.files.checkpoint import RECORD_SUFFIX
from partial_embed.files.nearest import short

FORMAT = 1


def runs_of_rows(entry, key, rows):
    """Returns runs of different rows below `rows`, as an array [runs, 2]."""
    runs = runs_between(entry, key, 0, rows)
    expect_disjoint(runs, key)
    return runs


def runs_between(entry, key, least, most):
    """Returns runs of numbers from `least` to below `most`, as an array [runs, 2]."""
    runs = get(entry, key, list)
    for run in runs:
        numbers = isinstance(run, list) and len(run) == 2 and all(type(n) is int for n in run)
        if not (numbers and least <= run[0] < run[1] <= most):
            raise ValueError(f"{key}: {short(run)} is no run of rows from {least} to {most}")
    return np.array(runs, np.int64).reshape([-1, 2])


def expect_disjoint(runs, what):
    """Refuses runs that share a number."""
    runs = runs[np.argsort(runs[:, 0])]
    twice = np.flatnonzero(runs[1:, 0] < runs[:-1, 1])
    if len(twice):
        raise ValueError(f"{what}: row {runs[twice[0] + 1, 0]} stands there twice")


def length_of(runs):
    """Returns how many numbers runs hold."""
    return int((runs[:, 1] - runs[:, 0]).sum())


def count_of(entry, key):
    """Returns an int of 0 or more."""
    if get(entry, key, int) < 0 or isinstance(entry[key], bool):
        raise ValueError(f"{key}: {short(entry[key])}")
    return entry[key]


def get(content, key, *kinds):
    """Returns an entry of a dict, which is of one of some types."""
    known = isinstance(content, dict) and key in content
    if not (known and isinstance(content[key], kinds)):
        found = content.get(key) if isinstance(content, dict) else content
        names = " or ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"{key}: expected {names}, found {short(found)}")
    return content[key]


@contextlib.contextmanager
def at(place):
    """Says before what is wrong where that is."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


@contextlib.contextmanager
def damage(path):
    """Says of what is wrong which file it is, and what to do."""
    try:
        yield
    except (ValueError, OverflowError) as error:
        record = path.endswith(RECORD_SUFFIX)
        remedy = "; or remove it, and the checkpoint is one of a single generation"
        raise ValueError(
            f"The growth {'record' if record else 'manifest of'} {path} is damaged: {error}. Take "
            f"another copy of it{remedy if record else ''}."
        ) from error


def parse(text, path):
    """Returns what a file of JSON says, a dict of a format that is known."""
    with damage(path):
        try:
            content = json.loads(text.decode("utf-8"), parse_constant=_no_constant)
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error
        version = count_of(content, "format")
        if version < 1:
            raise ValueError(f"there is no format {version}")
    if version > FORMAT:
        raise ValueError(
            f"{path} was written in format {version}, this version of partial_embed reads up to "
            f"{FORMAT}. Upgrade partial_embed."
        )
    return content


def _no_constant(name):
    raise ValueError(f"{name} is no number")
