"""Trains a knowledge-graph model, or the new rows of one that is trained already.

A directory of triples holds train.txt and, if you have them, valid.txt and test.txt; every line is
head <tab> relation <tab> tail. If entities.txt and relations.txt are there, the number of a key's
line is its row.

Train a model:

  python scripts/train.py --data_dir=data/umls --checkpoint_dir=runs/base

Later there are more entities, and triples about them. Grow the model: only the rows of the new
entities (and relations) train, on the train triples that touch them; all the others stay as they
are, bit for bit:

  python scripts/train.py --data_dir=data/more --grow_from=runs/base --checkpoint_dir=runs/grown

Stop it when you like (ctrl-c, SIGTERM, even SIGKILL), and start it again with the same command: it
continues from its newest checkpoint, and ends with the same weights as if it had never been
stopped. Flags can live in a file:

  python scripts/train.py --flagfile=umls.flags --seed=1

What comes out is the path of the newest checkpoint; on stderr, how each epoch went. The checkpoint
holds each table as one tensor, which any script restores with tf.train.Saver. Watch a run with
tensorboard --logdir=runs.
"""

import sys

import quiet  # before all that imports TensorFlow
from absl import app, flags, logging
from knowledge_graph import models, new_rows, runs, settings, training

_DEFAULTS = settings.Config(data_dir=None, checkpoint_dir=None)

flags.DEFINE_string(
    "data_dir", None, "Directory with train.txt, and if any valid.txt, test.txt, the vocabularies."
)
flags.DEFINE_string(
    "checkpoint_dir", None, "Where this run keeps its checkpoints, vocabularies and event files."
)
flags.DEFINE_string(
    "grow_from",
    None,
    "Checkpoint, or directory of a run, whose rows are kept while only the new ones train.",
)
flags.DEFINE_enum("model", _DEFAULTS.model, sorted(models.MODELS), "Which model.")
flags.DEFINE_integer(
    "dimension",
    _DEFAULTS.dimension,
    "Dimensions of an entity; complex numbers for complex.",
    lower_bound=1,
)
flags.DEFINE_enum(
    "optimizer", _DEFAULTS.optimizer, list(settings.OPTIMIZERS), "Which optimizer of tf.train."
)
flags.DEFINE_float("learning_rate", _DEFAULTS.learning_rate, "Learning rate of the optimizer.")
flags.DEFINE_float("momentum", None, "For Momentum (0.9 if not given) and RMSProp.")
flags.DEFINE_integer("batch_size", _DEFAULTS.batch_size, "Triples in a step.", lower_bound=1)
flags.DEFINE_integer("epochs", _DEFAULTS.epochs, "How often all triples are seen.", lower_bound=1)
flags.DEFINE_integer(
    "seed",
    _DEFAULTS.seed,
    "Of the first weights, the order of the triples and the dropout.",
    lower_bound=0,
    upper_bound=2**31 - 1,
)
flags.DEFINE_float("dropout", _DEFAULTS.dropout, "Part of every query that is dropped, at random.")
flags.DEFINE_float(
    "n3", _DEFAULTS.n3, "Weight of the N3 penalty, for complex and distmult.", lower_bound=0
)
flags.DEFINE_float(
    "replay",
    _DEFAULTS.replay,
    "When growing: old triples, chosen anew each epoch, per triple with a new row. They move no "
    "old row, but teach the new ones what they are no answer to.",
    lower_bound=0,
)
flags.DEFINE_enum(
    "new_rows",
    _DEFAULTS.new_rows,
    new_rows.STARTS,
    "When growing: where the rows of new entities start. drawn: as the model draws rows; normal: "
    "drawn with the mean and covariance of the old rows; mean: all at the mean of the old rows; "
    "neighbours: each at the mean of the three old entities that stand in most of its triples' "
    "places.",
)
flags.DEFINE_integer(
    "save_every", _DEFAULTS.save_every, "Epochs between two checkpoints.", lower_bound=1
)
flags.DEFINE_integer(
    "eval_every",
    _DEFAULTS.eval_every,
    "Epochs between two evaluations on the valid triples.",
    lower_bound=1,
)
flags.mark_flags_as_required(["data_dir", "checkpoint_dir"])
flags.register_validator(
    "learning_rate", lambda rate: rate > 0, "must be positive; 0.01 is a good start."
)
flags.register_validator(
    "dropout", lambda rate: 0 <= rate < 1, "must be at least 0, which drops nothing, and below 1."
)


@quiet.command
def main():
    logging.set_verbosity(logging.INFO)
    config = settings.Config(**{name: flags.FLAGS[name].value for name in settings.Config._fields})
    with runs.StopSignals() as stop:
        result = training.train(config, should_stop=lambda: stop.received)
    if result.finished:
        print(result.checkpoint)
        return 0
    text = f"Stopped; {result.checkpoint} is saved. The same command continues."
    print(text, file=sys.stderr)
    return 128 + stop.received


if __name__ == "__main__":
    app.run(main)
