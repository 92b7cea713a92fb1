"""How a script saves and restores: Savers, maps of names, MetaGraphs, updates beside the step."""

import ast

from partial_embed.migration.findings import TRAP
from partial_embed.migration.syntax import argument, text

_NO_SLOTS = ("tf.train.GradientDescentOptimizer", "tf.train.ProximalGradientDescentOptimizer")


def findings(script):
    """Yields Savers that would save too little, and what looks for names that changed."""
    for call, name in script.calls:
        if name == "tf.train.Saver":
            yield from _saver(script, call)
        elif name == "tf.train.import_meta_graph":
            remedy = (
                "makes the variables of the file, which growing does not reach: "
                "`pe.grow_meta_graph(meta, checkpoint, {name: rows})`."
            )
            yield script.finding(call, TRAP, remedy, "Only the files are left")
        elif name == "tf.train.init_from_checkpoint":
            remedy = (
                'of whole scopes, `{"bert/": "bert/"}`, it fails for what grew: take the line out, '
                "growing has loaded everything."
            )
            yield script.finding(call, TRAP, remedy, "Pretrained encoders with a tied output")
    for node in script.nodes:
        if script.names.of(node) == "tf.GraphKeys.UPDATE_OPS":
            remedy = "go on moving what was loaded, and so what old rows yield: `hold=` keeps them."
            yield script.finding(node, TRAP, remedy, "Pretrained encoders with a tied output")
            break


def _saver(script, call):
    chosen = argument(call, 0, "var_list")
    if chosen is not None:
        values = list(script.values.expressions(chosen))
        values += [
            its.value
            for its in script.nodes
            if isinstance(its, ast.AugAssign) and text(its.target) == text(chosen)
        ]
        calls = [script.names.of(its.func) for its in values if isinstance(its, ast.Call)]
        if "tf.trainable_variables" in [*calls, *_inside(script, values)]:
            remedy = (
                "what is frozen is not in that list: `pe.Saver` of the same writes whole tables, "
                "and frozen layers as well."
            )
            yield script.finding(call, TRAP, remedy, "Savers of a list")
            return
    if _has_slots(script):
        remedy = "writes of a slot only the new rows, and restores no smaller table: `pe.Saver`."
        yield script.finding(call, TRAP, remedy, "Slots and their names")
    elif list(script.methods("restore")):
        remedy = (
            "restores no smaller table: leave `restore` of the old checkpoint out, or `pe.Saver`. "
            "It saves what has no slots as it is."
        )
        heading = "Restoring the old checkpoint into the grown graph"
        yield script.finding(call, TRAP, remedy, heading)


def _inside(script, values):
    """The public names of what is called inside of expressions: of a comprehension's source."""
    for value in values:
        if isinstance(value, (ast.ListComp, ast.DictComp)):
            for its in ast.walk(value):
                if isinstance(its, ast.Call):
                    yield script.names.of(its.func)


def _has_slots(script):
    """Returns whether an optimizer with slots is there, or none at all, so that it is elsewhere."""
    made = [name for _, name in script.calls if name.endswith("Optimizer")]
    return not made or any(name not in _NO_SLOTS for name in made)
