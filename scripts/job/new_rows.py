"""Where the rows of new keys start, and which old ones move with them."""

import collections

import numpy as np

import partial_embed as pe
from job import data as job_data

STARTS = ("drawn", "normal", "mean", "neighbours")
# Means of three came nearer to trained rows than copies of one, or means of many.
_NUM_NEIGHBOURS = 3
_NUM_OF_ALL = 1000


def moving(data, moves):
    """The old rows of whose train examples more than a part is new: dict of a vocabulary to int64.

    A frozen row knows what was known of its key. If most of that came later, it is as little
    trained as a new one.

    Args:
      data: a `job.data.Data`; its train examples are looked at.
      moves: dict of a vocabulary to the part, below 1; of others no old row moves. With 0 those of
        all keys that are in a new example do.
    """
    strange = sorted(set(moves) - set(data.vocabularies))
    if strange:
        raise ValueError(
            f"--move names {', '.join(strange)}; the vocabularies are "
            f"{', '.join(sorted(data.vocabularies))}."
        )
    found = {name: np.zeros([0], np.int64) for name in data.vocabularies}
    if any(moves.values()) and data.is_new(data.splits["train"]).all():
        raise ValueError(
            "--move asks what part of an old key's examples is new, and none of the old ones is "
            "known. Put them into the data, or say 0: all keys that are in a new example."
        )
    for name, above in moves.items():
        train, num_old = data.splits["train"], data.num_old[name]
        columns = [column for column, its in data.columns.items() if its == name]
        counts = [
            np.bincount(np.concatenate([some[column] for column in columns]), minlength=num_old)
            for some in (job_data.take(train, data.is_new(train)), train)
        ]
        new, seen = (count[:num_old] for count in counts)
        found[name] = np.flatnonzero(new > above * seen)
    return found


def initializers(start, data, tables):
    """Returns the `initializers=` of `pe.growing` for one of `STARTS`.

    Args:
      start: "drawn", as the model draws rows; "normal", like the old rows; "mean", at the mean of
        the old rows, all alike; "neighbours", at the mean of the old keys of `neighbours`.
      data: a `job.data.Data`.
      tables: dict of the name of a model's table to the vocabulary whose keys have its rows.
    """
    if start not in STARTS:
        raise ValueError(f"--new_rows={start} is none of {', '.join(STARTS)}.")
    found = {}
    grown = {
        table: name
        for table, name in tables.items()
        if len(data.vocabularies[name]) > data.num_old[name] > 0
    }
    if start == "drawn":
        return found
    if not tables:
        raise ValueError(
            f"--new_rows={start} starts new rows from old ones, and the model does not say which "
            "tables have them. Give its function `tables = {name: vocabulary}`."
        )
    for table, name in grown.items():
        if start == "neighbours":
            found[table] = pe.row_init.mean_of_rows(neighbours(data, name))
        else:
            found[table] = pe.row_init.normal_like_old_rows(1.0 if start == "normal" else 1e-9)
    return found


def neighbours(data, vocabulary):
    """For each new key, the rows of the old ones that are most like it: a list of lists.

    Two keys are alike if they stand in the same place of the same examples: both heads of
    (?, relation, tail), or both users of (?, item). Such keys answer the same questions, so their
    rows must be near each other; keys that are merely joined by an example need not be. How alike
    is |A and B| / |A or B| of their sets of places, so that a key that stands everywhere is not
    everyone's neighbour. A new key without any such old one gets all of the old ones, that is,
    their mean, or every so many if there are more than a thousand.

    Args:
      data: a `job.data.Data`; its train examples are looked at.
      vocabulary: whose keys.
    """
    num_old, total = data.num_old[vocabulary], len(data.vocabularies[vocabulary])
    columns = [name for name, its in data.columns.items() if its]
    places = [set() for _ in range(total)]
    for example in zip(*(data.splits["train"][name].tolist() for name in columns)):
        for place, name in enumerate(columns):
            if data.columns[name] == vocabulary:
                places[example[place]].add((place, example[:place] + example[place + 1 :]))
    standing = collections.defaultdict(list)
    for key in range(num_old):
        for place in places[key]:
            standing[place].append(key)

    found = []
    for key in range(num_old, total):
        shared = collections.Counter(old for place in places[key] for old in standing[place])
        likeness = {
            old: number / float(len(places[key]) + len(places[old]) - number)
            for old, number in shared.items()
        }
        # Of two that are equally like it, the first: the order of a set says nothing.
        best = sorted(likeness, key=lambda old: (-likeness[old], old))[:_NUM_NEIGHBOURS]
        found.append(best or list(range(0, num_old, -(-num_old // _NUM_OF_ALL))))
    return found
