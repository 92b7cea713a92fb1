"""A script as the rules read it: its calls by TensorFlow's names, and what its names stand for."""

import ast
import warnings

from partial_embed.migration.findings import Finding
from partial_embed.migration.names import Names
from partial_embed.migration.syntax import position, shorten, text
from partial_embed.migration.values import Values


class Script:
    """A parsed script.

    Args:
        source: str or bytes, its text.
        path: str, what findings say it is called.

    Raises:
        SyntaxError: if this Python does not read it.
        ValueError: if it is no text.
    """

    def __init__(self, source, path):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old escapes in strings, and comparisons with `is`
            tree = ast.parse(source)
        self.path = path
        self.names = Names(tree)
        self.values = Values(tree)
        self.nodes = sorted(
            (node for node in ast.walk(tree) if hasattr(node, "lineno")), key=position
        )
        # [(call, public name of what is called), ...]
        self.calls = [
            (node, self.names.of(node.func)) for node in self.nodes if isinstance(node, ast.Call)
        ]

    def calls_of(self, *names):
        """Yields the calls of one of these public names."""
        return (call for call, name in self.calls if name in names)

    def methods(self, *names):
        """Yields the calls of a method of one of these names, of what is not imported."""
        for call, name in self.calls:
            if not name and isinstance(call.func, ast.Attribute) and call.func.attr in names:
                yield call

    def finding(self, node, kind, remedy, heading, seen=None):
        """Returns a finding at a node."""
        return Finding(self.path, node.lineno, kind, shorten(seen or text(node)), remedy, heading)
