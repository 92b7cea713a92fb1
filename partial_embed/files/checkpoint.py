"""What a checkpoint holds: names, shapes and dtypes."""

import difflib
import functools
import hashlib

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed.files.index import cut_tensors
from partial_embed.files.locate import files_of, resolve
from partial_embed.files.nearest import nearest
from partial_embed.files.regular import expect_file, read_file
from partial_embed.files.tensors import can_slice, damaged, read_tensors, slice_spec

RECORD_SUFFIX = ".growth.json"


class Checkpoint:
    """What a checkpoint holds, read once: names, shapes and dtypes, no values.

    Attributes:
        prefix: the resolved checkpoint prefix.
        shapes: dict of tensor name to list of ints (slices are joined).
        dtypes: dict of tensor name to `tf.DType`.
        index_checksum: str, by which this checkpoint is told from a later one of its name.
        cut: list of the names of tensors of which it holds some rows, and not all.
        record: bytes of the growth record beside it, None if there is none.
        generations: what it says once `read_generations` has read it, else None.
    """

    def __init__(self, path):
        """Opens the checkpoint that `path` means.

        Args:
            path: see `resolve`; an open `Checkpoint` is taken over as it is.

        Raises:
            ValueError: if there is none, or its files cannot be read.
        """
        if isinstance(path, Checkpoint):
            self.__dict__.update(path.__dict__)
            return
        self.prefix = resolve(path)
        for file in files_of(self.prefix):  # TensorFlow opens whatever stands there
            expect_file(file)
        # First: a checkpoint that is replaced from here on is told from what is read now.
        self.index_checksum = index_checksum(self.prefix)
        # Of the same index the same: a table asks each time, and a graph can have many.
        read = _read_index if self.index_checksum else _read_index.__wrapped__
        shapes, dtypes, cut = read(self.prefix, self.index_checksum)
        self.shapes, self.dtypes, self.cut = dict(shapes), dict(dtypes), list(cut)
        if not self.shapes:
            raise ValueError(
                f"{self.prefix} holds no tensor. Expected the prefix that the files of a "
                "checkpoint share, without .index."
            )
        self.record = read_file(self.prefix + RECORD_SUFFIX)
        self.generations = None

    def __contains__(self, name):
        return name in self.shapes

    def num_bytes(self, name):
        """Returns how many bytes the values of a tensor take, 0 for texts."""
        return int(np.prod(self.shapes[name], dtype=np.int64)) * self.dtypes[name].size

    def describe(self, name):
        """Returns `name [rows, columns] dtype` as the checkpoint has it."""
        return f"{name} {list(self.shapes[name])} {self.dtypes[name].name}"

    def expect(self, name):
        """Raises ValueError, with the names that are there, if `name` is not."""
        if name in self.shapes:
            return
        near = difflib.get_close_matches(name, self.shapes, n=1, cutoff=0.5)
        perhaps = f" Perhaps you meant {near[0]!r}?" if near else ""
        raise ValueError(
            f"The checkpoint {self.prefix} holds no tensor {name!r}.{perhaps} It holds: "
            f"{nearest(name, self.shapes, describe=self.describe)}. Say which "
            "is meant: tensor_name=, or names={here: there} of growing."
        )

    def expect_whole(self, names):
        """Raises ValueError if it holds only some rows of one of these tensors."""
        cut = [name for name in self.cut if name in names]
        if cut:
            raise ValueError(
                f"The checkpoint {self.prefix} holds only a part of {', '.join(cut[:20])}: a plain "
                "tf.train.Saver saved what had grown. In the script that wrote it, restore it with "
                "that Saver and save it with partial_embed.Saver; then take what that wrote."
            )

    def check(self, name, dtype, max_shape, axis=0, table=None):
        """Checks a table of the checkpoint against what the graph asks for.

        Args:
            name: tensor name.
            dtype: `tf.DType` wanted.
            max_shape: list of ints, the shape of the table in the graph; the
                checkpoint may hold fewer rows.
            axis: int, along which its rows are counted.
            table: its name in the graph, if it is another.

        Raises:
            ValueError: if name, rank, dtype or a dimension does not fit.
        """
        self.expect(name)
        shape, want = list(self.shapes[name]), list(max_shape)
        differ = [at for at, (there, here) in enumerate(zip(shape, want)) if there != here]
        others = [at for at in differ if at != axis]
        if len(shape) != len(want):
            problem = "it must have as many dimensions"
        elif any(shape[at] > want[at] for at in differ):
            problem = (
                "a table can gain rows, not lose them, unless a vocabulary says which; to leave it "
                "alone under growing, say skip="
            )
        elif others:
            problem = (
                f"a table grows along one axis, and here axis {others[0]} and axis {axis} differ; "
                "to leave it alone under growing, say skip="
            )
        elif self.dtypes[name] != dtype:
            problem = f"the dtype must be equal; ask for dtype=tf.{self.dtypes[name].name}"
        else:
            return
        raise ValueError(
            f"The table {table or name} {want} {dtype.name} does not fit the checkpoint "
            f"{self.prefix}, which holds {self.describe(name)}: {problem}."
        )

    def is_same(self, other):
        """Returns whether another `Checkpoint` holds the same, a copy perhaps."""
        known = self.index_checksum or self.prefix == other.prefix
        return bool(known) and self.index_checksum == other.index_checksum

    def is_unchanged(self):
        """Returns whether it still stands where it stood, and was not replaced by another."""
        return index_checksum(self.prefix) == self.index_checksum

    def expect_unchanged(self):
        """Raises ValueError if another was put in its place since it was opened."""
        if not self.is_unchanged():
            raise ValueError(
                f"The checkpoint {self.prefix} was replaced while it was read. Start again, or "
                "give each writer a name of its own."
            )

    def read(self, name):
        """Returns a whole tensor as a numpy array, from any format, slices joined."""
        self.expect(name)
        return read_tensors(self.prefix, [(name, "", self.dtypes[name])])[0]

    def read_row(self, name, row, axis=0):
        """Returns one row of a tensor, as an array that has as many axes."""
        shape = list(self.shapes[name])
        if not can_slice(self.dtypes[name]):
            return self.read(name).take([row], axis)
        offset = [row if at == axis else 0 for at in range(len(shape))]
        part = [1 if at == axis else size for at, size in enumerate(shape)]
        spec = slice_spec(shape, offset, part)
        return read_tensors(self.prefix, [(name, spec, self.dtypes[name])])[0]


@functools.lru_cache(maxsize=8)
def _read_index(prefix, checksum):
    """Returns (shapes, dtypes, cut) as a `Checkpoint` has them, of an index of that checksum."""
    del checksum  # but it tells this one from others
    try:  # tf.train.load_checkpoint prefers a directory of that name
        reader = tf.train.NewCheckpointReader(prefix)
        shapes = dict(reader.get_variable_to_shape_map())
        dtypes = reader.get_variable_to_dtype_map()
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise damaged(prefix, error) from error
    dtypes = {name: tf.as_dtype(dtype) for name, dtype in dtypes.items()}
    return shapes, dtypes, [*cut_tensors(prefix), *_slots_of_halves(shapes)]


def _slots_of_halves(names):
    """Returns the slots that a plain Saver wrote under the name of a half of a table."""
    halves = [name for name in names if name.endswith("/trainable")]
    halves = [f"/{half}/" for half in halves if half[: -len("/trainable")] in names]
    return sorted(name for name in names if any(half in f"/{name}" for half in halves))


def index_checksum(prefix):
    """Returns a hex text that stands for what the index of a V2 checkpoint says; "" for V1."""
    content = read_file(prefix + ".index")
    return "" if content is None else hashlib.blake2b(content, digest_size=8).hexdigest()
