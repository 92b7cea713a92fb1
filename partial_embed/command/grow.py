"""Make tables of a checkpoint larger: checkpoint to checkpoint, no graph and no source.

The old rows, and all that does not grow, keep every bit; optimizer slots grow beside their tables.
What comes out is a plain checkpoint, which any script of the larger shapes restores. In a script,
`with pe.growing(OUTPUT):` then loads all of it and trains only the rows that were added.

  partial-embed grow run/model.ckpt-50 grown/model.ckpt --rows embedding=110
  partial-embed grow run/ grown/model.ckpt --vocabulary old.txt new.txt
  partial-embed grow run/ grown/model.ckpt --vocabulary old.txt new.txt --match 'ent*' --init mean

With --vocabulary, each variable that has one entry a key grows, rows or columns, and rows follow
their keys; the new keys are written beside the output. Nothing is written unless everything fits.
"""

from partial_embed.command.growth_arguments import (
    add_growth_arguments,
    growth_settings,
    print_growth,
)
from partial_embed.command.progress import Progress


def add_arguments(parser):
    parser.add_argument("base", help="prefix, directory or `checkpoint` file")
    parser.add_argument("output", help="prefix to write to")
    add_growth_arguments(parser)


def run(arguments):
    """Grows a checkpoint and prints what became of its tensors."""
    from partial_embed.saving.grow_checkpoint import grow_checkpoint

    shown = []
    with Progress("partial-embed grow") as progress:
        settings = growth_settings(arguments)
        grow_checkpoint(
            arguments.base, arguments.output, show=shown.append, progress=progress, **settings
        )
    print_growth(shown[0], arguments.output, arguments.json)
