"""What the benchmark measures is what its lines say; no test looks at a time."""

import os
import signal
import subprocess
import sys
import time

import benchmark
import benchmark_parts
import forks
import measures
import players
import pytest
import report
import tensorflow.compat.v1 as tf

from partial_embed.files.checkpoint import Checkpoint

LINES = [(part, line) for part, lines in benchmark_parts.PARTS.items() for line in lines]


@pytest.fixture(scope="module")
def at(tmp_path_factory):
    """Small sizes, in a directory where everything is prepared."""
    at = benchmark.Setting(50, 4, 5, 8, str(tmp_path_factory.mktemp("benchmark")))
    for slots in (False, True):
        measures.prepare(at, slots)
    measures.prepare_keys(at)
    measures.prepare_tables(at)
    return at


@pytest.mark.parametrize("part, line", LINES, ids=[line for _, line in LINES])
def test_every_line_can_be_measured(at, part, line):
    function, *arguments = benchmark_parts.PARTS[part][line]
    arguments = [5 if its == 50 else its for its in arguments]  # lookups in one graph
    assert getattr(measures, function)(at, *arguments) > 0


def test_what_is_prepared(at, same_bits):
    def tensor(name, prefix, slots=True):
        return Checkpoint(measures.place(at, prefix, slots)).read(name)

    for name in ("embedding", "embedding/Adam", "embedding/Adam_1"):
        assert tensor(name, "base").shape == (50, 4)
        assert tensor(name, "whole").shape == (55, 4)
        assert same_bits(tensor(name, "whole")[:50], tensor(name, "base"))
    assert Checkpoint(measures.place(at, "base", False)).shapes == {"embedding": [50, 4]}


def test_both_ways_to_grow_move_old_rows_to_their_keys(at, same_bits):
    keys = {}
    for name in ("old", "new"):
        with open(os.path.join(at.directory, name), encoding="utf-8") as lines:
            keys[name] = lines.read().split()
    assert sorted(keys["old"]) == sorted(set(keys["new"]) & set(keys["old"]))
    places = [keys["new"].index(key) for key in keys["old"]]
    base = Checkpoint(measures.place(at, "base", False)).read("embedding")
    for plain in (True, False):
        with tf.Graph().as_default():
            measures.grow(at, plain)
        grown = Checkpoint(os.path.join(at.directory, "output.ckpt")).read("embedding")
        assert grown.shape == (55, 4) and same_bits(grown[places], base)


def test_ops_are_counted_not_timed(at):
    one, ten = (measures.build(at, True, number, False, True) for number in (1, 10))
    assert ten == 10 * one


def test_one_process_measures_all_lines(at):
    lines = {"plain": ("build", True, 3, False, True), "grown": ("build", False, 3, False, True)}
    found = benchmark.measure_lines(at, lines, 2, together=True)
    (plain, _), (again, _) = found["plain"]
    assert plain == again == measures.build(at, True, 3, False, True)
    assert found["grown"][0][0] == measures.build(at, False, 3, False, True) > plain


class Values:
    """Flags of steps."""

    step_rows, step_dims, step_batches, step_new = ["10", "5"], ["4", "8"], ["6"], ["half", "all"]
    optimizers, product = ["SGD", "Adam"], False


def test_steps_are_varied_one_size_at_a_time():
    found = [its for its in benchmark.settings(Values) if its["optimizer"] == "Adam"]
    assert len(benchmark.settings(Values)) == 2 * len(found)
    base = {"dim": 4, "batch": 6, "new": "half", "rows": 10, "optimizer": "Adam"}
    others = [dict(base, rows=5), dict(base, dim=8), dict(base, new="all")]
    assert sorted(map(str, found)) == sorted(map(str, [base, *others]))


def test_all_sizes_meet_with_product():
    everything = type("Product", (Values,), {"product": True})
    assert len(benchmark.settings(everything)) == 2 * 2 * 2 * 2


def test_players_of_tensorflow_and_of_a_program_that_fails_meet(at):
    its = {"dim": 4, "batch": 6, "new": "half", "rows": 20, "optimizer": "Momentum"}
    spec = ["step", "Momentum", "half", ["plain", "partial"]]
    broken = [sys.executable, "-W", "ignore", "no_such_program.py"], {}
    programs = [(benchmark.command(at, serve=spec), {}), broken]
    found = benchmark.meet(programs, seconds=0.0)
    assert list(found["players"]) == [report.PLAIN, report.OURS]
    ours = found["players"][report.OURS]
    assert ours["plain"]["median"] > 0 and ours["ours"]["median"] == 1
    assert "No such file" in found["absent"]["no_such_program.py"]
    table = report.table_of_steps([dict(found, setting=its)], ["plain"])
    assert [line.split(" | ")[0] for line in table[2:]] == [
        f"| {report.PLAIN}",
        f"| {report.OURS}",
        "| no_such_program.py",
    ]


@pytest.mark.parametrize("contest", benchmark_parts.CONTESTS)
def test_every_contest_has_players(at, contest):
    function, *arguments = benchmark_parts.CONTESTS[contest]
    found = getattr(players, function)(at, *arguments)
    for player in found.values():
        player.take(player.draw())
    assert len(found) > 1


def test_both_loops_take_as_many_steps(at):
    bare, job = players.loop(at, "matrix_factorization").values()
    steps = []
    for player in (bare, job, job, bare, job):
        steps.append(player.draw())
        player.take(steps[-1])
    assert steps == [players.STRETCH * number for number in range(5)]


@pytest.mark.parametrize(
    "words, message",
    [
        (["--only="], "must be some of load, save"),
        (["--only=step", "--step_rows=0"], "must be numbers above 0"),
        (["--json=not/there.json"], "must be in a directory that is there"),
        ([f"--read={__file__}"], "is no file that --json wrote"),
        (["--only=ops,wrong", "--pictures=."], "nothing of this is drawn"),
        (["--only=step", "--forms=partial,concat"], "must be plain and some of plain, partial"),
        (["--only=step", "--step_batches=1"], "must be numbers above 1"),
        (["--json=/tmp"], "must be in a directory that is there, and none"),
        (["--only=peers", "--optimizers=Momentum"], "leave out Momentum"),
    ],
)
def test_what_is_asked_for_is_looked_at_before_it_is_measured(scripts, words, message):
    found = forks.run(os.path.join(scripts, "benchmark.py"), *words)
    assert found.returncode == 1
    assert message in found.stderr + found.stdout
    assert "Traceback" not in found.stderr


def test_what_is_compared_with_stays_so_even_if_it_does_not_play(tmp_path, scripts):
    program = tmp_path / "program.py"
    program.write_text(
        f"import sys; sys.path.insert(0, {scripts!r}); import report, turns\n"
        "ours = turns.Player(lambda: None, lambda drawn: None)\n"
        "turns.serve({report.PLAIN: 'needs 9 GB of 8', report.OURS: ours}, {})\n"
    )
    found = benchmark.meet([([sys.executable, "-W", "ignore", str(program)], {})], 0.0)
    assert found["absent"] == {report.PLAIN: "needs 9 GB of 8"}
    assert found["players"][report.OURS]["plain"] is None  # and not itself


def test_a_benchmark_that_is_ended_leaves_nothing(tmp_path, scripts):
    script = os.path.join(scripts, "benchmark.py")
    words = ["--only=load", "--rows=50", "--new_rows=2", f"--directory={tmp_path}"]
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", script, *words], stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 60
    while not os.listdir(tmp_path) and time.monotonic() < until:
        time.sleep(0.05)
    assert os.listdir(tmp_path)
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM
    assert not os.listdir(tmp_path)
