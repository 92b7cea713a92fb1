"""Ids by hash, whose rows nothing can follow; and the last rows, of keys in no vocabulary."""

import ast

from partial_embed.migration.findings import TRAP
from partial_embed.migration.syntax import argument, is_number, literal, text

HEADING = "Ids that were renumbered"
# Columns whose ids are hashes.
HASHED_COLUMNS = (
    "tf.feature_column.categorical_column_with_hash_bucket",
    "tf.feature_column.crossed_column",
    "tf.contrib.layers.sparse_column_with_hash_bucket",
    "tf.contrib.layers.crossed_column",
)
_HASHES = (
    *HASHED_COLUMNS,
    *(f"tf.strings.to_hash_bucket{kind}" for kind in ("", "_fast", "_strong")),
    *(f"tf.string_to_hash_bucket{kind}" for kind in ("", "_fast", "_strong")),
    "sklearn.feature_extraction.FeatureHasher",
    "sklearn.feature_extraction.text.HashingVectorizer",
)
# The place of the number of rows for keys in no vocabulary.
_WITH_BUCKETS = {
    "tf.lookup.StaticVocabularyTable": 1,
    "tf.contrib.lookup.IdTableWithHashBuckets": 1,
    "tf.contrib.lookup.index_table_from_file": 1,
    "tf.contrib.lookup.index_table_from_tensor": 1,
    "tf.feature_column.categorical_column_with_vocabulary_file": 3,
    "tf.feature_column.categorical_column_with_vocabulary_list": 4,
}


def findings(script):
    """Yields ids that are hashes, and tables whose last rows are for keys in no vocabulary."""
    by_hash = (
        "ids by hash: with more buckets nearly every key has another row, and nothing fails: leave "
        "the number of buckets as it is."
    )
    for call, name in script.calls:
        if name in _HASHES or name.endswith(".preprocessing.text.hashing_trick"):
            yield script.finding(call, TRAP, by_hash, HEADING)
        elif name in _WITH_BUCKETS:
            number = argument(call, _WITH_BUCKETS[name], "num_oov_buckets")
            if number is not None and literal(number) not in (0, None):
                last = f"{text(number)} rows" if is_number(number) else "rows"
                last = "row" if literal(number) == 1 else last
                remedy = (
                    f"the last {last}, for keys in no vocabulary, can stay the last only by "
                    f"`vocabularies=`: (old, new, {text(number)})."
                )
                yield script.finding(call, TRAP, remedy, HEADING)
    for node in script.nodes:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and _hashes(script, node):
            yield script.finding(node, TRAP, by_hash, HEADING)


def _hashes(script, node):
    """Returns whether it is `hash(key) % n`, other than to divide data into parts."""
    if any(script.values.within(node, ast.Compare)):
        return False
    calls = [its for its in ast.walk(node.left) if isinstance(its, ast.Call)]
    return any(
        text(its.func) == "hash" or script.names.of(its.func).startswith(("hashlib.", "mmh3."))
        for its in calls
    )
