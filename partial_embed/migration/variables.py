"""The variables of a script: the calls that make them, and their shapes as written."""

import ast
from collections import namedtuple

from partial_embed.migration.syntax import argument, literal, text
from partial_embed.migration.values import Parameter

MAKERS = (
    "tf.get_variable",
    "tf.Variable",
    "tf.contrib.framework.variable",
    "tf.contrib.framework.model_variable",
    "tf.contrib.slim.variable",
    "tf.contrib.slim.model_variable",
)


class Variable(namedtuple("Variable", ["call", "maker", "name", "target", "shape", "start"])):
    """One call that makes a variable.

    Args:
        call: `ast.Call`, in a helper's place the call of the helper.
        maker: str, what makes it, `tf.get_variable`.
        name: str, the name it is given, or "".
        target: str, what it is assigned to, as written, or "".
        shape: tuple of str, its sizes as written; None if that cannot be told.
        start: node of what it starts from, or None.
    """

    __slots__ = ()


def variables_of(script):
    """Returns the variables that a script makes: list of `Variable`, by line."""
    found = []
    for call, name in script.calls:
        if name not in MAKERS:
            continue
        callers = _callers(script, call, name)
        for site, shape in callers or [(call, _shape_of(script, call, name))]:
            target = next(_targets(script, site), "")
            said = argument(site, _place(name) if site is call else None, "name")
            said = literal(said) if said is not None else ""
            start = argument(call, 0 if name == "tf.Variable" else 3, *_STARTS)
            said = said if isinstance(said, str) else ""
            found.append(Variable(site, name, said, target, shape, start))
    return sorted(found, key=lambda its: its.call.lineno)


_STARTS = "initial_value", "initializer"
# Calls whose lists are values and not a shape.
_OF_VALUES = (
    *("tf.concat", "tf.stack", "tf.constant", "tf.convert_to_tensor"),
    *("numpy.array", "numpy.asarray", "numpy.concatenate", "numpy.stack", "numpy.vstack"),
)


def _place(name):
    return None if name == "tf.Variable" else 0


def _targets(script, node):
    """Yields what an expression is assigned to, as written, through calls around it."""
    for parent in script.values.within(node, ast.Assign, ast.AnnAssign, ast.FunctionDef):
        if isinstance(parent, (ast.Assign, ast.AnnAssign)):
            target = parent.targets[0] if isinstance(parent, ast.Assign) else parent.target
            yield text(target)
        return


def _callers(script, call, name):
    """Returns [(call of the helper, shape), ...] if a helper's argument is the shape.

    `def weight_variable(shape): return tf.Variable(tf.truncated_normal(shape))`.
    """
    sizes = argument(call, 1, "shape") if name != "tf.Variable" else None
    start = argument(call, 0, "initial_value") if name == "tf.Variable" else None
    for node in [sizes] if sizes is not None else _sizes_in(script, start):
        for value in script.values.expressions(node):
            if isinstance(value, Parameter) and isinstance(value.function, ast.FunctionDef):
                pairs = [(its, _sizes(script, given)) for its, given in _given(script, value)]
                return [(its, shape) for its, shape in pairs if shape is not None]
    return []


def arguments_of(script, parameter):
    """Yields what the calls of a function of this script give as one of its arguments."""
    return (given for _, given in _given(script, parameter) if given is not None)


def _given(script, parameter):
    """Yields (call, argument or None) of the calls of a function of this script."""
    function = parameter.function
    if not isinstance(function, ast.FunctionDef):
        return
    method = bool(function.args.args) and function.args.args[0].arg in ("self", "cls")
    for call, _ in script.calls:
        called = call.func.attr if isinstance(call.func, ast.Attribute) else text(call.func)
        if called == function.name:
            of_self = method and isinstance(call.func, ast.Attribute)
            given = argument(call, parameter.index - of_self, parameter.name)
            yield call, given


def _shape_of(script, call, name):
    if name != "tf.Variable":
        shape = _sizes(script, argument(call, 1, "shape"))
        if shape is not None:
            return shape
    start = argument(call, 0 if name == "tf.Variable" else 3, *_STARTS)
    for node in _sizes_in(script, start):
        shape = _sizes(script, node)
        if shape is not None:
            return shape
    return None


def _sizes_in(script, start, depth=4):
    """Yields what may be the shape in the expression that a variable starts from."""
    if start is None or not depth:
        return
    for node in script.values.expressions(start):
        if isinstance(node, ast.Lambda):
            yield from _sizes_in(script, node.body, depth - 1)
        if isinstance(node, ast.BinOp):
            yield from _sizes_in(script, node.left, depth - 1)
            yield from _sizes_in(script, node.right, depth - 1)
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Attribute) and node.func.attr == "astype":
            yield from _sizes_in(script, node.func.value, depth - 1)
        named = argument(node, None, "shape", "size")
        if named is not None:
            yield named
        elif script.names.of(node.func) in ("numpy.random.rand", "numpy.random.randn"):
            yield ast.copy_location(ast.List(elts=node.args, ctx=ast.Load()), node)
        elif text(node.func).split(".")[-1] != "run":  # whose list is of what to fetch
            for its in node.args:
                if isinstance(its, ast.Call):
                    yield from _sizes_in(script, its, depth - 1)
                elif script.names.of(node.func) not in _OF_VALUES:
                    yield its


def _sizes(script, node):
    """Returns the sizes of a shape as written, a tuple of str; None if they cannot be told."""
    if node is None:
        return None
    for value in script.values.expressions(node):
        if isinstance(value, (ast.List, ast.Tuple)) and value.elts:
            parts = [literal(its) for its in value.elts]
            if not any(isinstance(its, (str, list, float)) for its in parts):
                return tuple(text(its) for its in value.elts)
    return None
