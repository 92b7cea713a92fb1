"""Tensors of checkpoint files: ops and functions that read and write them, whole or in slices."""

import re

import tensorflow.compat.v1 as tf

from partial_embed.files.index import stored_tensors


def reason(error):
    """Returns what an error says, without TensorFlow's account of where its op was made."""
    text = getattr(error, "message", None) or str(error)
    text = re.sub(r"^Graph execution error:(.|\n)*?\nNode: '[^\n]*'\n", "", text)
    text = re.sub(r"^\d+ root error\(s\) found\.\n *\(0\) [^:]*: ", "", text)
    return text.split("\n\t [[")[0].strip()


def damaged(prefix, error):
    """Returns the ValueError that says of a checkpoint that it cannot be read."""
    return ValueError(
        f"The checkpoint {prefix} cannot be read: {reason(error)}. It is damaged or incomplete; "
        "take another copy of it."
    )


def slice_spec(full_shape, offset, shape):
    """Returns the text by which checkpoints name a slice: `5 3 2,3:0,3`.

    Args:
        full_shape: list of ints, the shape of the whole tensor.
        offset: list of ints, where the slice begins in each dimension.
        shape: list of ints, the shape of the slice.
    """
    return tf.Variable.SaveSliceInfo("", full_shape, offset, shape).spec


def slice_of(spec):
    """Returns ([start of each dimension], [length of each]) of the slice that a text names."""
    extents = [extent.split(",") for extent in spec.split(" ")[-1].split(":")]
    return tuple([int(extent[at]) for extent in extents] for at in range(2))


def restore(prefix, name, dtype, spec="", shape=None):
    """Returns a tensor, read from a checkpoint when it runs.

    Unlike the Python readers, this op joins slices and reads half precision in
    the old format too.

    Args:
        prefix: checkpoint prefix, str or string tensor.
        name: tensor name, str or string tensor [1].
        dtype: `tf.DType` of the tensor in the checkpoint.
        spec: slice to read, see `slice_spec`, str or string tensor [1]; empty means all.
        shape: static shape to give the result, if known.
    """
    if not can_slice(dtype) and isinstance(prefix, str):
        value = _restore_joined(prefix, name, dtype, spec)
    else:
        value = _restore_stored(prefix, name, dtype, spec)
    if shape is not None:
        value.set_shape(shape)
    return value


def restore_fed(dtype, shape):
    """Returns (what `restore` returns, the placeholders that say where it is read when it runs).

    Args:
        dtype: `tf.DType`.
        shape: static shape of the result.

    Returns:
        A tensor, and a list of what is fed with a prefix, a list of one name, and one of one slice.
    """
    place = [tf.placeholder(tf.string, its) for its in ([], [1], [1])]
    return restore(*place[:2], dtype, place[2], shape), place


def can_slice(dtype):
    """Returns whether TensorFlow reads part of such a tensor, and joins its slices.

    In the new format it can do neither in half precision and of unsigned numbers of more than a
    byte; texts its Python reader cannot join.
    """
    return dtype not in (tf.float16, tf.string, tf.uint16, tf.uint32, tf.uint64)


def _restore_stored(prefix, name, dtype, spec=""):
    # The op is named after the file: errors of TensorFlow name the op, and not always the file.
    op_name = "restore"
    if isinstance(prefix, str):
        op_name = re.sub(r"/+", "/", re.sub(r"[^A-Za-z0-9_.\-/]", "_", "restore/" + prefix))
    # Strings live on the CPU; a table can be too large for anything else as well.
    with tf.device("/cpu:0"):
        (value,) = tf.raw_ops.RestoreV2(
            prefix=prefix,
            tensor_names=[name] if isinstance(name, str) else name,
            shape_and_slices=[spec] if isinstance(spec, str) else spec,
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
            f"The checkpoint {prefix} holds {name} {shape} {dtype.name} in slices along more than "
            "one axis, which cannot be read."
        )
    specs = [slice_spec(shape, *zip(*extents)) for extents in sorted(slices)] or [""]
    parts = [_restore_stored(prefix, name, dtype, part) for part in specs]
    value = tf.concat(parts, axes[0]) if axes else parts[0]
    if spec:
        value = tf.slice(value, *slice_of(spec))
    return value


def write_part(prefix, tensors):
    """Writes tensors as a checkpoint of its own, a part of one in the making.

    Args:
        prefix: path to write to.
        tensors: list of (name, slice text or "", value): an array, or a function
            that makes a tensor, which is then never held in Python.
    """
    names, specs, values = zip(*tensors)
    with tf.Graph().as_default(), tf.device("/cpu:0"), tf.Session(config=cpu_only()) as session:
        # Fed, not constants: a table can be larger than a graph may be.
        feeds = {}
        for number, value in enumerate(values):
            if not callable(value):
                feeds[number] = placeholder_of(value)
        save = tf.raw_ops.SaveV2(
            prefix=prefix,
            tensor_names=list(names),
            shape_and_slices=list(specs),
            tensors=[feeds[n] if n in feeds else value() for n, value in enumerate(values)],
        )
        session.run(save, {feed: values[number] for number, feed in feeds.items()})


def merge_parts(parts, prefix):
    """Makes one checkpoint of several by moving their data files.

    Args:
        parts: list of prefixes, which are gone then.
        prefix: path to write to.
    """
    with tf.Graph().as_default(), tf.Session(config=cpu_only()) as session:
        session.run(
            tf.raw_ops.MergeV2Checkpoints(
                checkpoint_prefixes=parts, destination_prefix=prefix, delete_old_dirs=False
            )
        )


def read_tensors(prefix, wanted):
    """Returns arrays of a checkpoint, all of them or an error.

    Args:
        prefix: checkpoint prefix.
        wanted: list of (name, slice text or "", `tf.DType`).

    Raises:
        ValueError: if the files are damaged or incomplete; names the checkpoint.
    """
    if not wanted:
        return []
    with tf.Graph().as_default(), tf.device("/cpu:0"), tf.Session(config=cpu_only()) as session:
        values = [restore(prefix, name, dtype, spec) for name, spec, dtype in wanted]
        try:
            return session.run(values)
        except tf.errors.OpError as error:
            raise damaged(prefix, error) from error


def dtype_of(array):
    """Returns the `tf.DType` of an array, of texts too."""
    return tf.string if array.dtype.kind in "OSU" else tf.as_dtype(array.dtype)


def placeholder_of(array):
    """Returns a placeholder that an array is fed to."""
    # Made without its shape, of which TensorFlow would allocate another to optimize the graph.
    fed = tf.placeholder(dtype_of(array), [None] * array.ndim)
    fed.set_shape(array.shape)
    return fed


def fail_unless(message, all_fit, bad):
    """Returns an op that fails, with a message and up to 20 of what is `bad`, if not `all_fit`."""
    # Raw, for tf.Assert adds a tf.cond.
    return tf.raw_ops.Assert(condition=all_fit, data=[message, bad], summarize=20)


def a_function(make, arguments, name):
    """Returns a function of tensors that is one op of a graph, whatever ops `make` makes.

    Of none that can fail: of functions that are stopped because another one
    failed, TensorFlow may say that they were cancelled, and not why.

    Args:
        make: function of tensors, which returns a tensor, or a structure of some.
        arguments: list of `tf.TensorSpec`s of these.
        name: str, of no function that does something else: TensorFlow takes that of an imported
            MetaGraph for this one, if they have one name and number.
    """
    with tf.Graph().as_default():  # in none of the script's devices and scopes
        return tf.wrap_function(make, arguments, name=f"partial_embed_{name}")


def cpu_only():
    """Returns the configuration of a session that reads and writes."""
    # Reading and writing want no device but the CPU, and no graph that is better than it was made.
    config = tf.ConfigProto(device_count={"GPU": 0})
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    return config
