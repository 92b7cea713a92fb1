"""Data as columns: keys, each of which has a row in a table, and numbers.

A directory holds `train.txt` and, if there are any, `valid.txt` and `test.txt`. Every line is one
example, its columns separated by tabs:

    triples   head       relation   tail               vocabularies: entities, relations
    ratings   user       item       value   [time]     vocabularies: users, items

Vocabularies may lie beside them, `entities.txt` and so on, one key a line. Their order decides
nothing but where new keys come: a key that the base has keeps its row, whatever line it is on, and
the others follow, in the order of the file, or alphabetically where there is none.
"""

import codecs
import math
import os
from typing import Callable, Dict, List, NamedTuple, Optional

import numpy as np
from absl import logging

from partial_embed.table.vocabulary import read_vocabulary

SPLITS = ("train", "valid", "test")
# By the name of a format: for each column its vocabulary, None if it holds numbers.
FORMATS = {
    "triples": {"head": "entities", "relation": "relations", "tail": "entities"},
    "ratings": {"user": "users", "item": "items", "value": None, "time": None},
}
_OPTIONAL = ("time",)


class Source(NamedTuple):
    """What a job is given: what `--data=package.module:function` returns.

    Attributes:
      vocabularies: dict of a vocabulary's name to the list of its keys, in any order; where a
        vocabulary is left out, its keys are those that the splits have.
      columns: dict of a column's name to its vocabulary, or None if it holds numbers.
      splits: dict of "train", and if any "valid", "test", to dicts of a column's name to a list of
        keys or numbers, one an example.
      pipeline: in place of columns and splits, a function of (split, vocabularies, num_old) that
        returns a `tf.data.Dataset` of batches, dicts of a feature's name to its tensor, or None if
        there is no such split. `vocabularies` are the keys in the order of their rows, and rows
        from `num_old[name]` on are new; in the same process or another it must give the same
        batches, or an interrupted run does not end where it would have.
    """

    vocabularies: Dict[str, List[str]] = {}
    columns: Dict[str, Optional[str]] = {}
    splits: Dict[str, Dict[str, list]] = {}
    pipeline: Optional[Callable] = None


class Data(NamedTuple):
    """Data whose keys have become rows.

    Attributes:
      vocabularies: dict of a vocabulary's name to its keys, in the order of their rows.
      num_old: dict of a vocabulary's name to how many of its rows the base has.
      columns: as in `Source`.
      splits: dict of a split to its examples: a dict of a column's name to an array [n], int64 rows
        or float64 numbers.
      pipeline: as in `Source`.
    """

    vocabularies: Dict[str, List[str]]
    num_old: Dict[str, int]
    columns: Dict[str, Optional[str]]
    splits: Dict[str, Dict[str, np.ndarray]]
    pipeline: Optional[Callable] = None

    def sizes(self, old=False):
        """How many rows each vocabulary has, or had in the base: dict of its name to an int."""
        return dict(self.num_old) if old else {k: len(v) for k, v in self.vocabularies.items()}

    def is_new(self, examples):
        """Says of each example whether it has a key that the base has no row for: bools [n]."""
        found = np.zeros([size(examples)], bool)
        for column, vocabulary in self.columns.items():
            if vocabulary and column in examples:
                found |= examples[column] >= self.num_old.get(vocabulary, 0)
        return found


def size(examples):
    """How many examples there are."""
    return len(next(iter(examples.values()))) if examples else 0


def take(examples, which):
    """Some of the examples, by their numbers or by bools."""
    return {name: values[which] for name, values in examples.items()}


def joined(parts):
    """Examples one after the other."""
    parts = [part for part in parts if part]
    names = list(parts[0]) if parts else []
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def read_directory(directory, columns, skip_bad_lines=False, old=None):
    """Reads a directory, see above.

    Args:
      directory: where `train.txt` and its companions lie.
      columns: one of `FORMATS`.
      skip_bad_lines: whether lines that are no examples are counted and passed over; otherwise the
        first one is an error.
      old: dict of a vocabulary's name to keys that need not be in its file.

    Returns:
      A `Source`.
    """
    if not directory:
        raise ValueError("Say where the data lies with --data_dir.")
    if not os.path.isdir(directory):
        raise FileNotFoundError(f"There is no directory of data {directory}.")
    vocabularies, keys = {}, {}
    for name in sorted({name for name in columns.values() if name}):
        path = os.path.join(directory, name + ".txt")
        if os.path.exists(path):
            vocabularies[name] = read_vocabulary(path)
            keys[name] = set(vocabularies[name]).union((old or {}).get(name, ()))
    splits = {}
    for split in SPLITS:
        path = os.path.join(directory, split + ".txt")
        if split == "train" or os.path.exists(path):
            splits[split] = _read_lines(path, columns, keys, skip_bad_lines)
    if not size(splits["train"]):
        raise ValueError(f"{os.path.join(directory, 'train.txt')} holds no examples.")
    for split, examples in splits.items():
        if not size(examples):
            splits[split] = dict.fromkeys(splits["train"], ())
        elif len(examples) != len(splits["train"]):
            raise ValueError(
                f"{os.path.join(directory, split + '.txt')} has {len(examples)} columns, and "
                f"train.txt has {len(splits['train'])}; give both the same."
            )
    return Source(vocabularies, columns, splits)


def _read_lines(path, columns, keys, skip_bad_lines):
    names, found = list(columns), []
    least = len([name for name in names if name not in _OPTIONAL])
    wanted, bad = " ".join(names[:least]), []
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no file {path}.")
    with open(path, "rb") as file:
        if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:  # which some editors write
            file.seek(0)
        for number, line in enumerate(file, 1):
            try:
                fields = _fields(line, names, columns, least, keys, wanted)
                if found and len(fields) != len(found[0]):
                    raise ValueError(f"{len(fields)} columns, where lines before have others.")
            except ValueError as error:
                if not skip_bad_lines:
                    raise ValueError(f"{path}, line {number}: {error}") from error
                bad.append(f"{path}, line {number}: {error}")
            else:
                found.append(fields)
    if bad:
        logging.warning("%d bad lines of %s skipped; the first: %s", len(bad), path, bad[0])
    width = len(found[0]) if found else least
    return dict(zip(names, zip(*found) if found else [()] * width))


def _fields(line, names, columns, least, keys, wanted):
    """The fields of one line; raises a ValueError that says what is wrong with it."""
    try:
        text = line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError("this is not UTF-8 text.") from None
    fields = text.split("\t")
    if not least <= len(fields) <= len(names) or not all(field.strip() for field in fields):
        raise ValueError(f"expected {wanted}, separated by tabs; found {text!r}.")
    for place, (name, field) in enumerate(zip(names, fields)):
        vocabulary = columns[name]
        if vocabulary is None:
            try:
                fields[place] = float(field)
            except ValueError:
                fields[place] = math.nan
            if not math.isfinite(fields[place]):
                raise ValueError(f"expected a number as {name}; found {field!r}.")
        elif vocabulary in keys and field not in keys[vocabulary]:
            raise ValueError(f"{field!r} is not in {vocabulary}.txt; add it at the end.")
    return fields


def check(source, old=None):
    """Raises a `ValueError` if a `Source` is not as it must be; `old` as of `read_directory`."""
    for name, keys in source.vocabularies.items():
        _check_keys(keys, f"The vocabulary {name} of --data")
    if source.pipeline:
        return
    if not size(source.splits.get("train")):
        raise ValueError('--data has no train examples; its splits must have "train".')
    for split, examples in source.splits.items():
        if set(examples) != set(source.columns):
            raise ValueError(
                f"The {split} examples of --data have the columns {', '.join(sorted(examples))}, "
                f"and its columns are {', '.join(sorted(source.columns))}."
            )
        sizes = {name: len(values) for name, values in examples.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"The columns of the {split} examples of --data differ: {sizes}.")
        for name, values in examples.items():
            what, vocabulary = f"The {split} column {name} of --data", source.columns[name]
            if vocabulary:
                _check_keys(values, what)
            elif not np.all(np.isfinite(np.array(values, np.float64))):
                raise ValueError(f"{what} holds numbers that are not finite.")
            missing = set(values) - set(source.vocabularies.get(vocabulary, values))
            missing -= set((old or {}).get(vocabulary, ()))
            if vocabulary and missing:
                raise ValueError(
                    f"{what} holds {min(missing)!r}, which is not in the vocabulary {vocabulary}."
                )


def _check_keys(keys, what):
    for key in dict.fromkeys(keys):
        if not isinstance(key, str) or not key.strip() or "\n" in key or "\r" in key:
            raise ValueError(
                f"{what} holds {key!r}; a key is text of one line, such as {str(0)!r} for 0."
            )


def number(source, old=None):
    """Gives every key its row: those of the base keep theirs, and the new ones follow.

    Args:
      source: a `Source`.
      old: dict of a vocabulary's name to its keys in the base, in the order of their rows.

    Returns:
      A `Data`.
    """
    old = old or {}
    names = sorted({name for name in source.columns.values() if name} | set(source.vocabularies))
    vocabularies, rows = {}, {}
    for name in names:
        known = source.vocabularies.get(name)
        if known is None:
            known = sorted(
                {
                    key
                    for column, vocabulary in source.columns.items()
                    for examples in source.splits.values()
                    for key in (examples.get(column, ()) if vocabulary == name else ())
                }
            )
        vocabularies[name] = list(dict.fromkeys([*old.get(name, ()), *known]))
        rows[name] = {key: row for row, key in enumerate(vocabularies[name])}
    splits = {}
    for split, examples in source.splits.items():
        splits[split] = {}
        for column, values in examples.items():
            vocabulary = source.columns[column]
            if vocabulary:
                found = np.array([rows[vocabulary][key] for key in values], np.int64)
            else:
                found = np.array(values, np.float64)
            splits[split][column] = found
    num_old = {name: len(old.get(name, ())) for name in names}
    return Data(vocabularies, num_old, dict(source.columns), splits, source.pipeline)


def write_lines(path, lines):
    """Writes lines of text; a reader sees the old file or the new one, never half of one."""
    with open(path + ".part", "w", encoding="utf-8", newline="\n") as file:
        file.writelines(line + "\n" for line in lines)
    os.replace(path + ".part", path)


def write_directory(directory, data):
    """Writes a `Data` as a directory that `read_directory` reads back."""
    os.makedirs(directory, exist_ok=True)
    for name, keys in data.vocabularies.items():
        write_lines(os.path.join(directory, name + ".txt"), keys)
    for split, examples in data.splits.items():
        columns = [
            [data.vocabularies[data.columns[name]][row] for row in values]
            if data.columns[name]
            else [repr(float(value)) for value in values]
            for name, values in examples.items()
        ]
        lines = ("\t".join(fields) for fields in zip(*columns))
        write_lines(os.path.join(directory, split + ".txt"), lines)
