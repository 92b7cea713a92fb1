"""Initializers that load a variable of unchanged shape; whose state they leave alone."""

import re

from partial_embed.files.finite import refuse_nonfinite
from partial_embed.files.tensors import restore, slice_spec


def loading_initializer(checkpoint, name, shape, allow_nonfinite):
    """Returns an initializer that loads a variable, or a partition of it, as it is."""

    def initialize(part, dtype=None, partition_info=None):
        spec = ""
        if partition_info is not None:
            spec = slice_spec(shape, partition_info.var_offset, part)
        value = restore(checkpoint.prefix, name, dtype, spec, part)
        if allow_nonfinite:
            return value
        return refuse_nonfinite(value, f"{name} of {checkpoint.prefix}")

    return initialize


def is_optimizer_state(name, trainable, variable_names):
    """Whether `name` is a slot of one of some variables, or a power of Adam.

    A new optimizer starts afresh, for all of its state or for none of it: it
    may be made outside, where nothing is loaded.
    """
    if trainable is not False:
        return False
    if re.search(r"(^|/)beta[12]_power(_\d+)?$", name):
        return True
    parts = name.split("/")
    owners = {"/".join(parts[start:stop]) for stop in range(1, len(parts)) for start in range(stop)}
    return not owners.isdisjoint(variable_names)
