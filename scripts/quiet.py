"""Imports TensorFlow without the notes on processors, drivers and deprecations that it prints.

Every script here imports this before anything else of TensorFlow, so that what it prints is its
own. An import that fails still says all it has to say.
"""

import os
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _import_tensorflow():
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as notes:
        # The notes come from C++, which knows nothing of sys.stderr.
        os.dup2(notes.fileno(), 2)
        try:
            import tensorflow.compat.v1 as tf
        except BaseException:
            sys.stderr.flush()
            notes.seek(0)
            os.write(stderr, notes.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
    tf.logging.set_verbosity(tf.logging.ERROR)
    return tf


_import_tensorflow().disable_v2_behavior()
