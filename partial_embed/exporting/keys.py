"""Which keys the rows of exported tables have."""

import os

from absl import logging

from partial_embed.files.growth import expect_keys
from partial_embed.files.hashes import keys_fingerprint
from partial_embed.files.nearest import short
from partial_embed.table.patterns import Patterns
from partial_embed.table.vocabulary import Vocabulary, align_vocabularies, read_vocabulary


class Keys:
    """What keys tables have, as the one who exports says, or as stands beside the checkpoint.

    Args:
        source: see `sources`.
        vocabularies: see `export`.
    """

    def __init__(self, source, vocabularies):
        self._source = source
        is_default = vocabularies is None
        if is_default:
            vocabularies = {} if source.vocabulary is None else {"*": source.vocabulary}
        if not isinstance(vocabularies, dict):
            vocabularies = {"*": vocabularies}
        self._is_default = is_default
        self._denied = []  # why a vocabulary for all tables is not that of one of its size
        self._given = Patterns({pattern: _opened(given) for pattern, given in vocabularies.items()})

    def of(self, name):
        """Returns the `Vocabulary` of a table, of which the new keys are its own; None without.

        Raises:
            ValueError: if a vocabulary that was given for the table does not fit it.
        """
        shape = self._source.shapes[name]
        rows = shape[0] if shape else 0

        def fits(pattern, vocabulary):
            # "*" is for every table that has a row a key.
            problem = self._problem(name, rows, vocabulary)
            if pattern == "*" and problem and len(vocabulary.all_keys("new_keys")) == rows:
                self._denied.append(problem)
            return pattern != "*" or problem is None

        _, found = self._given.find(name, fits)
        problem = found and self._problem(name, rows, found)
        if problem:
            raise ValueError(problem)
        return found

    def check(self):
        """Raises ValueError if a vocabulary was of no use; logs it of one that nobody named."""
        unused = sorted(self._given.unmatched)
        if unused and self._is_default:
            logging.warning(
                "%s fits no table that is exported, so rows go by their numbers.",
                self._source.vocabulary,
            )
        elif unused == ["*"] and self._denied:
            raise ValueError(self._denied[0])
        elif unused:
            raise ValueError(
                f"The vocabulary for {', '.join(unused)} fits no table that is exported from "
                f"{self._source.label}. It must have a key for each row; if the last rows are for "
                "keys in no vocabulary, say how many: (vocabulary, num_oov_buckets)."
            )

    def _problem(self, name, rows, vocabulary):
        """Returns what is wrong with the keys of a table, None if nothing is."""
        keys = vocabulary.all_keys("new_keys")
        if len(keys) != rows:
            return (
                f"The vocabulary of {name} has {len(vocabulary.new_keys)} keys, and "
                f"{vocabulary.num_oov_buckets} rows are for others; {self._source.label} holds "
                f"{rows} rows of it. Expected a key for each row; if the last rows are for keys in "
                "no vocabulary, say how many: (vocabulary, num_oov_buckets)."
            )
        entry = self._source.generations.get(name)
        if entry and not entry.get("axis"):
            try:
                expect_keys(self._source.label, name, entry, keys_fingerprint(keys))
            except ValueError as error:
                return str(error)
        return None


def _opened(given):
    """Returns the `Vocabulary` that stands for keys, a path, or either with num_oov_buckets."""
    if isinstance(given, Vocabulary):
        return given
    num_oov_buckets = 0
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], int):
        given, num_oov_buckets = given
    if isinstance(given, (bytes, os.PathLike)):
        given = os.fsdecode(given)
    if not isinstance(given, (str, list, tuple)):
        raise TypeError(f"A vocabulary is a path or a list of keys, got {short(given)}.")
    keys = read_vocabulary(given) if isinstance(given, str) else list(given)
    return align_vocabularies(keys, keys, num_oov_buckets)
