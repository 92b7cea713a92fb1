"""Trains a model, or the new rows of one that is trained already.

--data says what the data is. A directory holds train.txt and, if you have them, valid.txt and
test.txt; the columns of a line are separated by tabs:

  triples   head relation tail          ratings   user item value [time]

Train a model:

  python scripts/train.py --data_dir=data/umls --checkpoint_dir=runs/base

Later there are more entities, and triples about them. Grow the model: only the rows of the new
entities (and relations) train, on the train triples that touch them; all the others stay as they
are, bit for bit:

  python scripts/train.py --data_dir=data/more --grow_from=runs/base --checkpoint_dir=runs/grown

Every night, in a crontab: the newest model in models/ grows, and the grown one appears there as the
next generation, in one step, when it is finished. Nothing new to train is success.

  python scripts/train.py --data_dir=data/today --publish=models --grow_from=latest

Stop it when you like (ctrl-c, SIGTERM, even SIGKILL), and start it again with the same command: it
continues from its newest checkpoint, and ends with the same weights as if it had never been
stopped. Flags can live in a file, and those of a run lie beside it, in flags.txt:

  python scripts/train.py --flagfile=umls.flags --seed=1

--model is one of complex, distmult, transe (triples), matrix_factorization (ratings), or your own:
package.module:function, see docs/training.md.

What comes out is the path of the finished checkpoint; on stderr, how each epoch went. The
checkpoint holds each table as one tensor, which any script restores with tf.train.Saver. Watch a
run with tensorboard --logdir=runs.
"""

import os
import sys

import quiet  # before all that imports TensorFlow
from absl import app, flags, logging
from job import cluster as job_cluster
from job import config as job_config
from job import data, directory, graph, new_rows, signals
from job.train import train

_CLUSTER = ("ps_hosts", "worker_hosts", "job_name", "task_index")
_DEFAULTS = job_config.Config(data_dir=None, checkpoint_dir=None)

flags.DEFINE_string("data_dir", None, "Directory with train.txt, and if any the other files.")
flags.DEFINE_string(
    "data",
    _DEFAULTS.data,
    f"What its lines are: {' or '.join(data.FORMATS)}; or package.module:function, your own "
    "function of the flags, which returns a job.data.Source.",
)
flags.DEFINE_boolean(
    "skip_bad_lines", False, "Count lines that are no examples, where the first would end the run."
)
flags.DEFINE_string(
    "checkpoint_dir", None, "Where this run keeps its checkpoints, vocabularies and event files."
)
flags.DEFINE_string(
    "grow_from",
    None,
    "Checkpoint, or directory of a run, whose rows are kept while only the new ones train; latest: "
    "the newest generation of --publish.",
)
flags.DEFINE_string(
    "publish",
    None,
    "Directory where the finished model appears, whole, with its vocabularies and a manifest, as "
    "the next generation.",
)
flags.DEFINE_boolean("require_new", False, "Fail if there is nothing new to train.")
flags.DEFINE_string(
    "model",
    _DEFAULTS.model,
    f"Which model: {', '.join(job_config.MODELS)}, or package.module:function, your own.",
)
flags.DEFINE_enum(
    "optimizer", _DEFAULTS.optimizer, list(job_config.OPTIMIZERS), "Which optimizer of tf.train."
)
flags.DEFINE_float("learning_rate", _DEFAULTS.learning_rate, "Learning rate of the optimizer.")
flags.DEFINE_enum(
    "decay",
    _DEFAULTS.decay,
    job_config.DECAYS,
    "linear: the learning rate falls to 0 until the last step.",
)
flags.DEFINE_float("momentum", None, "For Momentum (0.9 if not given) and RMSProp.")
flags.DEFINE_integer("batch_size", _DEFAULTS.batch_size, "Examples in a step.", lower_bound=1)
flags.DEFINE_integer("epochs", _DEFAULTS.epochs, "How often all examples are seen.", lower_bound=1)
flags.DEFINE_integer(
    "seed",
    _DEFAULTS.seed,
    "Of the first weights, the order of the examples and the dropout.",
    lower_bound=0,
    upper_bound=2**31 - 1,
)
job_config.define_replay(
    _DEFAULTS.replay,
    "When growing: old examples, chosen anew each epoch, per example with a new row; all: each of "
    "them in each epoch. They move no old row, but teach the new ones what they are no answer to. "
    "Those of the base are found beside it. Left out: as the model has it, 1 for complex, "
    "distmult and transe, 0 for others.",
)
flags.declare_key_flag("replay")
flags.DEFINE_float(
    "replay_weight",
    _DEFAULTS.replay_weight,
    "What a replayed example counts beside one with a new row. Left out: so much that those "
    "replayed stand for all old ones.",
    lower_bound=0,
)
flags.DEFINE_enum(
    "new_rows",
    _DEFAULTS.new_rows,
    new_rows.STARTS,
    "When growing: where the rows of new keys start. drawn: as the model draws rows; normal: "
    "drawn with the mean and covariance of the old rows; mean: all at the mean of the old rows; "
    "neighbours: each at the mean of the three old keys that stand in most of its examples' "
    "places.",
)
flags.DEFINE_list(
    "move",
    list(_DEFAULTS.move),
    "When growing: a vocabulary and a part, such as entities:0.3. The rows of its old keys move as "
    "well if more than this part of their examples is new; with 0 those of all that are in one. "
    "Left out, no old row moves, and where there is no new key nothing does.",
)
flags.DEFINE_integer(
    "save_every",
    _DEFAULTS.save_every,
    "Epochs between two checkpoints; of a pipeline, thousands of steps.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "eval_every",
    _DEFAULTS.eval_every,
    "Epochs between two evaluations on the valid examples; of a pipeline, thousands of steps.",
    lower_bound=1,
)
flags.DEFINE_boolean("eval_at_start", False, "Evaluate before the first step, too.")
flags.DEFINE_integer(
    "early_stopping",
    _DEFAULTS.early_stopping,
    "Stop after so many evaluations without a better one, with the weights of the best; 0: do not.",
    lower_bound=0,
)
flags.DEFINE_string(
    "watch",
    _DEFAULTS.watch,
    "What early stopping looks at: min:NAME or max:NAME of a metric of the valid examples, such as "
    "max:mrr or min:rmse.",
)
flags.DEFINE_list("ps_hosts", [], "Of a cluster: host:port of each parameter server.")
flags.DEFINE_list("worker_hosts", [], "Of a cluster: host:port of each worker.")
flags.DEFINE_enum("job_name", None, ["ps", "worker"], "Of a cluster: what this process is.")
flags.DEFINE_integer(
    "task_index", None, "Of a cluster: the number of this process among those.", lower_bound=0
)
flags.DEFINE_integer(
    "min_slice_bytes",
    _DEFAULTS.min_slice_bytes,
    "On a cluster: variables are divided among the parameter servers if they get so much each.",
    lower_bound=1,
)
flags.register_validator(
    "watch",
    lambda watch: watch.split(":")[0] in ("min", "max") and watch.count(":") == 1,
    "must be min:NAME or max:NAME, such as max:mrr.",
)
flags.register_validator(
    "replay_weight",
    lambda weight: weight is None or 0 <= weight < 1e6,
    "must be at least 0, and below a million.",
)
flags.register_validator(
    "learning_rate", lambda rate: rate > 0, "must be positive; 0.01 is a good start."
)


@quiet.command
def main():
    logging.set_verbosity(logging.INFO)
    names = [name for name in job_config.Config._fields if name != "hyperparameters"]
    config = job_config.Config(**{name: flags.FLAGS[name].value for name in names})
    cluster_flags = [flags.FLAGS[name].value for name in _CLUSTER]
    cluster = job_cluster.from_flags(*cluster_flags, environment=os.environ)
    with signals.StopSignals() as stop:
        if cluster and cluster.job == "ps":
            is_over = job_cluster.serve(cluster, lambda: stop.received)
            return 0 if is_over else 128 + stop.received
        result = train(
            config,
            should_stop=lambda: stop.received,
            started=_write_flags,
            cluster=cluster,
        )
    if result.told:
        print(f"train: {result.told}", file=sys.stderr)
        return 0
    if result.finished:
        if result.checkpoint:  # which the chief of a cluster has
            print(result.checkpoint)
        return 0
    if result.checkpoint:
        text = f"Stopped; {result.checkpoint} is saved. The same command continues."
        print(text, file=sys.stderr)
    return 128 + stop.received


def _write_flags(place):
    """Writes the flags that were given beside the run."""
    given = [flags.FLAGS[name] for name in sorted(flags.FLAGS) if flags.FLAGS[name].present]
    lines = [flag.serialize() for flag in given if flag.name not in ("flagfile", *_CLUSTER)]
    data.write_lines(os.path.join(place, directory.FLAGS), lines)


def define_flags_of_model(arguments):
    """Imports the modules that --model and --data name, which defines the flags of their own."""
    peek = flags.FlagValues()
    for name in ("model", "data"):
        flags.DEFINE_string(name, flags.FLAGS[name].default, "", flag_values=peek)
    peek(arguments, known_only=True)
    modules = [graph.find(peek["model"].value, "--model").__module__]
    if peek["data"].value not in data.FORMATS:
        modules.append(graph.find(peek["data"].value, "--data").__module__)
    if modules[0].startswith("models."):
        modules.append("models.hyperparameters")
    for module in modules:
        flags.adopt_module_key_flags(sys.modules[module])


if __name__ == "__main__":
    try:
        define_flags_of_model(sys.argv)
    except (ValueError, flags.Error) as wrong:
        print(f"train: {wrong}", file=sys.stderr)
        sys.exit(1)
    app.run(main)
