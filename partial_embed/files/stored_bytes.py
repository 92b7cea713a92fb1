"""The bytes of tensors in checkpoint files, copied as they are: neither decoded nor held in memory.

    model-7     table/Adam [5, 3]                bytes 0 to 59 of its data-00001
    part-1      table/Adam [7, 3], rows 0 to 4   the same bytes, and an index of its own

A file system copies faster than TensorFlow reads and writes. Checksums are copied, too, so what is
damaged in a file would be damaged in its copy: each is read once by TensorFlow, too.
"""

import collections
import contextlib
import functools
import os

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import BundleEntryProto
from partial_embed.files.checkpoint import index_checksum
from partial_embed.files.index import index_of, slice_key, stored_entries
from partial_embed.files.regular import expect_file
from partial_embed.files.stage import write
from partial_embed.files.tensors import cpu_only, damaged, read_tensors, restore, slice_of

DATA = ".data-00000-of-00001"
# For more at once the system's cache takes larger pieces of memory, slow to get where that is new.
_CHUNK_BYTES = 1 << 18
_MOST_PIECES = 16  # more are joined when they are read and written
# What has been read without an error: `_place`s of pieces, the newest.
_READ = collections.deque(maxlen=4096)

Stamp = collections.namedtuple("Stamp", ["device", "inode", "size", "written", "changed"])
Stamp.__doc__ = "What a file does not keep when it is written to; only `changed` cannot be set."

Piece = collections.namedtuple("Piece", ["path", "stamp", "entry", "start"])
Piece.__doc__ = """What is stored in one piece.

Attributes:
    path, stamp: the data file.
    entry: `BundleEntryProto` that says where in it.
    start: list of ints, where in the tensor it begins.
"""


class StoredBytes:
    """The bytes of a tensor, or of a slice of it, in a V2 checkpoint on a local file system.

    Attributes:
        pieces: the `Piece`s that it consists of, in order; none if it is in none that can be
            copied.

    Args:
        checkpoint: `Checkpoint`.
        name: of a tensor that it holds.
        spec: text of the slice, "" for all of it.

    Raises:
        ValueError: if its index is damaged, or something else stands in place of a data file.
    """

    def __init__(self, checkpoint, name, spec=""):
        self._checkpoint, self._name, self._spec = checkpoint, name, spec
        self._dtype = checkpoint.dtypes[name]
        shape = checkpoint.shapes[name]
        self._start, self._shape = slice_of(spec) if spec else ([0] * len(shape), shape)
        try:
            self.pieces = self._found()
        except OSError:  # whoever reads it says what is wrong
            self.pieces = []

    def _found(self):
        prefix, checksum = self._checkpoint.prefix, self._checkpoint.index_checksum
        shards, entries = _stored(prefix, checksum) if checksum else (0, {})
        found = []
        for start, entry in entries.get(self._name, ()):
            length = [dimension.size for dimension in entry.shape.dim]
            offset = np.subtract(start, self._start)
            if (offset < 0).any() or (offset + length > self._shape).any():
                continue
            path = f"{prefix}.data-{entry.shard_id:05d}-of-{shards:05d}"
            found.append(piece_of(path, entry, offset.tolist()))
        size = int(np.prod(self._shape, dtype=np.int64)) * self._dtype.size
        is_whole = size and sum(piece.entry.size for piece in found) == size
        in_order = sorted(found, key=lambda piece: piece.start)
        return in_order if is_whole and len(found) <= _MOST_PIECES else []

    @property
    def first_rows(self):
        """The rows that its pieces begin with, a set, if all are whole rows; else None."""
        shape = list(self._shape)
        rows = [[dimension.size for dimension in piece.entry.shape.dim] for piece in self.pieces]
        if not self.pieces or any(its[1:] != shape[1:] for its in rows):
            return None
        return {piece.start[0] for piece in self.pieces}

    def are_unchanged(self):
        """Returns whether the checkpoint still stands there, whose checksums are copied as well."""
        return self._checkpoint.is_unchanged()

    def read(self):
        """Returns an array of it, as TensorFlow reads it."""
        return read_tensors(self._checkpoint.prefix, [(self._name, self._spec, self._dtype)])[0]

    def verify(self):
        """Has TensorFlow read what nobody read yet.

        Returns:
            Whether it is as it was when this object was made; what was copied of it is, too.

        Raises:
            ValueError: if it is damaged; names the checkpoint.
        """
        if not self._is_read():
            self.expect_readable()
            self.note_read()
        return self._is_read()

    def _is_read(self):
        return all(_place(piece) in _READ for piece in self.pieces)

    def note_read(self):
        """Notes that TensorFlow has read or written it, since this object was made."""
        with contextlib.suppress(OSError):  # It is gone, and nothing is noted.
            if all(_stamp(os.stat(piece.path)) == piece.stamp for piece in self.pieces):
                _READ.extend(map(_place, self.pieces))

    def copy(self, part, name, spec, full_shape):
        """Copies it to be a tensor, or a slice of one, of a checkpoint in the making.

        What is damaged is copied as it is: see `verify`.

        Args:
            part: prefix to write to.
            name: of the tensor.
            spec: text of the slice, "" for all of it.
            full_shape: list of ints, the shape of all of it.

        Returns:
            Whether that was done: not if it is in no pieces that can be, or was replaced.
        """
        if not self.pieces:
            return False
        try:
            with open(part + DATA, "wb") as target:
                if not all(copy_range(piece, target) for piece in self.pieces):
                    return False
            if not self.are_unchanged():
                return False
        except OSError:  # likewise
            return False
        write(part + ".index", index_of(self._entries_as(name, spec, full_shape)))
        return True

    def _entries_as(self, name, spec, full_shape):
        """Returns {key: entry} of the index of a copy."""
        start = slice_of(spec)[0] if spec else [0] * len(full_shape)
        whole = BundleEntryProto(dtype=self._dtype.as_datatype_enum)
        whole.shape.CopyFrom(tf.TensorShape(full_shape).as_proto())
        entries, offset = {}, 0
        for piece in self.pieces:
            entry = BundleEntryProto.FromString(piece.entry.SerializeToString())
            entry.shard_id, entry.offset = 0, offset
            offset += entry.size
            lengths = [dimension.size for dimension in entry.shape.dim]
            if lengths == full_shape:
                return {name.encode("utf-8"): entry.SerializeToString()}
            extents = list(zip(np.add(start, piece.start).tolist(), lengths))
            extent = whole.slices.add().extent
            for begin, length in extents:
                extent.add(start=begin, length=length)
            entries[slice_key(name, extents)] = entry.SerializeToString()
        return {name.encode("utf-8"): whole.SerializeToString(), **entries}

    def expect_readable(self):
        """Has TensorFlow read it, with its checksums; ValueError if it is damaged or not there."""
        with tf.Graph().as_default(), tf.Session(config=cpu_only()) as session:
            value = restore(self._checkpoint.prefix, self._name, self._dtype, self._spec)
            try:
                session.run(value.op)
            except tf.errors.OpError as error:
                raise damaged(self._checkpoint.prefix, error) from error


@functools.lru_cache(maxsize=8)
def _stored(prefix, checksum):
    """Returns `stored_entries`, if the index has that checksum."""
    found = stored_entries(prefix)
    if index_checksum(prefix) != checksum:
        raise OSError(f"{prefix} was replaced.")  # and it is not kept
    return found


def piece_of(path, entry, start):
    """Returns the `Piece` of a data file that an entry of its index tells of.

    Raises:
        ValueError: if something else stands in place of the file.
    """
    expect_file(path)
    return Piece(path, _stamp(os.stat(path)), entry, start)


def _stamp(status):
    times = status.st_mtime_ns, status.st_ctime_ns
    return Stamp(status.st_dev, status.st_ino, status.st_size, *times)


def _place(piece):
    return piece.stamp, piece.entry.offset, piece.entry.size, piece.entry.crc32c


def copy_range(piece, target):
    """Appends a piece to an open file; returns whether it was all there, and stayed as it was."""
    left = piece.entry.size
    with open(piece.path, "rb", buffering=0) as source:
        source.seek(piece.entry.offset)
        while left:
            chunk = source.read(min(left, _CHUNK_BYTES))
            if not chunk:
                return False
            target.write(chunk)
            left -= len(chunk)
        return _stamp(os.fstat(source.fileno())) == piece.stamp
