"""The one line for a legacy script: `with pe.growing(checkpoint):`."""

import contextlib
import functools
import sys
import threading

import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import variable_store
from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.growth import expect_base
from partial_embed.files.nearest import nearest
from partial_embed.graphs import (
    before_finalized,
    before_first_run,
    reaching_graphs,
    warn_unless_used,
)
from partial_embed.saving.saver import Saver
from partial_embed.table.report import REPORTS, Report
from partial_embed.table.treatment import Treatment
from partial_embed.training.hold import hold_still
from partial_embed.training.writers import refuse_writers


def _whole_graph():
    graph = tf.get_default_graph()
    while graph.building_function:  # the body of a branch or a loop
        graph = graph.outer_graph
    return graph


def show_on_stderr(report):
    """Prints a table of what growing did on stderr, with colour if that is a terminal."""
    print(report.text(colour=sys.stderr.isatty()), file=sys.stderr, flush=True)


_open_in = set()  # graphs in which a growing is open


class growing:
    """Makes a script's variables grow where a checkpoint holds fewer rows, and loads the rest.

    While it is open, `tf.get_variable(name, shape)` (as `tf.Variable(value,
    name=name)`) compares `shape` with what the checkpoint holds as `name`:

    - more rows, or columns: a `PartialEmbedding`, old ones loaded and frozen, new ones trainable;
    - the same shape: the variable, loaded and frozen, unless `train` names it;
    - not in the checkpoint: the variable as ever.

    What the script itself does not train is judged by how it starts: at zeros,
    ones or anywhere it is state, as moving statistics are, and loaded; at values
    that the script has it is data, and stays the script's. Scalars that count
    (`global_step`) start afresh, like the optimizer that they belong to.

    Loading happens in the variables' own initializers, so
    `tf.global_variables_initializer()` is all that a script needs to run. What
    became of which variable is printed on stderr, before the first step.

    Args:
        checkpoint: prefix, directory or `Checkpoint`.
        train: which variables of unchanged shape go on training: a shell-style
            pattern or a list of them, like `"decoder/*"`; or "all", which
            leaves every variable as the script has it. A counter, or data, is
            loaded if a pattern other than "all" names it.
        trainable_rows: dict of pattern to ids of old rows that train as well.
        vocabularies: dict of pattern to `Vocabulary`, or to (old, new) or (old,
            new, num_oov_buckets), see `align_vocabularies`; rows or columns of those
            variables follow their keys. "*" means all variables that have one entry a key.
        initializers: dict of pattern to an initializer for the new rows, in
            place of the script's.
        generation: see `get_embedding`; for all tables that grow.
        allow_nonfinite: load tables that hold NaN or Inf, instead of failing.
        names: dict of a variable's name here to its name in the checkpoint.
        skip: pattern, or list of them, of variables that growing leaves alone.
        hold: pattern, or list of them, of state that the script's own updates
            shall not move: their ops write what is there.
        slots: bool, whether what goes on training takes the state of its
            optimizer along, all of it: build the optimizer inside as well.
        partitioner: divides frozen rows, as over parameter servers, of tables for
            which the script asks none; like `tf.min_max_variable_partitioner(4)`.
        show: function of a `Report` that shows it; None for silence.

    Raises:
        ValueError: when made, if there is no such checkpoint, or slices of it are
            missing; when opened, if another is open; while open, if a shape does not
            fit, naming both; when closed, if no variable was made under it, or a
            pattern matches none.

    Example:
        >>> with pe.growing("base.ckpt", show=None):  # around what makes the model
        ...     table = tf.get_variable("embedding", [7, 4])
        ...     weight = tf.get_variable("weight", [4, 1])
        >>> table.num_frozen_rows, weight.trainable
        (5, False)

        Where the `with` cannot stand around it, a scope does, for `tf.get_variable` alone:

        >>> with tf.variable_scope("", reuse=False, custom_getter=pe.growing("base.ckpt")):
        ...     other = tf.get_variable("person/embedding", [7, 4])
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
        names=None,
        skip=(),
        hold=(),
        slots=False,
        partitioner=None,
        show=show_on_stderr,
    ):
        self._checkpoint = Checkpoint(checkpoint)
        expect_base(self._checkpoint)
        self._treatment = Treatment(
            self._checkpoint,
            train,
            trainable_rows,
            vocabularies,
            initializers,
            generation,
            allow_nonfinite,
            names,
            skip,
            hold,
            slots,
            partitioner,
        )
        self._slots = slots
        self._show = show or (lambda report: None)
        self._shown = set()  # texts
        self._reports = {}  # by graph
        self._open = []  # what to undo at the end of each `with`
        self._depth = 0  # of the calls of tf.get_variable that are going on
        self._used = warn_unless_used(
            self,
            f"Growing from {self._checkpoint.prefix} is not open, and nothing is loaded or grows. "
            "Write `with pe.growing(...):` around what makes the variables.",
        )

    # --- open, and closed ----------------------------------------------------------

    def __enter__(self):
        self._used()
        undo = contextlib.ExitStack()
        undo.enter_context(reaching_graphs(self._reach))
        self._open.append(undo)
        return self

    def _reach(self, undo):
        """Makes variables of the default graph come here, until `undo` is closed."""
        graph = tf.get_default_graph()
        self._expect_alone(graph)
        _open_in.add(graph)
        undo.callback(_open_in.discard, graph)
        scope = tf.get_variable_scope()
        outer, custom_getter = scope.custom_getter, self
        if outer is not None:

            def custom_getter(getter, *args, **kwargs):  # TensorFlow passes it as getter=
                return self(functools.partial(outer, getter), *args, **kwargs)

        # Set and not entered: entering a scope again restarts its count of names.
        scope.set_custom_getter(custom_getter)
        undo.callback(scope.set_custom_getter, outer)
        creators, thread = tf.variable_creator_scope(self._create), threading.current_thread()
        creators.__enter__()

        def leave(*error):
            here = threading.current_thread() is thread  # another's ends with it
            with contextlib.suppress(*() if here else (AttributeError, RuntimeError)):
                creators.__exit__(*error)

        undo.push(leave)

    def _expect_alone(self, graph):
        if graph in _open_in:
            raise ValueError(
                f"Growing from {self._checkpoint.prefix} inside of another growing: both would "
                "take the same variables, and say so. Close the one before the other is opened."
            )

    def __exit__(self, error_type, error, traceback):
        self._open.pop().close()
        if error_type is not None:
            if error_type is ValueError and "No variables to optimize" in str(error):
                raise ValueError(
                    f"Nothing to train: no table has more rows than in {self._checkpoint.prefix}, "
                    "and all else is frozen. Give a table more rows, or say train=.\n"
                    f"{self.summary()}"
                ) from error
            return
        if not any(report.variables for report in self._reports.values()):
            raise ValueError(
                f"No variable of {self._checkpoint.prefix} was made while growing was open: build "
                "the model inside of the with, under the names that it has there, or give names=. "
                f"It holds: {nearest('', self._checkpoint.shapes)}."
            )
        self.expect_obeyed()
        for graph in self._reports:
            self._settle(graph)

    def _settle(self, graph):
        """Holds what is to be held of a graph, and shows what became of its variables.

        Raises:
            ValueError: if an op can write to what is frozen.
        """
        report = self._reports[graph]
        with graph.as_default():
            for variable in report.held:
                hold_still(variable)
            report.is_settled = True
            report.show()
            refuse_writers()

    def _show_once(self, report):
        if report.text() not in self._shown:  # An Estimator makes the same graph again and again.
            self._shown.add(report.text())
            self._show(report)

    def expect_obeyed(self):
        """Raises ValueError if a pattern, or slots=True, was of no use to any variable."""
        if self._open:
            return  # There may be more.
        made = {name for report in self._reports.values() for name in report.variables}
        self._treatment.expect_keys_obeyed(made)
        unmatched = self._treatment.unmatched()
        if unmatched:
            raise ValueError(
                f"The patterns {unmatched} match no variable that could obey them. They are "
                f"shell-style, like decoder/*. There are: {nearest(unmatched[0], made)}."
            )
        for report in self._reports.values() if self._slots else ():
            report.expect_slots()

    def summary(self):
        """Returns what happened to each variable so far, as text."""
        return "\n".join(report.text() for report in self._reports.values())

    def _report(self):
        graph = _whole_graph()
        if graph not in self._reports:
            report = Report(
                self._checkpoint, self._show_once, self.expect_obeyed, self._treatment.unmatched
            )
            graph.add_to_collection(REPORTS, report)
            self._reports[graph] = report
            forget = before_first_run(graph, functools.partial(self._settle, graph))
            if self._open:
                self._open[-1].callback(forget)
        return self._reports[graph]

    # --- what makes variables ------------------------------------------------------

    def __call__(self, getter, name, *args, **kwargs):
        """The custom getter: what `tf.get_variable` calls."""
        if args:
            kwargs["shape"] = args[0]
        self._used()
        if not self._open:  # but given to a scope
            self._expect_alone(_whole_graph())
            if self._treatment.holds:
                raise ValueError(
                    "hold= needs growing as a `with`, at whose end the updates are known."
                )
        self._depth += 1
        try:
            variable = self._treatment(getter, name, self._report(), kwargs)
        finally:
            self._depth -= 1
        # What Estimators, monitored sessions and Supervisors save with, unless told otherwise.
        if name in self._report().loaded() and not tf.get_collection(tf.GraphKeys.SAVERS):
            saver = Saver(defer_build=True)
            tf.add_to_collection(tf.GraphKeys.SAVERS, saver)
            before_finalized(tf.get_default_graph(), saver.build)  # Supervisors do not build it.
        return variable

    def _create(self, next_creator, **kwargs):
        """The variable creator: what `tf.Variable` calls (and get_variable, in the end)."""
        name = tf.get_default_graph().unique_name(kwargs.get("name") or "Variable", False)
        trainable = kwargs.get("trainable")
        if self._depth or not self._open or kwargs.get("variable_def"):
            return next_creator(**kwargs)
        if not self._treatment.concerns(name, trainable):
            self._treatment.leave(name, trainable, self._report())
            return next_creator(**kwargs)
        initial = kwargs.pop("initial_value")
        initial = initial() if callable(initial) else initial
        initial = tf.convert_to_tensor(initial, dtype=kwargs.get("dtype"))
        given = dict(kwargs, dtype=initial.dtype)
        given.pop("shape", None)  # of the whole table
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
            trainable=trainable,
            collections=kwargs.get("collections"),
        )
        variable_store().pop(name, None)  # tf.get_variable knows nothing of tf.Variable
        return variable
