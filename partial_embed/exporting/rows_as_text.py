"""Rows of numbers as text, from which float32 comes back bit for bit."""

import numpy as np

_BLOCK = 1 << 16  # numbers that are text at once


def lines_of_rows(values, separator):
    """Yields a text for each row: its numbers, in the nine digits that tell any two float32 apart.

    Args:
        values: array [rows, columns] of float32, or of a narrower float type.
        separator: str, what stands between numbers.
    """
    line = separator.join(["%.9g"] * values.shape[1])
    for block in float32_blocks(values):
        for row in block.tolist():
            yield line % tuple(row)


def float32_blocks(values):
    """Yields the rows of an array some at a time, as float32."""
    step = max(1, _BLOCK // max(1, values.shape[1]))
    for start in range(0, len(values), step):
        yield np.ascontiguousarray(values[start : start + step], np.float32)
