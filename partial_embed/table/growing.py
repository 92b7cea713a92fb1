"""The one line for a legacy script: `with pe.growing(checkpoint):`."""

import functools

import tensorflow.compat.v1 as tf
from absl import logging

from partial_embed._tensorflow import variable_store
from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.growth import refuse_delta
from partial_embed.table.loading import is_optimizer_state, load_unchanged
from partial_embed.table.make_table import find_or_make
from partial_embed.table.patterns import Patterns
from partial_embed.table.vocabulary import as_vocabulary


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
        train = [train] if isinstance(train, str) else train or ()
        vocabularies = {p: as_vocabulary(v) for p, v in (vocabularies or {}).items()}
        self._train = Patterns(dict.fromkeys(train, True))
        # By the names that plan_table has for them.
        self._by_pattern = {
            "trainable_rows": Patterns(trainable_rows or {}),
            "vocabulary": Patterns(vocabularies),
            "initializer": Patterns(initializers or {}),
        }
        self._generation = generation
        self._allow_nonfinite = allow_nonfinite
        self._report = {}  # what happened to each variable, by its name
        self._open = []  # what to undo at the end of each `with`
        self._depth = 0  # of the calls of tf.get_variable that are going on

    # --- open, and closed ----------------------------------------------------------

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
        prefix = self._checkpoint.prefix
        if not self._report:
            raise ValueError(
                f"No variable of {prefix} was made in this graph while growing was open. If the "
                "script opens a graph of its own inside (with tf.Graph().as_default()), pass "
                "growing to the scope it makes its variables in: tf.variable_scope(..., "
                "custom_getter=pe.growing(...)). The checkpoint holds: "
                f"{', '.join(sorted(self._checkpoint.shapes)[:12])}."
            )
        unmatched = self._train.unmatched.union(*[p.unmatched for p in self._by_pattern.values()])
        if unmatched:
            raise ValueError(
                f"The patterns {sorted(unmatched)} match no variable that could obey them. They "
                f"are shell-style, like decoder/*. There are:\n{self.summary()}"
            )
        logging.info("Growing from %s:\n%s", prefix, self.summary())

    def summary(self):
        """Returns what happened to each variable so far, one a line."""
        width = max(map(len, self._report), default=0)
        return "\n".join(f"  {name:{width}}  {what}" for name, what in self._report.items())

    # --- what makes variables ------------------------------------------------------

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

    # --- what becomes of a variable -------------------------------------------------

    def _grow_or_load(self, getter, name, kwargs):
        shape, initializer = kwargs.pop("shape", None), kwargs.get("initializer")
        made = [variable.op.name for variable in tf.global_variables()]
        if name not in self._checkpoint or is_optimizer_state(name, kwargs.get("trainable"), made):
            return getter(name, shape=shape, **kwargs)
        if shape is None:
            if initializer is None or callable(initializer):
                return getter(name, shape=None, **kwargs)  # one that is there, to be used again
            shape = tf.convert_to_tensor(initializer).shape
        shape = tf.TensorShape(shape)
        dtype = tf.as_dtype(kwargs.pop("dtype", None) or tf.float32).base_dtype
        kwargs.update(shape=shape, dtype=dtype)
        options = {option: patterns.get(name) for option, patterns in self._by_pattern.items()}
        options = {option: value for option, value in options.items() if value is not None}
        same = shape.is_fully_defined() and shape.as_list() == list(self._checkpoint.shapes[name])
        if same and not options:
            kwargs.update(shape=shape.as_list(), trains=self._train.get(name))
            variable, what = load_unchanged(
                getter, name, self._checkpoint, self._allow_nonfinite, **kwargs
            )
        else:
            variable, what = self._grow(getter, name, options, kwargs)
        self._report[name] = what
        if not self._open:  # used as a custom getter, there is no end to wait for
            logging.info("Growing from %s: %s: %s", self._checkpoint.prefix, name, what)
        return variable

    def _grow(self, getter, name, options, kwargs):
        """Returns (the table, what was done to it, in words)."""
        if "initializer" in options:
            kwargs["initializer"] = options.pop("initializer")
        if kwargs["shape"].rank:
            options["generation"] = self._generation
        options.update(checkpoint=self._checkpoint, allow_nonfinite=self._allow_nonfinite)
        table = find_or_make(getter, name, options, **kwargs)
        others = table.plan.num_rows - table.num_frozen_rows
        what = "new, not trainable" if kwargs.get("trainable") is False else "train"
        if table.plan.source is not None:
            dropped = table.plan.checkpoint_rows - int((table.plan.source >= 0).sum())
            what += f", {dropped} of the checkpoint's dropped" if dropped else ""
        return table, f"{table.num_frozen_rows} rows frozen, {others} {what}"
