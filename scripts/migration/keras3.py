"""Two entities more: the program of tf1.py in native TensorFlow 2, with Keras 3 and no graph mode.

  python scripts/migration/keras3.py tests/data/migration/old.ckpt /tmp/grown.keras

It reads the table of TensorFlow 1 and saves a model that needs no class of its own: one plain
Embedding of all rows. Batches may mix old and new ids as they like.
"""

import sys

import keras
import tensorflow as tf
from pairs import batches, d, n_e, n_old


class GrownEmbedding(keras.layers.Layer):
    """Rows that stay and rows that train, looked up as one table."""

    def __init__(self, old, new):
        super().__init__()
        self.old = keras.Variable(old, trainable=False)
        self.new = keras.Variable(new)

    def call(self, ids):
        old = tf.gather(self.old, tf.minimum(ids, n_old - 1))
        new = tf.gather(self.new, tf.maximum(ids - n_old, 0))
        return tf.where((ids >= n_old)[..., None], new, old)


def model_of(embedding):
    pairs = keras.Input([2], dtype="int32")
    rows = embedding(pairs)
    return keras.Model(pairs, keras.layers.Dot(axes=1)([rows[:, 0], rows[:, 1]]))


old_path, new_path = sys.argv[1:]
table = tf.train.load_checkpoint(old_path).get_tensor("embedding")
xavier = tf.random.truncated_normal([n_e - n_old, d], stddev=(2.6 / (n_e + d)) ** 0.5, seed=1)
grown = GrownEmbedding(table, xavier)
model = model_of(grown)
loss = keras.losses.BinaryCrossentropy(from_logits=True, reduction="sum")
model.compile(keras.optimizers.SGD(0.01), loss)
for ids, alike in batches():
    model.train_on_batch(ids, alike[:, None])

whole = keras.layers.Embedding(n_e, d, name="embedding")
saved = model_of(whole)
whole.set_weights([tf.concat([grown.old, grown.new], axis=0)])
saved.save(new_path)
