"""Lookup tables of a SavedModel that grew: their new keys, and variables that those find."""

import numpy as np

from partial_embed._tensorflow import assets_of
from partial_embed.exporting.nodes import add_constant, ancestors, constant
from partial_embed.training.graph import VARIABLES, node_of

_TABLES_OF_FILES = ("InitializeTableFromTextFile", "InitializeTableFromTextFileV2")
_TABLES_OF_KEYS = ("InitializeTable", "InitializeTableV2", "LookupTableImportV2")
LOOKUP_TABLES = (*_TABLES_OF_FILES, *_TABLES_OF_KEYS)
FINDS = ("LookupTableFind", "LookupTableFindV2")
HASHES = ("StringToHashBucket", "StringToHashBucketFast", "StringToHashBucketStrong")
_GATHERS = (
    *("Gather", "GatherV2", "ResourceGather", "GatherNd", "ResourceGatherNd"),
    *("SparseSegmentSum", "SparseSegmentMean", "SparseSegmentSqrtN"),
)
# What makes numbers of something else than row numbers, or of row numbers something else.
_OTHER_NUMBERS = (
    *("ArgMax", "TopK", "TopKV2", "MatMul", *FINDS, *_GATHERS),
    *("Shape", "ShapeN", "Size", "Rank", "Where"),
    *("Equal", "NotEqual", "Less", "LessEqual", "Greater", "GreaterEqual"),
)


def set_keys(meta_graph, nodes, vocabularies, files, scope, said):
    """Gives lookup tables the new keys, where they hold the old ones.

    Args:
        meta_graph, vocabularies, files: see `grow_graph`.
        nodes: dict of name to node, of its graph.
        scope: str, under which new nodes are.
        said: `Patterns` of constants whose values somebody said.

    Returns:
        Dict of the name of a lookup table's node to the `Vocabulary` that it follows.

    Raises:
        ValueError: if they are numbered in a way that cannot go on.
    """
    names = {node_of(tensor): file for tensor, file in assets_of(meta_graph).items()}
    followed = {}
    for node in list(nodes.values()):
        if node.op in _TABLES_OF_FILES:
            for needed in ancestors([node_of(node.input[1])], nodes):
                vocabulary = files.get(names.get(needed))
                if vocabulary is not None:
                    followed[node_of(node.input[0])] = vocabulary
                    if node.attr["vocab_size"].i == len(vocabulary.old_keys):
                        node.attr["vocab_size"].i = len(vocabulary.new_keys)
        elif node.op in _TABLES_OF_KEYS:
            for vocabulary in vocabularies:
                if _set_keys_of(meta_graph.graph_def, nodes, node, vocabulary, scope):
                    followed[node_of(node.input[0])] = vocabulary
                    break
    for node in list(nodes.values()):
        if node.op in FINDS and node_of(node.input[0]) in followed:
            vocabulary = followed[node_of(node.input[0])]
            _set_default(meta_graph.graph_def, nodes, node, vocabulary, scope, said)
    return followed


def _set_keys_of(graph_def, nodes, node, vocabulary, scope):
    """Returns whether a lookup table held the old keys; it holds the new ones then."""
    old, new = vocabulary.old_keys, vocabulary.new_keys
    found = [constant(nodes, text) for text in node.input[1:3]]
    keyed = [_is_of_keys(value, old) for value in found]
    if not any(keyed):
        return False
    if all(keyed):  # numbers that are keys and rows alike
        keyed[1] = False
    for at, (value, is_keys) in enumerate(zip(found, keyed), 1):
        if not is_keys and (value is None or value.tolist() != list(range(len(old)))):
            raise ValueError(
                f"The lookup table {node.name} gives the keys other numbers than 0, 1, 2 "
                "and so on. Export the model from its source."
            )
        if is_keys:
            array = _array_of(new, value.dtype, node.name)
        else:
            array = np.arange(len(new), dtype=value.dtype)
        node.input[at] = add_constant(graph_def, f"{scope}/{node.name}/{at}", array).name
    return True


def _set_default(graph_def, nodes, node, vocabulary, scope, said):
    """Has unknown keys taken for the key that they were taken for, if that has another row now."""
    number = constant(nodes, node.input[2])
    if vocabulary.source is None or number is None or number.dtype.kind != "i":
        return
    if said.find(node_of(node.input[2]))[0] is not None:
        return
    if number.size != 1 or not 0 <= int(number) < len(vocabulary.old_keys):
        return
    (places,) = np.nonzero(vocabulary.source == int(number))
    if not len(places):
        raise ValueError(
            f"{node.name} takes unknown keys to the row of {vocabulary.old_keys[int(number)]!r}, "
            "which is dropped. Leave it in, or export the model from its source."
        )
    if places[0] != number:
        array = np.full_like(number, places[0])
        node.input[2] = add_constant(graph_def, f"{scope}/{node.name}/default", array).name


def expect_own_keys(nodes, grown, followed):
    """Raises ValueError if a variable's rows follow other keys than those that find them, or none.

    Args:
        nodes: dict of name to node.
        grown: dict of the name of a variable's node to its `GrownVariable`.
        followed: see `set_keys`.
    """
    for node in list(nodes.values()):
        if node.op not in _GATHERS:
            continue
        held = ancestors([node_of(node.input[0])], nodes, _OTHER_NUMBERS)
        variables = [name for name in held if nodes[name].op in VARIABLES]
        if len(variables) != 1:  # Rows of several have numbers that no keys have.
            continue
        ids = sorted(ancestors([node_of(node.input[1])], nodes, _OTHER_NUMBERS))
        finds = [name for name in ids if nodes[name].op in FINDS]
        variable = grown.get(variables[0])
        name = variables[0] if variable is None else variable.name
        by_rows = variable is not None and not variable.axis
        wanted = variable.vocabulary if by_rows else None
        buckets = [nodes[name].attr["num_buckets"].i for name in ids if nodes[name].op in HASHES]
        if by_rows and not finds and variable.old in buckets:
            raise ValueError(
                f"The rows of {name} are {variable.old} buckets of hashed keys, so no key would "
                f"find a new one. Leave it out: skip={name!r}."
            )
        for find in finds:
            found = followed.get(node_of(nodes[find].input[0]))
            if _pair(found) == _pair(wanted):
                continue
            if found is None:
                raise ValueError(
                    f"The keys that {name} is looked up by are not the old vocabulary that its "
                    "rows follow. Give it the one that stands in the model, or leave it out: "
                    f"skip={name!r}."
                )
            raise ValueError(
                f"The keys that {name} is looked up by are new ones, and it does not grow by them. "
                f"Give {name} the same vocabulary."
            )


def _pair(vocabulary):
    return vocabulary and (vocabulary.old_keys, vocabulary.new_keys)


def _is_of_keys(value, keys):
    if value is None or value.ndim != 1:
        return False
    texts = [
        t.decode("utf-8", "replace") if isinstance(t, bytes) else str(t) for t in value.tolist()
    ]
    return texts == keys


def _array_of(keys, dtype, table):
    """Returns keys as an array, of texts or of numbers."""
    if dtype.kind == "O":
        return np.array([key.encode("utf-8") for key in keys], object)
    try:
        return np.array([int(key) for key in keys], dtype)
    except ValueError:
        raise ValueError(
            f"The lookup table {table} has numbers as keys, and not all new keys are numbers."
        ) from None
