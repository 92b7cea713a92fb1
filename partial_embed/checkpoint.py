"""Reading checkpoints: where one is, what it holds, and ops that load rows of it."""

import difflib
import os
import re

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed.index import stored_tensors

_SIDE_FILES = (".index", ".meta", ".data-00000-of-00001")


def exists(prefix):
    """Returns whether a checkpoint of either format stands at `prefix`."""
    # V2 has an index; V1 is one file, or one a shard.
    if tf.gfile.Exists(prefix + ".index"):
        return True
    if tf.gfile.Exists(prefix) and not tf.gfile.IsDirectory(prefix):
        return True
    return bool(_shards(prefix))


def _shards(prefix):
    """Returns the files of a sharded V1 checkpoint; savers call it `model.ckpt-?????-of-00002`."""
    try:
        return tf.gfile.Glob(prefix if "-?????-of-" in prefix else prefix + "-?????-of-?????")
    except tf.errors.NotFoundError:  # the directory; newer versions return nothing instead
        return []


def latest_in(directory, state_file="checkpoint"):
    """Returns the newest whole checkpoint that a directory's state file names.

    The state file records paths; after a model is copied to another place they
    are stale, so a path that is gone is looked for beside the state file.

    Args:
        directory: path of a directory.
        state_file: name of the state file in it.

    Returns:
        The prefix of a checkpoint that exists, or None.
    """
    state = tf.train.get_checkpoint_state(directory, latest_filename=state_file)
    if state is None:
        return None
    paths = [state.model_checkpoint_path] + list(reversed(state.all_model_checkpoint_paths))
    for path in paths:
        for candidate in (path, os.path.join(directory, os.path.basename(path))):
            if exists(candidate):
                return candidate
    return None


def resolve(path):
    """Returns the prefix of the checkpoint that `path` means.

    Args:
        path: a checkpoint prefix (`model.ckpt-50`), a directory with a
            `checkpoint` state file, or that state file.

    Returns:
        The prefix, as a string.

    Raises:
        ValueError: if no whole checkpoint is there; says what was found.
    """
    if path is None:
        raise ValueError(
            "There is no checkpoint: the path is None. tf.train.latest_checkpoint returns that "
            "where it finds none."
        )
    path = os.fsdecode(path)
    directory, base = os.path.split(path)
    if tf.gfile.IsDirectory(path):
        found = latest_in(path)
    elif base == "checkpoint" and tf.gfile.Exists(path) and latest_in(directory or "."):
        found = latest_in(directory or ".")
    else:
        for ending in _SIDE_FILES:
            if path.endswith(ending) and tf.gfile.Exists(path):
                raise ValueError(
                    "{} is one file of a checkpoint. Give the prefix its files share: {}".format(
                        path, path[: -len(ending)]
                    )
                )
        found = path if exists(path) else None
        if found and not tf.gfile.Exists(path + ".index") and not tf.gfile.Exists(path):
            found = path.split("-?????-of-")[0] + "-?????" + _shards(path)[0][-9:]
    if found is None:
        place = path if tf.gfile.IsDirectory(path) else directory or "."
        there = tf.gfile.ListDirectory(place) if tf.gfile.IsDirectory(place) else None
        raise ValueError(
            "No checkpoint at {}. Expected a checkpoint prefix (like model.ckpt-50), or a "
            "directory whose `checkpoint` file names one that exists; found {}.".format(
                path,
                "no directory {}".format(place)
                if there is None
                else "in {}: {}".format(place, ", ".join(sorted(there)[:20]) or "nothing"),
            )
        )
    # A graph outlives a change of the working directory.
    return found if "://" in found else os.path.abspath(found)


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
        return "{} {} {}".format(name, list(self.shapes[name]), self.dtypes[name].name)

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
            problem = "the dtype must be equal; ask for dtype=tf.{}".format(self.dtypes[name].name)
        else:
            return
        raise ValueError(
            "The table {} {} {} does not fit the checkpoint {}, which holds {}: {}.".format(
                name, want, dtype.name, self.prefix, self.describe(name), problem
            )
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


def reason(error):
    """Returns what an error says, without TensorFlow's account of where its op was made."""
    text = getattr(error, "message", None) or str(error)
    text = re.sub(r"^Graph execution error:(.|\n)*?\nNode: '[^\n]*'\n", "", text)
    text = re.sub(r"^\d+ root error\(s\) found\.\n *\(0\) [^:]*: ", "", text)
    return text.split("\n\t [[")[0].strip()


def damaged(prefix, error):
    """Returns the ValueError that says of a checkpoint that it cannot be read."""
    return ValueError(
        "The checkpoint {} cannot be read: {}. It is damaged or incomplete; take another copy of "
        "it.".format(prefix, reason(error))
    )


def slice_spec(full_shape, offset, shape):
    """Returns the text by which checkpoints name a slice: `5 3 2,3:0,3`.

    Args:
        full_shape: list of ints, the shape of the whole tensor.
        offset: list of ints, where the slice begins in each dimension.
        shape: list of ints, the shape of the slice.
    """
    extents = ["{},{}".format(start, length) for start, length in zip(offset, shape)]
    return "{} {}".format(" ".join(map(str, full_shape)), ":".join(extents))


def restore(prefix, name, dtype, spec="", shape=None):
    """Returns a tensor, read from a checkpoint when it runs.

    Unlike the Python readers, this op joins slices and reads half precision in
    the old format too.

    Args:
        prefix: checkpoint prefix, str or string tensor.
        name: tensor name, str or string tensor.
        dtype: `tf.DType` of the tensor in the checkpoint.
        spec: slice to read, see `slice_spec`; empty means all.
        shape: static shape to give the result, if known.
    """
    if not can_slice(dtype) and isinstance(prefix, str):
        value = _restore_joined(prefix, name, dtype, spec)
    else:
        value = _restore_stored(prefix, name, dtype, spec)
    if shape is not None:
        value.set_shape(shape)
    return value


def can_slice(dtype):
    """Returns whether TensorFlow reads part of such a tensor, and joins its slices.

    In the new format it can do neither in half precision.
    """
    return dtype != tf.float16


def _restore_stored(prefix, name, dtype, spec=""):
    # The op is named after the file: errors of TensorFlow name the op, and not always the file.
    op_name = "restore"
    if isinstance(prefix, str):
        op_name = re.sub(r"/+", "/", re.sub(r"[^A-Za-z0-9_.\-/]", "_", "restore/" + prefix))
    # Strings live on the CPU; a table can be too large for anything else as well.
    with tf.device("/cpu:0"):
        (value,) = tf.raw_ops.RestoreV2(
            prefix=prefix,
            tensor_names=[name],
            shape_and_slices=[spec],
            dtypes=[dtype],
            name=op_name,
        )
    return value


def _restore_joined(prefix, name, dtype, spec):
    """`restore` for what `can_slice` denies: reads what is there, and joins and cuts it."""
    # TensorFlow joins what is in the old format in every case.
    stored = stored_tensors(prefix) if tf.gfile.Exists(prefix + ".index") else {}
    shape, _, slices = stored.get(name, ([], dtype, []))
    axes = [axis for axis in range(len(shape)) if any(s[axis][1] < shape[axis] for s in slices)]
    if len(axes) > 1:
        raise ValueError(
            "The checkpoint {} holds {} {} {} in slices along more than one axis, which cannot be "
            "read.".format(prefix, name, shape, dtype.name)
        )
    specs = [slice_spec(shape, *zip(*extents)) for extents in sorted(slices)] or [""]
    parts = [_restore_stored(prefix, name, dtype, part) for part in specs]
    value = tf.concat(parts, axes[0]) if axes else parts[0]
    if spec:
        extents = [extent.split(",") for extent in spec.split(" ")[-1].split(":")]
        begin, size = zip(*[(int(start), int(length)) for start, length in extents])
        value = tf.slice(value, begin, size)
    return value


def refuse_nonfinite(value, what):
    """Returns `value`, after an op that fails if a row of it holds NaN or Inf.

    A product with zeros is NaN exactly for such rows, and needs one number a
    row where `is_finite` needs one a value.

    Args:
        value: float tensor [rows, ...].
        what: str that names the table and its checkpoint, for the error.
    """
    if not value.dtype.is_floating or value.shape.rank == 0:
        return value
    row_size = int(np.prod(value.shape.as_list()[1:]))
    flat = tf.reshape(value, [-1, row_size])
    marks = tf.reshape(tf.matmul(flat, tf.zeros([row_size, 1], value.dtype)), [-1])
    bad = tf.reshape(tf.where_v2(tf.not_equal(marks, marks)), [-1])
    message = (
        "{}: rows with NaN or Inf (all of them, up to 20). Repair the checkpoint, or pass "
        "allow_nonfinite=True to load it as it is:".format(what)
    )
    with tf.control_dependencies([tf.Assert(tf.equal(tf.size(bad), 0), [message, bad], 20)]):
        return tf.identity(value)


def nonfinite_rows(values):
    """Returns the numbers of the rows of an array that hold NaN or Inf."""
    if values.dtype.kind in "iub" or not values.size:
        return np.zeros(0, int)
    # As in refuse_nonfinite; a float type of numpy's own for the half types.
    found = []
    step = max(1, (1 << 22) // max(1, values[0].size))
    for start in range(0, len(values), step):
        chunk = values[start : start + step].reshape([len(values[start : start + step]), -1])
        finite = np.isfinite(chunk.astype(np.float32) if chunk.dtype.itemsize < 4 else chunk)
        found.append(start + np.flatnonzero(~finite.all(1)))
    return np.concatenate(found)
