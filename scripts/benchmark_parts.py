"""The parts of benchmark.py: which lines each has, and what measures them."""

ADAM = ", Adam"  # what the names of parts with Adam's slots end with
# By part: {line: (function of measures.py, its arguments)}. The first line of each is plain.
PARTS = {
    "load": {
        "loading: `tf.train.Saver.restore` of one whole variable": ("files", True, "base"),
        "a grown table's own initializer": ("files", False, None),
        "`pe.Saver.restore` of the base": ("files", False, "base"),
        "of a whole checkpoint": ("files", False, "whole"),
        "of a delta": ("files", False, "delta"),
        "`tf.train.Saver.restore` of what `pe.Saver` saved": ("files", True, "whole"),
    },
    "save": {
        "saving: `tf.train.Saver.save` of the whole table": ("files", True, "base", True),
        "`pe.Saver.save`, whole": ("files", False, None, True),
    },
    "save" + ADAM: {
        "saving with Adam's slots: `tf.train.Saver.save`": ("files", True, "base", True, True),
        "`pe.Saver.save`, whole, with slots": ("files", False, None, True, True),
    },
    "save, again" + ADAM: {
        "the session's next save, with slots: plain": ("files", True, "base", 2, True),
        "`pe.Saver.save`, whole, with slots, again": ("files", False, None, 2, True),
    },
    "merge": {
        "merging: plain restore and save": ("files", True, "base", "both"),
        "`merge_checkpoint` of base and delta": ("merge", False),
    },
    "merge" + ADAM: {
        "merging with Adam's slots: plain restore and save": ("files", True, "base", "both", True),
        "`merge_checkpoint`, with slots": ("merge", True),
    },
    "grow": {
        "growing by keys in another order: `tf.train.warm_start`, and a save": ("grow", True),
        "`grow_checkpoint`": ("grow", False),
    },
    "prove": {
        "frozen rows, a pass: read them, `zlib.crc32`": ("prove", "crc32"),
        "read them, keep a copy, compare": ("prove", "copy"),
        "`record_frozen_rows`: hash them": ("prove", "hashes"),
    },
    "build": {
        "building 50 lookups of one variable": ("build", True, 50),
        "of a grown table": ("build", False, 50),
        "of a grown table, all of the same ids": ("build", False, 50, True),
    },
    "first": {
        "building 50 tables and a step of Adagrad: one variable each": ("first", True, False),
        "of grown tables": ("first", False, False),
    },
    "first, saver": {
        "building them and a Saver: `tf.train.Saver`": ("first", True, False, True),
        "of grown tables: `pe.Saver`": ("first", False, False, True),
    },
    "first, step": {
        "all of it to its first step: initial values, a plain restore": ("first", True, True),
        "of grown tables, which load themselves": ("first", False, True),
    },
    "ops": {
        "the ops of 50 lookups of one variable": ("build", True, 50, False, True),
        "of a grown table, in ops": ("build", False, 50, False, True),
        "of the same ids, in ops": ("build", False, 50, True, True),
    },
}
# By part: what of measures.py writes the files that it needs beside bases, deltas and whole tables.
PREPARED = {"grow": "prepare_keys", "first": "prepare_tables"}
# Contests of forms that take turns: which of players.py, and what it is given beside sizes.
CONTESTS = {
    "loop, complex": ("loop", "complex"),
    "loop, matrix_factorization": ("loop", "matrix_factorization"),
    "sparse": ("sparse", False),
    "sparse, safe": ("sparse", True),
    "decoder": ("decoder",),
    "scores": ("scores",),
}
# What `--only` knows.
NAMES = [
    *dict.fromkeys(part.split(",")[0] for part in [*PARTS, *CONTESTS]),
    "wrong",
    "step",
    "peers",
]
NOT_DRAWN = {"ops", "wrong", "peers"}  # of these no picture is made without others
