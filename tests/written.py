"""Checkpoints that many tests write alike: TensorFlow writes each once, and they get copies."""

import copy
import os
import tempfile

import tensorflow.compat.v1 as tf

_written = {}


def written(key, write, prefix):
    """Puts a checkpoint at a prefix, as a plain `tf.train.Saver` that saves there does.

    Args:
        key: what determines all that it holds, and what `write` returns.
        write: a function of a prefix, called if no checkpoint of this key was written before.
        prefix: where it shall be.

    Returns:
        What `write` returned.
    """
    if key not in _written:
        with tempfile.TemporaryDirectory() as folder:
            result, files = write(os.path.join(folder, "model")), {}
            for name in os.listdir(folder):
                if name.startswith("model."):
                    with open(os.path.join(folder, name), "rb") as file:
                        files[name[len("model") :]] = file.read()
        _written[key] = result, files
    result, files = _written[key]
    for suffix, content in files.items():
        with open(prefix + suffix, "wb") as file:
            file.write(content)
    tf.train.update_checkpoint_state(os.path.dirname(prefix), prefix)
    return copy.deepcopy(result)
