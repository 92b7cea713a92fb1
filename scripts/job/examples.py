"""The examples that a run knows, kept beside its checkpoint for the run that grows from it.

examples.npz holds an array for each column of each split, such as `train/head`: numbers, or rows of
the vocabularies beside it. A growth whose own data has only what came since finds there what was
before: to replay it, to find the neighbours of new keys, to leave known answers out of a ranking.
Remove the file, and those that grow from the run know only what their data says.
"""

import os

import numpy as np

from job import arrays as job_arrays
from job import data as job_data

EXAMPLES = "examples.npz"


def write(directory, data):
    """Writes the examples of a `Data`; those of a pipeline stay where they are."""
    arrays = {}
    for split, examples in data.splits.items():
        for name, values in examples.items():
            least = values.dtype
            if data.columns[name]:
                least = np.min_scalar_type(int(values.max()) if len(values) else 0)
            arrays[f"{split}/{name}"] = values.astype(least)
    if not arrays:
        return
    job_arrays.write(os.path.join(directory, EXAMPLES), arrays)


def with_those_of_base(data, checkpoint):
    """Adds the examples of the base to a `Data`, each of them once.

    An example that is in the data, in whatever split, stays where the data has it.

    Args:
      data: a `Data` whose keys have the rows that they have in the base.
      checkpoint: the base's; without a file of examples beside it, the data stays as it is.

    Returns:
      The `Data`, and how many of its examples the base has not; 0 if nobody knows.
    """
    path = os.path.join(os.path.dirname(checkpoint), EXAMPLES)
    if data.pipeline or not os.path.exists(path):
        return data, 0
    kept = _read(path)
    if not kept:  # All was taken out of it.
        return data, 0
    columns = set(next(iter(data.splits.values())))
    other = {name for its in kept.values() for name in columns.symmetric_difference(its)}
    if other:
        raise ValueError(
            f"{path} and the data have not the same columns: one of them has no "
            f"{', '.join(sorted(other))}. Give the data the same, or remove the file to grow "
            "without it."
        )
    for before in kept.values():
        _check(before, data, path)
    known = _fingerprints(job_data.joined(list(data.splits.values())))
    of_base = {split: _fingerprints(before) for split, before in kept.items()}
    splits = {}
    for split in job_data.SPLITS:
        before, now = kept.get(split, {}), data.splits.get(split, {})
        if before:
            before = job_data.take(before, ~np.isin(of_base[split], known))
        if before or now:
            splits[split] = job_data.joined([before, now])
    return data._replace(splits=splits), int(
        np.sum(~np.isin(known, np.concatenate(list(of_base.values()))))
    )


def _read(path):
    """A dict of splits to their columns."""
    found = {}
    try:
        arrays = job_arrays.read(path)
    except ValueError as error:
        raise ValueError(f"{error} Remove it to grow without it.") from error
    for key, values in arrays.items():
        split, _, name = key.partition("/")
        if split not in job_data.SPLITS or values.ndim != 1 or values.dtype.kind not in "iuf":
            raise ValueError(
                f"{path} holds {key}, which is no column of train, valid or test. Remove it to "
                "grow without it."
            )
        dtype = np.int64 if values.dtype.kind in "iu" else np.float64
        found.setdefault(split, {})[name] = values.astype(dtype)
    return found


def _check(examples, data, path):
    """Raises a `ValueError` unless all rows are those of keys that the base has."""
    sizes = {name: len(values) for name, values in examples.items()}
    rows = {name: (data.num_old[its], examples[name]) for name, its in data.columns.items() if its}
    for name, (num_old, values) in rows.items():
        if (
            values.dtype != np.int64
            or len(values)
            and not 0 <= values.min() <= values.max() < num_old
        ):
            sizes[name] = f"rows outside 0 to {num_old - 1}"
    if len(set(sizes.values())) > 1:
        raise ValueError(
            f"{path} does not fit the keys beside it: {sizes}. Remove it to grow without it."
        )


def _fingerprints(examples):
    """One value for each example, the same for the same example: bytes, [n]."""
    columns = [np.asarray(examples[name], np.float64) for name in sorted(examples)]
    rows = np.ascontiguousarray(np.stack(columns, 1)) + 0.0  # -0.0 is 0.0
    return rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1])))[:, 0]
