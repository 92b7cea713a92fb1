"""Whose value counts, where several deltas have one."""

import numpy as np

POLICIES = ("first", "last", "mean")


class Policy:
    """What to do where deltas differ.

    Args:
        name: None to refuse, "first", "last" or "mean".

    Raises:
        ValueError: for any other.
    """

    remedy = f"Say whose counts with policy= {', '.join(map(repr, POLICIES))}."

    def __init__(self, name):
        if name is not None and name not in POLICIES:
            raise ValueError(f"policy must be one of {POLICIES}, got {name!r}.")
        self._name = name

    def __bool__(self):
        return self._name is not None

    def one(self, what, prefixes, values):
        """Returns one of some values that must be equal, or that the policy chooses among."""
        for prefix, value in zip(prefixes, values):
            if value != values[0] and self._name not in ("first", "last"):
                raise ValueError(
                    f"{prefixes[0]} and {prefix} cannot be merged: {what} is {values[0]} in the "
                    f"one, {value} in the other. Say whose counts with policy='first' or 'last'."
                )
        return values[0 if self._name == "first" else -1]

    def value(self, name, prefixes, arrays):
        """Returns the value of a variable that is no table, from those in several deltas.

        Raises:
            ValueError: if they differ and there is no policy, or their shapes do.
        """
        last, kinds = arrays[-1], {(array.shape, array.dtype) for array in arrays}
        if len(kinds) > 1:
            texts = " and ".join(
                f"{list(a.shape)} {a.dtype} in {p}" for a, p in zip(arrays, prefixes)
            )
            raise ValueError(f"{name} is {texts}. Merge deltas of the same model.")
        if all(_equal(array, last) for array in arrays):
            return last
        if self._name is None and last.ndim:
            raise ValueError(
                f"The deltas {' and '.join(prefixes)} trained {name} to different values. "
                + self.remedy
            )
        if self._name == "first":
            return arrays[0]
        if self._name == "mean":
            alone = np.zeros(1, int)
            rows = [array.reshape((1,) + array.shape) for array in arrays]
            return _mean(name, rows, [(alone, alone)] * len(arrays), 1)[0]
        return last

    def picks(self, identities, places):
        """Returns for each delta (which of its rows count, where they stand).

        Args:
            identities: list of lists, what each delta's rows are known by.
            places: dict of such to where that row stands.
        """
        picks, seen = [], set()
        for keys in identities:
            chosen = [i for i, key in enumerate(keys) if self._name != "first" or key not in seen]
            seen.update(keys)
            rows = [places[keys[i]] for i in chosen]
            picks.append((np.array(chosen, int), np.array(rows, int)))
        return picks

    def combined(self, name, arrays, picks, count):
        """Returns `count` rows, from the rows of each delta and its `picks`."""
        if self._name == "mean":
            return _mean(name, arrays, picks, count)
        result = np.zeros([count] + list(arrays[0].shape[1:]), arrays[0].dtype)
        for array, (chosen, rows) in zip(arrays, picks):
            result[rows] = array[chosen]
        return result


def _equal(one, other):
    # Numbers by their bits, so that NaN is NaN; texts by what they say.
    same_bits = one.dtype != object and one.tobytes() == other.tobytes()
    return same_bits or (one.dtype == object and one.tolist() == other.tolist())


def _mean(name, arrays, picks, count):
    """Returns the means of rows as exactly as the dtype has them; of integers, rounded down."""
    dtype = arrays[0].dtype
    shape = [count] + list(arrays[0].shape[1:])
    owners = np.zeros([count] + [1] * (len(shape) - 1), np.int64)
    for _, rows in picks:
        owners[rows] += 1
    if dtype.kind in "iu":
        wide = dtype if dtype.itemsize == 8 else np.dtype(np.int64)  # rests of 8 bits would not fit
        owners = owners.astype(wide)
        whole, rest = np.zeros(shape, wide), np.zeros(shape, wide)
        for array, (chosen, rows) in zip(arrays, picks):
            whole[rows] += array[chosen] // owners[rows]
            rest[rows] += array[chosen] % owners[rows]
        return (whole + rest // owners).astype(dtype)
    if dtype.kind not in "fc" and dtype.name != "bfloat16":
        raise ValueError(f"{name} is of {dtype}, which has no mean. Use policy='first' or 'last'.")
    total = np.zeros(shape, np.complex128 if dtype.kind == "c" else np.float64)
    for array, (chosen, rows) in zip(arrays, picks):
        total[rows] += array[chosen]
    return (total / owners).astype(dtype)
