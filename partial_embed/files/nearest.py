"""Names and values for an error to list: in few letters, and of names those most alike first."""

import difflib


def nearest(name, names, most=12, describe=str):
    """Returns `b, c and 3 more`: of `names`, those most like `name` first.

    Args:
        name: str, what was looked for.
        names: names that are there.
        most: int, how many to list.
        describe: function that gives the text for a name.
    """
    names = sorted(names)
    alike = {known: difflib.SequenceMatcher(None, known, name).ratio() for known in names}
    names.sort(key=lambda known: -alike[known])
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", " if describe is str else "; ").join(map(describe, names[:most])) + more


def short(value):
    """Returns what a value says of itself, in 40 letters at most."""
    # Of a long text its beginning alone: each of its letters may be written in four.
    text = repr(value[:40] if isinstance(value, str) else value)
    return text if len(text) <= 40 else text[:37] + "..."
