"""Makes, of data that is all there, the situation of keys that arrive later."""

import numpy as np
from job import data as job_data


def hold_back(data, vocabulary="entities", fraction=0.1, seed=0):
    """Holds some keys back, at random, with every example that has one of them.

    Args:
      data: a `job.data.Data`.
      vocabulary: whose keys are held back.
      fraction: the part of them that is.
      seed: which random part.

    Returns:
      Two `Data`. The first has only the examples without a held-back key, and the vocabularies of
      those. The second has every example, and its vocabularies begin with those of the first, in
      the same order, and go on with the new keys.
    """
    total = len(data.vocabularies[vocabulary])
    count = int(total * fraction)
    if not 0 < count < total:
        raise ValueError(
            f"A fraction of {fraction} of {total} {vocabulary} is {count}; at least one must be "
            "held back and one kept."
        )
    chosen = np.random.RandomState(seed).permutation(total)[:count]
    is_new = {vocabulary: np.isin(np.arange(total), chosen)}
    columns = [name for name, its in data.columns.items() if its == vocabulary]

    kept = {}
    for split, examples in data.splits.items():
        touched = np.zeros([job_data.size(examples)], bool)
        for name in columns:
            touched |= is_new[vocabulary][examples[name]]
        kept[split] = job_data.take(examples, ~touched)
    if not job_data.size(kept["train"]):
        raise ValueError("Every train example has one of the held-back keys; hold back fewer.")
    # Keys of other vocabularies that only those examples have are new as well.
    for name, keys in data.vocabularies.items():
        if name != vocabulary:
            is_new[name] = np.ones([len(keys)], bool)
            for column, its in data.columns.items():
                for examples in kept.values() if its == name else ():
                    is_new[name][examples[column]] = False

    order = {name: np.argsort(new, kind="stable") for name, new in is_new.items()}
    # argsort of a permutation is its inverse: from the row in `data` to the new row.
    row = {name: np.argsort(rows) for name, rows in order.items()}
    keys = {name: [data.vocabularies[name][old] for old in rows] for name, rows in order.items()}

    def renumbered(splits, vocabularies):
        moved = {
            split: {
                name: row[data.columns[name]][values] if data.columns[name] else values
                for name, values in examples.items()
            }
            for split, examples in splits.items()
        }
        return job_data.Data(vocabularies, {name: 0 for name in keys}, data.columns, moved)

    kept_keys = {name: keys[name][: int(np.sum(~new))] for name, new in is_new.items()}
    return renumbered(kept, kept_keys), renumbered(data.splits, keys)
