"""A base is known by its rows: those that a table grew from, or that a delta was trained beside."""

import numpy as np

from partial_embed.files.hashes import fingerprint, row_hashes


def expect_same_base(table, source, origin):
    """Raises ValueError if a base holds other rows than the one that a table grew from.

    Args:
        table: `Table` of a Saver.
        source: the source of its rows that is to be restored.
        origin: that of the base.
    """
    embedding, base = table.embedding, table.embedding.source
    if source.is_complete or base is None or not base.is_unchanged():
        return
    if source.checkpoint.index_checksum == base.index_checksum != "":
        return
    which = embedding.plan.frozen_rows()
    hashes = [hashes_of(rows.rows(which)) for rows in (origin, source)]
    if not np.array_equal(*hashes):
        raise ValueError(
            f"{table.name} grew from {base.prefix}, and {source.checkpoint.prefix} holds other old "
            "rows of it. Grow from that one, or restore with allow_other_base=True. No variable "
            "was changed."
        )


def check_base(delta, entry, name, frozen):
    """Raises ValueError unless `Stored` values are those that a delta was trained beside."""
    compare_base(delta, entry, name, hashes_of(frozen), frozen)


def hashes_of(stored_rows):
    value = stored_rows.read()
    return row_hashes(
        np.moveaxis(value, stored_rows.axis, 0) if value.shape else value.reshape([1])
    )


def compare_base(delta, entry, name, hashes, frozen):
    """Raises ValueError unless the hashes of rows are those in a delta's manifest."""
    found = fingerprint(hashes)
    if found != entry["frozen"]:
        raise ValueError(
            f"The delta {delta} was trained on the base {entry['base']} (fingerprint of {name}: "
            f"{entry['frozen']}), and cannot be put on {frozen.checkpoint.prefix} (fingerprint "
            f"{found}): the frozen rows differ. Give the base it was trained on."
        )
