"""Scripts that print what is theirs: TensorFlow imported without its notes, errors in one line.

Every script that uses TensorFlow imports this before it.
"""

import functools
import inspect
import os

from absl import flags, logging

from partial_embed.command.quiet import import_tensorflow, run_told_in_a_line

tf = import_tensorflow()
tf.disable_v2_behavior()


def command(main):
    """Makes of `main(*words)` what `app.run` calls; words are the arguments that are no flags.

    What goes wrong is told as the command `partial-embed` tells it. What is logged below WARNING
    is not shown unless --verbosity=0 asks for it.
    """

    @functools.wraps(main)
    def run(arguments):
        script = os.path.splitext(os.path.basename(arguments[0]))[0]
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)
        return run_told_in_a_line(script, call, arguments[1:])

    def call(words):
        names = list(inspect.signature(main).parameters)
        if len(words) != len(names):
            raise ValueError(
                f"expected {' '.join(names).upper() or 'flags alone'}, found "
                f"{' '.join(words) or 'nothing'}; --help says more."
            )
        return main(*words)

    return run
