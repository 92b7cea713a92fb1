"""What each start of the new rows is worth, on a real knowledge graph.

As in the demo, a tenth of the entities of UMLS is held back and a model learns the rest. Then the
model grows, once for each --new_rows of train.py, and only the new rows train. How well the unseen
triples of the new entities are answered (MRR) is printed for the first step, before anything was
trained, after 5 epochs and at the end: means over the seeds, and their standard deviations.

  python scripts/compare_new_rows.py
  python scripts/compare_new_rows.py --models=complex --seeds=0 --epochs=20
  python scripts/compare_new_rows.py --markdown
"""

import os
import shutil

import demo
import fetch_data
import numpy as np
import quiet  # before all that imports TensorFlow
from absl import app, flags
from hold_back import hold_back
from job import config as job_config
from job import data as job_data
from job import new_rows
from job.config import Config
from job.questions import Question
from job.train import train as train_job

_SOON = 5  # epochs


def measure(model, seed, data, folder, fraction, epochs, replay):
    """Trains one base, and grows it from each start; the arguments are those of `demo.run`.

    Returns:
      For each of `new_rows.STARTS` the MRR at step 0, after `_SOON` epochs and at the end.
    """
    shutil.rmtree(folder, ignore_errors=True)
    base_data, grown_data = hold_back(data, "entities", fraction, seed)
    unseen = job_data.joined([grown_data.splits["valid"], grown_data.splits["test"]])
    is_new = grown_data._replace(num_old=base_data.sizes()).is_new(unseen)
    asked = {"new": Question(job_data.take(unseen, is_new))}

    def train(name, dataset, questions, **extra):
        data_dir = os.path.join(folder, "data-" + name)
        job_data.write_directory(data_dir, dataset)
        config = Config(
            data_dir=data_dir,
            checkpoint_dir=os.path.join(folder, name),
            model=model,
            seed=seed,
            epochs=epochs,
            save_every=epochs,
            hyperparameters=demo.SETTINGS[model],
            **extra,
        )
        return train_job(config, questions, label=f"{model}, {name}  ")

    base = train("base", base_data, {}, eval_every=epochs)
    found = []
    for start in new_rows.STARTS:
        extra = {"grow_from": base.checkpoint, "replay": replay, "eval_every": _SOON}
        extra["eval_at_start"] = True
        history = train(start, grown_data, asked, new_rows=start, **extra).history
        mrr = {moment.epoch: moment.metrics["new"]["mrr"] for moment in history}
        found.append([mrr[0], mrr[_SOON], mrr[epochs]])
    return found


def table(model, values, epochs, markdown):
    """Returns the lines of a table; values are floats [seeds, starts, 3]."""
    rows = [[model, "step 0", f"{_SOON} epochs", f"{epochs} epochs"]]
    means, deviations = np.mean(values, axis=0), np.std(values, axis=0)
    for start, mean, deviation in zip(new_rows.STARTS, means, deviations):
        rows.append([start, *(f"{m:.3f} ± {d:.3f}" for m, d in zip(mean, deviation))])
    if markdown:
        rows.insert(1, ["---", "---:", "---:", "---:"])
        return [f"| {' | '.join(row)} |" for row in rows]
    return [f"{row[0]:<12}" + "".join(f"{cell:>16}" for cell in row[1:]) for row in rows]


@quiet.command
def main():
    values = flags.FLAGS
    data = demo.read_triples(fetch_data.fetch(values.data_dir))
    for model in values.models:
        found = []
        for seed in map(int, values.seeds):
            folder = os.path.join(values.out, f"{model}-seed{seed}")
            arguments = data, folder, values.fraction, values.epochs, values.replay
            found.append(measure(model, seed, *arguments))
        print("\n".join(table(model, found, values.epochs, values.markdown)) + "\n", flush=True)


if __name__ == "__main__":
    flags.DEFINE_string("data_dir", "data", "Where the data is, or is put.")
    flags.DEFINE_string("out", os.path.join("out", "new_rows"), "Where checkpoints go.")
    flags.DEFINE_list("models", ["complex", "distmult"], "Which models, with commas between.")
    flags.register_validator(
        "models",
        lambda models: models and set(models) <= set(demo.SETTINGS),
        f"must be some of {', '.join(demo.SETTINGS)}, with commas between.",
    )
    demo.define_seeds(["0", "1", "2", "3", "4"], "Which seeds, with commas between.")
    flags.DEFINE_float("fraction", 0.1, "Part of the entities that is held back.")
    job_config.define_replay(None, "Old triples that the growth sees, as of train.py.")
    flags.declare_key_flag("replay")
    flags.DEFINE_integer("epochs", 100, "Epochs of each training.", lower_bound=_SOON)
    flags.DEFINE_boolean("markdown", False, "Print the tables as Markdown.")
    app.run(main)
