"""What a save removes, and what it never touches, in a directory that came from elsewhere."""

import concurrent.futures
import hashlib
import json
import os
import random

import numpy as np
import pytest

from partial_embed.files.publish import publish, staging
from partial_embed.files.stage import STAGE_PREFIX, end, take, tidy
from partial_embed.files.tensors import write_part

SOAK = bool(os.environ.get("PARTIAL_EMBED_SOAK"))


def save(prefix):
    with staging(str(prefix)) as stage:
        write_part(stage.part(), [("v", "", np.zeros(2, np.float32))])
        publish(stage)


def stage_of(directory, name):
    number = hashlib.blake2b(name.encode("utf-8"), digest_size=16).hexdigest()
    return directory / (STAGE_PREFIX + number)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@pytest.fixture
def precious(tmp_path):
    """A tree elsewhere, of files named as those of stages and checkpoints are."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    names = ["lock", "journal", "part-0.index", "model.index", "model.data-00000-of-00001"]
    for name in names:
        (folder / name).write_text("precious")
    yield folder
    assert sorted(os.listdir(str(folder))) == sorted(names)
    assert all((folder / name).read_text() == "precious" for name in names)


def test_a_link_named_like_a_stage(run, precious):
    stage_of(run, "other").symlink_to(precious, target_is_directory=True)
    save(run / "model")
    assert stage_of(run, "other").is_symlink()
    stage_of(run, "model").symlink_to(precious, target_is_directory=True)
    with pytest.raises(OSError, match="in the way"):
        save(run / "model")


@pytest.mark.parametrize("name", ["part-0_temp_" + "0" * 32, "part-0.index", "merged.index", "odd"])
def test_a_link_inside_a_stage(run, precious, name):
    stage = stage_of(run, "model")
    stage.mkdir()
    target = precious / "part-0.index" if name.endswith("index") else precious
    (stage / name).symlink_to(target, target_is_directory=target.is_dir())
    save(run / "model")
    assert (run / "model.index").exists()


@pytest.mark.parametrize("name", ["lock", "lock.owner", "journal"])
def test_a_link_where_a_stage_is_written_first(run, precious, name):
    stage = stage_of(run, "model")
    stage.mkdir()
    (stage / name).symlink_to(precious / "journal")
    try:
        save(run / "model")
    except OSError as error:  # A lock that is a link is nobody's.
        assert "failed: " in str(error)


def test_what_no_stage_holds_stays(run):
    stage = stage_of(run, "old")
    stage.mkdir()
    (stage / "part-0.index").write_text("")
    (stage / "holiday.jpg").write_text("")
    (stage / "part-0_temp").mkdir()
    (stage / "part-0_temp" / "letter.txt").write_text("")
    for name in (STAGE_PREFIX + "host-1-" + "0" * 32, STAGE_PREFIX + "0" * 31, STAGE_PREFIX):
        (run / name).mkdir()
        (run / name / "journal").write_text("")
    save(run / "model")
    assert sorted(os.listdir(str(stage))) == ["holiday.jpg", "part-0_temp"]
    assert os.listdir(str(stage / "part-0_temp")) == ["letter.txt"]
    assert len([n for n in os.listdir(str(run)) if n.startswith(STAGE_PREFIX)]) == 4


def test_files_of_other_programs_stay(run):
    names = ["sales.growth.json", "other.vocabulary.txt", "checkpoint.tmp" + "0" * 32, "x.meta"]
    for name in names:
        (run / name).write_text("mine")
    save(run / "model")
    save(run / "model")
    assert {(run / name).read_text() for name in names} == {"mine"}


@pytest.mark.parametrize(
    "prefix",
    ["../elsewhere/model", "/elsewhere/model", "model/../model", "..", "", "kept", 7, None],
)
def test_a_journal_names_no_other_file(run, precious, prefix):
    save(run / "kept")
    before = set(os.listdir(str(run)))
    if isinstance(prefix, str):
        prefix = prefix.replace("/elsewhere", str(precious)) if prefix[:1] == "/" else prefix
    stage = stage_of(run, "model")
    stage.mkdir()
    journal = {"prefix": prefix, "counts": [0, 1, 2], "beside": [".meta", "", ".index"]}
    (stage / "journal").write_text(json.dumps(journal))
    tidy(str(run))
    assert set(os.listdir(str(run))) == before


@pytest.mark.parametrize(
    "journal",
    [
        b"\xff\xfe\x00",
        b"[" * 100000,
        b"null",
        b"{}",
        b'{"prefix": "model", "counts": 3, "beside": null}',
        b'{"prefix": "model", "counts": ["1", null, 1e999], "beside": [7, {}]}',
        b'{"prefix": "model", "counts": [' + b"9" * 30 + b'], "beside": []}',
    ],
)
def test_a_journal_that_is_none(run, journal):
    save(run / "model")
    before = set(os.listdir(str(run)))
    stage = stage_of(run, "model")
    stage.mkdir()
    (stage / "journal").write_bytes(journal)
    save(run / "other")
    assert set(os.listdir(str(run))) == before | {"other.index", "other.data-00000-of-00001"}


HOSTILE = [None, True, -1, 0, 1, 2, 10**30, "", "..", "/", "model", ".index", [], {}, [1, 2, 2**70]]
HOSTILE += [".meta", [".index", "", "/../model"], "[" * 5000]


@pytest.mark.parametrize("first", range(0, 2000 if SOAK else 100, 50))
def test_a_journal_of_any_kind(run, precious, first):
    save(run / "model")
    before = {name: (run / name).read_bytes() for name in os.listdir(str(run))}
    for seed in range(first, first + 50):
        randomness = random.Random(seed)
        stage = stage_of(run, "model")
        stage.mkdir()
        journal = {"prefix": "model", "counts": [1, 2], "beside": [".meta", ".growth.json"]}
        for key in randomness.sample(sorted(journal), randomness.randrange(4)):
            journal[key] = randomness.choice(HOSTILE)
        text = bytearray(json.dumps(journal).encode("utf-8"))
        for _ in range(randomness.randrange(3)):
            text[randomness.randrange(len(text))] = randomness.randrange(256)
        (stage / "journal").write_bytes(bytes(text))
        tidy(str(run))
        after = {name: (run / name).read_bytes() for name in os.listdir(str(run))}
        assert after == before, seed


def test_a_journal_removes_no_file_that_an_index_knows(run):
    save(run / "model")
    (run / "model.data-00000-of-00002").write_text("left over")
    stage = stage_of(run, "model")
    stage.mkdir()
    journal = {"prefix": "model", "counts": [1, 2], "beside": [".meta", ".growth.json"]}
    (stage / "journal").write_text(json.dumps(journal))
    (run / "model.meta").write_text("")
    tidy(str(run))
    assert sorted(os.listdir(str(run))) == [
        "model.data-00000-of-00001",
        "model.index",
        "model.meta",
    ]


def test_a_stage_that_ends_while_another_takes_it(run):
    def writer():
        for _ in range(300):
            stage = take(str(run / "model"), seconds=10)
            end(stage)
        return True

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert all(future.result() for future in [pool.submit(writer) for _ in range(4)])
    assert os.listdir(str(run)) == []
