"""Restores a checkpoint as a script does that knows TensorFlow and nothing else.

Every table is one `tf.get_variable`, and `tf.train.Saver` fills it. Nothing here is part of
partial_embed, nor imports it: it stands for whatever reads your checkpoints today.

  python scripts/plain_restore.py runs/grown/model.ckpt-300 tables.npz entity:135x256

writes the tables to tables.npz.
"""

import sys

import numpy as np


def main(checkpoint, output, *tables):
    """Restores the tables, each given as `name:rows x columns`, and saves them as a .npz file."""
    import tensorflow.compat.v1 as tf  # here, for --help is quiet without it

    tf.disable_v2_behavior()
    variables = {}
    for table in tables:
        name, shape = table.split(":")
        variables[name] = tf.get_variable(name, [int(size) for size in shape.split("x")])
    saver = tf.train.Saver()
    with tf.Session() as session:
        saver.restore(session, checkpoint)
        values = session.run(variables)
    np.savez(output, **values)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        print(__doc__)
        sys.exit(1)
    main(*sys.argv[1:])
