"""Directories of triples: reading them, numbering their keys, and holding entities back.

A directory holds `train.txt` and, if there are any, `valid.txt` and `test.txt`. Every line is one
fact, `head <tab> relation <tab> tail`. Two vocabularies may lie beside them, `entities.txt` and
`relations.txt`: one key per line, and the number of the line, from 0, is the row of the key in its
table.
"""

import collections
import os

import numpy as np

from partial_embed.table.vocabulary import read_vocabulary

SPLITS = ("train", "valid", "test")

# entities and relations are lists of keys; train, valid and test are int64 arrays [n, 3] of head,
# relation, tail.
Dataset = collections.namedtuple("Dataset", ["entities", "relations", "train", "valid", "test"])


def read_facts(path):
    """Returns the facts of a UTF-8 text file as tuples of three strings."""
    facts = []
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise ValueError(f"{path}, line {number}: this is not UTF-8 text.") from error
            fields = tuple(text.split("\t"))
            if len(fields) != 3 or not all(fields):
                raise ValueError(
                    f"{path}, line {number}: expected head, relation and tail, separated by tabs; "
                    f"found {text!r}."
                )
            facts.append(fields)
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
        raise ValueError(f"{os.path.join(directory, 'train.txt')} holds no triples.")
    heads, relations, tails = zip(*sum(facts.values(), []))
    vocabularies = {}
    for name, old, found in (
        ("entities", old_entities, {*heads, *tails}),
        ("relations", old_relations, set(relations)),
    ):
        path = os.path.join(directory, name + ".txt")
        vocabularies[name] = (
            read_vocabulary(path)
            if os.path.exists(path)
            else [*old, *sorted(found.difference(old))]
        )
    arrays = {split: np.zeros([len(facts[split]), 3], np.int64) for split in SPLITS}
    for column, name in enumerate(("entities", "relations", "entities")):
        row_of = {key: row for row, key in enumerate(vocabularies[name])}
        for split in SPLITS:
            for number, fact in enumerate(facts[split]):
                if fact[column] not in row_of:
                    raise ValueError(
                        f"{os.path.join(directory, split + '.txt')}, line {number + 1}: "
                        f"{fact[column]!r} is not in {name}.txt; add it at the end."
                    )
                arrays[split][number, column] = row_of[fact[column]]
    return Dataset(**vocabularies, **arrays)


def write_lines(path, lines):
    """Writes lines of text; a reader sees the old file or the new one, never half of one."""
    with open(path + ".part", "w", encoding="utf-8", newline="\n") as file:
        file.writelines(line + "\n" for line in lines)
    os.replace(path + ".part", path)


def write_dataset(directory, dataset):
    """Writes a `Dataset` as a directory that `read_dataset` reads back."""
    os.makedirs(directory, exist_ok=True)
    write_lines(os.path.join(directory, "entities.txt"), dataset.entities)
    write_lines(os.path.join(directory, "relations.txt"), dataset.relations)
    for split in SPLITS:
        lines = (
            "\t".join((dataset.entities[head], dataset.relations[relation], dataset.entities[tail]))
            for head, relation, tail in getattr(dataset, split)
        )
        write_lines(os.path.join(directory, split + ".txt"), lines)


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
            "one must be held back and one kept."
        )
    is_new = np.random.RandomState(seed).permutation(len(dataset.entities))
    is_new = np.isin(np.arange(len(is_new)), is_new[:number])

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
