"""The demo: entities that arrive later, on a real knowledge graph.

A tenth of the entities of UMLS is held back. A model learns the rest and is saved; then its tables
grow, and only the new rows train, on the triples that touch them. For comparison everything is
trained again from scratch.

  python scripts/demo.py
  python scripts/demo.py --model=distmult --seeds=0,1,2,3,4
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
import quiet  # noqa: F401 (before all that imports TensorFlow)
import tensorflow.compat.v1 as tf
from absl import app, flags, logging
from knowledge_graph import runs, settings, training, triples

# The usual settings of each model on UMLS.
SETTINGS = {
    "complex": {"dimension": 128, "n3": 0.01},
    "distmult": {"dimension": 64, "dropout": 0.3},
    "transe": {"dimension": 64},
}

# What one seed gives: `Result`s of the three trainings and what was checked about the grown one.
Outcome = collections.namedtuple(
    "Outcome", "seed base grown retrained num_old num_new num_facts changed restored folder"
)


def run(model, seed, data, folder, fraction, epochs, replay=0.0):
    """Trains, grows and retrains once.

    Args:
      model: name of the model.
      seed: which entities are held back, and the seed of all three trainings.
      data: a `triples.Dataset`.
      folder: where everything goes; what an earlier demo left there is removed.
      fraction: the part of the entities that is held back.
      epochs: of each training.
      replay: how many old triples the growth sees per triple with a new row.

    Returns:
      An `Outcome`.
    """
    where = {
        name: os.path.join(folder, name)
        for name in ("data-base", "data-grown", "base", "grown", "retrained")
    }
    for path in where.values():
        shutil.rmtree(path, ignore_errors=True)
    base_data, grown_data = triples.hold_back(data, fraction, seed)
    triples.write_dataset(where["data-base"], base_data)
    triples.write_dataset(where["data-grown"], grown_data)
    num_old, num_relations = len(base_data.entities), len(base_data.relations)
    num_facts = [
        len(base_data.train),
        int(np.sum(triples.touches_new(grown_data.train, num_old, num_relations))),
        len(grown_data.train),
    ]

    unseen = np.concatenate([grown_data.valid, grown_data.test])
    is_new = triples.touches_new(unseen, num_old, num_relations)
    if not np.any(is_new) or np.all(is_new):
        raise ValueError(f"The unseen triples of seed {seed} are not of both kinds, old and new.")
    questions = {
        "old": training.Question(unseen[~is_new], np.arange(num_old)),
        "old_all": training.Question(unseen[~is_new], None),
        "new": training.Question(unseen[is_new], None),
        "test": training.Question(grown_data.test, None),
    }

    def train(name, data_name, asked, **extra):
        label = f"  {name:<10} {num_facts[len(results)]:>5} triples, {epochs} epochs"
        config = settings.Config(
            data_dir=where[data_name],
            checkpoint_dir=where[name],
            model=model,
            seed=seed,
            epochs=epochs,
            save_every=epochs,
            **dict(SETTINGS[model], **extra),
        )
        began = time.time()
        results.append(
            training.train(config, {key: questions[key] for key in asked}, label=label + "  ")
        )
        print(f"{label}  {time.time() - began:>6.1f} s", flush=True)

    results = []
    train("base", "data-base", ["old"], eval_every=epochs)
    growth = {
        "grow_from": results[0].checkpoint,
        "replay": replay,
        "eval_every": max(1, epochs // 50),
    }
    train("grown", "data-grown", ["old", "old_all", "new"], **growth)
    train("retrained", "data-grown", ["old", "old_all", "new", "test"], eval_every=epochs)
    changed = _changed_rows(results[0].checkpoint, results[1].checkpoint)
    restored = _restored_by_plain_script(results[1].checkpoint)
    num_new = len(grown_data.entities) - num_old
    return Outcome(seed, *results, num_old, num_new, num_facts, changed, restored, folder)


def _changed_rows(base, grown):
    """For each table: how many old rows have another bit in the grown one, and how many it has."""
    base, grown = tf.train.load_checkpoint(base), tf.train.load_checkpoint(grown)
    found = {}
    for name in runs.TABLES:
        old = base.get_tensor(name)
        new = grown.get_tensor(name)[: len(old)]
        # As bytes: -0.0 and 0.0 are equal numbers but not the same bits.
        found[name] = sum(a.tobytes() != b.tobytes() for a, b in zip(old, new)), len(old)
    return found


def _restored_by_plain_script(checkpoint):
    """Whether a script without this package restores the grown tables, and gets the same bits."""
    reader = tf.train.load_checkpoint(checkpoint)
    tables = {name: reader.get_tensor(name) for name in runs.TABLES}
    with tempfile.TemporaryDirectory() as directory:
        output = os.path.join(directory, "tables.npz")
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "plain_restore.py")
        command = [sys.executable, script, checkpoint, output]
        command += ["{}:{}x{}".format(name, *tables[name].shape) for name in runs.TABLES]
        result = subprocess.run(command, check=False, capture_output=True, text=True)
        if result.returncode:
            print(result.stderr, file=sys.stderr)
            return False
        with np.load(output) as found:
            return all(found[name].tobytes() == tables[name].tobytes() for name in runs.TABLES)


def numbers(outcome):
    """The numbers of an `Outcome` that the tables show."""
    base, grown, retrained = outcome.base, outcome.grown, outcome.retrained
    return collections.OrderedDict(
        old_before=base.history[-1].metrics["old"],
        old_after=grown.history[-1].metrics["old"],
        old_all_grown=grown.history[-1].metrics["old_all"],
        old_all_retrained=retrained.history[-1].metrics["old_all"],
        new_before=grown.history[0].metrics["new"],
        new_after=grown.history[-1].metrics["new"],
        new_retrained=retrained.history[-1].metrics["new"],
        test_retrained=retrained.history[-1].metrics["test"],
    )


def is_kept(outcome):
    """Whether everything that growing promises was kept."""
    found = numbers(outcome)
    return (
        not any(changed for changed, _ in outcome.changed.values())
        and found["old_before"] == found["old_after"]
        and outcome.restored
    )


def print_table(outcome, replay):
    """Prints what one seed gave."""
    found = numbers(outcome)

    def line(text, metrics, seconds=None):
        end = "" if seconds is None else f"{seconds:>9.1f}"
        print("  {:<42}{:>8.4f}{:>9.4f}{:>9.4f}{:>9.4f}{}".format(text, *metrics[:4], end))

    print(
        "\n{:<44}{:>8}{:>9}{:>9}{:>9}{:>9}".format(
            "", "MRR", "Hits@1", "Hits@3", "Hits@10", "seconds"
        )
    )
    print(
        "unseen triples of the {} new entities ({})".format(
            outcome.num_new, found["new_after"].num_ranks // 2
        )
    )
    line("at initialisation", found["new_before"])
    line("after training only their rows", found["new_after"], outcome.grown.seconds)
    line(
        "after retraining everything from scratch",
        found["new_retrained"],
        outcome.retrained.seconds,
    )
    print(
        "  {:<42}{:>8.4f}{:>36.3f}".format(
            "grown relative to retrained",
            found["new_after"].mrr / found["new_retrained"].mrr,
            outcome.grown.seconds / outcome.retrained.seconds,
        )
    )
    print(
        "unseen old triples ({}), the old entities as candidates".format(
            found["old_before"].num_ranks // 2
        )
    )
    line("before growth", found["old_before"], outcome.base.seconds)
    line("after growth", found["old_after"])
    same = found["old_before"] == found["old_after"]
    print(
        "  MRR {!r} and {!r}: {}".format(
            found["old_before"].mrr,
            found["old_after"].mrr,
            "equal to the last digit" if same else "NOT EQUAL",
        )
    )
    print(
        "the same triples, all entities as candidates: the new rows compete, trained with "
        f"--replay={replay:g}"
    )
    line("after growth", found["old_all_grown"])
    line("after retraining everything from scratch", found["old_all_retrained"])
    print("test triples ({}), everything trained".format(found["test_retrained"].num_ranks // 2))
    line("(published for comparison: ConvE .94)", found["test_retrained"])
    print()
    print(
        "old rows changed: {} of {} ({}), compared bit by bit".format(
            sum(changed for changed, _ in outcome.changed.values()),
            sum(rows for _, rows in outcome.changed.values()),
            ", ".join(f"{name} {outcome.changed[name][1]}" for name in runs.TABLES),
        )
    )
    print(f"checkpoint: {outcome.grown.checkpoint}")
    print(
        "a plain script (scripts/plain_restore.py, tf.train.Saver) {}".format(
            "restored it, bit for bit" if outcome.restored else "did NOT restore it"
        )
    )


def print_means(outcomes):
    """Prints one line per seed, and their means."""
    rows = []
    for outcome in outcomes:
        found = numbers(outcome)
        values = [found[name].mrr for name in ("new_before", "new_after", "new_retrained")]
        values += [
            values[1] / values[2],
            found["old_all_grown"].mrr,
            found["old_all_retrained"].mrr,
        ]
        values += [found["test_retrained"].mrr, outcome.grown.seconds, outcome.retrained.seconds]
        rows.append(values)
    names = [
        "initial",
        "grown",
        "retrained",
        "relative",
        "old grown",
        "old retr.",
        "test",
        "s grown",
        "s retr.",
    ]
    print(
        "\nMRR of unseen triples of new entities (initial, grown, retrained, and the ratio of the "
        "last two), of unseen old"
    )
    print(
        "triples with all entities as candidates, and of all test triples after retraining; and "
        "seconds"
    )
    print("seed " + "".join(f"{name:>10}" for name in names))
    for outcome, values in zip(outcomes, rows):
        print(f"{outcome.seed:<5}" + "".join(f"{value:>10.4f}" for value in values))
    print("mean " + "".join(f"{value:>10.4f}" for value in np.mean(rows, axis=0)))
    print("std  " + "".join(f"{value:>10.4f}" for value in np.std(rows, axis=0, ddof=1)))


def draw(outcome, model):
    """Draws the two pictures of an `Outcome`, and says where they are."""
    try:
        from knowledge_graph import pictures
    except ImportError as error:
        print(f"no pictures: {error}; `{sys.executable} -m pip install matplotlib` brings them.")
        return
    title = (
        f"{model} on UMLS: {outcome.num_old} entities grow to {outcome.num_old + outcome.num_new}"
    )
    history = outcome.grown.history
    paths = [os.path.join(outcome.folder, name) for name in ("curve.png", "rows.png")]
    pictures.draw_curve(
        paths[0],
        title,
        [moment.epoch for moment in history],
        [moment.metrics["new"].mrr for moment in history],
        numbers(outcome)["new_retrained"].mrr,
    )
    pictures.draw_rows(
        paths[1], title, outcome.grown.entity_before, outcome.grown.entity, outcome.num_old
    )
    print("pictures: {}".format(", ".join(paths)))


def main(arguments):
    del arguments
    values = flags.FLAGS
    logging.set_verbosity(logging.WARNING)
    try:
        seeds = [int(seed) for seed in values.seeds]
        data = triples.read_dataset(fetch_data.fetch(values.data_dir))
        outcomes = []
        for seed in seeds:
            print(f"{values.model}, seed {seed}", flush=True)
            folder = os.path.join(values.out, f"{values.model}-seed{seed}")
            outcomes.append(
                run(values.model, seed, data, folder, values.fraction, values.epochs, values.replay)
            )
        for outcome in outcomes[:1]:
            print_table(outcome, values.replay)
            draw(outcome, values.model)
        if len(outcomes) > 1:
            print_means(outcomes)
    except (ValueError, OSError, FloatingPointError) as error:
        print("demo.py: error: {}".format(" ".join(str(error).split())), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo.py: stopped.", file=sys.stderr)
        return 130
    broken = [outcome.seed for outcome in outcomes if not is_kept(outcome)]
    if broken:
        print(
            f"demo.py: error: a promise was not kept with the seeds {broken}.",
            file=sys.stderr,
        )
    return 1 if broken else 0


if __name__ == "__main__":
    flags.DEFINE_string("data_dir", "data", "Where the data is, or is put.")
    flags.DEFINE_string("out", os.path.join("out", "demo"), "Where checkpoints and pictures go.")
    flags.DEFINE_enum("model", "complex", sorted(SETTINGS), "Which model.")
    flags.DEFINE_list(
        "seeds", ["0"], "One seed, or several with commas between: then their means are shown."
    )
    flags.DEFINE_float("fraction", 0.1, "Part of the entities that is held back.")
    flags.DEFINE_float("replay", 0.0, "Old triples that the growth sees per triple with a new row.")
    flags.DEFINE_integer("epochs", 100, "Epochs of each training.", lower_bound=2)
    app.run(main)
