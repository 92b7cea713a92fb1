"""What a script keeps in variables beside what it learns: counters, data, arrays in the graph."""

import ast
import re

from partial_embed.migration.findings import TRAP
from partial_embed.migration.syntax import MISSING, argument, is_false, is_number, literal, text

_ARRAYS = re.compile(
    r"emb|vec|matri|pre_?train|array|weights|glove|word2vec|feature|adj|data", re.I
)
_NO_ARRAY = re.compile(r"init(ializer)?$|rate|lr$|step|epoch|size|scale|regular", re.I)
_STEP = re.compile(r"(^|[._])(global_)?steps?$|^(i|it|iter)_?step", re.I)
_DECAYS = (
    "tf.train.exponential_decay",
    "tf.train.polynomial_decay",
    "tf.train.piecewise_constant",
    "tf.train.inverse_time_decay",
    "tf.train.natural_exp_decay",
    "tf.train.cosine_decay",
)


def findings(script):
    """Yields what starts afresh, what stays the script's, and arrays that are in the graph."""
    yield from _counters(script)
    for call in script.calls_of("tf.Variable", "tf.get_variable"):
        yield from _arrays(script, call)


def is_array(script, node, depth=4):
    """Returns whether an expression is, to all that can be seen, an array that the script has."""
    if node is None or not depth or literal(node) is not MISSING:
        return False
    for value in script.values.expressions(node):
        if isinstance(value, ast.Call):
            return _call_is_array(script, value, depth - 1)
        if isinstance(value, ast.BinOp):
            return any(is_array(script, its, depth - 1) for its in (value.left, value.right))
        if isinstance(value, (ast.Lambda, ast.List)):
            return False
    last = re.sub(r"\W+$", "", text(node)).split(".")[-1]
    is_name = isinstance(node, (ast.Name, ast.Attribute, ast.Subscript))
    return is_name and bool(_ARRAYS.search(last)) and not _NO_ARRAY.search(last)


def _call_is_array(script, call, depth):
    name = script.names.of(call.func)
    if isinstance(call.func, ast.Attribute) and call.func.attr in ("astype", "reshape"):
        return is_array(script, call.func.value, depth)
    if name == "tf.constant_initializer":
        return is_array(script, argument(call, 0, "value"), depth)
    if name in ("tf.constant", "tf.convert_to_tensor", "tf.cast", "tf.to_float"):
        return is_array(script, argument(call, 0, "value", "x"), depth)
    if name == "tf.concat":
        values = argument(call, 0, "values")
        return any(is_array(script, its, depth) for its in getattr(values, "elts", ()))
    scalars = ("numpy.float", "numpy.int", "numpy.sqrt", "numpy.log", "numpy.prod", "numpy.mean")
    return name.startswith("numpy.") and not name.startswith(scalars)


def start_of(call, name):
    """Returns what a variable starts from, or None."""
    if name == "tf.Variable":
        return argument(call, 0, "initial_value")
    return argument(call, 3, "initializer")


def is_data(script, variable):
    """Returns whether a variable holds the script's own numbers, and does not train."""
    trains = not is_false(argument(variable.call, None, "trainable"))
    return not trains and is_array(script, variable.start)


def _arrays(script, call):
    name = script.names.of(call.func)
    start = start_of(call, name)
    if not is_array(script, start):
        return
    if is_false(argument(call, None, "trainable")):
        remedy = "data, and stays the script's, with its new shape; `train=` its name loads it."
        yield script.finding(call, TRAP, remedy, "Data tables")
    else:
        remedy = (
            "the array is a constant in the graph, of 2 GB at most: leave it out where it carries "
            "old rows over, they are read from the checkpoint."
        )
        yield script.finding(call, TRAP, remedy, "The lines")


def _counters(script):
    makers = ("tf.train.get_or_create_global_step", "tf.train.create_global_step")
    for call in [*list(script.calls_of(*makers))[:1], *_own_counters(script)]:
        remedy = (
            "starts afresh under growing, with the optimizer it belongs to; to go on counting: "
            "`train=` its name."
        )
        yield script.finding(call, TRAP, remedy, "Counters")
    for call in script.calls_of(*_DECAYS):
        yield script.finding(
            call, TRAP, "a rate that decays by a step starts at the beginning again.", "Counters"
        )
    for node in script.nodes:
        if isinstance(node, ast.While) and isinstance(node.test, ast.Compare):
            sides = [node.test.left] + node.test.comparators
            if any(_from_session(script, side) for side in sides):
                remedy = "counts from 0 under growing; loaded, it would end before its first step."
                seen = f"while {text(sides[0])} ... {text(sides[-1])}"
                yield script.finding(node, TRAP, remedy, "Counters", seen)


def _own_counters(script):
    """Yields the variables that count: whole numbers that do not train, and global steps."""
    given = (argument(call, None, "global_step") for call, _ in script.calls)
    steps = {its for step in given if step is not None for its in script.values.expressions(step)}
    for call in script.calls_of("tf.Variable", "tf.get_variable"):
        parent = script.values.parent_of.get(call)
        called = text(parent.targets[0]) if isinstance(parent, ast.Assign) else ""
        named = [its for its in [*call.args[:1], argument(call, None, "name")] if its is not None]
        words = [called, *(str(literal(its)) for its in named)]
        start = start_of(call, script.names.of(call.func))
        whole = start is not None and type(literal(start)) is int
        trains = not is_false(argument(call, None, "trainable"))
        named_step = any("global_step" in word for word in words)
        if call in steps or (not trains and (whole or named_step)):
            yield call


def _from_session(script, side):
    """Returns whether a step was read from the graph: `sess.run(global_step)`, `step.eval()`."""
    if not isinstance(side, (ast.Name, ast.Attribute)) or not _STEP.search(text(side)):
        return isinstance(side, ast.Call) and _reads_step(script, side)
    if text(side).split(".")[-1] == "global_step":
        values = script.values.of(side)
        return not values or any(not is_number(its) for its in values)
    for node in script.nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            targets = (
                node.targets[0].elts if isinstance(node.targets[0], ast.Tuple) else node.targets
            )
            if text(side) in map(text, targets) and _reads_step(script, node.value):
                return True
    return False


def _reads_step(script, call):
    if script.names.of(call.func) == "tf.train.global_step":
        return True
    attribute = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    return attribute in ("run", "eval") and "step" in text(call)
