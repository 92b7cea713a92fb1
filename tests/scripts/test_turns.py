"""Players take turns: what is asked of them, and what is made of their answers."""

import json
import sys

import pytest
import turns

# Two players that count their steps, one that does not play, and what a framework may print.
PROGRAM = """
import sys
sys.path.insert(0, {scripts!r})
import turns
print("[INFO] a framework says hello")
taken = dict(quick=0, other=0)
def take(name):
    taken[name] += 1
    print("step", name)
    if taken["other"] > {most}:
        sys.exit("no memory left")
players = {{name: turns.Player(lambda name=name: name, take) for name in taken}}
turns.serve(dict(players, large="needs 9 GB of 8"), {{"version": 3}})
"""


@pytest.fixture
def start(scripts):
    """Returns `start(most)`: a program that ends after so many steps of "other"."""
    programs = []

    def start(most=1000000):
        words = [sys.executable, "-c", PROGRAM.format(scripts=scripts, most=most)]
        programs.append(turns.Program(words))
        return programs[-1]

    yield start
    for program in programs:
        program.__exit__()


def test_a_program_says_who_plays(start):
    program = start()
    assert (program.first, program.players) == ("quick", ["quick", "other"])
    assert program.absent == {"large": "needs 9 GB of 8"}
    assert program.about == {"version": 3}
    steps = program.take("quick", 3)
    assert len(steps) == 3 and all(wall > 0 and cpu >= 0 for wall, cpu in steps)


def test_everyone_plays_as_often_as_is_asked(start):
    found, absent = turns.contest([start()], seconds=0.0)
    assert absent == {"large": "needs 9 GB of 8"}
    assert {name: len(blocks) for name, blocks in found.items()} == {
        "quick": turns.FEWEST,
        "other": turns.FEWEST,
    }
    assert all(len(walls) == turns.BLOCK for blocks in found.values() for _, walls, _ in blocks)


def test_two_programs_take_turns(start):
    one, two = start(), start()
    two.players = ["other"]
    one.players = ["quick"]
    found, _ = turns.contest([one, two], seconds=0.0)
    ends = sorted((when, name) for name, blocks in found.items() for when, _, _ in blocks)
    rounds = [{name for _, name in ends[place : place + 2]} for place in range(0, len(ends), 2)]
    assert rounds == [{"quick", "other"}] * turns.FEWEST


def test_a_title_that_two_programs_serve_plays_once(start):
    one, two = start(), start()
    found, _ = turns.contest([one, two], seconds=0.0)
    assert {name: len(blocks) for name, blocks in found.items()} == {
        "quick": turns.FEWEST,
        "other": turns.FEWEST,
    }


def test_a_program_that_ends_is_told_with_its_last_words(start):
    found, absent = turns.contest([start(most=30)], seconds=0.0)
    assert not found
    assert absent["quick"] == absent["other"] == "it ended with 1: no memory left"


def test_a_program_that_does_not_start():
    with pytest.raises(RuntimeError, match="it ended with 1: ImportError: nothing here"):
        turns.Program([sys.executable, "-c", "raise ImportError('nothing here')"])


def test_a_player_with_a_very_slow_step_takes_no_second_one(start, monkeypatch):
    monkeypatch.setattr(turns, "PATIENCE", 0.0)
    found, absent = turns.contest([start()], seconds=0.0)
    assert not found and absent["quick"] == "its first step took 0 s"


def test_blocks_are_compared_with_the_nearest():
    slow = [(1.0, [2.0, 4.0, 3.0], [1.0] * 3), (9.0, [40.0], [1.0])]
    pace = [(0.5, [1.0], [1.0]), (8.0, [10.0], [1.0])]
    found = turns.ratios(slow, pace)
    assert found == {"median": 3.5, "least": 3.0, "quartiles": [3.0, 4.0]}
    its = turns.summary(slow)
    assert (its["median"], its["least"], its["steps"], its["cpu"]) == (3500.0, 2000.0, 4, 1000.0)
    assert json.loads(json.dumps(its)) == its


def test_spread():
    assert turns.spread([5.0, 1.0, 4.0, 2.0, 3.0]) == {
        "median": 3.0,
        "least": 1.0,
        "quartiles": [2.0, 4.0],
    }
