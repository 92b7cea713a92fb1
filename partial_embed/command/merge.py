r"""Base + deltas = one plain checkpoint, which any script restores.

Deltas are what `pe.Saver(delta=True)` writes. Several that were grown from one base apart from each
other have their new rows put one after the other, in the order given:

  partial-embed merge run/model.ckpt-50 alice/delta.ckpt-90 --output published/model.ckpt
  partial-embed merge run/model.ckpt-50 alice/delta.ckpt-90 bob/delta.ckpt-70 --policy last \
      --vocabulary run/entities.txt --output published/model.ckpt

The same key in two of them is an error unless --policy says whose rows count. With --vocabulary,
the keys of the merged rows are written beside the output. Nothing is written unless all fits.
"""

from partial_embed.command.progress import Progress


def add_arguments(parser):
    parser.add_argument("base", help="what the deltas were grown from: prefix or directory")
    parser.add_argument("delta", nargs="+", help="prefix of a delta")
    parser.add_argument("--output", required=True, help="prefix to write to")
    parser.add_argument(
        "--policy", choices=["first", "last", "mean"], help="whose rows count where keys are shared"
    )
    parser.add_argument("--vocabulary", help="the base's vocabulary file, one key a line")
    parser.add_argument("--allow_nonfinite", action="store_true", help="merge NaN and Inf as well")


def run(arguments):
    """Merges, and prints which checkpoint was written from which."""
    from partial_embed.saving.merge import merge_checkpoint

    with Progress("partial-embed merge"):
        merge_checkpoint(
            arguments.base,
            arguments.delta,
            arguments.output,
            policy=arguments.policy,
            vocabulary=arguments.vocabulary,
            allow_nonfinite=arguments.allow_nonfinite,
        )
    print(f"Wrote {arguments.output} from {arguments.base} and {', '.join(arguments.delta)}.")
