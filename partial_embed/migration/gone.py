"""Calls that TensorFlow 2 does not have, also not in compat.v1, and what took their place."""

import ast

from partial_embed.migration.findings import GONE
from partial_embed.migration.syntax import is_number, text

HEADING = "Names that are gone"
_LEGACY_KERAS = (
    "or, for the same names of variables, `pip install tf_keras` and TF_USE_LEGACY_KERAS=1"
)
_NO_ESTIMATORS = "2.15 was the last TensorFlow with Estimators: a loop over `sess.run`, or 1.15"

# {what is gone: (what takes its place, heading)}; of two that fit a name the longer one is taken.
SUCCESSORS = {
    "tf.contrib": ("no module has taken its place: write out what is needed", HEADING),
    "tf.contrib.layers.xavier_initializer": (
        "`pe.xavier_initializer`, the same values from the same seed",
        "Initializers and seeds",
    ),
    "tf.contrib.layers.variance_scaling_initializer": (
        "`tf.variance_scaling_initializer`, whose normal values are others",
        "Initializers and seeds",
    ),
    "tf.contrib.layers.l2_regularizer": ("`lambda w: scale * tf.nn.l2_loss(w)`", HEADING),
    "tf.contrib.layers.l1_regularizer": ("`lambda w: scale * tf.reduce_sum(tf.abs(w))`", HEADING),
    "tf.contrib.layers.apply_regularization": (
        "`tf.add_n([regularizer(w) for w in weights])`",
        HEADING,
    ),
    "tf.contrib.layers.optimize_loss": ("`minimize` of an optimizer", HEADING),
    "tf.contrib.layers.fully_connected": (
        '`tf.keras.layers.Dense(n, "relu")`, whose weights have other names',
        HEADING,
    ),
    "tf.contrib.layers.embed_sequence": (
        '`tf.get_variable("EmbedSequence/embeddings", [vocab_size, embed_dim])` and a lookup',
        HEADING,
    ),
    "tf.contrib.layers.batch_norm": ("`tf.keras.layers.BatchNormalization`", HEADING),
    "tf.contrib.layers.layer_norm": ("`tf.keras.layers.LayerNormalization`", HEADING),
    "tf.contrib.layers": ("the layer of `tf.keras.layers`", HEADING),
    "tf.contrib.slim": ("the layer of `tf.keras.layers`", HEADING),
    "tf.contrib.rnn": (f"the cell of `tf.keras.layers`, in `RNN`; {_LEGACY_KERAS}", HEADING),
    "tf.contrib.cudnn_rnn": ("`tf.keras.layers.LSTM` or `GRU`", HEADING),
    "tf.contrib.lookup": (
        "`tf.lookup.StaticVocabularyTable`, `tf.lookup.StaticHashTable`",
        HEADING,
    ),
    "tf.contrib.data": ("`tf.data`", HEADING),
    "tf.contrib.training.HParams": ("a class of your own", HEADING),
    "tf.contrib.framework.nest": ("`tf.nest`", HEADING),
    "tf.contrib.framework.get_or_create_global_step": (
        "`tf.train.get_or_create_global_step`",
        HEADING,
    ),
    "tf.contrib.framework.load_variable": ("`tf.train.load_variable`", HEADING),
    "tf.contrib.framework.list_variables": ("`tf.train.list_variables`", HEADING),
    "tf.contrib.tensorboard": ("`from tensorboard.plugins import projector`", HEADING),
    "tf.contrib.tpu": ("`tf.tpu`; its Estimators are gone", "Estimators and feature columns"),
    "tf.contrib.cluster_resolver": ("`tf.distribute.cluster_resolver`", HEADING),
    "tf.contrib.distribute": ("`tf.distribute`", HEADING),
    "tf.contrib.estimator": (_NO_ESTIMATORS, "Estimators and feature columns"),
    "tf.contrib.learn.preprocessing.VocabularyProcessor": (
        "a dict of words and their ids, kept in a file",
        HEADING,
    ),
    "tf.contrib.learn": ("Keras, or a loop over `sess.run`; `tf.data` for its input", HEADING),
    "tf.estimator": (_NO_ESTIMATORS, "Estimators and feature columns"),
    "tf.layers": (f"the layer of `tf.keras.layers`; {_LEGACY_KERAS}", HEADING),
    "tf.nn.rnn_cell": (f"the cell of `tf.keras.layers`, in `RNN`; {_LEGACY_KERAS}", HEADING),
    "tf.nn.seq2seq": ("`tf.nn.dynamic_rnn`, or write it out", HEADING),
    "tf.examples": ("`tf.keras.datasets`", HEADING),
    "tf.mul": ("`tf.multiply`", HEADING),
    "tf.sub": ("`tf.subtract`", HEADING),
    "tf.neg": ("`tf.negative`", HEADING),
    "tf.pack": ("`tf.stack`", HEADING),
    "tf.unpack": ("`tf.unstack`", HEADING),
    "tf.select": ("`tf.where`", HEADING),
    "tf.batch_matmul": ("`tf.matmul`", HEADING),
    "tf.merge_all_summaries": ("`tf.summary.merge_all`", HEADING),
    "tf.merge_summary": ("`tf.summary.merge`", HEADING),
    "tf.scalar_summary": ("`tf.summary.scalar`", HEADING),
    "tf.histogram_summary": ("`tf.summary.histogram`", HEADING),
    "tf.train.SummaryWriter": ("`tf.summary.FileWriter`", HEADING),
    "tf.keras.backend.set_session": ("`tf.keras` runs in the session that is open", HEADING),
    "tf.keras.backend.get_session": ("`tf.get_default_session`", HEADING),
    "tf.keras.layers.CuDNNLSTM": ("`tf.keras.layers.LSTM`", HEADING),
    "tf.keras.layers.CuDNNGRU": ("`tf.keras.layers.GRU`", HEADING),
    "tf.keras.utils.multi_gpu_model": ("`tf.distribute.MirroredStrategy`", HEADING),
}
# Modules that never were public, and are gone since.
PRIVATE = ("tf.python.estimator",)
# Names that compat.v1 has and TensorFlow 2 has not: said without compat, one line at the top mends
# all of them.
_COMPAT_ONLY = """
ConfigProto GPUOptions GraphKeys InteractiveSession Session app assign flags get_collection
get_default_graph get_default_session get_variable gfile global_variables
global_variables_initializer initialize_all_variables log logging placeholder
placeholder_with_default random_normal random_uniform reset_default_graph set_random_seed
sparse_placeholder sparse_tensor_dense_matmul to_float to_int32 trainable_variables
truncated_normal truncated_normal_initializer variable_scope train.AdagradOptimizer
train.AdamOptimizer train.GradientDescentOptimizer train.MomentumOptimizer
train.MonitoredTrainingSession train.RMSPropOptimizer train.Saver
train.get_or_create_global_step summary.FileWriter summary.merge_all
"""
COMPAT_ONLY = frozenset(f"tf.{name}" for name in _COMPAT_ONLY.split())
# What absl has, of which TensorFlow 1 had copies.
_ABSL = {"tf.app": "absl.app", "tf.flags": "absl.flags", "tf.logging": "absl.logging"}

# What flags had until TensorFlow took those of absl.
_OLD_FLAGS = {
    "_parse_flags": "since 1.5 flags are read when the first is asked for: take the line out.",
    "__flags": "since 1.5 it holds no values: `FLAGS.flag_values_dict()`.",
}


def findings(script):
    """Yields a finding for each name that is gone, at the first line that has it."""
    uses = {}  # (entry of the table, what is said in one): [(node, name), ...]
    without_compat = {}
    for node, name in _used(script):
        key = successor_of(name)
        if key is not None:
            group = ".".join(name.split(".")[:3]) if key == "tf.contrib" else key
            uses.setdefault((key, group), []).append((node, name))
        elif not script.names.is_compat(node):
            top = next((its for its in _beginnings(name) if its in COMPAT_ONLY), None)
            if top is not None:
                without_compat.setdefault(top, []).append(node)
    if without_compat:
        yield _import(script, without_compat)
    for (key, _), found in uses.items():
        if key in PRIVATE:
            remedy, heading = "a private module that is gone: what is public in its place", HEADING
        else:
            remedy, heading = SUCCESSORS[key]
        yield script.finding(found[0][0], GONE, remedy + ".", heading, _named(found))
    for node in script.nodes:
        remedy = _OLD_FLAGS.get(getattr(node, "attr", None))
        if remedy is not None and text(node.value).endswith("FLAGS"):
            yield script.finding(node, GONE, remedy, HEADING)
    for call in script.calls_of("tf.concat"):
        if call.args and is_number(call.args[0]):
            yield script.finding(call, GONE, "since 1.0: `tf.concat(values, axis)`.", HEADING)


def successor_of(name):
    """Returns the entry of the tables that a public name falls under; None if it is not gone."""
    name = "tf." + name if name.startswith("keras.") else name
    for beginning in reversed(list(_beginnings(name))):
        if beginning in SUCCESSORS or beginning in PRIVATE:
            return beginning
    return None


def _beginnings(name):
    parts = name.split(".")
    return (".".join(parts[:count]) for count in range(2, len(parts) + 1))


def _used(script):
    """Yields (node, public name) of the names that a script uses."""
    for node in script.nodes:
        is_part = isinstance(script.values.parent_of.get(node), ast.Attribute)
        if is_part or isinstance(getattr(node, "ctx", None), ast.Store):
            continue  # of a longer name, or what gets a name
        name = script.names.of(node)
        if name.startswith(("tf.", "keras.")) and not _is_guarded(script, node):
            yield node, name


def _is_guarded(script, node):
    """Returns whether it stands where only a TensorFlow that has it comes along."""
    if script.names.is_compat(node):
        return False
    for around in script.values.within(node, ast.Try, ast.If):
        if isinstance(around, ast.If):
            tested = [getattr(its, "attr", "") for its in ast.walk(around.test)]
            if "__version__" in tested:
                return True
        elif any("AttributeError" in text(its.type) for its in around.handlers if its.type):
            return any(node in ast.walk(statement) for statement in around.body)
    return False


def _import(script, uses):
    """One finding for all names that need compat.v1: at the line that imports TensorFlow."""
    lines = [line for line, _, full in script.names.imports if full.split(".")[0] == "tensorflow"]
    names = sorted(uses, key=lambda name: (-len(uses[name]), name))
    said = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    remedy = "`import tensorflow.compat.v1 as tf` and `tf.disable_v2_behavior()` for all of them"
    absl = [f"`{_ABSL[name]}`" for name in sorted(_ABSL) if name in uses]
    if absl:
        remedy += f"; {', '.join(absl)} on either version"
    first = min(node.lineno for nodes in uses.values() for node in nodes)
    found = script.finding(next(iter(uses.values()))[0], GONE, remedy + ".", "The lines", said)
    return found._replace(line=min(lines) if lines else first)


def _named(found):
    """The names of what is gone, the first one whole, and the other lines that have them."""
    names = list(dict.fromkeys(name for _, name in found))
    said = ", ".join([names[0]] + [name.rsplit(".", 1)[-1] for name in names[1:3]])
    said += f" and {len(names) - 3} more" if len(names) > 3 else ""
    lines = sorted({node.lineno for node, _ in found})
    if len(lines) == 1:
        return said
    more = ", ".join(map(str, lines[1:6])) + (" ..." if len(lines) > 6 else "")
    return f"{said} (also line{'s' if len(lines) > 2 else ''} {more})"
