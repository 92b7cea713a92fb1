"""Players that take steps in turns, each in the process of its own framework.

A program serves its players: forms of a training step that share a process (of TensorFlow's, a
graph and a session, too). A contest asks one player after the other for a few steps, in another
order every round, so that a busy minute of the machine meets them all, and compares each block of
steps with that block of another player which is nearest in time:

    contest  ── ["mask of the sparse gradient", 10] ──►  program, which takes 10 steps
             ◄── [[seconds, seconds of CPU], ...] ─────

Only the standard library is used here: programs run in environments that have nothing of ours.
"""

import collections
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

# `draw()` makes what one step is fed, whose time does not count; `take(drawn)` takes the step.
Player = collections.namedtuple("Player", "draw take")
BLOCK, QUICK = 10, 0.02  # steps in a row, of those that take fewer seconds than this
FEWEST, MOST = 5, 40  # blocks
MARK = "turns: "  # of answers, as frameworks print, too
PATIENCE = 60.0  # the seconds of a first step after which no second one is taken


def serve(players, about):
    """Answers a contest until it hangs up.

    Args:
      players: {name: `Player`, or why it does not play}.
      about: what a report should know of this program: {name: version}, "peer": a title.
    """
    absent = {name: player for name, player in players.items() if isinstance(player, str)}

    def tell(value):
        print(MARK + json.dumps(value), flush=True)

    tell([next(iter(players)), [name for name in players if name not in absent], absent, about])
    for line in sys.stdin:
        name, number = json.loads(line)
        tell([_take_step(players[name]) for _ in range(number)])


def _take_step(player):
    drawn = player.draw()
    start, cpu = time.perf_counter(), time.process_time()
    player.take(drawn)
    return time.perf_counter() - start, time.process_time() - cpu


class Program:
    """A process that serves players; `with` ends it.

    Attributes:
      first: the name of the one that others are compared with, whether it plays or not.
      players: the names of those that play.
      absent: {name: why it does not play}.
      about: what it says of itself.
    """

    def __init__(self, command, **environment):
        """Starts it and waits until it is ready.

        Args:
          command: a list of words.
          **environment: variables that are set for it.

        Raises:
          RuntimeError: if it ends before, with the last line that it printed.
        """
        # A file, as a pipe that is not read fills up, and then the program waits.
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            universal_newlines=True,
            env=dict(os.environ, **environment),
        )
        try:
            self.first, self.players, self.absent, self.about = self._answer()
        except RuntimeError:
            self.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        try:
            self._process.communicate()
        except (BrokenPipeError, ValueError):  # It has ended before.
            self._process.wait()
        self._errors.close()

    def take(self, name, number):
        """Returns [(seconds, seconds of CPU)] of a player's next steps.

        Raises:
          RuntimeError: if the program has ended, with the last line that it printed.
        """
        try:
            self._process.stdin.write(json.dumps([name, number]) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # There is no answer, either.
        return self._answer()

    def _answer(self):
        lines = (line for line in self._process.stdout if line.startswith(MARK))
        line = next(lines, None)
        if line is None:
            code = self._process.wait()
            self._errors.seek(0)
            said = self._errors.read().strip().split("\n")[-1] or "and said nothing"
            raise RuntimeError(f"it ended with {code}: {said}")
        return json.loads(line[len(MARK) :])


def contest(programs, seconds):
    """Lets all players of some programs take steps in turns.

    Args:
      programs: a list of `Program`.
      seconds: about how long each player plays; one whose step is slow takes `FEWEST` steps.

    Returns:
      {player: [(when, [seconds], [seconds of CPU])], one for each of its blocks}, and
      {player: why it did not play}.
    """
    # Of programs that serve a player of the same title, such as the plain one of a framework that
    # they share, the first one's plays.
    where = {name: program for program in programs[::-1] for name in program.players}
    absent = {name: why for program in programs for name, why in program.absent.items()}
    found = {name: [] for name in where}

    def play(name, number):
        try:
            return where[name].take(name, number)
        except RuntimeError as error:
            for other in [other for other in where if where[other] is where[name]]:
                absent[other] = str(error)
            return []

    sizes, blocks = {}, {}
    for name in where:
        first = play(name, 1)
        if first and first[0][0] > PATIENCE:
            absent[name] = f"its first step took {first[0][0]:.0f} s"
        if name in absent:
            continue
        least = min(step[0] for step in play(name, 2) or first)
        if least < QUICK:
            least = min(step[0] for step in play(name, 2 * BLOCK) or first)
        sizes[name] = BLOCK if least < QUICK else 1
        blocks[name] = int(min(max(seconds / least / sizes[name], FEWEST), MOST))
    rounds = max(blocks.values(), default=0)
    order, shuffle = list(blocks), random.Random(0)
    for number in range(rounds):
        shuffle.shuffle(order)
        for name in order:
            # Those of few blocks have them all over the contest.
            share = blocks[name] / rounds
            if name not in absent and int((number + 1) * share) > int(number * share):
                steps = play(name, sizes[name])
                if steps:
                    walls, cpus = zip(*steps)
                    found[name].append((time.perf_counter(), walls, cpus))
    return {name: its for name, its in found.items() if its and name not in absent}, absent


def spread(values):
    """Returns {"median", "least", "quartiles": [lower, upper]} of numbers."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return {
        "median": statistics.median(ordered),
        "least": ordered[0],
        "quartiles": [ordered[round(last / 4)], ordered[round(3 * last / 4)]],
    }


def ratios(blocks, beside):
    """Returns the `spread` of each block's median to that of the nearest block of another player.

    Args:
      blocks: what `contest` found of one player.
      beside: what it found of the other one.
    """

    def nearest(when):
        return min(beside, key=lambda block: abs(block[0] - when))

    return spread(
        statistics.median(walls) / statistics.median(nearest(when)[1]) for when, walls, _ in blocks
    )


def summary(blocks):
    """Returns the `spread` of a player's steps in ms, the median of their CPU, their number."""
    walls = [1e3 * step for _, steps, _ in blocks for step in steps]
    cpus = [1e3 * step for _, _, steps in blocks for step in steps]
    return dict(spread(walls), cpu=statistics.median(cpus), steps=len(walls))
