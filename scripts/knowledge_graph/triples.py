"""Directories of triples: reading them, numbering their keys, and holding entities back.

A directory holds `train.txt` and, if there are any, `valid.txt` and `test.txt`. Every line is one
fact, `head <tab> relation <tab> tail`. Two vocabularies may lie beside them, `entities.txt` and
`relations.txt`: one key per line, and the number of the line, from 0, is the row of the key in its
table.
"""

import collections
import os

import numpy as np

SPLITS = ("train", "valid", "test")

# entities and relations are lists of keys; train, valid and test are int64 arrays [n, 3] of head,
# relation, tail.
Dataset = collections.namedtuple("Dataset", ["entities", "relations", "train", "valid", "test"])


def read_lines(path):
    """Returns the lines of a UTF-8 text file without their ends."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no file {path}.")
    with open(path, "rb") as file:
        content = file.read()
    try:
        # Not splitlines(): it would also break a key at characters such as U+2028.
        lines = content.decode("utf-8").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}, line {number}: this is not UTF-8 text.") from error
    return lines[:-1] if lines[-1] == "" else lines


def read_vocabulary(path):
    """Returns the keys of a vocabulary, in the order of their rows."""
    seen = {}
    for number, key in enumerate(read_lines(path), 1):
        if not key or "\t" in key:
            raise ValueError(f"{path}, line {number}: expected one key, found {key!r}.")
        if key in seen:
            raise ValueError(
                f"{path}, line {number}: the key {key!r} is already on line {seen[key]}; a key has "
                "one row."
            )
        seen[key] = number
    return list(seen)


def read_facts(path):
    """Returns the facts of a file as tuples of three strings."""
    facts = []
    for number, line in enumerate(read_lines(path), 1):
        fields = line.split("\t")
        if len(fields) != 3 or not all(fields):
            raise ValueError(
                f"{path}, line {number}: expected head, relation and tail, separated by tabs; "
                "found "
                f"{line!r}."
            )
        facts.append(tuple(fields))
    return facts


def read_dataset(directory, old_entities=(), old_relations=()):
    """Reads a directory of triples.

    Args:
      directory: where `train.txt` and its companions lie.
      old_entities: keys that have a row already. They matter only where the directory has no
        vocabulary of its own: then the old keys keep their rows, and the others follow in
        alphabetical order.
      old_relations: the same for relations.

    Returns:
      A `Dataset`.
    """
    if not os.path.isdir(directory):
        raise FileNotFoundError(f"There is no directory of triples {directory}.")
    facts = {}
    for split in SPLITS:
        path = os.path.join(directory, split + ".txt")
        facts[split] = read_facts(path) if split == "train" or os.path.exists(path) else []
    if not facts["train"]:
        raise ValueError("{} holds no triples.".format(os.path.join(directory, "train.txt")))
    everything = [fact for split in SPLITS for fact in facts[split]]
    entities = _vocabulary(
        os.path.join(directory, "entities.txt"),
        old_entities,
        {key for head, _, tail in everything for key in (head, tail)},
    )
    relations = _vocabulary(
        os.path.join(directory, "relations.txt"),
        old_relations,
        {relation for _, relation, _ in everything},
    )
    entity_rows = {key: row for row, key in enumerate(entities)}
    relation_rows = {key: row for row, key in enumerate(relations)}
    arrays = {}
    for split in SPLITS:
        rows = np.zeros([len(facts[split]), 3], np.int64)
        for number, (head, relation, tail) in enumerate(facts[split]):
            for kind, key, known in (
                ("entity", head, entity_rows),
                ("relation", relation, relation_rows),
                ("entity", tail, entity_rows),
            ):
                if key not in known:
                    raise ValueError(
                        "{}, line {}: the {} {!r} is not in the vocabulary; add it at the end of "
                        "{}.".format(
                            os.path.join(directory, split + ".txt"),
                            number + 1,
                            kind,
                            key,
                            "entities.txt" if kind == "entity" else "relations.txt",
                        )
                    )
            rows[number] = entity_rows[head], relation_rows[relation], entity_rows[tail]
        arrays[split] = rows
    return Dataset(entities, relations, **arrays)


def _vocabulary(path, old, found):
    if os.path.exists(path):
        return read_vocabulary(path)
    return list(old) + sorted(found.difference(old))


def write_vocabulary(path, keys):
    """Writes one key per line; a reader sees the old file or the new one, never half of one."""
    with open(path + ".part", "w", encoding="utf-8", newline="\n") as file:
        file.writelines(key + "\n" for key in keys)
    os.replace(path + ".part", path)


def write_dataset(directory, dataset):
    """Writes a `Dataset` as a directory that `read_dataset` reads back."""
    os.makedirs(directory, exist_ok=True)
    write_vocabulary(os.path.join(directory, "entities.txt"), dataset.entities)
    write_vocabulary(os.path.join(directory, "relations.txt"), dataset.relations)
    for split in SPLITS:
        lines = (
            "\t".join((dataset.entities[head], dataset.relations[relation], dataset.entities[tail]))
            for head, relation, tail in getattr(dataset, split)
        )
        write_vocabulary(os.path.join(directory, split + ".txt"), lines)


def touches_new(triples, num_old_entities, num_old_relations):
    """Says of each triple [n, 3] whether it has a new entity or a new relation: bools [n]."""
    return (
        (triples[:, 0] >= num_old_entities)
        | (triples[:, 2] >= num_old_entities)
        | (triples[:, 1] >= num_old_relations)
    )


def hold_back(dataset, fraction=0.1, seed=0):
    """Makes the situation of entities that arrive later.

    Args:
      dataset: a `Dataset`.
      fraction: the part of the entities that is held back, at random.
      seed: which random part.

    Returns:
      Two datasets. `base` has only the triples without a held-back entity, and the vocabularies of
      those. `grown` has every triple; its vocabularies begin with those of `base`, in the same
      order, and go on with the new keys.
    """
    number = int(len(dataset.entities) * fraction)
    if not 0 < number < len(dataset.entities):
        raise ValueError(
            f"A fraction of {fraction} of {len(dataset.entities)} entities is {number}; at least "
            "one must be held back and one "
            "kept."
        )
    chosen = np.random.RandomState(seed).permutation(len(dataset.entities))[:number]
    is_new = np.zeros([len(dataset.entities)], bool)
    is_new[chosen] = True

    kept = {}
    for split in SPLITS:
        triples = getattr(dataset, split)
        kept[split] = triples[~(is_new[triples[:, 0]] | is_new[triples[:, 2]])]
    if not len(kept["train"]):
        raise ValueError("Every train triple has one of the held-back entities; hold back fewer.")
    # A relation that only the new entities have is new as well.
    is_new_relation = np.ones([len(dataset.relations)], bool)
    is_new_relation[np.concatenate([kept[split][:, 1] for split in SPLITS])] = False

    entity_order = np.argsort(is_new, kind="stable")
    relation_order = np.argsort(is_new_relation, kind="stable")
    # argsort of a permutation is its inverse: from the row in `dataset` to the new row.
    entity_row, relation_row = np.argsort(entity_order), np.argsort(relation_order)
    entities = [dataset.entities[row] for row in entity_order]
    relations = [dataset.relations[row] for row in relation_order]

    def renumber(triples):
        columns = entity_row[triples[:, 0]], relation_row[triples[:, 1]], entity_row[triples[:, 2]]
        return np.stack(columns, axis=1)

    base = Dataset(
        entities[: len(entities) - number],
        relations[: int(np.sum(~is_new_relation))],
        **{split: renumber(kept[split]) for split in SPLITS},
    )
    grown = Dataset(
        entities, relations, **{split: renumber(getattr(dataset, split)) for split in SPLITS}
    )
    return base, grown
