"""What a format is: which tables it holds, and the function that writes them."""

from collections import namedtuple

_FIELDS = ["write", "kind", "dtypes", "most_tables", "is_two_dimensional", "holds_keys"]


class Format(namedtuple("Format", _FIELDS)):
    """A format that tables are exported to.

    Attributes:
        write: function of (list of `Table`, where to write, `Options`). Where to write is a path
            of a file or of a directory, neither of which exists, or a `Stage`.
        kind: str, what is written: "file", "directory" or "checkpoint".
        dtypes: set of names of the dtypes that it holds exactly, None for all.
        most_tables: int, how many tables it holds, None for any number.
        is_two_dimensional: bool, whether a table must have rows and columns, and no more.
        holds_keys: bool, whether the keys of rows are written as well.
    """


Options = namedtuple("Options", ["output", "unknown_keys"])
Options.__doc__ = """What one export was asked for, beside its tables.

Attributes:
    output: str, where it will stand.
    unknown_keys: "error" or "zeros", see `export`.
"""

FLOATS = {"float16", "bfloat16", "float32", "float64"}
INTEGERS = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
