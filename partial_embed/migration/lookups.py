"""Forms of lookups that mean another thing, or cost more, when a table has two parts."""

import ast

from partial_embed.migration.findings import TRAP
from partial_embed.migration.syntax import argument, literal, text
from partial_embed.migration.tables import LOOKUPS, key_of

_PARTITIONERS = (
    "fixed_size_partitioner",
    "variable_axis_size_partitioner",
    "min_max_variable_partitioner",
)


def findings(script, tables):
    """Yields divided tables, tables that are chosen by `tf.cond`, and tables that are joined."""
    for call, name in script.calls:
        if name in LOOKUPS:
            yield from _strategies(script, tables, call)
        elif name.startswith("tf.") and name.rsplit(".", 1)[-1] in _PARTITIONERS:
            remedy = (
                'a table saved in parts and looked up by the default "mod" has its rows in another '
                "order than its ids: `vocabularies=` puts them in order."
            )
            yield script.finding(call, TRAP, remedy, "Partition strategies")
        elif name == "tf.cond" and _chooses(script, tables, call):
            remedy = (
                "momentum moves new rows on batches of old ids: `pe.lookup_cond`, or a plain "
                "lookup of ids that mix both."
            )
            yield script.finding(call, TRAP, remedy, "`tf.cond` and momentum")
        elif name == "tf.concat":
            yield from _joined(script, tables, call)


def _chooses(script, tables, call):
    """Returns whether a branch is a table, or a lookup in one."""
    for branch in call.args[1:]:
        for value in script.values.expressions(branch):
            body = value.body if isinstance(value, ast.Lambda) else value
            if isinstance(body, ast.Call) and script.names.of(body.func) in LOOKUPS:
                body = argument(body, 0, "params")
            if isinstance(body, ast.expr) and tables.tables_in(body):
                return True
    return False


def _strategies(script, tables, call):
    strategy = argument(call, 2, "partition_strategy")
    if strategy is not None and isinstance(literal(strategy), str):
        remedy = "makes no difference to a grown table, which has the order of the file."
        yield script.finding(call, TRAP, remedy, "Partition strategies")
    params = argument(call, 0, "params")
    if isinstance(params, ast.List) and len(params.elts) > 1 and tables.tables_in(params):
        remedy = (
            "a list of unequal tables is looked up wrongly by either strategy: one grown table."
        )
        yield script.finding(call, TRAP, remedy, "Partition strategies")


def _joined(script, tables, call):
    """`tf.concat([e_old, e], 0)`: whole tables, by rows."""
    old_order = bool(call.args) and literal(call.args[0]) == 0  # tf.concat(0, values), before 1.0
    values = call.args[1] if old_order and len(call.args) > 1 else argument(call, 0, "values")
    axis = argument(call, 1, "axis", "concat_dim")
    if not isinstance(values, (ast.List, ast.Tuple)):
        return
    if not old_order and (axis is None or literal(axis) != 0):
        return
    tables_joined = [its for its in values.elts if tables.tables_in(its)]
    if not tables_joined:
        return
    counts = {its.shape and key_of(its.shape[0]) for its in tables.tables_in(values)}
    if len(counts) > 1:
        remedy = (
            "every step copies these tables, as before. In a graph the rows of old nodes stay, "
            "and what is propagated to them does not."
        )
        yield script.finding(call, TRAP, remedy, "Graph recommenders")
        return
    remedy = (
        f"every step copies {' and '.join(map(text, tables_joined))}. Of old and new rows of one "
        "table: `tf.nn.embedding_lookup(e, ids)` of the one that grew."
    )
    yield script.finding(call, TRAP, remedy, "The lines")
