r"""Base + deltas = one plain checkpoint, which any script restores.

    python scripts/merge_checkpoint.py --base=run/model.ckpt-50 \
        --delta=alice/delta.ckpt-90 --output=published/model.ckpt

Deltas are what `pe.Saver(delta=True)` writes. Several that were grown from one
base, apart from each other, are named in one list; their new rows follow one
another in that order. The same key in two of them is an error unless --policy
says whose rows count:

    python scripts/merge_checkpoint.py --base=run/model.ckpt-50 \
        --delta=alice/delta.ckpt-90,bob/delta.ckpt-70 --policy=last \
        --vocabulary=run/entities.txt --output=published/model.ckpt

With --vocabulary, the keys of the merged rows are written to
<output>.vocabulary.txt. Nothing is written unless everything fits. What comes out is
one line: which checkpoint was written, from which.
"""

import quiet  # before all that imports TensorFlow
from absl import app, flags

import partial_embed as pe

FLAGS = flags.FLAGS
flags.DEFINE_string("base", None, "Checkpoint the deltas were grown from: prefix or directory.")
flags.DEFINE_list("delta", None, "Prefixes of one delta or more, separated by commas.")
flags.DEFINE_string("output", None, "Prefix to write the whole checkpoint to.")
flags.DEFINE_enum(
    "policy", None, ["first", "last", "mean"], "Whose rows count where deltas share a key."
)
flags.DEFINE_string("vocabulary", None, "The base's vocabulary file, one key a line.")
flags.DEFINE_bool("allow_nonfinite", False, "Merge tables that hold NaN or Inf.")
flags.mark_flags_as_required(["base", "delta", "output"])


@quiet.command
def main():
    pe.merge_checkpoint(
        FLAGS.base,
        FLAGS.delta,
        FLAGS.output,
        policy=FLAGS.policy,
        vocabulary=FLAGS.vocabulary,
        allow_nonfinite=FLAGS.allow_nonfinite,
    )
    print(f"Wrote {FLAGS.output} from {FLAGS.base} and {', '.join(FLAGS.delta)}.")


if __name__ == "__main__":
    app.run(main)
