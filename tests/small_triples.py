"""Small knowledge graphs as `job.data.Data`."""

import numpy as np
from job import data as job_data

COLUMNS = job_data.FORMATS["triples"]


def make(entities, relations, **splits):
    """Returns `Data` of triples, arrays [n, 3] of rows; splits without any are left out."""
    examples = {
        split: dict(zip(COLUMNS, np.asarray(rows, np.int64).reshape([-1, 3]).T))
        for split, rows in splits.items()
        if len(rows)
    }
    keys = {"entities": list(entities), "relations": list(relations)}
    return job_data.Data(keys, {name: 0 for name in keys}, COLUMNS, examples)


def read(directory, old=None):
    """Returns the `Data` of a directory of triples."""
    return job_data.number(job_data.read_directory(directory, COLUMNS), old)


def array(data, split):
    """Returns the triples of a split as an array [n, 3]."""
    return np.stack([data.splits[split][name] for name in COLUMNS], axis=1)


def ring(num_entities=20):
    """Facts such as `e03 plus2 e05`, a tenth of them for valid and a tenth for test."""
    facts = [
        (head, relation, (head + relation + 1) % num_entities)
        for head in range(num_entities)
        for relation in range(4)
    ]
    facts = np.random.RandomState(0).permutation(np.array(facts))
    entities = [f"e{row:02d}" for row in range(num_entities)]
    relations = [f"plus{row + 1}" for row in range(4)]
    return make(entities, relations, train=facts[16:], valid=facts[:8], test=facts[8:16])


def write(path, num_entities):
    """Writes what is known of the ring with so many of its entities; returns the directory."""
    whole = ring()
    keep = {
        split: job_data.take(its, (its["head"] < num_entities) & (its["tail"] < num_entities))
        for split, its in whole.splits.items()
    }
    keys = dict(whole.vocabularies, entities=whole.vocabularies["entities"][:num_entities])
    job_data.write_directory(str(path), whole._replace(vocabularies=keys, splits=keep))
    return str(path)
