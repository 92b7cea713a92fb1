"""Tables that can be grown: variables with a row, or a column, for each key."""

import ast
import re

from partial_embed.migration.buckets import HASHED_COLUMNS
from partial_embed.migration.findings import TABLE, TRAP
from partial_embed.migration.state import is_array, is_data
from partial_embed.migration.syntax import argument, literal, shorten, text
from partial_embed.migration.values import Parameter
from partial_embed.migration.variables import arguments_of, variables_of

# What reads rows of its first argument, and what else of it has a row a key.
LOOKUPS = {
    "tf.nn.embedding_lookup": ["params"],
    "tf.nn.embedding_lookup_sparse": ["params"],
    "tf.nn.safe_embedding_lookup_sparse": ["embedding_weights"],
    "tf.contrib.layers.safe_embedding_lookup_sparse": ["embedding_weights"],
    "tf.contrib.layers.embedding_lookup_unique": ["params"],
    "tf.gather": ["params"],
    "tf.nn.nce_loss": ["weights", "biases"],
    "tf.nn.sampled_softmax_loss": ["weights", "biases"],
}
# Calls that make a table inside: the place of the number of rows, and its names.
_EMBEDDINGS = {
    "tf.contrib.layers.embed_sequence": (1, "vocab_size"),
    "tf.contrib.rnn.EmbeddingWrapper": (1, "embedding_classes"),
    "tf.contrib.legacy_seq2seq.embedding_rnn_decoder": (3, "num_symbols"),
    "tf.contrib.legacy_seq2seq.embedding_rnn_seq2seq": (3, "num_encoder_symbols"),
    "tf.contrib.legacy_seq2seq.embedding_attention_seq2seq": (3, "num_encoder_symbols"),
}
_COLUMNS = ("tf.feature_column.embedding_column", "tf.feature_column.shared_embeddings")
_DENSE = {
    "tf.layers.dense": (1, "units"),
    "tf.layers.Dense": (0, "units"),
    "tf.python.layers.core.Dense": (0, "units"),
    "tf.contrib.layers.fully_connected": (1, "num_outputs"),
    "tf.contrib.slim.fully_connected": (1, "num_outputs"),
    "tf.keras.layers.Dense": (0, "units"),
    "keras.layers.Dense": (0, "units"),
    "keras.layers.core.Dense": (0, "units"),
}
# Sizes that are numbers of keys by their names, and names of tables.
_KEYS = re.compile(
    r"vocab|(^|[^a-z])(n|num|number_of|max)_?(of_)?(users?|items?|ent|words?|tokens?|nodes?|movies?)"
    r"|(users?|items?|ent(it(y|ies))?|words?|tokens?|nodes?|movies?)_?(num|count|total|cnt)",
    re.I,
)
_NAMED = re.compile(r"emb(e?d|s?$|[^a-z])|lookup_?table", re.I)
_NO_KEYS = re.compile(
    r"dim|hidden|unit|rnn|layer|filter|channel|(emb\w*|d_model|state)_?size", re.I
)


class Tables:
    """The variables of a script that have a row, or a column, for each key.

    Args:
        script: a `Script`.
    """

    def __init__(self, script):
        self._script = script
        self.variables = [its for its in variables_of(script) if not is_data(script, its)]
        self._by_call = {its.call: its for its in self.variables}
        looked_up = set()
        for call, name in script.calls:
            for index, argument_name in enumerate(LOOKUPS.get(name, ())):
                looked_up |= self.within(argument(call, index, argument_name))
        by_name = {its for its in self.variables if _by_name(script, its)}
        self.rows = {its for its in looked_up | by_name if its.shape != ()}
        keys = {key_of(its.shape[0]) for its in self.rows if its.shape} - {None}
        self._keys = keys
        self.rows |= {its for its in self.variables if its.shape and self.is_count(its.shape[0])}
        self.columns = {
            its
            for its in set(self.variables) - self.rows
            if its.shape and len(its.shape) == 2 and self.is_count(its.shape[1])
        }

    def is_count(self, size):
        """Returns whether a size as written is the number of a table's keys."""
        return key_of(size) in self._keys or bool(_KEYS.search(size) and not _NO_KEYS.search(size))

    def within(self, node, depth=4):
        """Returns the variables that an expression is, joins, cuts, scales or chooses from."""
        if node is None or not depth:
            return set()
        found = set()
        for value in self._script.values.expressions(node):
            if isinstance(value, Parameter):
                for given in arguments_of(self._script, value):
                    found |= self.within(given, depth - 1)
            elif isinstance(value, ast.Call):
                if value in self._by_call:
                    found.add(self._by_call[value])
                elif self._script.names.of(value.func) in _PASSED_ON:
                    for its in value.args:
                        found |= self.within(its, depth - 1)
            elif isinstance(value, (ast.List, ast.Tuple)):
                for its in value.elts:
                    found |= self.within(its, depth - 1)
            elif isinstance(value, ast.Subscript):
                found |= self.within(value.value, depth - 1)
            elif isinstance(value, ast.Lambda):
                found |= self.within(value.body, depth - 1)
            elif isinstance(value, ast.BinOp):
                left = self.within(value.left, depth - 1)
                right = self.within(value.right, depth - 1)
                both = left | right
                if isinstance(value.op, ast.Add) and not (left and right):  # A bias is no table.
                    both = {its for its in both if its.shape is None or len(its.shape) > 1}
                found |= both
        return found

    def tables_in(self, node):
        """Returns those of `within` that have a row or a column for each key."""
        return self.within(node) & (self.rows | self.columns)

    def findings(self):
        """Yields what can be grown, and how."""
        for its in self.variables:
            if its in self.rows:
                yield self._rows(its)
            elif its in self.columns:
                yield self._script.finding(
                    its.call,
                    TABLE,
                    f"a decoder of {its.shape[1]} columns: grows along them as it is, under "
                    "`with pe.growing(checkpoint):`.",
                    "Decoders",
                    _seen(its),
                )
        for call, name in self._script.calls:
            yield from self._made_inside(call, name)

    def _rows(self, its):
        first = its.shape[0] if its.shape else None
        if (
            its.shape
            and len(its.shape) > 1
            and key_of(first)
            and key_of(first) == key_of(its.shape[1])
        ):
            remedy = f"grows along both axes, {first} by {first}, which is refused: `skip=` it."
            return self._script.finding(its.call, TRAP, remedy, "Known limits", _seen(its))
        rows = "rows" if its.shape is None or len(its.shape) > 1 else "entries"
        what = f"{first} {rows}" if first else "as many rows as its array has"
        remedy = f"{what}: `with pe.growing(checkpoint):` around it, and more of them."
        if its.maker == "tf.Variable" and not its.name:
            remedy += " It has no name: keep the order in which the script makes variables."
        heading = "`tf.Variable` tables" if its.maker == "tf.Variable" else "The lines"
        return self._script.finding(its.call, TABLE, remedy, heading, _seen(its))

    def _is_hashed(self, call):
        column = argument(call, 0, "categorical_column", "categorical_columns")
        values = self._script.values.expressions(column) if column is not None else ()
        return any(
            isinstance(its, ast.Call) and self._script.names.of(its.func) in HASHED_COLUMNS
            for its in values
        )

    def _made_inside(self, call, name):
        if name in _EMBEDDINGS:
            rows = argument(call, *_EMBEDDINGS[name])
            remedy = f"{_written(rows)} rows: on 1.15 `with pe.growing(checkpoint):` around it."
            yield self._script.finding(call, TABLE, remedy, "The lines")
        elif name.startswith(("keras.", "tf.keras.")) and name.endswith(".Embedding"):
            rows = argument(call, 0, "input_dim")
            remedy = (
                f"{_written(rows)} rows: grows in graph mode, called on tensors under "
                "`with pe.growing(checkpoint):`; not in a Keras model that `fit` trains."
            )
            yield self._script.finding(call, TABLE, remedy, "Known limits")
        elif name in _COLUMNS and not self._is_hashed(call):
            remedy = (
                "grows with its vocabulary: `with pe.growing(checkpoint):` around the training."
            )
            yield self._script.finding(call, TABLE, remedy, "Estimators and feature columns")
        elif name in _DENSE:
            units = argument(call, *_DENSE[name])
            if units is not None and literal(units) is not None and self.is_count(text(units)):
                remedy = (
                    f"a decoder of {text(units)} columns, and their biases: both grow under "
                    "`with pe.growing(checkpoint):`, in graph mode."
                )
                yield self._script.finding(call, TABLE, remedy, "Decoders")


# Calls that pass on rows of their arguments.
_PASSED_ON = (
    "tf.concat",
    "tf.stack",
    "tf.identity",
    "tf.convert_to_tensor",
    "tf.nn.l2_normalize",
    "tf.transpose",
    "tf.cond",
    "tf.divide",
    "tf.multiply",
    "tf.clip_by_norm",
)


def key_of(size):
    """What makes two sizes the same: `self.n_items + 1`, `1 + args.n_items`. None for a number."""
    words = [word.split(".")[-1] for word in re.findall(r"[A-Za-z_][\w.]*|\d+", size)]
    return tuple(sorted(words)) if any(not word.isdigit() for word in words) else None


def _by_name(script, variable):
    called = variable.name or variable.target
    first = variable.shape[0] if variable.shape else ""
    of_rows = bool(variable.shape) or is_array(script, variable.start)
    return of_rows and bool(_NAMED.search(called)) and not _NO_KEYS.search(first)


def _written(node):
    return "its" if node is None else text(node)


def _seen(variable):
    target = variable.target + " = " if variable.target else ""
    return target + shorten(text(variable.call), 96 - len(target))
