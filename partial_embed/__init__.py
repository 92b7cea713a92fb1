"""Let a trained embedding table gain rows, and train only those.

A name is imported when it is first asked for, and TensorFlow with the first of them: so the command
`partial-embed` answers at once.
"""

import importlib

__version__ = "0.1.0"
# Where each public name is.
_PLACES = {
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
    for place, names in _PLACES.items():
        if name in names:
            # A name is a module's own, or (row_init) a module of a room.
            room = importlib.import_module(f"{__name__}.{place}")
            if not hasattr(room, name):
                importlib.import_module(f"{room.__name__}.{name}")
            globals()[name] = getattr(room, name)
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])
