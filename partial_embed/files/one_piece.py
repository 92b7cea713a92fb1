"""A tensor written in one piece, by what follows on each other in memory or in other checkpoints.

    base     table [5, 3]                bytes 0 to 59 of its data-00000, and their checksum
    array    rows 5 and 6                24 bytes, which TensorFlow sums as it writes them
    part-1   table [7, 3]                these 84 bytes, one checksum of both

A plain Saver joins what is stored in slices: that takes twice the memory and, where memory is slow
to get, more than twice the time.
"""

import contextlib
import os

import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import BundleEntryProto
from partial_embed.files.crc32c import joined, masked, unmasked
from partial_embed.files.index import index_of, stored_entries
from partial_embed.files.stage import unlink, write
from partial_embed.files.stored_bytes import DATA, copy_range, piece_of
from partial_embed.files.tensors import write_part


class OnePiece:
    """Writes one tensor as a part of a checkpoint in the making.

    Args:
        part: prefix to write to.
        name: str.
        shape: list of ints.
        dtype: `tf.DType`, of which TensorFlow can read slices.
    """

    def __init__(self, part, name, shape, dtype):
        self._part, self._name = part, name
        self._entry = BundleEntryProto(dtype=dtype.as_datatype_enum)
        self._entry.shape.CopyFrom(tf.TensorShape(shape).as_proto())
        self._checksum = 0
        self._target = None

    def __enter__(self):
        self._target = open(self._part + DATA + ".part", "wb")  # noqa: SIM115
        return self

    def __exit__(self, kind, error, traceback):
        self._target.close()
        if kind is None:
            # Where a file is replaced by another, ext4 writes all of that to disk first.
            unlink(self._part + DATA)
            os.rename(self._target.name, self._part + DATA)
            self._entry.crc32c = masked(self._checksum)
            entries = {self._name.encode("utf-8"): self._entry.SerializeToString()}
            write(self._part + ".index", index_of(entries))

    def copy(self, stored_bytes):
        """Goes on with rows as `StoredBytes`, whoever verifies them; returns whether it could."""
        before = self._checksum, self._entry.size
        with contextlib.suppress(OSError):  # whoever reads them says what is wrong
            if all(map(self._add, stored_bytes.pieces)) and stored_bytes.are_unchanged():
                return True
        self._checksum, self._entry.size = before
        self._target.seek(self._entry.size)
        self._target.truncate()
        return False

    def append(self, rows):
        """Goes on with an array."""
        if rows.size:
            write_part(self._part, [(self._name, "", rows)])
            ((_, entry),) = stored_entries(self._part)[1][self._name]
            if not self._add(piece_of(self._part + DATA, entry, [])):
                raise OSError(f"{self._part} was changed while it was written")

    def _add(self, piece):
        if not copy_range(piece, self._target):
            return False
        size = piece.entry.size
        self._checksum = joined(self._checksum, unmasked(piece.entry.crc32c), size)
        self._entry.size += size
        return True
