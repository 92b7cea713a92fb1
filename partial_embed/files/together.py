"""Tensors of a checkpoint in the making: small ones in one part, large ones beside what is read.

Small ones together cost less than a session each. What only copies bytes goes on in threads, while
TensorFlow reads the same bytes, to verify them, and others: never two tensors in memory.
"""

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed.files.tensors import dtype_of, write_part
from partial_embed.files.threads import threads

_MOST_BYTES = 1 << 26  # that wait
_TEXT_BYTES = 64  # at a guess
_COPY_THREADS = 2  # A file system takes new memory for what is written, which can be slow to get.


class Together:
    """Writes tensors as parts of a `Stage`; all of them are written when its block ends.

    Attributes:
        stage: `Stage`.
    """

    def __init__(self, stage):
        self.stage = stage
        self._waiting, self._bytes = [], 0
        self._pool, self._copies = threads(_COPY_THREADS), []

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        try:
            if kind is None:
                self._write_waiting()
                while self._copies:
                    self._end_first_copy()
        finally:  # Of a stage that is given up nothing is written any more.
            for task, *_ in self._copies:
                task.cancel()
            self._pool.shutdown()

    def write(self, name, spec, value):
        """Writes a tensor, now or later.

        Args:
            name: str.
            spec: text of the slice that it is, "" for all.
            value: array, or what has a shape, a dtype, a function `tensor` that makes one, and
                one that reads it.

        Raises:
            ValueError: if what it is read from is damaged.
        """
        is_read = not hasattr(value, "tensor")
        self._waiting.append((name, spec, value))
        width = (dtype_of(value) if is_read else value.dtype).size or _TEXT_BYTES
        self._bytes += width * int(np.prod(value.shape, dtype=np.int64))
        if self._bytes >= _MOST_BYTES:
            self._write_waiting()

    def copy(self, stored_bytes, copy, write):
        """Copies bytes beside what comes next; they are verified after it, or when the block ends.

        As many go on as there are threads, for what could write them instead is held in memory.

        Args:
            stored_bytes: `StoredBytes`.
            copy: function that copies them, and returns whether it could.
            write: function that writes the same by reading it, should they not be copied, or
                change while they are.

        Raises:
            ValueError: here, for an earlier copy, or when the block ends: if bytes are damaged.
        """
        if len(self._copies) == _COPY_THREADS:
            self._end_first_copy()
        self._copies.append((self._pool.submit(copy), stored_bytes, write))

    def _end_first_copy(self):
        task, stored_bytes, write = self._copies.pop(0)
        is_verified = stored_bytes.verify()
        if not (task.result() and is_verified):
            write()

    def _write_waiting(self):
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        if waiting:
            values = [(*place, getattr(value, "tensor", value)) for *place, value in waiting]
            try:
                write_part(self.stage.part(), values)
            except tf.errors.OpError:
                for *_, value in waiting:
                    if hasattr(value, "tensor"):
                        value.read()  # else it could not be written
                raise
