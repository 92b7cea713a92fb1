"""Reading checkpoints: where one is, what it holds, and ops that load rows of it."""

import difflib

import tensorflow.compat.v1 as tf

from partial_embed.files.locate import resolve
from partial_embed.files.tensors import damaged, restore


class Checkpoint:
    """What a checkpoint holds, read once: names, shapes and dtypes, no values.

    Attributes:
        prefix: the resolved checkpoint prefix.
        shapes: dict of tensor name to list of ints (slices are joined).
        dtypes: dict of tensor name to `tf.DType`.
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
        try:
            reader = tf.train.load_checkpoint(self.prefix)
            self.shapes = dict(reader.get_variable_to_shape_map())
            dtypes = reader.get_variable_to_dtype_map()
        except (tf.errors.OpError, RuntimeError, ValueError) as error:
            raise damaged(self.prefix, error) from error
        self.dtypes = {name: tf.as_dtype(dtype) for name, dtype in dtypes.items()}

    def __contains__(self, name):
        return name in self.shapes

    def describe(self, name):
        """Returns `name [rows, columns] dtype` as the checkpoint has it."""
        return f"{name} {list(self.shapes[name])} {self.dtypes[name].name}"

    def expect(self, name):
        """Raises ValueError, with the names that are there, if `name` is not."""
        if name in self.shapes:
            return
        near = difflib.get_close_matches(name, self.shapes, n=3, cutoff=0.5)
        raise ValueError(
            "The checkpoint {} holds no tensor {!r}.{} It holds: {}. Name the right one with "
            "tensor_name=.".format(
                self.prefix,
                name,
                " Perhaps you meant {}?".format(" or ".join(map(repr, near))) if near else "",
                "; ".join(self.describe(known) for known in sorted(self.shapes)[:40]),
            )
        )

    def check(self, name, dtype, max_shape):
        """Checks a table of the checkpoint against what the graph asks for.

        Args:
            name: tensor name.
            dtype: `tf.DType` wanted.
            max_shape: list of ints, the shape of the table in the graph; the
                checkpoint may hold fewer rows.

        Raises:
            ValueError: if name, rank, dtype or a dimension does not fit.
        """
        self.expect(name)
        shape, want = list(self.shapes[name]), list(max_shape)
        if len(shape) != len(want) or shape[1:] != want[1:]:
            problem = "every dimension but the first must be equal"
        elif shape[:1] > want[:1]:
            problem = "a table can gain rows, not lose them"
        elif self.dtypes[name] != dtype:
            problem = f"the dtype must be equal; ask for dtype=tf.{self.dtypes[name].name}"
        else:
            return
        raise ValueError(
            f"The table {name} {want} {dtype.name} does not fit the checkpoint {self.prefix}, "
            f"which holds {self.describe(name)}: {problem}."
        )

    def read(self, name):
        """Returns a whole tensor as a numpy array, from any format, slices joined."""
        self.expect(name)
        with tf.Graph().as_default(), tf.Session() as session:
            value = restore(self.prefix, name, self.dtypes[name])
            try:
                return session.run(value)
            except tf.errors.OpError as error:
                raise damaged(self.prefix, error) from error
