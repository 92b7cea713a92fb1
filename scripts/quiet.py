"""Scripts that print what is theirs: TensorFlow imported without its notes, errors in one line.

Every script that uses TensorFlow imports this before it.
"""

import functools
import inspect
import os
import sys
import tempfile

from absl import flags, logging

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _import_tensorflow():
    """Imports it without its notes on processors and drivers; a failure says all it has to say."""
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
    tf.logging.set_verbosity(tf.logging.ERROR)  # nor notes on deprecations, such as of:
    tf.disable_v2_behavior()
    return tf


tf = _import_tensorflow()


def command(main):
    """Makes of `main(*words)` what `app.run` calls; words are the arguments that are no flags.

    An error that a user can mend becomes one line on stderr, `script: message`, and the exit
    status 1. What is logged below WARNING is not shown unless --verbosity=0 asks for it.
    """

    @functools.wraps(main)
    def run(arguments):
        script = os.path.splitext(os.path.basename(arguments[0]))[0]
        words, names = arguments[1:], list(inspect.signature(main).parameters)
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)
        try:
            if len(words) != len(names):
                raise ValueError(
                    f"expected {' '.join(names).upper() or 'flags alone'}, found "
                    f"{' '.join(words) or 'nothing'}; --help says more."
                )
            return main(*words)
        except (ValueError, FloatingPointError, OSError) as error:
            message = str(error)
        except tf.errors.OpError as error:
            message = error.message  # Its text goes on with the graph.
        except KeyboardInterrupt:
            print(f"{script}: stopped.", file=sys.stderr)
            return 130
        print(f"{script}: {' '.join(message.split())}", file=sys.stderr)
        return 1

    return run
