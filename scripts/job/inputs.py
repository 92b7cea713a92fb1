"""What a run begins with: its data, its base, what it learns, what its weights depend on."""

import os
import zlib
from typing import NamedTuple

import numpy as np
from absl import logging

from job import data as job_data
from job import directory, examples, graph, new_rows
from job.config import DECAYS, FREE, Config, moves
from job.directory import Base
from job.normalizers import Normalizers


class Inputs(NamedTuple):
    """What was read.

    `config` says how much is replayed, if nobody did. `told` is what is to be said if there is
    nothing new to train; "" if there is.
    """

    config: Config
    base: Base
    data: job_data.Data
    told: str


def read(config, label):
    """Reads what a `Config` names, and says whose rows are where: `Inputs`."""
    columns = job_data.FORMATS.get(config.data)
    source = job_data.Source(columns=columns) if columns else _own_source(config)
    names = {name for name in source.columns.values() if name} | set(source.vocabularies)
    base = directory.read_base(config.grow_from, sorted(names))
    old = base.vocabularies
    if columns:
        source = job_data.read_directory(config.data_dir, columns, config.skip_bad_lines, old)
    else:
        job_data.check(source, old)
    data = job_data.number(source, base.vocabularies)
    given = 0
    if base.checkpoint:
        data, given = examples.with_those_of_base(data, base.checkpoint)
    _say_rows(config, base, data, label)
    told = _nothing_new(config, base, data, given)
    if not told:
        config = _with_replay(config, base, data)
    return Inputs(config, base, data, told)


def _own_source(config):
    """What the function that `--data` names gives: a `Source`."""
    source = graph.find(config.data, "--data")(graph.all_flags(config))
    if not isinstance(source, job_data.Source):
        raise ValueError(
            f"--data={config.data} returned {type(source).__name__}, not a job.data.Source."
        )
    if source.pipeline and (config.replay or config.new_rows == "neighbours" or config.move):
        raise ValueError(
            "--replay, --move and --new_rows=neighbours look at single train examples, which "
            "a pipeline does not show; leave them out."
        )
    return source


def _say_rows(config, base, data, label):
    """Says whose rows are where, for the order of rows is nobody's to guess."""
    for name, keys in data.vocabularies.items():
        old = data.num_old[name]
        text = f"{len(keys)} rows"
        if base.checkpoint:
            kept = "" if name in moves(config) else " as they are"
            text += f": {old} of {base.checkpoint}{kept}, then {len(keys) - old} new"
        path = os.path.join(config.checkpoint_dir, name + ".txt")
        logging.info("%s%s: %s; in the order of %s", label, name, text, path)
        never = [keys[row] for row in _never_learned(data, name)]
        if never:
            logging.warning(
                "%s%s: %d new rows stay as they start, for no train example has their keys (%s): "
                "leave those out until one does, as a growth from this run takes them for learned.",
                label,
                name,
                len(never),
                ", ".join(never[:3]) + (", ..." if len(never) > 3 else ""),
            )


def _never_learned(data, name):
    """The new rows of a vocabulary of which no train example is."""
    if data.pipeline:
        return []
    columns = [data.splits["train"][column] for column, its in data.columns.items() if its == name]
    rows = np.arange(data.num_old[name], len(data.vocabularies[name]))
    return rows[~np.isin(rows, np.concatenate([np.zeros([0], np.int64), *columns]))]


def _nothing_new(config, base, data, given):
    """What is to be said if nothing new is there to train; "" if something is.

    `given`: how many examples the data has that do not lie beside the base.
    """
    if not base.checkpoint:
        return ""
    said = ", ".join(f"{old} {name}" for name, old in data.num_old.items())
    kept = ""
    if given:
        kept = (
            f" The {given} examples that are not among those beside it are not kept; give them "
            "again with the next new key."
        )
    if data.sizes() == data.num_old:
        told = f"There is nothing new to train: {base.checkpoint} has learned all of the {said}."
        return told + kept
    if not data.pipeline and not data.is_new(data.splits["train"]).any():
        return (
            f"There is nothing new to train: no train example of {config.data_dir} has a key that "
            f"{base.checkpoint} has not learned.{kept}"
        )
    return ""


def to_learn(config, base, data):
    """The train examples that are learned, and if the run grows the others: without a new row."""
    known = base.settings.get("model", config.model)
    if known != config.model:
        raise ValueError(
            f"--model={config.model} does not fit the checkpoint {base.checkpoint}, which has "
            f"model={known}."
        )
    if data.pipeline:
        return {}, {}
    train_examples = data.splits["train"]
    if not base.checkpoint:
        return train_examples, job_data.take(train_examples, slice(0))
    is_new = data.is_new(train_examples)
    return job_data.take(train_examples, is_new), job_data.take(train_examples, ~is_new)


def _with_replay(config, base, data):
    """The config, which says how much is replayed if nobody did."""
    if not base.checkpoint or data.pipeline:
        return config
    usual = getattr(graph.find(config.model, "--model"), "replay", 0)
    replay = usual if config.replay is None else config.replay
    if config.replay_weight is not None and not replay:
        raise ValueError("--replay_weight is what a replayed example counts; give --replay.")
    if replay and data.is_new(data.splits["train"]).all():
        text = (
            f"--replay={replay} has nothing to replay: every train example of {config.data_dir} "
            f"has a new key, and no {examples.EXAMPLES} lies beside {base.checkpoint}. Put old "
            "examples into the data"
        )
        if config.replay:
            raise ValueError(f"{text}, or leave it out.")
        logging.warning("%s, or new keys may be given as answers where old ones are right.", text)
    return config._replace(replay=replay)


def normalizers(config, data, place, base_checksum):
    """The `Normalizers` of a run; `place`: where they are kept, or None."""
    frozen, base = {}, [base_checksum]
    for name, rows in new_rows.moving(data, moves(config)).items():
        frozen[name] = np.ones([data.num_old[name]], bool)
        frozen[name][rows] = False
        base.append(zlib.crc32(frozen[name].tobytes()))
        if len(rows):
            logging.info("%d of %d old rows of %s move.", len(rows), data.num_old[name], name)
    return Normalizers(data.columns, frozen, place, base)


def settings(config, base, data, learned, replayed):
    """Everything that the weights depend on."""
    found = {name: value for name, value in config._asdict().items() if name not in FREE}
    found["move"] = moves(config)
    if config.decay != DECAYS[0]:
        found["epochs"] = config.epochs
    found["hyperparameters"] = graph.hyperparameters(config)
    if base.checkpoint:
        index = base.checkpoint + ".index"  # It has the checksums of all tensors.
        with open(index if os.path.exists(index) else base.checkpoint, "rb") as file:
            found["base_checksum"] = zlib.crc32(file.read())
    checksum = 0
    for name in sorted(data.vocabularies):
        found["old_" + name] = data.num_old[name]
        checksum = zlib.crc32("\n".join(data.vocabularies[name]).encode("utf-8"), checksum)
    for some in (learned, replayed):
        for values in some.values():
            checksum = zlib.crc32(np.ascontiguousarray(values).tobytes(), checksum)
    found["train_examples"] = job_data.size(learned)
    found["train_checksum"] = checksum
    return found
