"""`Saver`: whole tables on disk."""

import tensorflow.compat.v1 as tf


class Saver(tf.train.Saver):
    """A `tf.train.Saver` (completed in the next commits)."""
