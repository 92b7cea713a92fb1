"""A hash a row, by which rows are known again."""

import hashlib

import numpy as np

_CHUNK_BYTES = 1 << 20  # stays in the cache


def row_hashes(values):
    """Returns `sum_j weight[j] * bits(values[i, j]) mod 2**64`, one number for each row i.

    The weights are odd, so a row in which one element changed, by whatever bit,
    always gets another hash; the weights are fixed, so hashes can be stored.
    Rows of strings are hashed by BLAKE2b, which takes the place of the sum.

    Args:
        values: array [rows, ...] of any dtype; strings as bytes or str.

    Returns:
        uint64 array [rows].
    """
    values = np.ascontiguousarray(values)
    count = values.shape[0]
    if not values.size:
        return np.zeros(count, np.uint64)
    values = values.reshape([count, -1])
    if values.dtype.kind in "OSU":
        return np.array([_hash_of_strings(row) for row in values.tolist()], np.uint64)
    raw = values.view(np.uint8)
    raw = raw.view(np.uint32 if raw.shape[1] % 4 == 0 else np.uint8)
    width = raw.shape[1]
    weights = np.random.RandomState(0).randint(0, 2**63, size=width, dtype=np.uint64)
    weights = weights * np.uint64(2) + np.uint64(1)
    hashes = np.empty(count, np.uint64)
    step = max(1, _CHUNK_BYTES // (8 * width))
    for start in range(0, count, step):
        chunk = raw[start : start + step].astype(np.uint64)
        np.matmul(chunk, weights, out=hashes[start : start + step])
    return hashes


def _hash_of_strings(row):
    """Returns a number of 64 bits that stands for the strings, each with its length."""
    digest = hashlib.blake2b(digest_size=8)
    for text in row:
        data = text.encode() if isinstance(text, str) else text
        digest.update(b"%d:" % len(data) + data)
    return int.from_bytes(digest.digest(), "little")


def fingerprint(hashes):
    """Returns a short hex text that stands for rows with these hashes, in this order."""
    return hashlib.blake2b(hashes.view(np.uint8), digest_size=16).hexdigest()


def keys_fingerprint(keys):
    """Returns a short hex text that stands for keys (texts), in this order."""
    text = "".join(key + "\n" for key in keys)
    return hashlib.blake2b(text.encode("utf-8"), digest_size=16).hexdigest()
