"""A table that is exported: its name and shape, its values when asked for, a key a row."""

import contextlib
import itertools
from collections import namedtuple

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed.files.finite import nonfinite_rows, refuse_nonfinite
from partial_embed.files.runs import from_runs
from partial_embed.files.tensors import reason

_FIELDS = ["name", "held_name", "source", "keys", "num_oov_buckets", "allow_nonfinite"]


class Table(namedtuple("Table", _FIELDS)):
    """A table of a source, not read yet.

    Attributes:
        name: str, its name where it goes to.
        held_name: str, its name in the source.
        source: where it comes from, see `sources`.
        keys: list of str, of the first rows; None without a vocabulary.
        num_oov_buckets: int, how many rows after those are for other keys.
        allow_nonfinite: bool, whether rows may hold NaN or Inf.
    """

    shape = property(lambda self: list(self.source.shapes[self.held_name]))
    dtype = property(lambda self: self.source.dtypes[self.held_name])

    def array(self):
        """Returns its values as an array.

        Raises:
            ValueError: if they cannot be read, or a row holds NaN or Inf.
        """
        values = self.source.read(self.held_name)
        bad = [] if self.allow_nonfinite or not values.ndim else nonfinite_rows(values)
        if len(bad):
            raise ValueError(
                f"{self.held_name} of {self.source.label}: rows {bad[:20].tolist()} hold NaN or "
                "Inf. Repair them, or pass allow_nonfinite=True to export them as they are."
            )
        return values

    def tensor(self):
        """Returns a tensor of the default graph that reads and checks the values when it runs."""
        value = self.source.tensor(self.held_name)
        value.set_shape(self.shape)
        if self.allow_nonfinite or not (value.dtype.is_floating or value.dtype.is_complex):
            return value
        return refuse_nonfinite(value, f"{self.held_name} of {self.source.label}")

    def row_keys(self, refused=""):
        """Returns an iterator of a text for each row: its key, or without keys its number.

        Args:
            refused: letters that no key may hold where it goes to.

        Raises:
            ValueError: if a key holds one.
        """
        if self.keys is None:
            return map(str, range(self.shape[0]))
        for key in self.keys:
            if any(letter in key for letter in refused):
                raise ValueError(
                    f"The key {key!r} of {self.held_name} holds white space that would end it in "
                    "this format. Export to another, or rename the key."
                )
        buckets = [f"<out-of-vocabulary-{number}>" for number in range(self.num_oov_buckets)]
        taken = [key for key in self.keys if key in buckets] if buckets else []
        if taken:
            raise ValueError(
                f"The key {taken[0]} of {self.held_name} is what the row for keys out of "
                "vocabulary is called here. Rename the key."
            )
        return itertools.chain(self.keys, buckets)

    def generation_of_rows(self):
        """Returns an int array [rows]: the generation each came in; None if that is not known."""
        entry = self.source.generations.get(self.held_name)
        if entry is None or entry.get("axis"):
            return None
        numbers = np.zeros(entry["rows"], int)
        for number, runs in enumerate(entry["generations"]):
            numbers[from_runs(runs)] = number
        return numbers


def variables_of(tables):
    """Returns a resource variable of the default graph for each table, whose initializer reads it.

    Args:
        tables: list of `Table`.
    """
    variables = []
    for table in tables:
        with tf.device("/cpu:0"):
            variables.append(
                tf.Variable(
                    table.tensor,
                    trainable=False,
                    dtype=table.dtype,
                    name=plain_name(table.name),
                    use_resource=True,
                )
            )
    return variables


@contextlib.contextmanager
def reading(tables):
    """Turns what TensorFlow says in the block of values that cannot be read into a ValueError.

    Args:
        tables: list of `Table`.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if "NaN or Inf" in str(error):
            raise ValueError(reason(error)) from error
        for table in tables:  # Whoever is at fault: a source says so when it is read again.
            table.source.read(table.held_name)
        raise


def plain_name(name):
    """Returns a name that ops and files can have: `model/ent` as it is, `a b` as `a_b`."""
    letters = [
        letter if letter.isascii() and (letter.isalnum() or letter in "_.-/") else "_"
        for letter in name
    ]
    return "".join(letters).strip("/_-") or "table"


def file_name(number, table):
    """Returns a name for a file of one table, that no other has: `0-model-ent`."""
    return f"{number}-" + plain_name(table.name).replace("/", "-")
