"""The data of four programs, see tf1.py: pairs of entities, two of which are new.

The made-up fact to learn: even numbers go with even numbers, odd with odd.
"""

import numpy as np

n_old, n_e, d = 20, 22, 10


def batches(steps=200, size=16):
    """Yields ids [size, 2], each column all old or all new, and whether they are alike, [size]."""
    random = np.random.RandomState(0)
    for step in range(steps):
        new, other = random.randint(n_old, n_e, size), random.randint(0, n_old, size)
        if step % 3 == 2:
            other = new[::-1]
        pairs = np.stack([new, other] if step % 3 else [other, new], axis=1)
        yield pairs, (pairs.sum(axis=1) % 2 == 0).astype(np.float32)
