"""Let a trained embedding table gain rows, and train only those.

A name is imported when it is first asked for, and TensorFlow with the first of them: so the command
`partial-embed` answers at once.

In the examples `np`, `tf` and `pe` are numpy, `tensorflow.compat.v1` and this package, each has a
default graph of its own, and `base.ckpt` is a checkpoint of `embedding` [5, 4], whose row i is four
times i, of `weight` [4, 1], and of Adagrad's slots. The module `partial_embed.table.row_init` is
`pe.row_init`.

Example:
    >>> with pe.growing("base.ckpt", show=None):
    ...     table = tf.get_variable("embedding", [7, 4])
    >>> table.num_frozen_rows
    5
"""

import importlib

__version__ = "0.1.0"
# Where each public name is.
_PLACES = {
    "exporting.export": ["export"],
    "exporting.grow_saved_model": ["grow_saved_model"],
    "grow_script": ["growing"],
    "meta_graph": ["GrownGraph", "grow_meta_graph"],
    "saving.grow_checkpoint": ["grow_checkpoint"],
    "saving.merge": ["merge_checkpoint"],
    "saving.saver": ["Saver"],
    "table": ["row_init"],
    "table.embedding": ["PartialEmbedding"],
    "table.get_embedding": ["get_embedding"],
    "table.initializers": ["xavier_initializer"],
    "table.lookup_cond": ["lookup_cond"],
    "table.vocabulary": ["Vocabulary", "align_vocabularies"],
    "training.audit": ["Audit", "Finding", "VariableReport", "audit"],
    "training.frozen_rows": ["FrozenRows", "FrozenRowsHook", "record_frozen_rows"],
    "training.minimize": ["minimize"],
}
__all__ = sorted(name for names in _PLACES.values() for name in names)  # noqa: PLE0605


def __getattr__(name):
    place = next((place for place, names in _PLACES.items() if name in names), "")
    try:
        room = importlib.import_module(f"{__name__}.{place}".rstrip("."))
        if place and hasattr(room, name):
            globals()[name] = getattr(room, name)
            return globals()[name]
        return importlib.import_module(f"{room.__name__}.{name}")  # a module, as row_init is
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


def __dir__():
    return sorted([*globals(), *__all__])
