"""Where the rows of new entities start."""

import collections

import partial_embed as pe

STARTS = ("drawn", "normal", "mean", "neighbours")
# Means of three came nearer to trained rows than copies of one, or means of many.
_NUM_NEIGHBOURS = 3


def initializers(start, num_old, dataset):
    """Returns the `initializers=` of `pe.growing` for one of `STARTS`.

    Args:
      start: "drawn", as the model draws rows; "normal", like the old rows; "mean", at the mean of
        the old rows, all alike; "neighbours", at the mean of the old entities of `neighbours`.
      num_old: how many entities have a row already.
      dataset: a `triples.Dataset` with all entities.
    """
    if start not in STARTS:
        raise ValueError(f"--new_rows={start} is none of {', '.join(STARTS)}.")
    if start == "drawn" or len(dataset.entities) == num_old:
        return {}
    if start == "neighbours":
        near = neighbours(dataset.train, num_old, len(dataset.entities))
        return {"entity": pe.row_init.mean_of_rows(near)}
    return {"entity": pe.row_init.normal_like_old_rows(1.0 if start == "normal" else 1e-9)}


def neighbours(facts, num_old, num_entities):
    """For each new entity, the rows of the old ones that are most like it: a list of lists.

    Two entities are alike if they stand in the same place of the same triples: both heads of
    (?, relation, tail), or both tails of (head, relation, ?). Such entities answer the same
    queries, so their rows must be near each other; entities that are merely joined by a triple
    need not be. How alike is |A and B| / |A or B| of their sets of places, so that an entity that
    stands everywhere is not everyone's neighbour. A new entity without any such old one gets all
    of the old ones, that is, their mean.

    Args:
      facts: int64 array [n, 3] of train triples.
      num_old: entities below this number are old.
      num_entities: how many there are.
    """
    places = [set() for _ in range(num_entities)]
    for head, relation, tail in facts.tolist():
        places[head].add(("head", relation, tail))
        places[tail].add(("tail", relation, head))
    standing = collections.defaultdict(list)
    for entity in range(num_old):
        for place in places[entity]:
            standing[place].append(entity)

    found = []
    for entity in range(num_old, num_entities):
        shared = collections.Counter(old for place in places[entity] for old in standing[place])
        likeness = {
            old: number / float(len(places[entity]) + len(places[old]) - number)
            for old, number in shared.items()
        }
        # Of two that are equally like it, the first: the order of a set says nothing.
        best = sorted(likeness, key=lambda old: (-likeness[old], old))[:_NUM_NEIGHBOURS]
        found.append(best or list(range(num_old)))
    return found
