"""The demo: entities that arrive later, on a real knowledge graph.

A tenth of the entities of UMLS is held back. A model learns the rest and is saved; then its tables
grow, and only the new rows train, on the triples that touch them. For comparison everything is
trained again from scratch.

  python scripts/demo.py
  python scripts/demo.py --model=distmult --seeds=0,1,2,3,4

A table comes out: how well unseen triples of new and of old entities are answered before and after,
whether a bit of an old row changed, how often new rows get in the way of old answers, and whether a
plain script restores the result. Two pictures lie beside the checkpoints. The exit status is 1 if
a promise was not kept.
"""

import collections
import os
import shutil
import subprocess
import sys
import tempfile
import time

import fetch_data
import numpy as np
import quiet  # before all that imports TensorFlow
import tensorflow.compat.v1 as tf
from absl import app, flags
from hold_back import hold_back
from job import config as job_config
from job import data as job_data
from job.config import Config
from job.questions import Question
from job.train import train as train_job
from models.knowledge_graph import distmult

from partial_embed.table.embedding import embeddings_in

# The usual settings of each model on UMLS.
SETTINGS = {
    "complex": {"dimension": 128, "n3": 0.01},
    "distmult": {"dimension": 64, "dropout": 0.3},
    "transe": {"dimension": 64},
}

_METRICS = ["mrr", "hits_at_1", "hits_at_3", "hits_at_10"]
_COLUMNS = ["MRR", "Hits@1", "Hits@3", "Hits@10", "seconds"]
_MEANS = ["initial", "grown", "retrained", "relative", "old grown", "old retr.", "test"]
_MEANS += ["s grown", "s retr."]

_TABLES = sorted(distmult.tables)  # the others have the same

# What one seed gives: `Result`s of the three trainings and what was checked about the grown one.
# started: the table of entities when the growth began. counts: of the triples of each question.
Outcome = collections.namedtuple(
    "Outcome", "seed base grown retrained num_old num_new started counts changed restored folder"
)


class Keep(tf.train.SessionRunHook):
    """Keeps a table as it is before the first step, as `table`; it must be one that grows."""

    table = None

    def __init__(self, name):
        self._name = name

    def begin(self):
        (table,) = [table for table in embeddings_in() if table.table_name == self._name]
        self._read = tf.convert_to_tensor(table)

    def after_create_session(self, session, coord):
        del coord
        self.table = session.run(self._read)


def run(model, seed, data, folder, fraction, epochs, replay=None):
    """Trains, grows and retrains once.

    Args:
      model: name of the model.
      seed: which entities are held back, and the seed of all three trainings.
      data: a `job.data.Data`.
      folder: where everything goes; what an earlier demo left there is removed.
      fraction: the part of the entities that is held back.
      epochs: of each training.
      replay: which old triples the growth sees, as of train.py.

    Returns:
      An `Outcome`.
    """
    shutil.rmtree(folder, ignore_errors=True)
    base_data, grown_data = hold_back(data, "entities", fraction, seed)
    job_data.write_directory(os.path.join(folder, "data-base"), base_data)
    job_data.write_directory(os.path.join(folder, "data-grown"), grown_data)
    # As the growth will see it: the keys of the base are old.
    grown_data = grown_data._replace(num_old=base_data.sizes())
    is_new = grown_data.is_new(grown_data.splits["train"])
    num_facts = [job_data.size(base_data.splits["train"]), int(np.sum(is_new)), len(is_new)]

    unseen = job_data.joined([grown_data.splits["valid"], grown_data.splits["test"]])
    is_new = grown_data.is_new(unseen)
    if not np.any(is_new) or np.all(is_new):
        raise ValueError(f"The unseen triples of seed {seed} are not of both kinds, old and new.")
    old, new = job_data.take(unseen, ~is_new), job_data.take(unseen, is_new)
    questions = {
        "old": Question(old, grown_data.sizes(old=True)),
        "old_all": Question(old, num_old=base_data.sizes()),
        "new": Question(new),
        "test": Question(grown_data.splits["test"]),
    }
    counts = {name: job_data.size(question.examples) for name, question in questions.items()}

    def train(name, data_name, asked, more_hooks=(), **extra):
        label = f"  {name:<10} {num_facts[len(results)]:>5} triples, {epochs} epochs  "
        config = Config(
            data_dir=os.path.join(folder, data_name),
            checkpoint_dir=os.path.join(folder, name),
            model=model,
            seed=seed,
            epochs=epochs,
            save_every=epochs,
            hyperparameters=SETTINGS[model],
            **extra,
        )
        began = time.time()
        asked = {key: questions[key] for key in asked}
        results.append(train_job(config, asked, label=label, more_hooks=more_hooks))
        print(f"{label}{time.time() - began:>6.1f} s", flush=True)
        return results[-1].checkpoint

    results, keep = [], Keep("entity")
    base = train("base", "data-base", ["old"], eval_every=epochs)
    growth = {"grow_from": base, "replay": replay, "eval_every": max(1, epochs // 50)}
    growth.update(eval_at_start=True, more_hooks=[keep])
    grown = train("grown", "data-grown", ["old", "old_all", "new"], **growth)
    train("retrained", "data-grown", ["old", "old_all", "new", "test"], eval_every=epochs)
    return Outcome(
        seed,
        *results,
        len(base_data.vocabularies["entities"]),
        len(grown_data.vocabularies["entities"]) - len(base_data.vocabularies["entities"]),
        keep.table,
        counts,
        changed_rows(base, grown),
        _restored_by_plain_script(grown),
        folder,
    )


def changed_rows(base, grown):
    """For each table: how many old rows have another bit in the grown one, and how many it has."""
    base, grown = tf.train.load_checkpoint(base), tf.train.load_checkpoint(grown)
    found = {}
    for name in _TABLES:
        old = base.get_tensor(name)
        new = grown.get_tensor(name)[: len(old)]
        # As bytes: -0.0 and 0.0 are equal numbers but not the same bits.
        found[name] = sum(a.tobytes() != b.tobytes() for a, b in zip(old, new)), len(old)
    return found


def _restored_by_plain_script(checkpoint):
    """Whether a script without this package restores the grown tables, and gets the same bits."""
    reader = tf.train.load_checkpoint(checkpoint)
    tables = {name: reader.get_tensor(name) for name in _TABLES}
    with tempfile.TemporaryDirectory() as directory:
        output = os.path.join(directory, "tables.npz")
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "plain_restore.py")
        command = [sys.executable, script, checkpoint, output]
        command += [f"{name}:{'x'.join(map(str, tables[name].shape))}" for name in tables]
        result = subprocess.run(command, check=False, capture_output=True, text=True)
        if result.returncode:
            print(result.stderr, file=sys.stderr)
            return False
        with np.load(output) as found:
            return all(found[name].tobytes() == tables[name].tobytes() for name in tables)


def is_kept(outcome):
    """Whether everything that growing promises was kept."""
    before, after = (result.history[-1].metrics["old"] for result in (outcome.base, outcome.grown))
    changed = any(changed for changed, _ in outcome.changed.values())
    return not changed and before == after and outcome.restored


def print_table(outcome, replay):
    """Prints what one seed gave."""
    base, grown, retrained = outcome.base, outcome.grown, outcome.retrained
    before, after, again = (result.history[-1].metrics for result in (base, grown, retrained))

    def line(text, metrics, seconds=None):
        numbers = "".join(f"{metrics[name]:>9.4f}" for name in _METRICS)
        print(f"  {text:<41}{numbers}" + ("" if seconds is None else f"{seconds:>9.1f}"))

    print("\n" + " " * 43 + "".join(f"{name:>9}" for name in _COLUMNS))
    print(f"unseen triples of the {outcome.num_new} new entities ({outcome.counts['new']})")
    line("at initialisation", grown.history[0].metrics["new"])
    line("after training only their rows", after["new"], grown.seconds)
    line("after retraining everything from scratch", again["new"], retrained.seconds)
    ratio, seconds = after["new"]["mrr"] / again["new"]["mrr"], grown.seconds / retrained.seconds
    print(f"  {'grown relative to retrained':<41}{ratio:>9.4f}{seconds:>36.3f}")
    print(f"unseen old triples ({outcome.counts['old']}), the old entities as candidates")
    line("before growth", before["old"], base.seconds)
    line("after growth", after["old"])
    same = "equal to the last digit" if before["old"] == after["old"] else "NOT EQUAL"
    print(f"  MRR {before['old']['mrr']!r} and {after['old']['mrr']!r}: {same}")
    print(
        "the same triples, all entities as candidates: the new rows compete"
        + (f", --replay={replay}" if replay is not None else "")
    )
    line("after growth", after["old_all"])
    line("after retraining everything from scratch", again["old_all"])
    print(f"test triples ({outcome.counts['test']}), everything trained")
    line("(published for comparison: ConvE .94)", again["test"])
    changed, rows = (sum(counts) for counts in zip(*outcome.changed.values()))
    tables = ", ".join(f"{name} {count}" for name, (_, count) in outcome.changed.items())
    print(f"\nold rows changed: {changed} of {rows} ({tables}), compared bit by bit")
    first = grown.history[0].metrics["old_all"]["outranked"]
    print(
        f"interference: a new row is above the right answer in {first:.1%} of the old questions "
        f"before\n  training, in {after['old_all']['outranked']:.1%} after growth, in "
        f"{again['old_all']['outranked']:.1%} after retraining"
    )
    print(f"checkpoint: {grown.checkpoint}")
    restored = "restored it, bit for bit" if outcome.restored else "did NOT restore it"
    print(f"a plain script (scripts/plain_restore.py, tf.train.Saver) {restored}")


def print_means(outcomes):
    """Prints one line per seed, and their means."""
    rows = []
    for _, _, grown, retrained, *_ in outcomes:
        first, last, again = (
            moment.metrics
            for moment in (grown.history[0], grown.history[-1], retrained.history[-1])
        )
        mrr = [metrics["new"]["mrr"] for metrics in (first, last, again)]
        mrr += [
            mrr[1] / mrr[2],
            last["old_all"]["mrr"],
            again["old_all"]["mrr"],
            again["test"]["mrr"],
        ]
        rows.append([*mrr, grown.seconds, retrained.seconds])
    print(
        "\nMRR of unseen triples of new entities (initial, grown, retrained, and the ratio of the "
        "last two), of unseen old\ntriples with all entities as candidates, and of all test "
        "triples after retraining; and seconds"
    )
    print("seed " + "".join(f"{name:>10}" for name in _MEANS))
    seeds = [outcome.seed for outcome in outcomes]
    rows += [np.mean(rows, axis=0), np.std(rows, axis=0, ddof=1)]
    for name, values in zip([*seeds, "mean", "std"], rows):
        print(f"{name:<5}" + "".join(f"{value:>10.4f}" for value in values))


def draw(outcome, model):
    """Draws the two pictures of an `Outcome`, and says where they are."""
    try:
        import pictures
    except ImportError as error:
        print(f"no pictures: {error}; `{sys.executable} -m pip install matplotlib` brings them.")
        return
    num_old, grown = outcome.num_old, outcome.grown
    title = f"{model} on UMLS: {num_old} entities grow to {num_old + outcome.num_new}"
    curve, rows = (os.path.join(outcome.folder, name) for name in ("curve.png", "rows.png"))
    epochs, mrr = zip(*((moment.epoch, moment.metrics["new"]["mrr"]) for moment in grown.history))
    pictures.draw_curve(
        curve, title, epochs, mrr, outcome.retrained.history[-1].metrics["new"]["mrr"]
    )
    entity = tf.train.load_checkpoint(grown.checkpoint).get_tensor("entity")
    pictures.draw_rows(rows, title, outcome.started, entity, num_old)
    print(f"pictures: {curve}, {rows}")


def read_triples(directory):
    """Returns the triples of a directory as a `job.data.Data`."""
    return job_data.number(job_data.read_directory(directory, job_data.FORMATS["triples"]))


def define_seeds(default, text):
    """Defines the flag --seeds."""
    flags.DEFINE_list("seeds", default, text)
    flags.register_validator(
        "seeds",
        lambda seeds: seeds and all(seed.isdigit() for seed in seeds),
        "must be whole numbers with commas between, such as 0,1.",
    )


@quiet.command
def main():
    values = flags.FLAGS
    data = read_triples(fetch_data.fetch(values.data_dir))
    outcomes = []
    for seed in map(int, values.seeds):
        print(f"{values.model}, seed {seed}", flush=True)
        folder = os.path.join(values.out, f"{values.model}-seed{seed}")
        outcomes.append(
            run(values.model, seed, data, folder, values.fraction, values.epochs, values.replay)
        )
    print_table(outcomes[0], values.replay)
    draw(outcomes[0], values.model)
    if len(outcomes) > 1:
        print_means(outcomes)
    broken = [outcome.seed for outcome in outcomes if not is_kept(outcome)]
    if broken:
        print(f"demo: a promise was not kept with the seeds {broken}.", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    flags.DEFINE_string("data_dir", "data", "Where the data is, or is put.")
    flags.DEFINE_string("out", os.path.join("out", "demo"), "Where checkpoints and pictures go.")
    flags.DEFINE_enum("model", "complex", sorted(SETTINGS), "Which model.")
    define_seeds(["0"], "One seed, or several with commas between: then their means are shown.")
    flags.DEFINE_float("fraction", 0.1, "Part of the entities that is held back.")
    job_config.define_replay(None, "Old triples that the growth sees, as of train.py.")
    flags.declare_key_flag("replay")
    flags.DEFINE_integer("epochs", 100, "Epochs of each training.", lower_bound=2)
    app.run(main)
