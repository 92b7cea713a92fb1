"""The one line for a legacy script: `with pe.growing(checkpoint):`."""

import fnmatch
import functools

import tensorflow.compat.v1 as tf
from absl import logging

from partial_embed._tensorflow import variable_store
from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.growth import read_generations, refuse_delta
from partial_embed.table.embedding import FROZEN_VARIABLES, frozen_variables_in
from partial_embed.table.get_embedding import create
from partial_embed.table.loading import is_optimizer_state, loading_initializer
from partial_embed.table.vocabulary import Vocabulary, align_vocabularies


class growing:
    """Makes `tf.get_variable` grow tables that a checkpoint holds, and load the rest.

    While it is open, `tf.get_variable(name, shape)` (as `tf.Variable(value,
    name=name)`) compares `shape` with what the checkpoint holds as `name`:

    - more rows: a `PartialEmbedding`, old rows loaded and frozen, new ones trainable;
    - the same shape: the variable, loaded and frozen, unless `train` names it;
    - not in the checkpoint: the variable as ever.

    Loading happens in the variables' own initializers, so
    `tf.global_variables_initializer()` is all that a script needs to run.

        with pe.growing("model.ckpt-50"):
            build_model(num_entities=110)

        # for a script that opens a graph of its own inside; tf.get_variable only
        tf.variable_scope("model", custom_getter=pe.growing("model.ckpt-50"))

    Args:
        checkpoint: prefix, directory or `Checkpoint`.
        train: which variables of unchanged shape go on training: a shell-style
            pattern or a list of them, like `"decoder/*"`; or "all", which
            leaves every variable as the script has it.
        trainable_rows: dict of pattern to ids of old rows that train as well.
        vocabularies: dict of pattern to `Vocabulary`, or to the paths (old, new)
            of two; rows of those tables follow their keys.
        initializers: dict of pattern to an initializer for the new rows, in
            place of the script's.
        generation: see `get_embedding`; for all tables that grow.
        allow_nonfinite: load tables that hold NaN or Inf, instead of failing.

    Raises:
        ValueError: when opened, if there is no such checkpoint; while open, if a
            shape does not fit, naming both; when closed, if no variable was made
            under it, or a pattern matches none.
    """

    def __init__(
        self,
        checkpoint,
        train=(),
        trainable_rows=None,
        vocabularies=None,
        initializers=None,
        generation=None,
        allow_nonfinite=False,
    ):
        self._checkpoint = Checkpoint(checkpoint)
        refuse_delta(self._checkpoint)
        self._train = [train] if isinstance(train, str) else list(train or ())
        # What applies to tables whose names match a pattern, by argument of create().
        self._by_pattern = {
            "trainable_rows": dict(trainable_rows or {}),
            "vocabulary": {
                pattern: given if isinstance(given, Vocabulary) else align_vocabularies(*given)
                for pattern, given in dict(vocabularies or {}).items()
            },
            "initializer": dict(initializers or {}),
        }
        self._generation = generation
        self._allow_nonfinite = allow_nonfinite
        self._unmatched = set(self._train) - {"all"}
        self._unmatched.update(p for patterns in self._by_pattern.values() for p in patterns)
        self._report = {}
        self._open = []
        self._depth = 0

    def __enter__(self):
        scope = tf.get_variable_scope()
        outer = scope.custom_getter
        custom_getter = self
        if outer is not None:

            def custom_getter(getter, *args, **kwargs):  # TensorFlow passes it as getter=
                return self(functools.partial(outer, getter), *args, **kwargs)

        # Set and not entered: entering a scope again restarts its count of names.
        scope.set_custom_getter(custom_getter)
        creators = tf.variable_creator_scope(self._create)
        creators.__enter__()
        self._open.append((scope, outer, creators))
        return self

    def __exit__(self, error_type, error, traceback):
        scope, outer, creators = self._open.pop()
        creators.__exit__(error_type, error, traceback)
        scope.set_custom_getter(outer)
        if error_type is not None:
            return
        if not self._report:
            raise ValueError(
                "No variable of {} was made in this graph while growing was open. If the script "
                "opens a graph of its own inside (with tf.Graph().as_default()), pass growing to "
                "the scope it makes its variables in: tf.variable_scope(..., custom_getter="
                "pe.growing(...)). The checkpoint holds: {}.".format(
                    self._checkpoint.prefix, ", ".join(sorted(self._checkpoint.shapes))
                )
            )
        if self._unmatched:
            raise ValueError(
                f"The patterns {sorted(self._unmatched)} match no variable that could obey them. "
                "They are shell-style, "
                f"like decoder/*. There are:\n{self.summary()}"
            )
        logging.info("Growing from %s:\n%s", self._checkpoint.prefix, self.summary())

    def summary(self):
        """Returns what happened to each variable so far, one a line."""
        width = max([len(name) for name in self._report] or [0])
        return "\n".join(
            "  {:{}}  {}".format(name, width, what) for name, what in self._report.items()
        )

    def __call__(self, getter, name, *args, **kwargs):
        """The custom getter: what `tf.get_variable` calls."""
        if args:
            kwargs["shape"] = args[0]
        self._depth += 1
        try:
            return self._grow_or_load(getter, name, kwargs)
        finally:
            self._depth -= 1

    def _create(self, next_creator, **kwargs):
        """The variable creator: what `tf.Variable` calls (and get_variable, in the end)."""
        name = tf.get_default_graph().unique_name(kwargs.get("name") or "Variable", False)
        if self._depth or name not in self._checkpoint or kwargs.get("variable_def"):
            return next_creator(**kwargs)
        initial = kwargs.pop("initial_value")
        initial = tf.convert_to_tensor(initial() if callable(initial) else initial)
        given = dict(kwargs, dtype=initial.dtype)
        foreign = ("reuse", "regularizer", "partitioner")

        def getter(full_name, shape, dtype, initializer, **arguments):
            arguments = {key: value for key, value in arguments.items() if key not in foreign}
            start = initializer
            if callable(initializer):
                start = functools.partial(initializer, shape, dtype)
            with tf.name_scope(None):
                return next_creator(**dict(given, initial_value=start, name=full_name, **arguments))

        variable = self(
            getter,
            name,
            shape=initial.shape,
            dtype=initial.dtype,
            initializer=initial,
            trainable=kwargs.get("trainable"),
            collections=kwargs.get("collections"),
        )
        variable_store().pop(name, None)  # tf.get_variable knows nothing of tf.Variable
        return variable

    def _grow_or_load(self, getter, name, kwargs):
        shape, initializer = kwargs.pop("shape", None), kwargs.get("initializer")
        made = [variable.op.name for variable in tf.global_variables()]
        trainable = kwargs.get("trainable")
        if name not in self._checkpoint or is_optimizer_state(name, trainable, made):
            return getter(name, shape=shape, **kwargs)
        if shape is None and (initializer is None or callable(initializer)):
            return getter(name, shape=None, **kwargs)  # one that is there, to be used again
        if shape is None:
            shape = tf.convert_to_tensor(initializer).shape
        asked, held = tf.TensorShape(shape), self._checkpoint.shapes[name]
        dtype = tf.as_dtype(kwargs.get("dtype") or tf.float32).base_dtype
        table = {}
        for argument, patterns in self._by_pattern.items():
            matching = self._matching(name, patterns)
            if matching:
                table[argument] = patterns[matching[0]]
        same = asked.is_fully_defined() and asked.as_list() == list(held)
        if same and not table:
            variable = self._load(getter, name, asked.as_list(), dtype, kwargs)
        else:
            variable = create(
                getter,
                name,
                shape=asked,
                checkpoint=self._checkpoint,
                generation=self._generation if asked.rank else None,
                allow_nonfinite=self._allow_nonfinite,
                **dict(kwargs, **table),
            )
            frozen = variable.num_frozen_rows
            self._report[name] = "{} rows frozen, {} {}".format(
                frozen,
                variable.plan.num_rows - frozen,
                "new, not trainable" if trainable is False else "train",
            )
        if not self._open:  # used as a custom getter, there is no end to wait for
            logging.info(
                "Growing from %s: %s: %s", self._checkpoint.prefix, name, self._report[name]
            )
        return variable

    def _matching(self, name, patterns):
        found = [p for p in patterns if p == "all" or fnmatch.fnmatchcase(name, p)]
        self._unmatched.difference_update(found)
        return found

    def _load(self, getter, name, shape, dtype, kwargs):
        """A variable of unchanged shape: loaded, and frozen unless `train` says other."""
        self._checkpoint.check(name, dtype, shape)
        matching = self._matching(name, self._train)

        initialize = loading_initializer(self._checkpoint, name, shape, self._allow_nonfinite)
        arguments = dict(kwargs, shape=shape, initializer=initialize)
        if not matching:
            arguments["trainable"] = False
        fixed = kwargs.get("trainable") is False  # by the script
        what = "" if fixed else ", trains" if matching else ", frozen"
        self._report[name] = "loaded" + what
        variable = getter(name, **arguments)
        grown = read_generations(self._checkpoint).get(name)
        if grown and len(grown["generations"]) > 1 and not matching and not fixed:
            logging.warning(
                "%s has grown in %s already, and gains no row now: none of its rows trains. If "
                "that is where an interrupted run of yours saved, grow from the base it grew from, "
                "and restore this with partial_embed.Saver.",
                name,
                self._checkpoint.prefix,
            )
        # What the script would not train anyway (a step counter, a moving
        # average) is its own business and may change.
        known = any(variable is frozen for frozen, _ in frozen_variables_in())
        if not matching and not fixed and not known:
            tf.add_to_collection(FROZEN_VARIABLES, (variable, self._checkpoint))
        return variable
