"""A knowledge graph that grows in snapshots: grown each time, beside trained again each time.

A directory holds folders 0, 1, 2, ..., each with the train.txt, valid.txt and test.txt of the
triples that came with its snapshot. The first is learned; then the model grows with each of the
others, and only the rows of new entities and relations train. In the end all test triples are
asked, each twice: among all entities known by then, and among those of its own snapshot alone, as
the papers on such graphs do, where old answers cannot suffer from new rows.

  python scripts/grow_snapshots.py --data_dir=data/snapshots --dimension=100 --n3=0.05

docs/learning.md says where such data is, and what came out. The exit status is 1 if an old row
changed that was to stand still.
"""

import os
import shutil

import numpy as np
import quiet  # before all that imports TensorFlow
from absl import app, flags
from demo import changed_rows
from job import config as job_config
from job import data as job_data
from job.config import Config
from job.questions import Question
from job.train import train
from models import hyperparameters

COLUMNS = job_data.FORMATS["triples"]
ALL, OWN = "all", "own"  # candidates


def read_snapshots(directory):
    """Returns a list of `Data`, one a snapshot; the keys of each begin with those before it."""
    names = os.listdir(directory) if os.path.isdir(directory) else []
    names = [n for n in names if n.isdecimal() and os.path.isdir(os.path.join(directory, n))]
    folders = {int(name) for name in names if str(int(name)) == name}
    missing = min(set(range(len(folders) + 1)) - folders)
    if missing < max(len(folders), 2):
        raise ValueError(
            f"{directory} must hold folders 0, 1 and so on, none left out; there is no {missing}."
        )
    found = []
    for number in range(len(folders)):
        place = os.path.join(directory, str(number))
        source = job_data.read_directory(place, COLUMNS)
        data = job_data.number(source, found[-1].vocabularies if found else None)
        if not job_data.size(data.splits.get("test")):
            raise ValueError(f"{os.path.join(place, 'test.txt')} must hold triples; it has none.")
        if not data.is_new(data.splits["train"]).any():
            raise ValueError(
                f"No train triple of {place} has an entity or a relation that was not there "
                "before. Put them into the snapshot before, or after."
            )
        found.append(data)
    return found


def questions(snapshots):
    """The test triples of each snapshot, among all entities and among its own."""
    found = {}
    for number, data in enumerate(snapshots):
        asked = data.splits["test"]
        found[f"{ALL} {number}"] = Question(asked)
        found[f"{OWN} {number}"] = Question(asked, data.sizes())
    return found


def together(snapshots):
    """All triples of some snapshots as one `Data`, with the keys in the order of the last one."""
    splits = {
        split: job_data.joined([data.splits.get(split) for data in snapshots])
        for split in job_data.SPLITS
    }
    return snapshots[-1]._replace(splits=splits)


def grow(snapshots, data_dir, folder, first, growth, ask):
    """Learns the first snapshot and grows with the others.

    Args:
      snapshots: a list of `Data`.
      data_dir: where their folders lie.
      folder: where the runs go.
      first, growth: dicts of what is set of a `Config` for the first and for the others.
      ask: what the last one is asked.

    Returns:
      The `Result`s, and for each growth what `changed_rows` says.
    """
    results, changed = [], []
    for number in range(len(snapshots)):
        place, last = os.path.join(folder, f"grown-{number}"), number == len(snapshots) - 1
        settings = dict(growth, grow_from=results[-1].checkpoint) if results else first
        config = Config(os.path.join(data_dir, str(number)), place, **settings)
        results.append(train(config, ask if last else {}, label=f"grown {number}  "))
        if number:
            changed.append(changed_rows(results[-2].checkpoint, results[-1].checkpoint))
    return results, changed


def retrain(snapshots, folder, first, ask, only_last):
    """Trains afresh after each snapshot, or after the last, on all triples until then."""
    results = []
    for number in range(1, len(snapshots)):
        last = number == len(snapshots) - 1
        if last or not only_last:
            place = os.path.join(folder, f"retrained-{number}")
            job_data.write_directory(place + "-data", together(snapshots[: number + 1]))
            config = Config(place + "-data", place, **first)
            results.append(train(config, ask if last else {}, label=f"retrained {number}  "))
    return results


def mrr(result, snapshots, candidates):
    """MRR of all test triples and of each snapshot's: a list."""
    metrics = result.history[-1].metrics
    each = [metrics[f"{candidates} {number}"]["mrr"] for number in range(len(snapshots))]
    sizes = [job_data.size(data.splits["test"]) for data in snapshots]
    return [float(np.average(each, weights=sizes)), *each]


@quiet.command
def main():
    values = flags.FLAGS
    snapshots = read_snapshots(values.data_dir)
    grown_how = "grown, some old rows moved" if values.move else "only new rows trained"
    own = flags.FLAGS.flags_by_module_dict()["models.hyperparameters"]
    shared = {name: values[name].value for name in ("model", "batch_size", "seed", "optimizer")}
    shared["hyperparameters"] = {flag.name: flag.value for flag in own}
    first = dict(shared, epochs=values.epochs, learning_rate=values.learning_rate)
    growth = dict(shared, epochs=values.growth_epochs, learning_rate=values.growth_learning_rate)
    growth.update(
        new_rows=values.new_rows,
        replay=values.replay,
        replay_weight=values.replay_weight,
        move=values.move,
        hyperparameters=dict(shared["hyperparameters"], dropout=values.growth_dropout),
    )
    first["decay"], growth["decay"] = values.decay, values.growth_decay
    for settings in (first, growth):
        settings.update(save_every=settings["epochs"], eval_every=settings["epochs"])
    shutil.rmtree(values.out, ignore_errors=True)
    ask = questions(snapshots)
    grown, changed = grow(snapshots, values.data_dir, values.out, first, growth, ask)
    retrained = []
    if values.retrain != "none":
        retrained = retrain(snapshots, values.out, first, ask, values.retrain == "last")

    sizes = [data.sizes()["entities"] for data in snapshots]
    print(f"\nentities {', '.join(map(str, sizes))}; MRR of test triples, by their snapshot")
    print(f"{'':34}{'all':>8}" + "".join(f"{number:>8}" for number in range(len(snapshots))))
    for title, candidates in (("all entities", ALL), ("those of the snapshot", OWN)):
        print(f"candidates: {title}")
        lines = [(grown_how, mrr(grown[-1], snapshots, candidates))]
        if retrained:
            lines.append(("everything retrained", mrr(retrained[-1], snapshots, candidates)))
            lines.append(("ratio", [a / b for a, b in zip(lines[0][1], lines[1][1])]))
        for name, numbers in lines:
            print(f"  {name:<32}" + "".join(f"{number:>8.4f}" for number in numbers))
    for name, results in (("first", grown[:1]), ("growths", grown[1:]), ("retrainings", retrained)):
        if results:
            seconds = " + ".join(f"{result.seconds:.1f}" for result in results)
            total = sum(result.seconds for result in results)
            print(f"seconds of steps, {name:<16}{total:>8.1f}  ({seconds})")
    print("old rows changed, compared bit by bit:")
    for number, its in enumerate(changed, 1):
        counts = [f"{name} {moved} of {old}" for name, (moved, old) in its.items()]
        print(f"  growth {number}: {', '.join(counts)}")
    moved = any(moved for its in changed for moved, _ in its.values())
    return 1 if moved and not values.move else 0


if __name__ == "__main__":
    _DEFAULTS = Config(None, None)
    flags.DEFINE_string("data_dir", None, "Directory with folders 0, 1, ... of triples.")
    flags.mark_flag_as_required("data_dir")
    flags.DEFINE_string("out", os.path.join("out", "snapshots"), "Where the runs go.")
    flags.DEFINE_enum("model", "distmult", ["complex", "distmult", "transe"], "Which model.")
    flags.DEFINE_string("optimizer", _DEFAULTS.optimizer, "As of train.py.")
    flags.DEFINE_integer("batch_size", _DEFAULTS.batch_size, "As of train.py.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "As of train.py.", lower_bound=0)
    flags.DEFINE_integer("epochs", 20, "Of the first training and retrainings.", lower_bound=1)
    flags.DEFINE_integer("growth_epochs", 8, "Of each growth.", lower_bound=1)
    flags.DEFINE_float("learning_rate", 0.01, "Of the first training and of retrainings.")
    flags.DEFINE_float("growth_learning_rate", 0.01, "Of each growth.")
    flags.DEFINE_enum("decay", "none", job_config.DECAYS, "Of first training and retrainings.")
    flags.DEFINE_enum("growth_decay", "linear", job_config.DECAYS, "Of each growth.")
    job_config.define_replay(None, "Of each growth, as of train.py.")
    flags.declare_key_flag("replay")
    flags.DEFINE_float("replay_weight", None, "Of each growth, as of train.py.", lower_bound=0)
    flags.DEFINE_float("growth_dropout", 0.0, "Of each growth; --dropout is of the others.")
    flags.DEFINE_list("move", [], "Of each growth, as of train.py.")
    flags.DEFINE_enum("new_rows", "neighbours", job_config.new_rows.STARTS, "As of train.py.")
    flags.DEFINE_enum(
        "retrain", "all", ["all", "last", "none"], "Which snapshots are trained afresh as well."
    )
    flags.adopt_module_key_flags(hyperparameters)
    app.run(main)
