"""What is found in a script: where, of which kind, what was seen, what to do."""

from collections import namedtuple

TABLE, GONE, TRAP, SYNTAX = "table", "gone", "trap", "syntax"
# The headings in docs/migration.md that findings name.
HEADINGS = frozenset(
    [
        "The lines",
        "Ids that were renumbered",
        "Counters",
        "Data tables",
        "Pretrained encoders with a tied output",
        "Decoders",
        "Graph recommenders",
        "Estimators and feature columns",
        "Known limits",
        "Names that are gone",
        "Scripts in Python 2",
        "`tf.Variable` tables",
        "Restoring the old checkpoint into the grown graph",
        "Initializers and seeds",
        "Partition strategies",
        "`tf.cond` and momentum",
        "Slots and their names",
        "Savers of a list",
        "Only the files are left",
    ]
)


class Finding(namedtuple("Finding", ["path", "line", "kind", "seen", "remedy", "heading"])):
    """One thing that docs/migration.md has something to say about.

    Args:
        path: str, the script.
        line: int, counted from 1.
        kind: TABLE (it can grow), GONE (TensorFlow 2 does not have it), TRAP (it runs, and does
            something else), or SYNTAX (the script could not be read).
        seen: str, what stands there.
        remedy: str, what to do.
        heading: str, one of HEADINGS, under which docs/migration.md says more.
    """

    __slots__ = ()
