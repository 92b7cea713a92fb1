"""Tensors of a checkpoint in the making: small ones in one part, large ones beside what is read.

Small ones together cost less than a session each. What only copies bytes goes on in a thread, one
after the other, while the next tensor is read and verified: never two of them in memory.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed.files.tensors import dtype_of, write_part

_MOST_BYTES = 1 << 26  # that wait
_TEXT_BYTES = 64  # at a guess


class Together:
    """Writes tensors as parts of a `Stage`; all of them are written when its block ends.

    Attributes:
        stage: `Stage`.
    """

    def __init__(self, stage):
        self.stage = stage
        self._waiting, self._bytes = [], 0
        self._pool, self._tasks = ThreadPoolExecutor(1), []

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        try:
            if kind is None:
                self._write_waiting()
                for task in self._tasks:
                    task.result()
        finally:  # Of a stage that is given up nothing is written any more.
            for task in self._tasks:
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

    def beside(self, copy, *arguments):
        """Calls a function that copies bytes, beside what comes next; what it raises comes last."""
        self._tasks.append(self._pool.submit(copy, *arguments))

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
