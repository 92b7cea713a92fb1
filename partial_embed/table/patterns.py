"""Values for variables whose names match a shell-style pattern."""

import fnmatch

import numpy as np


class Patterns:
    """What applies to which variables, by pattern; remembers the patterns that were of use.

    Attributes:
        unmatched: set of str, patterns that no name has matched yet. Not "all".
    """

    def __init__(self, values):
        """Takes a dict of pattern to value, or one or several patterns whose value is True.

        "all" matches every name.

        Raises:
            TypeError: if it is neither.
        """
        if not isinstance(values, dict):
            values = [values] if isinstance(values, str) else values or ()
            if not np.iterable(values) or not all(isinstance(its, str) for its in values):
                raise TypeError(
                    "Expected names or patterns of variables, 'all' for every one; found "
                    f"{values!r}."
                )
            values = dict.fromkeys(values, True)
        self._values = dict(values)
        self.unmatched = set(self._values) - {"all"}

    def find(self, name, fits=None):
        """Returns (pattern, value) of `name` itself, else of the first that it matches.

        There may be none: (None, None).

        Args:
            name: str.
            fits: function of pattern and value, whether it can be of use here; a pattern
                of which it cannot counts as not matched. Not asked by default.
        """
        found = None, None
        own = [(name, self._values[name])] if name in self._values else []
        for pattern, value in [*reversed(list(self._values.items())), *own]:
            matches = pattern == "all" or fnmatch.fnmatchcase(name, pattern)
            if matches and (fits is None or fits(pattern, value)):
                self.unmatched.discard(pattern)
                found = pattern, value
        return found

    def of_all(self):
        """Returns the value of "*", None if there is none; no name has matched it for that."""
        return self._values.get("*")

    def values(self):
        """Returns the values of all patterns."""
        return self._values.values()

    def get(self, name):
        """Returns the value of the first pattern that `name` matches, None if there is none."""
        return self.find(name)[1]
