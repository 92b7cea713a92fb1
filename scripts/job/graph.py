"""The graph of a run: the model, its loss, the train op, the Savers."""

import argparse
import importlib
from typing import Any, Callable, NamedTuple, Union

import tensorflow.compat.v1 as tf
from absl import flags, logging

import partial_embed as pe
from job import new_rows
from job.cluster import ALONE
from job.config import DECAYS, MODELS, OPTIMIZERS, moves
from partial_embed.files.checkpoint import Checkpoint
from partial_embed.table.embedding import embeddings_in
from partial_embed.table.report import listed


class Graph(NamedTuple):
    """What a run needs of its graph.

    `tables` says which has the rows of which vocabulary. `metrics` is what the model gave: a dict
    of names to (value, update op), or a function of (session, examples, sizes, data). `norms` are,
    by table, the root mean square of the norms of its new rows. `finite` says whether all that
    trains is finite. `counted` trains, and counts the step: it is the number of steps before, which
    no other step has. `saver` saves on the way, `whole_saver` at the end.
    """

    tables: dict
    training: tf.Tensor
    loss: tf.Tensor
    counted: tf.Tensor
    metrics: Union[dict, Callable]
    reset_metrics: tf.Operation
    global_step: tf.Variable
    norms: dict
    finite: tf.Tensor
    saver: Any
    whole_saver: Any


def find(place, what):
    """Returns the function that `package.module:function`, or the name of a model, stands for."""
    module, colon, name = MODELS.get(place, place).partition(":")
    if not (module and colon and name):
        raise ValueError(
            f"{what}={place} is neither one of {', '.join(MODELS)} nor package.module:function."
        )
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise ValueError(f"{what}={place}: {error}; the module must be on PYTHONPATH.") from error
    if not callable(getattr(found, name, None)):
        raise ValueError(f"{what}={place}: {module} has no function {name}.")
    return getattr(found, name)


def hyperparameters(config):
    """The flags of the model's and the data's own, by name, as they are or as `config` has them.

    Those are the flags that their modules, or others of the same package, define.
    """
    places = [MODELS.get(config.model, config.model), config.data]
    packages = {place.partition(":")[0].partition(".")[0] for place in places if ":" in place}
    found = {
        flag.name: flag.value
        for module, defined in flags.FLAGS.flags_by_module_dict().items()
        if module.partition(".")[0] in packages
        for flag in defined
    }
    return dict(found, **config.hyperparameters)


def all_flags(config):
    """What a model or a function of data is given as `flags`: those of the job, and its own."""
    return argparse.Namespace(**dict(hyperparameters(config), **config._asdict()))


def build(config, base, data, batches, member=ALONE):
    """Builds the model in the default graph, and what trains it.

    Args:
      config, base, data, batches: of the run.
      member: the `Member` of a cluster, in the placement of which this is called, or `Alone`.
    """
    builder = find(config.model, "--model")
    tables = getattr(builder, "tables", {})
    strange = sorted(set(tables.values()) - set(data.vocabularies))
    if strange:
        raise ValueError(
            f"--model={config.model} has tables of {', '.join(strange)}; the vocabularies are "
            f"{', '.join(sorted(data.vocabularies))}."
        )
    training = tf.placeholder_with_default(True, [], "features/training")
    features = dict(batches.features, training=training)

    def model():
        known = [
            _Known(its, config, what)
            for its, what in ((features, "feature"), (data.sizes(), "vocabulary"))
        ]
        return _checked(builder(*known, all_flags(config)), config)

    # The one place that knows about growing.
    if base.checkpoint:
        starts = new_rows.initializers(config.new_rows, data, tables)
        moving = new_rows.moving(data, moves(config))
        # Each parameter server holds its share of what is frozen.
        divided = member.partitioner(config.min_slice_bytes)
        with pe.growing(
            base.checkpoint,
            trainable_rows={t: moving[name] for t, name in tables.items() if len(moving[name])},
            initializers=starts,
            partitioner=divided,
            show=_warn,
        ):
            loss, metrics = model()
        _check_rows(base, data)
    else:
        loss, metrics = model()
    batches.check()

    global_step = tf.train.get_or_create_global_step()
    if isinstance(metrics, dict) and "loss" not in metrics:
        batch = tf.cast(tf.shape(next(iter(batches.features.values())))[0], tf.float32)
        metrics = dict(metrics, loss=tf.metrics.mean(loss, batch))
    optimizer = _optimizer(config, global_step, batches.per_epoch)
    minimize = pe.minimize if base.checkpoint else tf.train.Optimizer.minimize
    with tf.control_dependencies([minimize(optimizer, loss)]):
        # Counts in one step; what an optimizer adds can only be read after the steps of others.
        counted = tf.count_up_to(global_step, 1 << 62)
    norms = {
        table.table_name: _norm(table) for table in embeddings_in() if table.trainable is not None
    }
    trained = [v for v in tf.trainable_variables() if v.dtype.base_dtype.is_floating]
    finite = tf.reduce_all(
        [_beside(v, lambda values: tf.reduce_all(tf.is_finite(values))) for v in trained]
    )
    reset = tf.variables_initializer(tf.get_collection(tf.GraphKeys.METRIC_VARIABLES))
    sharded = member.in_cluster  # Each parameter server writes what it holds.
    whole_saver = pe.Saver(max_to_keep=3, sharded=sharded)
    saver = whole_saver
    if base.checkpoint:
        saver = pe.Saver(max_to_keep=3, sharded=sharded, delta=True)
    return Graph(
        tables,
        training,
        loss,
        counted,
        metrics,
        reset,
        global_step,
        norms,
        finite,
        saver,
        whole_saver,
    )


class _Known(dict):
    """What a model is given; what it asks for in vain is told."""

    def __init__(self, content, config, what):
        super().__init__(content)
        self._config, self._what = config, what

    def __missing__(self, name):
        raise ValueError(
            f"--model={self._config.model} has a use for the {self._what} {name!r}, and "
            f"--data={self._config.data} gives {', '.join(sorted(self))}; choose those that fit."
        )


def _checked(returned, config):
    """What a model returned, if it is a loss and metrics."""
    wanted = f"--model={config.model} must return a loss and metrics (a dict, {{}} for none)"
    if not isinstance(returned, (tuple, list)) or len(returned) != 2:
        raise ValueError(f"{wanted}; it returned {type(returned).__name__}.")
    loss, metrics = returned
    if not (isinstance(metrics, dict) or callable(metrics)):
        raise ValueError(f"{wanted}; as metrics it returned {type(metrics).__name__}.")
    shape = tf.convert_to_tensor(loss).shape
    if shape.ndims:
        raise ValueError(
            f"--model={config.model} must return one number as its loss, such as its "
            f"tf.reduce_mean; it returned {shape}."
        )
    return loss, metrics


def _norm(table):
    """The root of the mean of the squared norms of the rows that train."""
    squares = _beside(table.trainable, lambda rows: tf.reduce_sum(tf.square(rows)))
    return tf.sqrt(squares / (table.plan.num_rows - table.num_frozen_rows))


def _beside(variable, function):
    """`function(variable)`, computed where the variable is: only the result goes elsewhere."""
    with tf.get_default_graph().colocate_with(variable.op):
        return function(variable)


def _check_rows(base, data):
    """Checks that tables grew, and each as one of the vocabularies did."""
    sizes = data.sizes()
    if not embeddings_in():
        raise ValueError(
            f"No table of the model grows from {base.checkpoint}; it has "
            f"{listed(sorted(Checkpoint(base.checkpoint).shapes)) or 'nothing'}."
        )
    for table in embeddings_in():
        before, now = table.plan.checkpoint_rows, table.plan.num_rows
        extra = {
            now - sizes[name]
            for name, old in data.num_old.items()
            if before - old == now - sizes[name]
        }
        if not extra or min(extra) < 0:
            said = ", ".join(f"{name} {old} to {sizes[name]}" for name, old in data.num_old.items())
            raise ValueError(
                f"{table.table_name} grows from {before} rows to {now}, and no vocabulary does: "
                f"{said}. The keys beside the base must be those of its rows."
            )
        if min(extra):
            logging.warning(
                "%s has %d rows more than keys; they must come before those of the keys.",
                table.table_name,
                min(extra),
            )


def _warn(report):
    # What grew is said by the job, in terms of keys.
    for warning in report.warnings():
        logging.warning("%s: %s", report.checkpoint.prefix, warning)


def _optimizer(config, global_step, per_epoch):
    arguments, rate = {}, config.learning_rate
    if config.decay != DECAYS[0]:
        if not per_epoch:
            raise ValueError(
                f"--decay={config.decay} needs to know how many steps there will be, and nobody "
                "knows how long a pipeline is; leave it out."
            )
        rate = tf.train.polynomial_decay(rate, global_step, per_epoch * config.epochs, 0.0)
    if config.optimizer == "Momentum" or config.momentum is not None:
        arguments["momentum"] = 0.9 if config.momentum is None else config.momentum
    if config.optimizer == "AdagradDA":
        arguments["global_step"] = global_step
    return OPTIMIZERS[config.optimizer](rate, **arguments)
