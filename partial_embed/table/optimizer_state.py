"""State of optimizers: how it is named (slots after their variable, and powers), and loaded."""

import functools
import re
import weakref

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import Variable, colocated_with
from partial_embed.table.embedding import embeddings_in
from partial_embed.table.loading import load_rows, loading_initializer, row_indices

_POWERS = re.compile(r"(^|/)beta[12]_power(_\d+)?$")


def is_power(name):
    """Returns whether a name is that of one of Adam's powers, of which there is one for all."""
    return bool(_POWERS.search(name))


def kind_of_power(name):
    """Returns the name of a power of Adam without the number that tells it from another Adam's."""
    return re.sub(r"_\d+$", "", name)


def owners_of(name, variable_names):
    """Returns those of some variables' names that stand whole in a name, and are not its end.

    Whose slot it is most likely stands first, see `owner_of`.

    Args:
        name: str.
        variable_names: dict or set of str.
    """
    parts = name.split("/")
    ends = range(len(parts) - 1, 0, -1)
    found = ("/".join(parts[start:end]) for end in ends for start in range(end))
    return list(dict.fromkeys(owner for owner in found if owner in variable_names))


def owner_of(name, variable_names):
    """Returns whose slot a name is, None if it is none: which stands nearest its end, and longest.

    `model/ent/Adagrad` is that of `ent`, made in a scope, where there is `model`; where there is
    `model/ent`, it is that. Of many at once `owners_in` knows better.
    """
    return next(iter(owners_of(name, variable_names)), None)


def owners_in(names, variable_names, is_slot=lambda name, owner: True):
    """Returns {name: whose slot it is} of those of some names that are slots of some variables.

    No variable has two slots of a kind: where `model/model/ent/Adagrad` is that of `model/ent`,
    `model/ent/Adagrad` is that of `ent`, made in the same scope.

    Args:
        names: list of str.
        variable_names: dict or set of str.
        is_slot: function of a name and an owner that might be; tells by more than names.
    """
    found, taken = {}, set()
    for name in sorted(names, key=len, reverse=True):
        owners = [its for its in owners_of(name, variable_names) if is_slot(name, its)]
        if owners:
            kind = name.rpartition("/")[2]
            # Others are those that such an optimizer's scope could stand before.
            could = [its for its in owners if f"/{owners[0]}".endswith(f"/{its}")]
            free = (its for its in could if (its, kind) not in taken)
            found[name] = next(free, owners[0])
            taken.add((found[name], kind))
    return found


def has_shape_of_slot(name, shape, owner, held):
    """Returns whether a variable is shaped as a slot of another: like it, or one number a row.

    Of the latter kind is only what is called like it, and nothing in between.

    Args:
        name, shape: of the variable; the shape a list of ints.
        owner, held: name and shape of the other.
    """
    a_number_a_row = name.rpartition("/")[0] == owner and shape[:1] == held[:1]
    a_number_a_row = a_number_a_row and all(size == 1 for size in shape[1:])
    return bool(shape and held) and (held == shape or a_number_a_row)


_OWNERS = weakref.WeakKeyDictionary()  # by checkpoint


def owners_in_checkpoint(checkpoint):
    """Returns the `owners_in` of all names of a checkpoint."""
    if checkpoint not in _OWNERS:
        _OWNERS[checkpoint] = owners_in(list(checkpoint.shapes), checkpoint.shapes)
    return _OWNERS[checkpoint]


def slot_variables(variables):
    """Returns {name of a table's new rows: those of some variables that are slots of it}."""
    halves = {its.trainable.op.name for its in embeddings_in() if its.trainable is not None}
    found = {}
    for variable in variables:
        if isinstance(variable, Variable):
            name = variable.op.name
            half = _owner_here(name, halves, colocated_with(variable.op))
            found.setdefault(half, []).append(variable)
    return found


def _owner_here(name, variable_names, beside):
    """Returns whose slot a variable is: of those it could be, what it was made beside."""
    owners = owners_of(name, variable_names)
    return next((owner for owner in owners if owner in beside), owners[0] if owners else None)


def is_optimizer_state(name, variable_names):
    """Returns whether `name` is that of a slot of one of some variables, or of a power of Adam."""
    return is_power(name) or bool(owners_of(name, variable_names))


def is_slot_here(name, shape):
    """Returns whether a variable that is made now, and does not train, is state of an optimizer.

    That is what an optimizer makes beside a variable, as those of TensorFlow do; or what has its
    name and shape, as those of others: `layer/moving_mean` of a variable `layer` has not.

    Args:
        name: str.
        shape: `tf.TensorShape`.
    """
    made = {variable.op.name: variable.shape for variable in tf.global_variables()}
    shapes = {**made, name: shape}

    def shape_of(its):
        return shapes[its].as_list() if shapes[its].is_fully_defined() else []

    return _is_state(name, made, colocated_with(), shape_of)


def is_state_of(nodes, name, variable_names):
    """Returns whether a variable of a graph that is not open is state of an optimizer.

    As `is_slot_here` tells of one that is made now.

    Args:
        nodes: dict of name to `NodeDef`.
        name: str, that of a variable's node.
        variable_names: dict or set of str, those of all variables.
    """
    beside = {group.decode()[len("loc:@") :] for group in nodes[name].attr["_class"].list.s}

    def shape_of(its):
        return [dim.size for dim in nodes[its].attr["shape"].shape.dim]

    return _is_state(name, variable_names, beside, shape_of)


def _is_state(name, variable_names, beside, shape_of):
    """Returns whether a variable is a power of Adam, or a slot: by what it is beside, or shape."""
    return is_power(name) or any(
        owner in beside or has_shape_of_slot(name, shape_of(name), owner, shape_of(owner))
        for owner in owners_of(name, variable_names)
    )


def renamed(name, variable, other):
    """Returns the name that the slot `name` of a variable has for one of another name."""
    before, held, after = f"/{name}".rpartition(f"/{variable}/")
    return f"{before}/{other}/{after}"[1:] if held else name


def scope_of(name, variable):
    """Returns the scope in which the slot `name` of a variable was made, "" for none."""
    return f"/{name}".rpartition(f"/{variable}/")[0][1:]


def name_in(checkpoint, name, variable):
    """Returns the name that the slot `name` of a variable has in a checkpoint.

    It has another if it is the only one of its kind there: the optimizer was made in
    another scope, or the name was cut, see `cut_as_in`.
    """
    owners = owners_in_checkpoint(checkpoint)
    if name in checkpoint and owners.get(name, variable) == variable:
        return name
    kind = "/" + name.rpartition("/")[2]
    alike = [held for held, owner in owners.items() if owner == variable and held.endswith(kind)]
    return alike[0] if len(alike) == 1 else name


def cut_as_in(checkpoint, name, variable):
    """Returns a slot's name, cut as it is in a checkpoint.

    TensorFlow cuts a piece out of the names of slots of partitioned variables, if the
    optimizer was made inside a scope: model/ent/art_0/Adagrad. Any other name there is
    that of an optimizer in another place.
    """
    held = name_in(checkpoint, name, variable)
    is_cut = held.startswith(variable + "/") and held.count("/") > variable.count("/") + 1
    return held if is_cut else name


def load_slot(getter, name, checkpoint, noted, shape=None, dtype=None, initializer=None, **kwargs):
    """Makes a variable of an optimizer: loaded, where the checkpoint has that of the same variable.

    Of a table, rows that are new start where the optimizer starts them.

    Args:
        getter, shape, dtype, initializer, **kwargs: what a custom getter is given.
        name: full name of the variable.
        checkpoint: `Checkpoint`.
        noted: `Report`.

    Returns:
        The variable.
    """
    there, table = _name_there(name.rstrip("/"), noted)  # Optimizers give scopes as names.
    is_value = initializer is not None and not callable(initializer)
    if there not in checkpoint:
        return getter(name, shape=shape, dtype=dtype, initializer=initializer, **kwargs)
    if is_value:  # which TensorFlow 1 takes without a shape
        value = tf.convert_to_tensor(initializer)
        shape, dtype = value.shape, value.dtype

        def initializer(shape, dtype=None, partition_info=None):
            return value

    make = functools.partial(getter, name, dtype=dtype, **kwargs)
    held, full = list(checkpoint.shapes[there]), tf.TensorShape(shape)
    if table is None:
        if full.as_list() == held:
            initializer = loading_initializer(checkpoint, there, held, True)
            noted.slots.add(there)
        return make(shape=full, initializer=initializer)
    plan = table.plan
    sources = plan.source_of(plan.trainable_rows)
    places = np.flatnonzero(sources >= 0)
    noted.slots.add(there)
    if not len(places):
        return make(shape=full, initializer=initializer)

    def initialize(shape, dtype=None, partition_info=None):
        del partition_info
        start = tf.convert_to_tensor(initializer(shape, dtype=dtype), dtype)
        old = load_rows(checkpoint, there, sources[places], axis=plan.axis)
        order = np.arange(len(sources))
        order[places] = len(sources) + np.arange(len(places))
        return tf.gather(tf.concat([start, old], plan.axis), row_indices(order), axis=plan.axis)

    return make(shape=full, initializer=initialize)


def _name_there(name, noted):
    """Returns (the name in the checkpoint of a variable of an optimizer, its table or None)."""
    tables = {e.trainable.op.name: e for e in embeddings_in() if e.trainable is not None}
    names = {here: table.tensor_name for here, table in tables.items()}
    names.update((here, there) for here, (_, there, _) in noted.variables.items() if there)
    owner = _owner_here(name, names, colocated_with())
    if owner is None:
        return name, None
    there = names[owner]
    return name_in(noted.checkpoint, renamed(name, owner, there), there), tables.get(owner)
