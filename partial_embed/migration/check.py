"""Everything that docs/migration.md has to say about one script."""

from partial_embed.migration import buckets, gone, lookups, numbering, savers, state, updates
from partial_embed.migration.findings import SYNTAX, Finding
from partial_embed.migration.script import Script
from partial_embed.migration.tables import Tables

_TO_PYTHON_3 = "If it is Python 2: `2to3 -w` of a Python up to 3.12, and again."


def check_script(text, path):
    """Returns what is found in a script, without running or importing it.

    Args:
        text: str or bytes, the script.
        path: str, what findings say it is called.

    Returns:
        list of `Finding`, by line. Of a script that this Python does not read, one of kind SYNTAX.
    """
    try:
        return _findings(Script(text, path))
    except TabError as error:
        mend = "`expand -i old.py > new.py` makes spaces of tabs, as Python 2 read them: and again."
        return [_unreadable(path, error.lineno or 1, error.msg, (error.text or "").strip(), mend)]
    except SyntaxError as error:
        return [_unreadable(path, error.lineno or 1, error.msg, (error.text or "").strip())]
    except (ValueError, RecursionError, MemoryError) as error:  # no text, or nested too deeply
        return [_unreadable(path, 1, str(error) or "nested too deeply", "")]


def _findings(script):
    tables = Tables(script)
    found = [
        *tables.findings(),
        *gone.findings(script),
        *numbering.findings(script),
        *buckets.findings(script),
        *state.findings(script),
        *updates.findings(script, tables),
        *lookups.findings(script, tables),
        *savers.findings(script),
    ]
    return sorted(set(found), key=lambda its: (its.line, its.kind, its.seen))


def _unreadable(path, line, message, seen, mend=_TO_PYTHON_3):
    return Finding(
        path, line, SYNTAX, seen[:96], f"not read: {message}. {mend}", "Scripts in Python 2"
    )
