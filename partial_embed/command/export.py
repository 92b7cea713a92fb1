"""Write tables in a format that others read: SavedModel, Keras, NumPy, word vectors and more.

CHECKPOINT is a whole checkpoint (prefix, directory, `checkpoint` file; by name or by objects) or
a .keras file; merge a delta with its base first. The ending of OUTPUT says the format (.npy,
.safetensors, .keras; .vec, .txt and .bin for word vectors), or --format does:

  partial-embed export run/model.ckpt-50 vectors.npy --table embedding
  partial-embed export run/model.ckpt-50 serving/1 --format saved_model --vocabulary entities.txt
  partial-embed export model.keras legacy/model.ckpt --format checkpoint

saved_model and projector are directories, object and checkpoint are prefixes of checkpoints, the
others are files. Without --table, all that are tables are written: floating-point tensors of two
axes that are no optimizer's. Without --vocabulary, keys are those of CHECKPOINT.vocabulary.txt if
that stands there. What is written is whole or is not there.
"""

import os

from partial_embed.command.progress import Progress

FORMATS = (
    "saved_model",
    "object",
    "keras",
    "checkpoint",
    "npy",
    "safetensors",
    "word2vec",
    "projector",
)


def add_arguments(parser):
    """Adds what the command takes."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="what to export from")
    parser.add_argument("output", metavar="OUTPUT", help="path to write to")
    parser.add_argument("--format", choices=FORMATS, help="default: what OUTPUT's ending says")
    parser.add_argument(
        "--table", action="append", metavar="NAME", help="a tensor to export; may be given again"
    )
    parser.add_argument(
        "--name",
        action="append",
        metavar="NAME=OTHER",
        help="what a tensor is to be called in OUTPUT; may be given again",
    )
    parser.add_argument(
        "--vocabulary",
        action="append",
        metavar="FILE | PATTERN=FILE",
        help="file of one key a line, in order of the rows, for all tables that it fits or for "
        "those whose names match a pattern; may be given again",
    )
    parser.add_argument(
        "--num_oov_buckets",
        type=int,
        default=0,
        metavar="N",
        help="how many rows at the end are for keys in no vocabulary",
    )
    parser.add_argument(
        "--unknown_keys",
        choices=("error", "zeros"),
        default="error",
        help="what a saved_model gives for other keys where no rows are for them; default: error",
    )
    parser.add_argument(
        "--allow_nonfinite", action="store_true", help="export rows that hold NaN or Inf"
    )


def run(arguments):
    """Exports, and prints one line of what was written.

    Raises:
        ValueError, OSError: see `partial_embed.export`.
    """
    from partial_embed.exporting.export import export

    with Progress("partial-embed export"):
        exported = export(
            arguments.checkpoint,
            arguments.output,
            arguments.format,
            arguments.table,
            _vocabularies(arguments.vocabulary, arguments.num_oov_buckets),
            dict(_divided(text, "--name") for text in arguments.name or ()),
            arguments.unknown_keys,
            arguments.allow_nonfinite,
        )
    print(exported.describe())


def _vocabularies(texts, num_oov_buckets):
    """Returns {pattern: (path, num_oov_buckets)} of what --vocabulary says, None for nothing."""
    if not texts:
        if num_oov_buckets:
            raise ValueError("--num_oov_buckets is of a vocabulary: give that by --vocabulary.")
        return None
    found = {}
    for text in texts:
        # A file may have a = in its name, and then stands as it is.
        pattern, path = ("*", text) if "=" not in text or os.path.exists(text) else _divided(text)
        found[pattern] = (path, num_oov_buckets)
    return found


def _divided(text, option="--vocabulary"):
    left, _, right = text.partition("=")
    if not (left and right):
        raise ValueError(f"{option} {text}: expected two parts with = between them.")
    return left, right
