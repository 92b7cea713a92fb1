"""Constants of a MetaGraph that hold an old number of rows: what they are now a person says."""

import contextlib
from collections import namedtuple

from absl import logging

from partial_embed.exporting.grown_graph import set_constants
from partial_embed.exporting.nodes import ancestors
from partial_embed.table.patterns import Patterns

Size = namedtuple("Size", ["old", "new"])


def count_new_rows(graph_def, outputs, sizes, constants, leave=""):
    """Replaces old numbers of rows in what outputs depend on; warns of those nobody speaks of.

    A small number can be anything, so that is no error as it is of what is served.

    Args:
        graph_def: `GraphDef`.
        outputs: names of nodes.
        sizes: list of `Size` of the tables.
        constants: dict of pattern of a node's name to the number that stands there now, or "keep".
        leave: what the names of nodes begin with that are not looked at.

    Raises:
        ValueError: if a pattern matches no such constant.
    """
    said = Patterns(constants or {})
    nodes = {node.name: node for node in graph_def.node}
    # Where new rows start is not their number in what is computed of them.
    names = [its for its in ancestors(outputs, nodes) if "/Initializer/" not in its]
    names = [name for name in names if not name.startswith(leave)]
    unsaid = set_constants(graph_def, names, [its for its in sizes if its.old != its.new], said)
    if said.unmatched:
        raise ValueError(
            f"The patterns {sorted(said.unmatched)} match no constant that holds an old number of "
            "rows. Leave them out of constants=."
        )
    if unsaid:
        name, (_, new) = next(iter(unsaid.items()))
        logging.warning(
            "Constants hold an old number of rows, or the last row's: %s. Those that count rows "
            "keep new ones from being reached: say constants={%r: %s}, or 'keep'.",
            ", ".join(f"{its} ({held})" for its, (held, _) in list(unsaid.items())[:8]),
            name,
            new,
        )


@contextlib.contextmanager
def fitting():
    """Says of a graph that cannot be imported what may keep it from fitting larger tables."""
    try:
        yield
    except ValueError as error:
        raise ValueError(
            f"The model does not fit its larger tables: {error} If a constant holds an old number "
            "of rows, say what stands there now: constants={name: number}."
        ) from error
