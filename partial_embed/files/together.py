"""Tensors of a checkpoint in the making, small ones in one part: they cost less than a session."""

import numpy as np

from partial_embed.files.tensors import dtype_of, write_part

_MOST_BYTES = 1 << 26  # that wait
_TEXT_BYTES = 64  # at a guess


class Together:
    """Writes tensors as parts of a `Stage`; some wait for others until `end`.

    Attributes:
        stage: `Stage`.
    """

    def __init__(self, stage):
        self.stage = stage
        self._waiting, self._bytes = [], 0

    def write(self, name, spec, value):
        """Writes a tensor, now or later.

        Args:
            name: str.
            spec: text of the slice that it is, "" for all.
            value: array, or what has a shape, a dtype and a function `tensor` that makes one.
        """
        is_read = not hasattr(value, "tensor")
        self._waiting.append((name, spec, value if is_read else value.tensor))
        width = (dtype_of(value) if is_read else value.dtype).size or _TEXT_BYTES
        self._bytes += width * int(np.prod(value.shape, dtype=np.int64))
        if self._bytes >= _MOST_BYTES:
            self.end()

    def end(self):
        """Writes what waits."""
        if self._waiting:
            write_part(self.stage.part(), self._waiting)
            self._waiting, self._bytes = [], 0
