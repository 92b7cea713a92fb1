"""The index of a checkpoint: which slices each tensor is stored in, and where these are.

TensorFlow's readers join slices and do not say that they did. Both checkpoint
formats keep what there is in a sorted table (the file format of LevelDB): V2 in
`.index`, one entry a tensor; V1 in its first file, all under the empty key.
"""

import contextlib
import functools
import itertools
import struct
import sys

import numpy as np
import tensorflow.compat.v1 as tf
from google.protobuf.message import DecodeError

from partial_embed._tensorflow import (
    BundleEntryProto,
    BundleHeaderProto,
    SavedTensorSlices,
)
from partial_embed.files.crc32c import crc32c, masked
from partial_embed.files.regular import expect_file

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_BIG = sys.byteorder == "big"


@contextlib.contextmanager
def _naming(path):
    """Turns whatever a damaged file leads to into a ValueError that names it."""
    try:
        yield
    except (
        DecodeError,
        IndexError,
        SystemError,  # protobuf's, of a text that is not UTF-8
        TypeError,
        UnicodeDecodeError,
        struct.error,
    ) as error:
        raise ValueError(
            f"The index of the checkpoint {path} is damaged; take another copy of it."
        ) from error


def slice_counts(prefix):
    """Returns {tensor name: number of slices it is stored in, 0 for whole}."""
    return {name: len(slices) for name, (_, _, slices) in stored_tensors(prefix).items()}


def cut_tensors(prefix):
    """Returns the sorted names of tensors of which a checkpoint holds some slices, and not all.

    In the V2 format keys of slices stand before all others: where there are none, no more is read.
    """
    path = prefix + ".index"
    if tf.gfile.Exists(path):
        with _naming(prefix):
            first = [key[:1] for key, _ in itertools.islice(_entries(path), 2)]
        if b"\0" not in first:
            return []
    return sorted(
        name
        for name, (shape, _, slices) in stored_tensors(prefix).items()
        if slices and sum(np.prod([n for _, n in part]) for part in slices) < np.prod(shape)
    )


def stored_tensors(prefix):
    """Returns {name: (shape, dtype, slices)} of a checkpoint, as it is stored.

    Shape is a list of ints, dtype a `tf.DType`. Slices are a list with, for each
    slice, the pairs (start, length) of its dimensions; empty for a whole tensor.
    Empty for a V1 checkpoint whose table is compressed.

    Args:
        prefix: prefix of a checkpoint that exists.
    """
    found = {}
    with _naming(prefix):
        for name, dimensions, dtype, parts in _stored(prefix):
            shape = [dimension.size for dimension in dimensions.dim]
            slices = [
                [
                    (extent.start, extent.length if extent.HasField("length") else size)
                    for extent, size in zip(part.extent, shape)
                ]
                for part in parts
            ]
            _, _, known = found.get(name, (shape, dtype, []))
            found[name] = (shape, tf.as_dtype(dtype), known + slices)
    return found


def _stored(prefix):
    """Yields (name, shape, dtype, slices) as the protocol buffers of a checkpoint have them."""
    if tf.gfile.Exists(prefix + ".index"):
        for key, value in _entries(prefix + ".index"):
            # The header has the empty key; keys of slices begin with a zero byte.
            if key and key[0]:
                entry = BundleEntryProto.FromString(value)
                yield key.decode("utf-8"), entry.shape, entry.dtype, entry.slices
        return
    files = [prefix] if tf.gfile.Exists(prefix) else tf.gfile.Glob(prefix + "-?????-of-?????")
    for path in files:
        for key, value in _entries(path, first_block_only=True):
            if key == b"":
                for tensor in SavedTensorSlices.FromString(value).meta.tensor:
                    extents = [extent for part in tensor.slice for extent in part.extent]
                    whole = not any(extent.HasField("length") for extent in extents)
                    yield tensor.name, tensor.shape, tensor.type, [] if whole else tensor.slice


def num_shards(prefix):
    """Returns how many data files the V2 checkpoint at `prefix` has, 0 if none can be read."""
    with contextlib.suppress(ValueError, tf.errors.OpError), _naming(prefix):
        for key, value in _entries(prefix + ".index", first_block_only=True):
            if key == b"":
                return BundleHeaderProto.FromString(value).num_shards
    return 0


@functools.lru_cache(maxsize=8)
def expect_data(prefix, checksum):
    """Raises ValueError if a data file of a V2 checkpoint is not there, or ends too soon.

    Whether it is damaged in between nobody knows who does not read it.

    Args:
        prefix: prefix of a checkpoint that exists.
        checksum: of its index; of the same it is asked once.
    """
    shards, ends = num_shards(prefix) if checksum else 0, {}
    with _naming(prefix):
        for key, value in _entries(prefix + ".index") if shards else ():
            entry = BundleEntryProto.FromString(value) if key else None
            if entry and not entry.slices:  # else it says what its slices' entries say
                ends[entry.shard_id] = max(ends.get(entry.shard_id, 0), entry.offset + entry.size)
    for shard, end in sorted(ends.items()):
        path = f"{prefix}.data-{shard:05d}-of-{shards:05d}"
        size = tf.gfile.Stat(path).length if tf.gfile.Exists(path) else None
        if size is None or size < end:
            found = "is not there" if size is None else f"ends after {size} of {end} bytes"
            raise ValueError(
                f"The checkpoint {prefix} is damaged or incomplete: {path} {found}. Take another "
                "copy of it."
            )


def stored_entries(prefix):
    """Returns where the values of a V2 checkpoint stand.

    Returns:
        (number of data files, {name: [(start, `BundleEntryProto`), ...]}): for each slice that a
        tensor is stored in where it begins, a list of ints, and what its own entry says. Nothing
        of one that was written on a machine of another byte order.
    """
    found = {}
    with _naming(prefix):
        entries = dict(_entries(prefix + ".index"))
        header = BundleHeaderProto.FromString(entries.get(b"", b""))
        if header.endianness != int(_BIG):
            return header.num_shards, {}
        for key, value in entries.items():
            if not key[:1].strip(b"\0"):
                continue
            name, entry = key.decode("utf-8"), BundleEntryProto.FromString(value)
            places = [_extents(part) for part in entry.slices]
            parts = [entries.get(slice_key(name, place)) for place in places]
            found[name] = [
                ([start for start, _ in place], BundleEntryProto.FromString(part))
                for place, part in zip(places, parts)
                if part is not None
            ]
            if not places:
                found[name].append(([0] * len(entry.shape.dim), entry))
    return header.num_shards, found


def _extents(part):
    """Returns (start, length) of each dimension of a slice, -1 for all of it, as keys have them."""
    return [(e.start, e.length if e.HasField("length") else -1) for e in part.extent]


def slice_key(name, extents):
    """Returns the key under which the index has a slice of a tensor: it sorts as the slice does.

    Args:
        name: str.
        extents: list of (start, length) of its dimensions.
    """
    escaped = name.encode("utf-8").replace(b"\0", b"\0\xff")
    numbers = b"".join(_ordered(number) for extent in extents for number in extent)
    return b"\0" + escaped + b"\0\1" + bytes([1, len(extents)]) + numbers


def _ordered(number):
    """A number of so many bytes as the ones that it begins with, less 1 for its sign, tell."""
    length = (number if number >= 0 else ~number).bit_length() // 7 + 1
    ones = (1 << length) - 1 << 7 * length
    return (number % (1 << 8 * length) ^ ones).to_bytes(length, "big")


def index_of(entries, num_shards=1):
    """Returns the bytes of an index file.

    Args:
        entries: dict of key to bytes: a `BundleEntryProto` for each tensor and each slice.
        num_shards: int, the number of data files.
    """
    header = BundleHeaderProto(num_shards=num_shards, endianness=int(_BIG))
    header.version.producer = 1
    found = sorted({b"": header.SerializeToString(), **entries}.items())
    content, handles = b"", []

    def add(entries):
        nonlocal content
        block = _block(entries)
        handles.append(_as_varint(len(content)) + _as_varint(len(block) - 5))
        content += block

    add(found)
    add([])  # the meta index
    add([(found[-1][0], handles[0])])
    footer = (handles[1] + handles[2]).ljust(_FOOTER - 8, b"\0")
    return content + footer + struct.pack("<Q", _MAGIC)


def _block(entries):
    """A block of a sorted table: no key shares what it begins with, and it is not compressed."""
    content = b"".join(
        b"\0" + _as_varint(len(key)) + _as_varint(len(value)) + key + value
        for key, value in entries
    )
    content += struct.pack("<II", 0, 1) + b"\0"
    return content + struct.pack("<I", masked(crc32c(content)))


def _as_varint(value):
    content = b""
    while value > 127:
        content += bytes([value & 127 | 128])
        value >>= 7
    return content + bytes([value])


def _entries(path, first_block_only=False):
    """Yields (key, value) of a sorted table, those of uncompressed blocks."""
    expect_file(path)
    with tf.gfile.GFile(path, "rb") as stream:
        size = stream.size()
        stream.seek(max(0, size - _FOOTER))
        footer = stream.read(_FOOTER)
        if len(footer) < _FOOTER or struct.unpack("<Q", footer[-8:])[0] != _MAGIC:
            return

        def block(handle):
            offset, at = _varint(handle, 0)
            length, _ = _varint(handle, at)
            if offset + length > size:
                raise IndexError("a block beyond the end of the file")
            stream.seek(offset)
            content = stream.read(length + 1)
            return _block_entries(content[:-1]) if content[-1:] == b"\0" else []

        _, at = _varint(footer, 0)  # the meta index, which is not used
        _, at = _varint(footer, at)
        for _, handle in block(footer[at:]):
            yield from block(handle)
            if first_block_only:
                return


def _block_entries(content):
    restarts = struct.unpack("<I", content[-4:])[0]
    end, at, key = len(content) - 4 * (restarts + 1), 0, b""
    while at < end:
        shared, at = _varint(content, at)
        unshared, at = _varint(content, at)
        length, at = _varint(content, at)
        key = key[:shared] + content[at : at + unshared]
        at += unshared
        yield key, content[at : at + length]
        at += length


def _varint(content, at):
    """Returns (a number in base-128, where the next thing begins)."""
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
