"""Make a SavedModel know more keys: its variables, its graph and its files of keys.

What loads the old one, as TensorFlow Serving does, loads the new one as well and serves keys that
were unknown. No source is needed; the SavedModel is one that TensorFlow 1 or tf.compat.v1 wrote.
Ops of training are left out.

  partial-embed grow-saved-model export/1 export/2 --vocabulary export/1/assets/words.txt words.txt
  partial-embed grow-saved-model export/1 export/2 --rows embedding=110 --constant one_hot/depth=110

A constant of the graph that holds the old number of rows is asked about: --constant says which
number stands there now, or `keep`. Nothing is written unless everything fits and can be loaded.
"""

from partial_embed.command.growth_arguments import (
    add_growth_arguments,
    growth_settings,
    pairs,
    print_growth,
)
from partial_embed.command.progress import Progress


def add_arguments(parser):
    parser.add_argument("directory", help="of the SavedModel")
    parser.add_argument("output", help="directory to write; it must not be there")
    parser.add_argument(
        "--constant",
        action="append",
        default=[],
        metavar="NAME=NUMBER",
        help="a node, or pattern, and the number in place of the old number of rows, or keep",
    )
    add_growth_arguments(parser)


def run(arguments):
    """Grows a SavedModel and prints what became of its variables."""
    from partial_embed.exporting.grow_saved_model import grow_saved_model

    shown = []
    with Progress("partial-embed grow-saved-model") as progress:
        grow_saved_model(
            arguments.directory,
            arguments.output,
            constants={name: _number(text) for name, text in pairs(arguments.constant)},
            show=shown.append,
            progress=progress,
            **growth_settings(arguments),
        )
    print_growth(shown[0], arguments.output, arguments.json)


def _number(text):
    if text != "keep" and not text.isdigit():
        raise ValueError(f"--constant is a number, or keep; got {text!r}.")
    return text if text == "keep" else int(text)
