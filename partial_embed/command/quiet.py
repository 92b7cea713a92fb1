"""A program that prints what is its own: TensorFlow without its notes, errors in one line."""

import os
import sys
import tempfile


def import_tensorflow():
    """Imports TensorFlow without its notes on processors and drivers; returns `compat.v1`.

    If that fails, what it had to say is shown.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
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
    tf.logging.set_verbosity(tf.logging.ERROR)  # nor notes on deprecations
    return tf


def run_told_in_a_line(name, function, *arguments):
    """Returns the exit status of a program, 0 if the function says none.

    An error that a user can mend becomes one line on stderr, `name: message`, and the
    status 1; being interrupted, 130. Other errors are the program's, and are raised.
    """
    try:
        return function(*arguments) or 0
    except BrokenPipeError:  # whoever read what is printed has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        message = "there is not enough memory. Is a number of rows larger than was meant?"
    except (ValueError, FloatingPointError, OSError) as error:
        message = str(error)
    except KeyboardInterrupt:
        print(f"{name}: stopped.", file=sys.stderr)
        return 130
    except Exception as error:
        tensorflow = sys.modules.get("tensorflow.compat.v1")
        if tensorflow is None or not isinstance(error, tensorflow.errors.OpError):
            raise
        message = error.message  # Its text goes on with the graph.
    print(f"{name}: {' '.join(message.split())}", file=sys.stderr)
    return 1
