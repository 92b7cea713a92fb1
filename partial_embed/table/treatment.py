"""What becomes of a variable that a script makes under `growing`: it grows, is loaded, or not."""

import functools

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed.files.growth import VOCABULARY_SUFFIX, read_generations, untrained_rows
from partial_embed.files.nearest import nearest, short
from partial_embed.table import report
from partial_embed.table.embedding import embeddings_in
from partial_embed.table.initial_values import COUNTER, DATA, kind_of, needs_no_shape
from partial_embed.table.loading import load_unchanged
from partial_embed.table.make_table import find_or_make
from partial_embed.table.optimizer_state import (
    is_optimizer_state,
    is_slot_here,
    load_slot,
)
from partial_embed.table.patterns import Patterns
from partial_embed.table.vocabulary import as_vocabulary, compare_with_keys


class Treatment:
    """The rules of one `growing`; for the arguments see there.

    Attributes:
        checkpoint: `Checkpoint`.
        skip, hold: `Patterns`.
    """

    def __init__(
        self,
        checkpoint,
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
    ):
        self.checkpoint = checkpoint
        _expect_dicts(
            trainable_rows=trainable_rows,
            vocabularies=vocabularies,
            initializers=initializers,
            names=names,
        )
        vocabularies = {p: as_vocabulary(v) for p, v in (vocabularies or {}).items()}
        self._train, self.skip, self.hold = Patterns(train), Patterns(skip), Patterns(hold)
        self._names = Patterns(names or {})
        for there in (names or {}).values():
            checkpoint.expect(there)
        self._trainable_rows = Patterns(trainable_rows or {})
        self._vocabularies = Patterns(vocabularies)
        self._initializers = Patterns(initializers or {})
        self.holds = bool(hold)
        self._generation = generation
        self._allow_nonfinite = allow_nonfinite
        self._slots = slots
        self._partitioner = partitioner
        compare_with_keys(checkpoint.prefix + VOCABULARY_SUFFIX, vocabularies.values())

    def unmatched(self):
        """Returns the sorted patterns that no variable has obeyed."""
        kinds = (self._train, self.skip, self.hold, self._names, self._trainable_rows)
        kinds += (self._vocabularies, self._initializers)
        return sorted(set().union(*[patterns.unmatched for patterns in kinds]))

    def expect_keys_obeyed(self, made):
        """Raises ValueError if the vocabulary of "*" has other numbers of keys than any table rows.

        Args:
            made: set of the names of variables that were made.
        """
        vocabulary = "*" in self._vocabularies.unmatched and self._vocabularies.of_all()
        if vocabulary:
            old, new = (len(keys) + vocabulary.num_oov_buckets for keys in vocabulary[:2])
            there = {self._there(name) for name in made}.intersection(self.checkpoint.shapes)
            raise ValueError(
                f"The vocabulary of '*' has {old} keys before and {new} now, and no variable has "
                "one entry for each of them. The checkpoint holds: "
                f"{nearest('', there, describe=self.checkpoint.describe) or 'none that was made'}. "
                "Give (the vocabulary that it was trained with, that of the graph)."
            )

    def concerns(self, name, trainable=False):
        """Returns whether the checkpoint says anything about a variable of that name."""
        return self._there(name) in self.checkpoint or (
            self._slots and trainable is False and is_optimizer_state(name, _made())
        )

    def leave(self, name, trainable, noted):
        """Notes a variable that the checkpoint says nothing about."""
        if trainable is not False:
            noted.note(name, report.NEW)

    def _there(self, name):
        return self._names.get(name) or name

    def __call__(self, getter, name, noted, kwargs):
        """Makes a variable.

        Args:
            getter: what a custom getter is given to make variables with.
            name: full name of the variable.
            noted: `Report` to note in what became of it.
            kwargs: dict of the other arguments that a custom getter is given.

        Returns:
            The variable, or a `PartialEmbedding`.
        """
        shape, initializer = kwargs.pop("shape", None), kwargs.get("initializer")
        there, trainable = self._there(name), kwargs.get("trainable")
        if self.skip.get(name):
            noted.note(name, report.ALONE, there, "skip=")
            return getter(name, shape=shape, **kwargs)
        if trainable is False and is_slot_here(name, _shape_of(shape, initializer)):
            load = functools.partial(load_slot, getter, name, self.checkpoint, noted)
            make = load if self._slots else functools.partial(getter, name)
            return make(shape=shape, **kwargs)
        if there not in self.checkpoint:
            variable = getter(name, shape=shape, **kwargs)
            if shape is not None:
                self.leave(name, trainable, noted)
            return variable
        if shape is None and needs_no_shape(initializer):
            initializer = kwargs["initializer"] = initializer()
        if shape is None and (initializer is None or callable(initializer)):
            return getter(name, shape=None, **kwargs)  # one that is there, to be used again
        return self._known(getter, name, there, shape, noted, kwargs)

    def _known(self, getter, name, there, shape, noted, kwargs):
        """Makes a variable that the checkpoint holds."""
        initializer, trainable = kwargs.get("initializer"), kwargs.get("trainable")
        given = dict(kwargs, shape=shape)
        dtype = kwargs.pop("dtype", None) or tf.float32
        if shape is None:  # TensorFlow takes the dtype, too, of a first value.
            array = isinstance(initializer, np.ndarray)
            value = initializer if array else tf.convert_to_tensor(initializer)
            shape, dtype = value.shape, value.dtype
        shape, dtype = tf.TensorShape(shape), tf.as_dtype(dtype).base_dtype
        kwargs.update(shape=shape, dtype=dtype)
        kind = kind_of(name, shape, dtype, trainable, initializer, kwargs.get("collections"))
        pattern, trains = self._train.find(name)
        asked = pattern not in (None, "all") or there != name
        if kind in (COUNTER, DATA) and not asked:
            fate = report.AFRESH if kind == COUNTER else report.ALONE
            why = (
                "a counter: global steps belong to the optimizer"
                if kind == COUNTER
                else ("data: it starts from what the script gives")
            )
            noted.note(name, fate, there, why)
            return getter(name, **given)
        table = trainable is False and not asked and self._beside_new_rows(shape, there)
        if table:
            noted.note(name, report.ALONE, there, f"it has one entry for each new row of {table}")
            return getter(name, **given)
        return self._grow_or_load(getter, name, there, kind, trains, noted, kwargs)

    def _beside_new_rows(self, shape, there):
        """Returns the name of a table of whose new rows a variable is an image, None for none.

        So sums of gradients are, made of `tf.trainable_variables()`: of all rows in the checkpoint,
        and here of those that train.
        """
        held = self.checkpoint.shapes[there]
        for table in embeddings_in():
            its = self.checkpoint.shapes.get(table.tensor_name)
            if table.trainable is not None and held == its != shape == table.trainable.shape:
                return table.table_name
        return None

    def _grow_or_load(self, getter, name, there, kind, trains, noted, kwargs):
        shape, held = kwargs["shape"], list(self.checkpoint.shapes[there])
        options = {"trainable_rows": self._trainable_rows.get(name)}
        initializer = self._initializers.get(name)
        same = shape.is_fully_defined() and shape.as_list() == held
        # Rows that grow_checkpoint added make a table of it, whatever generation is asked for.
        untrained = len(untrained_rows(self.checkpoint, there, self._generation))
        if same and self._generation is not None:
            known = read_generations(self.checkpoint).get(there, {}).get("generations", ())
            if len(known) > self._generation + 1:  # It grew since, to the size it has here.
                options["generation"] = self._generation
        vocabulary, axis = self._vocabulary_of(name, shape, held)
        if vocabulary is not None:
            options.update(vocabulary=vocabulary, axis=axis)
        options = {option: value for option, value in options.items() if value is not None}
        renamed = "" if there == name else f"from {there}"
        if same and not options and initializer is None and not untrained:
            kwargs.update(shape=shape.as_list(), trains=trains, tensor_name=there)
            loaded = load_unchanged(getter, name, self.checkpoint, self._allow_nonfinite, **kwargs)
            fate = report.STATE if kwargs.get("trainable") is False else report.FROZEN
            fate = report.TRAINS if trains and fate == report.FROZEN else fate
            noted.note(name, fate, there, renamed)
            if fate == report.STATE and self.hold.get(name):
                noted.held.append(loaded)
            return loaded
        if initializer is not None:
            kwargs["initializer"] = initializer
        if shape.rank:
            options["generation"] = self._generation
        options.update(
            checkpoint=self.checkpoint,
            tensor_name=there,
            allow_nonfinite=self._allow_nonfinite,
            partitioner=self._partitioner,
        )
        table = find_or_make(getter, name, options, **kwargs)
        if vocabulary is None and name not in noted.unkeyed:
            noted.unkeyed.append(name)
            known = shape.is_fully_defined() and self._vocabularies.values()
            if known and any(its.axes(held, shape.as_list()) for its in known):
                noted.alike.append(name)
        plan, told = table.plan, [renamed] if renamed else []
        what = "new, not trainable" if kwargs.get("trainable") is False else "train"
        unit = {0: "rows", 1: "columns"}.get(plan.axis, f"slices along axis {plan.axis}")
        was, now = held[plan.axis], shape.as_list()
        now[plan.axis] = f"{was} -> {plan.num_rows}" if was != plan.num_rows else plan.num_rows
        told.append(
            f"[{', '.join(map(str, now))}], {table.num_frozen_rows} {unit} frozen, "
            f"{plan.num_rows - table.num_frozen_rows} {what}"
        )
        if plan.source is not None:
            dropped = plan.checkpoint_rows - int((plan.source >= 0).sum())
            told += [f"{dropped} of the checkpoint's dropped"] if dropped else []
        if vocabulary is not None:
            told.append(f"rows follow keys{_moved(plan, vocabulary)}")
        noted.note(name, report.GREW, there, ", ".join(told))
        return table

    def _vocabulary_of(self, name, shape, held):
        """Returns (the `Vocabulary` whose keys a variable has an entry for, along which axis)."""
        if not shape.is_fully_defined() or len(shape) != len(held):
            return self._vocabularies.get(name), None
        shape = shape.as_list()
        # A pattern that names no variable means those that have one entry a key.
        pattern, vocabulary = self._vocabularies.find(
            name,
            lambda pattern, vocabulary: pattern not in ("*", "all") or vocabulary.axes(held, shape),
        )
        if vocabulary is None:
            self._refuse_buckets(name, held, shape)
            return None, None
        axes = vocabulary.axes(held, shape)
        if len(axes) > 1:
            raise ValueError(
                f"{name} {shape} has one entry a key along the axes {axes[0]} and {axes[1]}, and a "
                f"table grows along one. Leave it alone: growing(..., skip={name!r})."
            )
        return vocabulary, axes[0] if axes else None

    def _refuse_buckets(self, name, held, shape):
        """Raises ValueError if a variable seems to end in rows of keys in no vocabulary."""
        vocabulary = self._vocabularies.of_all()
        if vocabulary is None:
            return
        old, new = len(vocabulary.old_keys), len(vocabulary.new_keys)
        for was, now in zip(held, shape):
            if new > old and was > old and now - was == new - old:
                raise ValueError(
                    f"{name} gains as many rows as the vocabulary keys, from {was} to {now}, and "
                    f"has {was - old} more than it. If it has keys of its own, name its "
                    f"vocabulary, or skip={name!r}; if those at its end are of keys in no "
                    f"vocabulary, say so: (old, new, {was - old})."
                )


def _made():
    return [variable.op.name for variable in tf.global_variables()]


def _shape_of(shape, initializer):
    """The `tf.TensorShape` that a variable will have, as far as that is known."""
    if shape is None and initializer is not None and not callable(initializer):
        shape = getattr(initializer, "shape", None)
        shape = np.shape(initializer) if shape is None else shape
    return tf.TensorShape(shape)


def _moved(plan, vocabulary):
    """Returns in words where one row was that moved: a person sees by it if keys are right."""
    moved = plan.moved_rows()
    if not len(moved):
        return ""
    row = moved[0]
    return f" ({short(vocabulary.all_keys('new_keys')[row])} from {plan.source[row]} to {row})"


def _expect_dicts(**arguments):
    """Raises TypeError for an argument that is neither None nor a dict."""
    for name, value in arguments.items():
        if not isinstance(value, (dict, type(None))):
            raise TypeError(
                f"{name}= must be a dict of the name of a variable, or a pattern, to what it gets; "
                f"found {value!r}."
            )
