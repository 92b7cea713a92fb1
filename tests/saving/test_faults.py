"""Killed while saving, no room on the disk, damaged files: what stood there stands.

A sample of each runs with every test run; `make soak` runs the whole campaign.
"""

import os
import random
import subprocess
import sys

import pytest

import partial_embed as pe

SOAK = bool(os.environ.get("PARTIAL_EMBED_SOAK"))
KILLS = 100 if SOAK else 2
MUTATIONS = 2000 if SOAK else 50


@pytest.mark.parametrize("kind", ["save", "delta", "merge"])
def test_killed_at_a_random_moment(work, tmp_path, kind):
    seed = random.SystemRandom().randrange(10**6) if SOAK else 1
    output, status, errors = work("kill", kind, tmp_path, KILLS, seed, timeout=60 + 15 * KILLS)
    rounds = [line for line in output.split("\n") if "round" in line]
    assert status == 0, (seed, output, errors)
    assert len(rounds) == KILLS, (seed, output, errors)
    assert all(line.endswith("good") for line in rounds), (seed, output)


@pytest.mark.parametrize("kind", ["base", "whole", "delta", "manifest"])
def test_damaged_files(work, tmp_path, kind):
    first, outcomes = 0, []
    while first < MUTATIONS:
        output, status, errors = work(
            "mutate", kind, tmp_path, first, MUTATIONS, timeout=120 + MUTATIONS
        )
        lines = output.strip().split("\n")
        outcomes += [line for line in lines if line.startswith("end")]
        started = [int(line.split()[1]) for line in lines if line.startswith("start")]
        # The one that had begun, and did not end, took TensorFlow with it.
        assert status == 0, (started[-1:], output[-500:], errors)
        first = started[-1] + 1
    assert len(outcomes) == MUTATIONS
    for line in outcomes:
        # An error that names the file; or a byte that nothing reads, and the right values.
        assert set(line.split(": ", 1)[1].split()) <= {"same", "error"}, line
    assert sum("error" in line for line in outcomes) > MUTATIONS // 3


def test_no_room(work, tmp_path):
    directory = tmp_path / "small"
    directory.mkdir()
    mounted = (
        subprocess.call(
            ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(directory)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if sys.platform.startswith("linux") and os.getuid() == 0
        else 1
    )
    if mounted != 0:
        pytest.skip("A full disk needs a small file system, and only root may mount one.")
    # How many kB are left: from nothing to enough, with all that can go wrong between.
    sizes = (
        [0, 8, 60, 150, 200, 236, 260, 280, 300, 320, 340, 400]
        if SOAK
        else [0, 150, 260, 300, 340, 400]
    )
    try:
        output, status, errors = work("full", directory, tmp_path, *sizes)
    finally:
        subprocess.call(["umount", str(directory)])
    assert status == 0, (output, errors)
    lines = output.strip().split("\n")
    assert len(lines) == 3 * len(sizes)
    assert not [line for line in lines if "CHANGED" in line]
    for kind in ("save", "merge", "another"):
        results = [line for line in lines if line.startswith(kind + " ")]
        assert "No space left on device. Nothing was published" in results[0]
        assert results[-1].endswith("saved")
    assert any("was saved, and is whole" in line for line in lines)


def test_a_directory_that_cannot_be_written(tmp_path, numbered, start):
    numbered()
    session = start()
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError) as error:
        pe.Saver().save(session, str(tmp_path / "file" / "model.ckpt"))
    assert str(tmp_path / "file") in str(error.value)


def test_temporary_files_of_others_stay(tmp_path, numbered, start):
    numbered()
    session = start()
    names = [name + ".tmp" + 32 * "0" for name in ("checkpoint", "model.ckpt.meta")]
    for name in names:
        (tmp_path / name).write_text("")
        os.utime(str(tmp_path / name), (0, 0))
    pe.Saver().save(session, str(tmp_path / "model.ckpt"))
    assert sorted(n for n in os.listdir(str(tmp_path)) if ".tmp" in n) == names
