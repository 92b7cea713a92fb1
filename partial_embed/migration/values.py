"""What a name in a script may stand for: the expressions that are assigned to it."""

import ast
from collections import defaultdict, namedtuple

from partial_embed.migration.syntax import index_of, literal, text

# An argument of a function: which function, and the place of the argument.
Parameter = namedtuple("Parameter", ["function", "index", "name"])
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


class Values:
    """Assignments by name: of a function for plain names, of the file for `self.x` and `d["x"]`.

    Control flow is not followed: a name stands for all that the function assigns to it.

    Args:
        tree: `ast.Module`.
    """

    def __init__(self, tree):
        self.function_of = {}  # node: the function around it, or None
        self.parent_of = {}
        self.statement_of = {}  # the value of an assignment: the assignment
        self.functions = defaultdict(list)  # name: the functions of that name
        self._names = defaultdict(list)  # (function, name): expressions
        self._members = defaultdict(list)  # "self.x", or ["x"]: expressions
        self._visit(tree, None)

    def _visit(self, node, function):
        self.function_of[node] = function
        if isinstance(node, _FUNCTIONS):
            if not isinstance(node, ast.Lambda):
                self.functions[node.name].append(node)
            for index, its in enumerate(node.args.args):
                self._names[node, its.arg].append(Parameter(node, index, its.arg))
            function = node
        elif isinstance(node, ast.Assign):
            self.statement_of[node.value] = node
            for target in node.targets:
                self._bind(target, node.value, function)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            self._bind(node.target, node.value, function)
        elif isinstance(node, (ast.For, ast.comprehension)):
            self._bind(node.target, None, function)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values):
                if key is not None and isinstance(literal(key), str):
                    self._members["[]", literal(key)].append(value)
        for child in ast.iter_child_nodes(node):
            self.parent_of[child] = node
            self._visit(child, function)

    def _bind(self, target, value, function):
        if isinstance(target, (ast.Tuple, ast.List)):
            pairs = isinstance(value, (ast.Tuple, ast.List))
            same = pairs and len(value.elts) == len(target.elts)
            for index, part in enumerate(target.elts):
                if same:
                    self.statement_of[value.elts[index]] = self.statement_of.get(value)
                self._bind(part, value.elts[index] if same else value, function)
        elif isinstance(target, ast.Name):
            self._names[function, target.id].append(value)
        elif isinstance(target, (ast.Attribute, ast.Subscript)):
            self._members[_member(target)].append(value)

    def of(self, node):
        """Returns what a name, `self.x` or `d["x"]` may stand for: expressions or `Parameter`s."""
        if isinstance(node, ast.Name):
            function = self.function_of.get(node)
            while True:
                found = self._names.get((function, node.id))
                if found or function is None:
                    break
                function = self.function_of.get(function)
            if found and function is self.function_of.get(node):
                found = self._before(found, node)
        else:
            found = self._members.get(_member(node)) if _member(node) else None
            here = self.function_of.get(node)
            # What the function itself assigns to `self.x` counts before what others do.
            found = [its for its in found or () if self.function_of.get(its) is here] or found
        return [value for value in found or () if value is not None and value is not node]

    def _before(self, values, node):
        """Returns those that a name may have at a node: back to the last one that is sure."""
        around = set(self.within(node, ast.AST))
        found = []
        for value in reversed(values):
            if not isinstance(value, Parameter):
                statement = self.statement_of.get(value)
                if statement is None or statement.lineno > node.lineno or statement in around:
                    continue
                found.append(value)
                if self.parent_of.get(statement) in around:
                    break
            else:
                found.append(value)
        return found or values

    def within(self, node, *kinds):
        """Yields the nodes around a node that are of these kinds, from the inside out."""
        while node in self.parent_of:
            node = self.parent_of[node]
            if isinstance(node, kinds):
                yield node

    def expressions(self, node):
        """Yields a node and all that it may stand for, through names given to names, each once."""
        waiting, seen = [node], set()
        while waiting:
            value = waiting.pop(0)
            if value in seen:
                continue
            seen.add(value)
            yield value
            if not isinstance(value, Parameter):
                waiting = list(self.of(value)) + waiting


def _member(node):
    if isinstance(node, ast.Attribute):
        return text(node)
    if isinstance(node, ast.Subscript) and isinstance(literal(index_of(node)), str):
        return "[]", literal(index_of(node))
    return None
