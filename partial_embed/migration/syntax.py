"""What a node of a script's syntax tree says: as text, as a literal, as an argument of a call."""

import ast

MISSING = object()
_OPERATORS = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.MatMult: "@",
}


def literal(node):
    """Returns the value of a number, string, list of them and so on; MISSING if it is none."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError):
        return MISSING


def is_number(node):
    """Returns whether it is a number written out."""
    value = literal(node)
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def index_of(subscript):
    """Returns what stands in the brackets of a subscript."""
    inner = subscript.slice
    return inner.value if type(inner).__name__ == "Index" else inner  # Python 3.7 has Index


def text(node):
    """Returns an expression as it is written, in short; what has no short form is `...`."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{text(node.value)}.{node.attr}"
    if isinstance(node, ast.Subscript):
        return f"{text(node.value)}[{text(index_of(node))}]"
    if isinstance(node, ast.Call):
        named = [f"{k.arg}={text(k.value)}" if k.arg else "**..." for k in node.keywords]
        return f"{text(node.func)}({', '.join([text(its) for its in node.args] + named)})"
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return f"{text(node.left)} {_OPERATORS[type(node.op)]} {text(node.right)}"
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return f"-{text(node.operand)}"
    if isinstance(node, (ast.List, ast.Tuple)):
        left, right = "[]" if isinstance(node, ast.List) else "()"
        return left + ", ".join(map(text, node.elts)) + right
    if isinstance(node, ast.Lambda):
        return f"lambda: {text(node.body)}"
    value = literal(node)
    if isinstance(value, str):
        return '"' + value.replace("\n", " ") + '"'
    return "..." if value is MISSING or isinstance(node, (ast.Dict, ast.Set)) else repr(value)


def shorten(words, limit=96):
    """Returns a text of at most `limit` characters."""
    return words if len(words) <= limit else words[: limit - 4] + " ..."


def argument(call, index, *names):
    """Returns the argument at a position or of one of the names; None if it is not given."""
    for keyword in call.keywords:
        if keyword.arg in names:
            return keyword.value
    if index is None or index >= len(call.args):
        return None
    if any(isinstance(its, ast.Starred) for its in call.args[: index + 1]):
        return None
    return call.args[index]


def is_false(node):
    """Returns whether it is the word False."""
    return node is not None and literal(node) is False


def position(node):
    """What nodes are sorted by."""
    return node.lineno, node.col_offset
