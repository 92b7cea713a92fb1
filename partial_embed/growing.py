"""The one line for a legacy script: `with pe.growing(checkpoint):`."""

import fnmatch
import functools

import tensorflow.compat.v1 as tf
from absl import logging

from partial_embed.checkpoint import Checkpoint, refuse_nonfinite, restore, slice_spec
from partial_embed.embedding import FROZEN_VARIABLES, create, frozen_variables_in


class growing:
    """Makes `tf.get_variable` grow tables that a checkpoint holds, and load the rest.

    While it is open, `tf.get_variable(name, shape)` compares `shape` with what
    the checkpoint holds as `name`:

    - more rows: a `PartialEmbedding`, old rows loaded and frozen, new ones trainable;
    - the same shape: the variable, loaded and frozen, unless `train` names it;
    - not in the checkpoint: the variable as ever.

    Loading happens in the variables' own initializers, so
    `tf.global_variables_initializer()` is all that a script needs to run.

        with pe.growing("model.ckpt-50"):
            build_model(num_entities=110)

        # for a script that opens a graph of its own inside
        tf.variable_scope("model", custom_getter=pe.growing("model.ckpt-50"))

    Args:
        checkpoint: prefix, directory or `Checkpoint`.
        train: which variables of unchanged shape go on training: a shell-style
            pattern or a list of them, like `"decoder/*"`; or "all", which
            leaves every variable as the script has it.
        allow_nonfinite: load tables that hold NaN or Inf, instead of failing.

    Raises:
        ValueError: when opened, if there is no such checkpoint; while open, if a
            shape does not fit, naming both; when closed, if no variable was made
            under it, or a pattern in `train` matches none.
    """

    def __init__(self, checkpoint, train=(), allow_nonfinite=False):
        self._checkpoint = Checkpoint(checkpoint)
        self._patterns = [train] if isinstance(train, str) else list(train)
        self._allow_nonfinite = allow_nonfinite
        self._unmatched = set(self._patterns) - {"all"}
        self._report = {}
        self._scopes = []

    def __enter__(self):
        scope = tf.get_variable_scope()
        outer = scope.custom_getter
        self._scopes.append((scope, outer))
        getter = self
        if outer is not None:

            def getter(true_getter, *args, **kwargs):
                return self(functools.partial(outer, true_getter), *args, **kwargs)

        # Set and not entered: entering a scope again restarts its count of names.
        scope.set_custom_getter(getter)
        return self

    def __exit__(self, error_type, error, traceback):
        scope, outer = self._scopes.pop()
        scope.set_custom_getter(outer)
        if error_type is not None:
            return
        if not self._report:
            raise ValueError(
                "No variable of {} was made by tf.get_variable in this graph while growing was "
                "open. If the script opens a graph of its own inside (with tf.Graph()."
                "as_default()), pass growing to the scope it makes its variables in: "
                "tf.variable_scope(..., custom_getter=pe.growing(...)). The checkpoint holds: "
                "{}.".format(self._checkpoint.prefix, ", ".join(sorted(self._checkpoint.shapes)))
            )
        if self._unmatched:
            raise ValueError(
                "train={!r} matches no variable. Variables of unchanged shape: {}.".format(
                    sorted(self._unmatched),
                    ", ".join(n for n, what in self._report.items() if "rows" not in what),
                )
            )
        logging.info("Growing from %s:\n%s", self._checkpoint.prefix, self.summary())

    def summary(self):
        """Returns what happened to each variable so far, one a line."""
        width = max([len(name) for name in self._report] or [0])
        return "\n".join(
            "  {:{}}  {}".format(name, width, what) for name, what in self._report.items()
        )

    def __call__(self, getter, name, *args, **kwargs):
        """The custom getter."""
        shape = args[0] if args else kwargs.pop("shape", None)
        initializer = kwargs.get("initializer")
        if name not in self._checkpoint or _is_slot(name):
            return getter(name, shape=shape, **kwargs)
        if shape is None and initializer is not None and not callable(initializer):
            shape = tf.convert_to_tensor(initializer).shape
        asked, held = tf.TensorShape(shape), self._checkpoint.shapes[name]
        dtype = tf.as_dtype(kwargs.get("dtype") or tf.float32).base_dtype
        if asked.is_fully_defined() and asked.as_list() == list(held):
            return self._load(getter, name, asked.as_list(), dtype, kwargs)
        embedding = create(
            getter, name, shape=asked, checkpoint=self._checkpoint,
            allow_nonfinite=self._allow_nonfinite, **kwargs
        )
        new_rows = embedding.plan.num_rows - embedding.num_frozen_rows
        self._report[name] = "{} rows frozen, {} new".format(embedding.num_frozen_rows, new_rows)
        return embedding

    def _load(self, getter, name, shape, dtype, kwargs):
        """A variable of unchanged shape: loaded, and frozen unless `train` says other."""
        self._checkpoint.check(name, dtype, shape)
        matching = [p for p in self._patterns if p == "all" or fnmatch.fnmatchcase(name, p)]
        self._unmatched.difference_update(matching)

        def initialize(part, dtype=None, partition_info=None):
            spec = ""
            if partition_info is not None:
                spec = slice_spec(shape, partition_info.var_offset, part)
            value = restore(self._checkpoint.prefix, name, dtype, spec, part)
            if self._allow_nonfinite:
                return value
            return refuse_nonfinite(value, "{} of {}".format(name, self._checkpoint.prefix))

        arguments = dict(kwargs, shape=shape, initializer=initialize)
        if not matching:
            arguments["trainable"] = False
        self._report[name] = "loaded, {}".format("as the script has it" if matching else "frozen")
        variable = getter(name, **arguments)
        # What the script would not train anyway (a step counter, a moving
        # average) is its own business and may change.
        if not matching and kwargs.get("trainable") is not False:
            if all(variable is not known for known, _ in frozen_variables_in()):
                tf.add_to_collection(FROZEN_VARIABLES, (variable, self._checkpoint))
        return variable


def _is_slot(name):
    """Whether `name` is an optimizer's slot of a variable made before.

    A new optimizer starts afresh: half of its state (Adam's powers, which are
    not made by tf.get_variable) could not be loaded here anyhow.
    """
    parts = name.split("/")
    owners = {"/".join(parts[start:stop]) for start in range(len(parts))
              for stop in range(start + 1, len(parts))}
    return any(v.op.name in owners for v in tf.global_variables())
