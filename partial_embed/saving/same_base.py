"""A base is known by its rows: those that a table grew from, or that a delta was trained beside."""

from partial_embed.files.hashes import fingerprint_of, kind_of


def expect_same_base(table, source, origin):
    """Raises ValueError if a base holds other rows than the one that a table grew from.

    Args:
        table: `Table` of a Saver.
        source: the source of its rows that is to be restored.
        origin: that of the base.
    """
    embedding, base = table.embedding, table.embedding.source
    if base is None or source.grew_from is None or source.grew_from == base.index_checksum != "":
        return
    if not base.is_unchanged():
        raise ValueError(
            f"{base.prefix}, which {table.name} grew from, is gone or was replaced, so whether "
            f"{source.checkpoint.prefix} holds the same old rows cannot be told. Restore with "
            "allow_other_base=True, or grow from it. No variable was changed."
        )
    which = embedding.plan.frozen_rows()
    if _fingerprint(source, which) != _fingerprint(origin, which):
        raise ValueError(
            f"{table.name} grew from {base.prefix}, and {source.checkpoint.prefix} holds other old "
            f"rows of it. Grow from {'what it grew from' if source.is_complete else 'that one'}, "
            "or restore with allow_other_base=True. No variable was changed."
        )


def _fingerprint(source, which):
    rows = source.rows(which)
    return fingerprint_of(rows.read(), rows.axis)


def which_holds_frozen_rows(embedding, sources, origin):
    """Returns that of some sources in which frozen rows are those of what a table grew from.

    As many rows have the table and its base, if a vocabulary drops as many keys as it adds; and
    a plain Saver, which saves either, records nothing of keys.

    Args:
        embedding: `PartialEmbedding`.
        sources: list of sources of one checkpoint.
        origin: the source of what it grew from.

    Raises:
        ValueError: if none does, or that is gone.
    """
    base, which = embedding.source, embedding.plan.frozen_rows()
    here = sources[0].checkpoint.prefix
    if not base.is_unchanged():
        raise ValueError(
            f"Nothing says whose keys the rows of {embedding.table_name} in {here} are, and "
            f"{base.prefix}, which it grew from, is gone or was replaced. Restore what "
            "partial_embed.Saver saved. No variable was changed."
        )
    wanted = _fingerprint(origin, which)
    for source in sources:
        if _fingerprint(source, which) == wanted:
            return source
    raise ValueError(
        f"Nothing says whose keys the rows of {embedding.table_name} in {here} are: as the grown "
        f"table's, or as those of {base.prefix}, old rows are others. Restore what "
        "partial_embed.Saver saved. No variable was changed."
    )


def check_base(delta, entry, name, frozen):
    """Raises ValueError unless `Stored` values are those that a delta was trained beside."""
    found = fingerprint_of(frozen.read(), frozen.axis, kind_of(entry["frozen"]))
    compare_base(delta, entry, name, found, frozen)


def compare_base(delta, entry, name, found, frozen):
    """Raises ValueError unless a text that stands for rows is that in a delta's manifest."""
    if found != entry["frozen"]:
        raise ValueError(
            f"The delta {delta} was trained on the base {entry['base']} (fingerprint of {name}: "
            f"{entry['frozen']}), and cannot be put on {frozen.checkpoint.prefix} (fingerprint "
            f"{found}): the frozen rows differ. Give the base it was trained on."
        )
