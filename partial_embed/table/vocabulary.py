"""Vocabularies: rows follow keys, whatever order the keys stand in."""

import codecs
import itertools
import operator
import os
from collections import namedtuple

import numpy as np

from partial_embed.files.nearest import short
from partial_embed.files.regular import read_file


class Vocabulary(namedtuple("Vocabulary", ["old_keys", "new_keys", "source", "num_oov_buckets"])):
    """Two vocabularies of one table, aligned; see `align_vocabularies`.

    Attributes:
        old_keys: list of str, the keys of the checkpoint's rows.
        new_keys: list of str, the keys of the table's rows.
        source: int64 array [new keys]: for each its old row, -1 if it has none.
            None if the old keys are the first of the new ones. Rows of keys that are
            in no vocabulary come after those of the keys, and stay there.
        num_oov_buckets: int, how many of those there are.

    Example:
        >>> keys = pe.align_vocabularies(["ann", "bob"], ["ann", "bob", "eve"])
        >>> print(keys.source)  # no row moves
        None
    """

    def all_keys(self, which):
        """Returns a key for each row, of "old_keys" or "new_keys"."""
        return getattr(self, which) + ["(out of vocabulary)"] * self.num_oov_buckets

    def axes(self, held, shape=None):
        """Returns the list of axes along which a table has one entry a key.

        Args:
            held: list of ints, its shape in the checkpoint, with an entry for each old key.
            shape: its shape now, with an entry for each new one; None if nothing says.
        """
        counts = [len(keys) + self.num_oov_buckets for keys in (self.old_keys, self.new_keys)]
        shape = [counts[1]] * len(held) if shape is None else shape
        return [axis for axis, pair in enumerate(zip(held, shape)) if list(pair) == counts]


def read_vocabulary(path):
    """Returns the keys of a vocabulary file: one a line, the line number is the id.

    Args:
        path: a UTF-8 text file, as `tf.lookup` tables read it; a byte order mark
            before it, which some editors write, is no part of the first key.

    Returns:
        List of str.

    Raises:
        ValueError: if there is no such file, or a line is empty, stands twice, is
            not UTF-8 or ends twice, with its number.
    """
    keys = _read(path)
    if len(set(keys)) != len(keys):
        _refuse_twice(path, keys)
    return keys


def _read(path):
    """`read_vocabulary` of keys that are not compared with each other."""
    path = os.fsdecode(path)  # TensorFlow 1.15 opens no `Path`
    content = read_file(path)
    if content is None:
        raise ValueError(f"There is no vocabulary file {path}.")
    if content.startswith(codecs.BOM_UTF8):
        content = content[len(codecs.BOM_UTF8) :]
    if not content:
        raise ValueError(f"The vocabulary {path} is empty; expected one key a line.")
    return _keys_at_once(content) or _keys_by_line(path, content)


def _keys_at_once(content):
    """Returns the keys of a vocabulary of whose lines none is wrong, else None."""
    try:
        keys = content.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        return None
    if keys[-1] == "":
        keys.pop()
    if b"\r" in content:
        keys = [key[:-1] if key.endswith("\r") else key for key in keys]
        if any(key.endswith("\r") for key in keys):
            return None
    return keys if all(map(str.strip, keys)) else None


def _keys_by_line(path, content):
    """Returns the keys of a vocabulary; raises ValueError that says which line is wrong."""
    lines = content.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    keys = []
    for number, line in enumerate(lines, 1):
        try:
            key = (line[:-1] if line.endswith(b"\r") else line).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path}, line {number}: not UTF-8 text ({error.reason}). Save the file as UTF-8."
            ) from error
        if not key.strip():
            raise ValueError(
                f"{path}, line {number}: empty. Each line is a key, and its number the row."
            )
        if key.endswith("\r"):
            raise ValueError(
                f"{path}, line {number}: ends with several carriage returns. Save the file with "
                "one end of a line after each key."
            )
        keys.append(key)
    return keys


def _refuse_twice(given, keys):
    """Raises the ValueError for keys of which two are equal, of a path or a list that was given."""
    first_line = {}
    for number, key in enumerate(keys, 1):
        if key in first_line and isinstance(given, (str, bytes, os.PathLike)):
            raise ValueError(
                f"{os.fsdecode(given)}, line {number}: the key {short(key)} stands on line "
                f"{first_line[key]} already. A key has one row."
            )
        if key in first_line:
            raise ValueError(
                f"A list of keys holds {short(key)} more than once. A key has one row."
            )
        first_line[key] = number


def align_vocabularies(old, new, num_oov_buckets=0):
    """Says for each row of a table which row of the checkpoint has the same key.

    Args:
        old: path of the vocabulary the checkpoint was trained with, or its keys.
        new: path of the vocabulary of the table in the graph, or its keys.
        num_oov_buckets: int, as in `tf.lookup` tables: how many rows at the end of
            both tables are for keys that are in no vocabulary. They stay at the end.

    Returns:
        A `Vocabulary`, for the `vocabulary=` of `get_embedding` and the
        `vocabularies=` of `growing`; one serves any number of tables.

    Raises:
        ValueError: see `read_vocabulary`; if a list holds what no line of a file says; or
            if they have no key in common.

    Example:
        >>> keys = pe.align_vocabularies(["ann", "bob"], ["bob", "eve", "ann"])
        >>> keys.source.tolist()
        [1, -1, 0]
    """
    given = old, new
    old, new = (
        _read(keys) if isinstance(keys, (str, bytes, os.PathLike)) else _checked(keys)
        for keys in given
    )
    num_oov_buckets = int(num_oov_buckets)
    if num_oov_buckets < 0:
        raise ValueError(f"num_oov_buckets must be 0 or more, got {num_oov_buckets}.")
    is_prefix = list(new[: len(old)]) == list(old)
    source = None if is_prefix else _places_by_hash(old, new)
    if source is None:
        for keys, its in zip(given, (old, new)):
            if len(set(its)) < len(its):
                _refuse_twice(keys, its)
    if is_prefix and (not num_oov_buckets or len(old) == len(new)):
        return Vocabulary(list(old), list(new), None, num_oov_buckets)
    if source is None:
        row_of = dict(zip(old, range(len(old))))
        source = np.fromiter(map(row_of.get, new, itertools.repeat(-1)), np.int64, len(new))
    if (source < 0).all():
        raise ValueError(
            f"The vocabularies have no key in common: the old one begins with {short(old[0])}, the "
            f"new one with {short(new[0])}. Expected one key a line, and nothing else (no counts, "
            "no tabs)."
        )
    buckets = len(old) + np.arange(num_oov_buckets)
    source = np.concatenate([source, buckets])
    return Vocabulary(list(old), list(new), source, num_oov_buckets)


def _places_by_hash(old, new):
    """Returns int64 array [new keys], the place of each among the old ones, -1 for none.

    Half the time of a `dict` of millions, which is read in random order. None if two hashes are
    equal that should not: of keys that may be equal, or differ.
    """
    hashes = [np.fromiter(map(hash, keys), np.int64, len(keys)) for keys in (old, new)]
    orders = [np.argsort(its) for its in hashes]
    held, asked = (its[order] for its, order in zip(hashes, orders))
    if not (np.diff(held).all() and np.diff(asked).all()):
        return None
    places = np.minimum(np.searchsorted(held, asked), len(held) - 1)
    source = np.full(len(new), -1, np.int64)
    source[orders[1]] = np.where(held[places] == asked, orders[0][places], -1)
    known = np.flatnonzero(source >= 0)
    keys = map(new.__getitem__, known.tolist()), map(old.__getitem__, source[known].tolist())
    return source if all(map(operator.eq, *keys)) else None


def _checked(keys):
    """Returns a list of keys that somebody gave; raises ValueError if it is none."""
    try:
        texts = isinstance(keys, (list, tuple)) and keys and all(map(str.strip, keys))
    except TypeError:
        texts = False
    if not texts:
        raise ValueError(
            "Keys must be texts that are not empty, a list with one for each row; found "
            f"{short(keys)}."
        )
    if not _are_lines(keys):
        wrong = next(key for key in keys if not _are_lines([key]))
        raise ValueError(
            f"A list of keys holds one that is no line of a vocabulary file: {short(wrong)}. Leave "
            "out ends of lines and a byte order mark, or give the path of the file."
        )
    return keys


def _are_lines(keys):
    """Returns whether a vocabulary file can say these keys: read again, they are the same."""
    text = "\n".join(keys) + "\n"
    try:
        content = text.encode("utf-8")
    except UnicodeEncodeError:  # half of a pair of surrogates
        return False
    is_marked = content.startswith(codecs.BOM_UTF8)
    return text.count("\n") == len(keys) and "\r\n" not in text and not is_marked


def as_vocabulary(given):
    """Returns a `Vocabulary`, given one, None, or what `align_vocabularies` takes."""
    if given is None or isinstance(given, Vocabulary):
        return given
    of_keys = (str, bytes, os.PathLike, list, tuple)
    if (
        not isinstance(given, (list, tuple))
        or len(given) not in (2, 3)
        or not all(isinstance(its, of_keys) for its in given[:2])
        or isinstance(given[-1], of_keys) == (len(given) == 3)
    ):
        raise ValueError(
            "A vocabulary is given as (old, new) or (old, new, num_oov_buckets), paths or lists of "
            f"keys; found {short(given)}."
        )
    return align_vocabularies(*given)


def compare_with_keys(path, vocabularies):
    """Raises ValueError if the keys in a file beside a checkpoint are not the old ones.

    Args:
        path: of a file that need not be there.
        vocabularies: list of `Vocabulary`; those of another number of keys may be of other tables.
    """
    if not vocabularies or not os.path.exists(path):
        return
    beside = read_vocabulary(path)
    same_size = [v.old_keys for v in vocabularies if len(v.old_keys) == len(beside)]
    if same_size and beside not in same_size:
        row = next(i for i, pair in enumerate(zip(same_size[0], beside)) if len(set(pair)) > 1)
        raise ValueError(
            f"The old vocabulary is not that of the checkpoint: row {row} is "
            f"{same_size[0][row]!r} in it, and {beside[row]!r} in {path}. Give {path} as the "
            "old one."
        )


def check_vocabulary(vocabulary, name, num_rows, checkpoint_rows):
    """Raises ValueError unless the keys are as many as the rows they name."""
    for keys, rows, what in (
        (vocabulary.old_keys, checkpoint_rows, "the checkpoint's table"),
        (vocabulary.new_keys, num_rows, "the table in the graph"),
    ):
        named = rows - vocabulary.num_oov_buckets
        if len(keys) != named:
            raise ValueError(
                f"The vocabulary of {name} has {len(keys)} keys, and {what} has {rows} rows: line "
                f"{named + 1} names no row. Expected one line a row."
                if len(keys) > named
                else f"The vocabulary of {name} ends at line {len(keys)}, and {what} has {rows} "
                "rows. Expected one line a row; if those at the end are of keys in no vocabulary, "
                "say how many: (old, new, num_oov_buckets)."
            )
