"""Names in object-based checkpoints: `model.Sent/.ATTRIBUTES/VARIABLE_VALUE` is `model/ent`.

Such a checkpoint (`tf.train.Checkpoint`) names a variable by the attributes that lead to it, with
every / in the name of an attribute written as .S, and every . as two.
"""

import re

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_SLOT = "/.OPTIMIZER_SLOT/"
_ESCAPED = re.compile(r"\.(.)")


def names_in_object_checkpoint(keys):
    """Returns {name: key} of the variables of an object-based checkpoint.

    Left out are its count of saves, and the slots of optimizers.

    Args:
        keys: the names that its tensors have on disk.
    """
    found = {}
    for key in sorted(keys):
        if key.endswith(_VALUE) and _SLOT not in key and key != "save_counter" + _VALUE:
            path = key[: -len(_VALUE)]
            name = _ESCAPED.sub(lambda m: "/" if m.group(1) == "S" else m.group(1), path)
            found[name if name not in found else path] = key
    return found
