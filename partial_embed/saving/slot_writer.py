"""What writes the slots of rows that do not train; on parameter servers, where those rows are."""

import functools

import tensorflow.compat.v1 as tf

from partial_embed.files.stored_bytes import StoredBytes
from partial_embed.files.tensors import damaged, restore_fed, write_part
from partial_embed.saving.source import Filled


class SlotWriter:
    """Writes one slice of a slot: from a checkpoint, or one number throughout.

    Args:
        device: where the rows are that it belongs to.
        name: str, the slot's name on disk.
        spec: text of the slice, "" for all of it.
        shape: list of ints, of the slice.
        full_shape: list of ints, of all of it.
        dtype: `tf.DType`.
    """

    def __init__(self, device, name, spec, shape, full_shape, dtype):
        self._slice, self._full_shape = (name, spec), full_shape
        self._is_far = bool(tf.DeviceSpec.from_string(device or "").job)  # on a parameter server
        if not self._is_far:
            return
        with tf.name_scope("partial_embed_slot"), tf.device(device):
            self._prefix = tf.placeholder(tf.string, [])
            self._number = tf.placeholder(dtype, [])
            copied, self._place = restore_fed(dtype, shape)
            filled = tf.fill(shape, self._number)
            with tf.device("/cpu:0"):
                self._copy, self._fill = (
                    tf.raw_ops.SaveV2(
                        prefix=self._prefix,
                        tensor_names=[name],
                        shape_and_slices=[spec],
                        tensors=[value],
                    )
                    for value in (copied, filled)
                )

    def write(self, session, together, value):
        """Writes `Stored`, `Filled` or other values as a part of its own, by a `Together`.

        Raises:
            ValueError: if the checkpoint that they stand in is damaged; of bytes, see
                `Together.copy`.
        """
        prefix = together.stage.part()
        write = functools.partial(self._write, session, prefix, value)
        stored_bytes = value.bytes if getattr(value, "is_one_slice", False) else None
        if stored_bytes and stored_bytes.pieces:
            place = prefix, *self._slice, self._full_shape
            together.copy(stored_bytes, functools.partial(stored_bytes.copy, *place), write)
        else:
            write()

    def _write(self, session, prefix, value):
        in_one_slice = getattr(value, "is_one_slice", False)
        try:
            if self._is_far and isinstance(value, Filled):
                session.run(self._fill, {self._prefix: prefix, self._number: value.number})
            elif self._is_far and in_one_slice:
                place = dict(zip(self._place, value.place))
                session.run(self._copy, {self._prefix: prefix, **place})
            else:  # In a graph of its own: of a new question, TensorFlow looks at all of a graph.
                write_part(prefix, [(*self._slice, value.tensor)])
        except tf.errors.OpError as error:
            if in_one_slice and not value.checkpoint.is_unchanged():
                raise damaged(value.checkpoint.prefix, error) from error
            if in_one_slice:
                value.bytes.expect_readable()  # else it could not be written
            raise

    def note_saved(self, checkpoint):
        """Notes that a `Checkpoint` holds the slice as it was written: it need not be read."""
        name, spec = self._slice
        StoredBytes(checkpoint, name, spec).note_read()
