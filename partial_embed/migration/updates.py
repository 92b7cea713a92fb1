"""What a script does to its tables by itself: assigns them, asks their type, picks them by name."""

import ast

from partial_embed.migration.findings import TRAP
from partial_embed.migration.syntax import argument, literal, text
from partial_embed.migration.tables import LOOKUPS

_ASSIGNS = ("tf.assign", "tf.assign_add", "tf.assign_sub")
_SCATTERS = tuple(f"tf.scatter_{kind}" for kind in ("update", "add", "sub", "nd_update"))
_WHOLE = (
    "a grown table takes a whole table's value, of which frozen rows stay; pretrained vectors: "
    "leave the line out, old rows are read from the checkpoint."
)
_ROWS = "raises a `TypeError` for a grown table: `table.trainable` is what can be written."


def findings(script, tables):
    """Yields updates of tables, and choices of variables that miss them."""
    for call, name in script.calls:
        if name in _ASSIGNS and tables.tables_in(argument(call, 0, "ref")):
            yield script.finding(call, TRAP, _WHOLE, "`tf.Variable` tables")
        elif name in _SCATTERS and tables.tables_in(argument(call, 0, "ref")):
            yield script.finding(call, TRAP, _ROWS, "`tf.Variable` tables")
        elif text(call.func) == "isinstance" and _is_variable(script, call.args[1:]):
            remedy = "a grown table is no `tf.Variable`: ask for `pe.PartialEmbedding` as well."
            yield script.finding(call, TRAP, remedy, "`tf.Variable` tables")
    for call in script.methods("assign", "assign_add", "assign_sub", "load"):
        if tables.tables_in(call.func.value):
            yield script.finding(call, TRAP, _WHOLE, "`tf.Variable` tables")
    for call in script.methods("scatter_update", "scatter_sub", "scatter_add"):
        if tables.tables_in(call.func.value):
            yield script.finding(call, TRAP, _ROWS, "`tf.Variable` tables")
    for call in script.methods("compute_gradients", "minimize"):
        place = 1 if call.func.attr == "compute_gradients" else None
        yield from _chosen(script, tables, argument(call, place, "var_list"))
    for node in script.nodes:
        if isinstance(node, ast.Compare):
            yield from _by_name(script, node)


def _is_variable(script, types):
    parts = [part for its in types for part in (its.elts if isinstance(its, ast.Tuple) else [its])]
    return any(script.names.of(its) == "tf.Variable" for its in parts)


def _chosen(script, tables, var_list):
    """`compute_gradients(loss, rows)` of rows that were looked up, and `var_list=[table]`."""
    if var_list is None:
        return
    values = script.values.expressions(var_list)
    written = next((its for its in values if isinstance(its, (ast.List, ast.Tuple))), None)
    parts = [var_list] if written is None else written.elts
    for part in parts:
        for value in script.values.expressions(part):
            if isinstance(value, ast.Call) and script.names.of(value.func) in LOOKUPS:
                remedy = (
                    "rows that were looked up cannot be updated: `optimizer.minimize(loss)`, "
                    "under growing only new rows are there to train."
                )
                yield script.finding(part, TRAP, remedy, "The lines")
                return
    if written is not None:
        for part in parts:
            direct = tables.tables_in(part) if not isinstance(part, ast.Call) else None
            if direct:
                remedy = f"`{text(part)}` that grew is an error there: `{text(part)}.trainable`."
                yield script.finding(part, TRAP, remedy, "`tf.Variable` tables")
                return


def _by_name(script, node):
    """`v.name == "embedding:0"`, and `v.name in ["embedding:0", ...]`."""
    sides = [node.left] + node.comparators
    if not isinstance(node.ops[0], (ast.Eq, ast.NotEq, ast.In, ast.NotIn)):
        return
    if not any(isinstance(its, ast.Attribute) and its.attr == "name" for its in sides):
        return
    for side in sides:
        words = literal(side)
        words = words if isinstance(words, (list, tuple, set)) else [words]
        if any(isinstance(word, str) and word.endswith(":0") for word in words):
            remedy = "a grown table trains as `<name>/trainable:0`: `v.name.startswith(...)`."
            seen = " ... ".join(text(side) for side in sides)
            yield script.finding(node, TRAP, remedy, "`tf.Variable` tables", seen)
            return
