"""Tables as an object-based checkpoint of TensorFlow 2, each an attribute of the root.

`tf.train.Checkpoint(embedding=tf.Variable(...)).restore(path)` reads it; a name with a slash is
given as `tf.train.Checkpoint(**{"model/ent": variable})`.
"""

import tensorflow.compat.v1 as tf

from partial_embed.exporting.format import FLOATS, INTEGERS, Format
from partial_embed.exporting.table import reading, variables_of
from partial_embed.files.tensors import cpu_only


def write(tables, stage, options):
    """Writes a part of a checkpoint; see `Format`."""
    del options
    for table in tables:
        if table.name in dir(tf.train.Checkpoint) or table.name.startswith("_"):
            raise ValueError(
                f"tf.train.Checkpoint keeps the name {table.name} to itself. Give the tensor "
                "another by names=."
            )
    with tf.Graph().as_default(), tf.Session(config=cpu_only()) as session:
        names = [table.name for table in tables]
        checkpoint = tf.train.Checkpoint(**dict(zip(names, variables_of(tables))))
        # `restore` expects a count of saves, which `save` would have made.
        counted = tf.assign(checkpoint.save_counter, 1)
        with reading(tables):
            session.run(tf.global_variables_initializer())
        session.run(counted)
        checkpoint.write(stage.part(), session=session)


OBJECT = Format(
    write,
    "checkpoint",
    FLOATS | INTEGERS | {"bool", "complex64", "complex128"},
    most_tables=None,
    is_two_dimensional=False,
    holds_keys=True,
)
