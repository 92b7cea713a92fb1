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
    write = _FORMS.get(type(node))
    written = None if write is None else write(node)
    if written is not None:
        return written
    value = literal(node)
    if isinstance(value, str):
        return '"' + value.replace("\n", " ") + '"'
    return "..." if value is MISSING or isinstance(node, (ast.Dict, ast.Set)) else repr(value)


def _call(node):
    named = [f"{k.arg}={text(k.value)}" if k.arg else "**..." for k in node.keywords]
    return f"{text(node.func)}({', '.join([text(its) for its in node.args] + named)})"


def _index(node):
    if isinstance(node, ast.Tuple):
        return ", ".join(map(text, node.elts))
    return ", ".join(map(text, node.dims)) if hasattr(node, "dims") else text(node)  # ExtSlice


def _binary(node):
    sign = _OPERATORS.get(type(node.op))
    return sign and f"{_operand(node.left)} {sign} {_operand(node.right)}"


def _operand(node):
    return f"({text(node)})" if isinstance(node, ast.BinOp) else text(node)


_FORMS = {
    ast.Name: lambda node: node.id,
    ast.Attribute: lambda node: f"{_operand(node.value)}.{node.attr}",
    ast.Subscript: lambda node: f"{_operand(node.value)}[{_index(index_of(node))}]",
    ast.Slice: lambda node: ":".join(text(its) if its else "" for its in (node.lower, node.upper)),
    ast.Call: _call,
    ast.BinOp: _binary,
    ast.UnaryOp: lambda node: f"-{text(node.operand)}" if isinstance(node.op, ast.USub) else None,
    ast.List: lambda node: f"[{', '.join(map(text, node.elts))}]",
    ast.Tuple: lambda node: f"({', '.join(map(text, node.elts))})",
    ast.Starred: lambda node: f"*{text(node.value)}",
    ast.Lambda: lambda node: f"lambda: {text(node.body)}",
}


def shorten(words, limit=96):
    """Returns a text of at most `limit` characters."""
    return words if len(words) <= limit else words[: limit - 4] + " ..."


def argument(call, index, *names):
    """Returns the argument at a position or of one of the names; None if it is not given."""
    for keyword in call.keywords:
        if keyword.arg in names:
            return keyword.value
    if index is None or not 0 <= index < len(call.args):
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
