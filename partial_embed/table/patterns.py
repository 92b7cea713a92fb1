"""Values for variables whose names match a shell-style pattern."""

import fnmatch


class Patterns:
    """What applies to which variables, by pattern; remembers the patterns that were of use.

    Attributes:
        unmatched: set of str, patterns that no name has matched yet. Not "all".
    """

    def __init__(self, values):
        """Takes a dict of pattern to value; "all" matches every name."""
        self._values = dict(values)
        self.unmatched = set(self._values) - {"all"}

    def get(self, name):
        """Returns the value of the first pattern that `name` matches, None if there is none."""
        matching = [p for p in self._values if p == "all" or fnmatch.fnmatchcase(name, p)]
        self.unmatched.difference_update(matching)
        return self._values[matching[0]] if matching else None
