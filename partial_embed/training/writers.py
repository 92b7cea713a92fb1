"""Ops that would move what is frozen: found when a Saver or a hook is built, and refused."""

import tensorflow.compat.v1 as tf

from partial_embed.table.embedding import embeddings_in, frozen_variables_in, parts_of
from partial_embed.table.report import STATE, reports_in
from partial_embed.training.graph import find_writers
from partial_embed.training.hold import is_held


def frozen_in(graph):
    """Returns {name of a frozen variable's op: (the variable, what of which table it is)}."""
    frozen = {
        part.op.name: (part, f"the frozen rows of {embedding.table_name}")
        for embedding in embeddings_in(graph)
        for part in embedding.frozen_parts
    }
    for variable, checkpoint, _ in frozen_variables_in(graph):
        for part in parts_of(variable):
            frozen[part.op.name] = (
                part,
                f"which growing loaded from {checkpoint.prefix} and froze",
            )
    return frozen


def moving_state(writers):
    """Returns [(variable's name, its growing's `Report`, ops that write to it), ...].

    Of what growing has loaded as state, as moving statistics are: where it moves, old
    rows score otherwise than they did.

    Args:
        writers: dict of a variable's op to ops, from `find_writers`.
    """
    found = []
    for report in reports_in():
        # What is to be held is, once growing is closed; what is made after that is not.
        held = (
            {} if report.is_settled else {v.op.name for each in report.held for v in parts_of(each)}
        )
        for name in report.names(STATE):
            moving = [op for op in writers.get(name, ()) if name not in held and not is_held(op)]
            if moving:
                found.append((name, report, moving))
    return found


def refuse_writers():
    """Raises ValueError if an op of the default graph can write to a frozen variable; names both.

    What loads them, initializers and ops that restore a checkpoint, may.
    """
    graph = tf.get_default_graph()
    frozen = frozen_in(graph)
    writers = find_writers(graph.get_operations()) if frozen else {}
    for name, (variable, what) in frozen.items():
        for op in writers.get(name, ()):
            remedy = "leave it out of the var_list, as minimize(optimizer, loss) does"
            if "Apply" not in op.type and "/update_" not in op.name:  # it is no optimizer's
                remedy = "write to new rows only, the table's .trainable"
            raise ValueError(
                f"The op {op.name} ({op.type}) can write to {variable.name}, {what}. To go on, "
                f"{remedy}; or let it train: growing(..., train=...), trainable_rows=."
            )
