"""`grow_checkpoint`: checkpoint to checkpoint, larger tables, no graph and no source."""

import os
import sys

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.finite import nonfinite_rows
from partial_embed.files.growth import expect_base, read_generations, untrained_rows
from partial_embed.files.hashes import keys_fingerprint, keys_text
from partial_embed.files.locate import is_same_place
from partial_embed.files.one_piece import OnePiece
from partial_embed.files.publish import expect_no_other_keys, publish, staging
from partial_embed.files.stored_bytes import StoredBytes
from partial_embed.files.tensors import can_slice, reason, slice_spec, write_part
from partial_embed.files.together import Together
from partial_embed.saving.deltas import generations_of
from partial_embed.saving.growth_plan import plan_growth
from partial_embed.saving.slot_starts import ROWS
from partial_embed.saving.source import stored
from partial_embed.table.plan import offset_of, with_rows

# Rows that change their order are written in slices of so many bytes; small tensors together.
_BLOCK_BYTES = 1 << 26


def show_on_stderr(growth):
    """Prints what became of each tensor on stderr."""
    print(growth.text(), file=sys.stderr, flush=True)


def grow_checkpoint(
    base,
    output,
    rows=None,
    columns=None,
    vocabularies=None,
    initializers="normal",
    skip=(),
    slots=None,
    allow_nonfinite=False,
    show=show_on_stderr,
    progress=None,
):
    """Writes a checkpoint whose tables have more rows: of `[100, d]` it makes `[110, d]`.

    Old rows, and all that does not grow, keep every bit. Slots grow beside their
    tables: for new rows they are what the optimizer starts them at. What comes
    out is a plain checkpoint, which any script of the larger shapes restores; its growth
    record says which rows came now, and that nobody has trained them: under
    `growing(output)` all is loaded, and those train.

    Tensors are read and written one at a time, in parts where they are large.

    Args:
        base: prefix, directory or `Checkpoint` of a whole checkpoint.
        output: prefix to write to; another than that of the base.
        rows: dict of a variable's name, or a pattern, to its new number of rows.
        columns: the same, of kernels [d, vocabulary], that gain columns.
        vocabularies: dict of pattern to `Vocabulary`, or to (old, new) or (old, new,
            num_oov_buckets), see `align_vocabularies`: rows or columns follow their keys.
            "*" means all variables that have one entry a key, on whatever axis.
        initializers: where new rows start: "normal" (drawn like the old rows, see
            `row_init.normal_like_old_rows`), "mean" (the mean of the old rows), "zeros",
            one of `row_init`, an initializer, an array, or the path of a .npy file; or a dict of
            pattern to such. What holds no floating numbers starts at zeros unless named.
        skip: pattern, or list of them, of variables that stay as they are.
        slots: dict of pattern of a slot's name to the number that its optimizer starts it
            at, or "rows" for a moving average; for kinds that are not tf.train's, or
            other initial values than its defaults.
        allow_nonfinite: copy tables that hold NaN or Inf, instead of failing.
        show: function of a `Growth` that shows what became of each tensor; None for silence.
        progress: function of (bytes written, bytes in all), called now and then; or None.

    Returns:
        `output`.

    Raises:
        ValueError: if nothing grows, a pattern matches no variable, a size or a vocabulary
            does not fit, nothing says where a slot starts, or the base is a delta or
            damaged. Nothing is written then.
        OSError: if it cannot be written.

    Example:
        >>> pe.grow_checkpoint("base.ckpt", "larger.ckpt", rows={"embedding": 7}, show=None)
        'larger.ckpt'
        >>> tf.train.load_checkpoint("larger.ckpt").get_tensor("embedding/Adagrad").shape
        (7, 4)
        >>> with pe.growing("larger.ckpt", show=None):
        ...     table = tf.get_variable("embedding", [7, 4])
        >>> table.num_frozen_rows
        5
    """
    base, output = Checkpoint(base), os.fsdecode(output)
    expect_base(base)
    if os.path.isdir(output):
        raise ValueError(
            f"{output} is a directory. Name a checkpoint in it, like "
            f"{os.path.join(output, 'model.ckpt')}."
        )
    if is_same_place(output, base.prefix):
        raise ValueError(f"{output} is what is to grow, and would be replaced. Name another.")
    growth = plan_growth(
        base, rows, columns, vocabularies, initializers, skip, slots, allow_nonfinite
    )
    with staging(output) as stage:
        _Writer(base, growth, progress or (lambda done, total: None), stage).write()
        base.expect_unchanged()
        keys = _vocabulary_text(growth)
        expect_no_other_keys(output, keys)
        publish(stage, _record(base, growth), keys)
    if show is not None:
        show(growth)
    return output


class _Writer:
    """Writes the tensors of a grown checkpoint as parts of a stage, one of them in memory."""

    def __init__(self, base, growth, progress, stage):
        self._base, self._growth, self._progress = base, growth, progress
        self._stage, self._together = stage, None
        self._done, self._total = 0, sum(map(base.num_bytes, base.shapes))

    def write(self):
        grown = {n for table in self._growth.tables for n in (table.name, *table.slots)}
        with Together(self._stage) as self._together:
            self._copy(sorted(set(self._base.shapes) - grown))
            for table in self._growth.tables:
                new = self._first_values(table)
                self._write_table(table, new)
                for slot, start in table.slots.items():
                    self._write_slot(table, slot, start, new)

    def _first_values(self, table):
        """Returns what new rows start at, of which no row holds NaN or Inf."""
        try:
            new = self._drawn(table)
        except tf.errors.OpError as error:  # as of a covariance of NaN, or of a damaged file
            self._check_finite(table, self._base.read(table.name))
            raise ValueError(
                f"New rows of {table.name} cannot start at {table.start}: {reason(error)}. Say "
                "another start, like 'zeros'."
            ) from error
        if len(nonfinite_rows(np.moveaxis(new, table.plan.rows.axis, 0))):
            self._check_finite(table, self._base.read(table.name))
            raise ValueError(
                f"New rows of {table.name} would start at NaN or Inf, by {table.start}. Say "
                "another start, like 'zeros'."
            )
        return new

    # These end with what they have read, so that one tensor is in memory at a time.

    def _write_table(self, table, new):
        old, old_bytes = self._read(table.name)
        self._check_finite(table, old)
        self._write(table, table.name, old, old_bytes, new)

    def _write_slot(self, table, slot, start, new):
        old, old_bytes = self._read(slot)
        if start == ROWS:
            starts = new.astype(old.dtype)
        else:
            axis = table.plan.rows.axis
            self._growth.starts.check(slot, start, old)
            starts = np.full(with_rows(old.shape, axis, new.shape[axis]), start, old.dtype)
        self._write(table, slot, old, old_bytes, starts)

    def _read(self, name):
        """Returns (array, `StoredBytes`) of a tensor."""
        its = StoredBytes(self._base, name)
        array = self._base.read(name)
        its.note_read()
        return array, its

    def _copy(self, names):
        for name in names:
            size = self._base.num_bytes(name)
            self._together.write(name, "", stored(self._base, name))
            self._advance(size)

    def _check_finite(self, table, old):
        bad = nonfinite_rows(np.moveaxis(old, table.plan.rows.axis, 0))
        if len(bad) and not table.plan.allow_nonfinite:
            raise ValueError(
                f"{table.name} of {self._base.prefix}: rows {bad[:20].tolist()} hold NaN or Inf. "
                "Repair the checkpoint, or pass allow_nonfinite=True to copy it as it is."
            )

    @staticmethod
    def _drawn(table):
        """Returns the first values of the new rows, an array in the order of the table's axes."""
        plan, rows = table.plan, table.new_rows()
        if not len(rows):
            return np.zeros(plan.part_shape(0), plan.dtype.as_numpy_dtype)
        with tf.Graph().as_default(), tf.Session() as session:
            return session.run(plan.initial_values(rows)(plan.part_shape(len(rows))))

    def _write(self, table, name, old, old_bytes, new):
        """Writes a table or a slot of it, given arrays of its old rows and of its new ones.

        Args:
            old_bytes: `StoredBytes` of its old rows.
        """
        rows, axis = table.plan.rows, table.plan.rows.axis
        shape, dtype = with_rows(old.shape, axis, rows.num_rows), self._base.dtypes[name]
        size = old.itemsize * int(np.prod(shape, dtype=np.int64))
        if size <= _BLOCK_BYTES >> 6 or not can_slice(dtype):
            places = rows.source_of(np.arange(rows.num_rows))
            self._together.write(name, "", _rows_at(places, old, new, axis))
        elif axis:
            start = 0
            for part in _blocks(rows, old, new, size):
                spec = slice_spec(shape, offset_of(shape, axis, start), list(part.shape))
                write_part(self._stage.part(), [(name, spec, part)])
                start += part.shape[axis]
        else:
            with OnePiece(self._stage.part(), name, shape, dtype) as piece:
                stays = rows.source is None and old_bytes.first_rows and piece.copy(old_bytes)
                for part in [new] if stays else _blocks(rows, old, new, size):
                    piece.append(part)
        self._advance(self._base.num_bytes(name))

    def _advance(self, size):
        self._done += size
        self._progress(self._done, self._total)


def _blocks(rows, old, new, size):
    """Yields the rows of a table of so many bytes, an array after the other."""
    axis, before = rows.axis, 0  # new rows
    if rows.source is None:
        yield from (part for part in (old, new) if part.size)
        return
    step = max(1, _BLOCK_BYTES * rows.num_rows // max(1, size))
    for start in range(0, rows.num_rows, step):
        places = rows.source[start : start + step]
        count = int((places < 0).sum())
        yield _rows_at(places, old, np.take(new, range(before, before + count), axis), axis)
        before += count


def _rows_at(places, old, new, axis):
    """Returns rows of an array, by their numbers in it; -1 stands for the next of new ones."""
    # Of a table that had no rows, all are new ones.
    values = np.take(old if old.shape[axis] else new, np.maximum(places, 0), axis)
    np.moveaxis(values, axis, 0)[places < 0] = np.moveaxis(new, axis, 0)
    return values


def _record(base, growth):
    """Returns the growth record: the tables that grew, and what was known of the others."""
    tables = dict(read_generations(base))
    for table in growth.tables:
        vocabulary, plan = table.vocabulary, table.plan
        keys = vocabulary and keys_fingerprint(vocabulary.all_keys("new_keys"))
        entry = generations_of(plan.rows, base, table.name, keys)
        # Generations may have ended with their last row, and then later ones have other numbers.
        sources = plan.rows.source_of(np.arange(plan.rows.num_rows))
        fresh = (sources < 0) | np.isin(sources, untrained_rows(base, table.name))
        entry["untrained"] = [
            number for number, runs in enumerate(entry["generations"]) if runs and fresh[runs[0][0]]
        ]
        tables[table.name] = entry
    return tables


def _vocabulary_text(growth):
    """Returns the text of the vocabulary beside the result; None if there are several, or none."""
    found = {tuple(t.vocabulary.new_keys) for t in growth.tables if t.vocabulary}
    return keys_text(found.pop()) if len(found) == 1 else None
