"""WordNet 3.0 grows to 3.1: rows follow keys, whatever number a synset has.

A model of the 117,659 synsets of WordNet 3.0 and their relations is learned, with a sampled loss.
Version 3.1 numbers all of them anew, and has some hundred more. The table grows, rows of synsets
stay with their sense keys, and only the new ones train, on the relations that touch them. For
comparison everything is trained again (--retrain).

  python scripts/fetch_data.py wordnet      # needs apt-get and npm
  python scripts/grow_wordnet.py

A table comes out: how well relations that were held back are answered among all synsets (MRR and
Hits@10; of the old ones, some hundreds), and the seconds. The exit status is 1 if an old row
changed.
"""

import os
import shutil

import numpy as np
import quiet  # before all that imports TensorFlow
import tensorflow.compat.v1 as tf
import wordnet
from absl import app, flags, logging
from job import data as job_data
from job.config import Config
from job.directory import read_base
from job.questions import Question
from job.train import train
from models import hyperparameters  # noqa: F401 (defines the flags)

from partial_embed.table.vocabulary import read_vocabulary

SETTINGS = {"model": "distmult", "learning_rate": 0.003, "batch_size": 1000}
HYPERPARAMETERS = {"dimension": 100, "negatives": 1000, "dropout": 0.3}
_ASKED = 500  # old relations


def prepare(data_dir, folder, seed=0):
    """Writes the two versions as directories of triples.

    Args:
      data_dir: where the versions lie, or are put.
      folder: where `data-3.0`, `data-3.1` go; one of the relations of each new synset that has
        several is held back there in `test.txt`, and some old ones in both.
      seed: which ones.

    Returns:
      The keys of the synsets that 3.1 has and 3.0 has not.
    """
    versions = {
        version: wordnet.read(wordnet.fetch(data_dir, version)) for version in ("3.0", "3.1")
    }
    before, of_key = wordnet.names(versions["3.0"])
    after, _ = wordnet.names(versions["3.1"], of_key)
    old = wordnet.triples(versions["3.0"], before)
    new_keys = set(after.values()) - set(before.values())
    whole = wordnet.triples(versions["3.1"], after)
    touched = [triple for triple in whole if triple[0] in new_keys or triple[2] in new_keys]
    random = np.random.RandomState(seed)
    of_synset = {}
    for triple in (touched[place] for place in random.permutation(len(touched))):
        for key in new_keys.intersection((triple[0], triple[2])):
            of_synset.setdefault(key, []).append(triple)
    held_back = {found[0] for found in of_synset.values() if len(found) > 1}
    common = sorted(set(old) & set(whole))
    asked = {common[place] for place in random.permutation(len(common))[:_ASKED]}
    for version, names, relations in (("3.0", before, old), ("3.1", after, whole)):
        directory = os.path.join(folder, "data-" + version)
        os.makedirs(directory, exist_ok=True)
        job_data.write_lines(os.path.join(directory, "entities.txt"), names.values())
        test = asked | (held_back if version == "3.1" else set())
        for split, some in (
            ("train", (triple for triple in relations if triple not in test)),
            ("test", sorted(test)),
        ):
            job_data.write_lines(os.path.join(directory, split + ".txt"), map("\t".join, some))
    return new_keys


def changed_rows(base, grown):
    """How many rows of `base` have another bit in `grown`, or are gone; and how many there are."""
    tables = []
    for directory in (base, grown):
        keys = read_vocabulary(os.path.join(directory, "entities.txt"))
        table = tf.train.load_checkpoint(directory).get_tensor("entity")
        tables.append({key: row.tobytes() for key, row in zip(keys, table)})
    return sum(tables[1].get(key) != row for key, row in tables[0].items()), len(tables[0])


@quiet.command
def main():
    values = flags.FLAGS
    logging.set_verbosity(logging.INFO)
    shutil.rmtree(values.out, ignore_errors=True)
    new_keys = prepare(values.data_dir, values.out)
    place = {name: os.path.join(values.out, name) for name in ("base", "grown", "retrained")}
    lines = {}
    for name, version in (("base", "3.0"), ("grown", "3.1"), ("retrained", "3.1")):
        if name == "retrained" and not values.retrain:
            continue
        data_dir = os.path.join(values.out, "data-" + version)
        source = job_data.read_directory(data_dir, job_data.FORMATS["triples"])
        grows_from = place["base"] if name == "grown" else None
        base = read_base(grows_from, ["entities", "relations"])
        data = job_data.number(source, base.vocabularies)
        keys, test = data.vocabularies["entities"], data.splits["test"]
        is_new = np.array(
            [keys[h] in new_keys or keys[t] in new_keys for h, t in zip(test["head"], test["tail"])]
        )
        asked = {"old": Question(job_data.take(test, ~is_new))}
        if version == "3.1":
            asked["new"] = Question(job_data.take(test, is_new))
        epochs = values.new_epochs if name == "grown" else values.epochs
        config = Config(
            data_dir,
            place[name],
            grow_from=grows_from,
            new_rows=values.new_rows if name == "grown" else "drawn",
            epochs=epochs,
            eval_every=epochs,
            save_every=epochs,
            hyperparameters=HYPERPARAMETERS,
            **SETTINGS,
        )
        result = train(config, asked, label=f"{name}  ")
        lines[name] = result.history[-1].metrics, result.seconds, len(keys), asked
    print(f"\n{'':34}{'synsets':>9}{'MRR':>9}{'Hits@10':>9}{'MRR':>9}{'Hits@10':>9}{'seconds':>9}")
    counts = {name: job_data.size(of.examples) for name, of in lines["grown"][3].items()}
    print(f"{'':34}{'':>9}{counts['old']:>9} old ones{counts['new']:>9} new ones")
    for name, said in (
        ("base", "3.0"),
        ("grown", "3.1, only new rows trained"),
        ("retrained", "3.1, everything retrained"),
    ):
        if name in lines:
            metrics, seconds, size, _ = lines[name]
            text = "".join(
                f"{metrics[of][metric]:>9.4f}" if of in metrics else f"{'':>9}"
                for of in ("old", "new")
                for metric in ("mrr", "hits_at_10")
            )
            print(f"{said:<34}{size:>9}{text}{seconds:>9.1f}")
    changed, number = changed_rows(place["base"], place["grown"])
    print(f"old rows changed: {changed} of {number}")
    return 1 if changed else 0


if __name__ == "__main__":
    flags.DEFINE_string("data_dir", "data", "Where the data is, or is put.")
    flags.DEFINE_string("out", os.path.join("out", "wordnet"), "Where everything goes.")
    flags.DEFINE_integer("epochs", 8, "Epochs of a whole training.", lower_bound=1)
    flags.DEFINE_integer("new_epochs", 100, "Epochs of the new rows.", lower_bound=1)
    flags.DEFINE_string(
        "new_rows", "neighbours", "Where new rows start; as --new_rows of train.py."
    )
    flags.DEFINE_boolean("retrain", False, "Train everything again, for comparison.")
    app.run(main)
