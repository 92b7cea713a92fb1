"""The examples that a run knows, kept beside its checkpoint for the run that grows from it.

examples.npz holds an array for each column of each split, such as `train/head`: numbers, or rows of
the vocabularies beside it. A growth whose own data has only what came since finds there what was
before: to replay it, to find the neighbours of new keys, to leave known answers out of a ranking.
Remove the file, and those that grow from the run know only what their data says.
"""

import os
import zipfile

import numpy as np
from absl import logging

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
    path = os.path.join(directory, EXAMPLES)
    with open(path + ".part", "wb") as file:
        np.savez_compressed(file, **arrays)
    os.replace(path + ".part", path)


def with_those_of_base(data, checkpoint):
    """Returns a `Data` that has the examples of its base as well, each of them once.

    An example that is in the data, in whatever split, stays where the data has it.

    Args:
      data: a `Data` whose keys have the rows that they have in the base.
      checkpoint: the base's; without a file of examples beside it, the data is returned as it is.
    """
    path = os.path.join(os.path.dirname(checkpoint), EXAMPLES)
    if data.pipeline or not os.path.exists(path):
        return data
    kept = _read(path)
    other = {name for examples in kept.values() for name in examples} ^ set(data.columns)
    if other:
        logging.warning(
            "The examples in %s are left out: only they, or only the data, have %s.",
            path,
            ", ".join(sorted(other)),
        )
        return data
    known = _fingerprints(job_data.joined(list(data.splits.values())))
    splits = {}
    for split in job_data.SPLITS:
        before, now = kept.get(split, {}), data.splits.get(split, {})
        if before:
            _check(before, data, path)
            before = job_data.take(before, ~np.isin(_fingerprints(before), known))
        if before or now:
            splits[split] = job_data.joined([before, now])
    return data._replace(splits=splits)


def _read(path):
    """A dict of splits to their columns."""
    found = {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for key in arrays.files:
                split, _, name = key.partition("/")
                values = arrays[key]
                dtype = np.int64 if values.dtype.kind in "iu" else np.float64
                found.setdefault(split, {})[name] = values.astype(dtype)
    except (ValueError, OSError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(
            f"{path} is no file of examples ({error}); remove it to grow without them."
        ) from error
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
