"""What is found in a script: where, of which kind, what was seen, what to do."""

from collections import namedtuple

TABLE, GONE, TRAP, SYNTAX = "table", "gone", "trap", "syntax"


class Finding(namedtuple("Finding", ["path", "line", "kind", "seen", "remedy", "heading"])):
    """One thing that docs/migration.md has something to say about.

    Args:
        path: str, the script.
        line: int, counted from 1.
        kind: TABLE (it can grow), GONE (TensorFlow 2 does not have it), TRAP (it runs, and does
            something else), or SYNTAX (the script could not be read).
        seen: str, what stands there.
        remedy: str, what to do.
        heading: str, the heading in docs/migration.md that says more.
    """

    __slots__ = ()
