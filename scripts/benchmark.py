"""What growing costs beside plain TensorFlow, beside other ways to do it, and beside its peers.

  python scripts/benchmark.py                                  # 5,000,000 x 32, 640 MB
  python scripts/benchmark.py --only=build,step --step_rows=10000 --seconds=0.5  # a first glance
  python scripts/benchmark.py --only=peers                     # PEFT, PyKEEN, TFRA: installs them
  python scripts/benchmark.py --read=out.json --pictures=docs  # what --json=out.json kept, again

What comes out are tables in Markdown. The first line of each part is plain TensorFlow, others are
given as ratios to it. Of loading, saving, merging, proving and building, each number comes from a
process of its own, --repeats of them for each line, in turns, so that a busy minute meets all
lines alike; with --together from one process for all of them, which is quicker, and tells nothing
about memory. Steps are taken in turns as turns.py says.

Memory is the most a process ever held, less what one holds that has imported TensorFlow and run a
tiny session, in units of the table. Checkpoints take 15 times the table's size on disk, and 4
times with --noslots. Steps have sizes of their own, --step_rows and --step_dims.
"""

import collections
import contextlib
import itertools
import json
import os
import platform
import resource
import signal
import statistics
import subprocess
import sys
import tempfile

import environments
import report
import turns
from absl import app, flags
from benchmark_parts import ADAM, CONTESTS, NAMES, NOT_DRAWN, PARTS, PREPARED

from partial_embed.command.quiet import run_told_in_a_line

Setting = collections.namedtuple("Setting", "rows dim new_rows batch directory")


def command(at, **what):
    """Returns the words that start this script again for one thing to measure or to serve."""
    given = {name: json.dumps(value) for name, value in what.items()}
    given.update({name: value for name, value in at._asdict().items() if value is not None})
    flags_given = [f"--{name}={value}" for name, value in given.items()]
    return [sys.executable, "-W", "ignore", os.path.abspath(__file__), *flags_given]


def measure(at, function, *arguments):
    """Returns what a process of its own measures: value, peak of its memory in bytes."""
    result = subprocess.run(
        command(at, measure=[function, *arguments]), check=False, capture_output=True, text=True
    )
    if result.returncode:
        said = result.stderr.strip().split("\n")[-1] or "it said nothing"
        raise ValueError(f"{function}{list(arguments)} failed: {said}")
    return json.loads(result.stdout.strip().split("\n")[-1])


def measure_lines(at, lines, repeats, together):
    """Returns {line: list of (value, peak or None)} of some lines, which take turns."""
    if together:
        values, _ = measure(at, "in_turns", list(lines.values()), repeats)
        return {line: [(its, None) for its in each] for line, each in zip(lines, values)}
    found = {line: [] for line in lines}
    for _ in range(repeats):
        for line, results in found.items():
            results.append(measure(at, *lines[line]))
    return found


def settings(values):
    """Returns the settings of the steps: {dim, batch, new, rows, optimizer} of each.

    The first of each list of the flags belongs to the base, at which the others are varied one at
    a time; with --product all of them meet all others.
    """
    lists = {"dim": [int(dim) for dim in values.step_dims]}
    lists.update(batch=[int(batch) for batch in values.step_batches], new=values.step_new)
    lists["rows"] = [int(rows) for rows in values.step_rows]
    base = {name: its[0] for name, its in lists.items()}
    all_of_them = [dict(zip(lists, its)) for its in itertools.product(*lists.values())]
    return [
        dict(its, optimizer=optimizer)
        for its in all_of_them
        for optimizer in values.optimizers
        if values.product or sum(its[name] != base[name] for name in lists) <= 1
    ]


def meet(programs, seconds):
    """Lets the players of some programs meet.

    Args:
      programs: [(words, variables)] of each.
      seconds: as of `turns.contest`.

    Returns:
      {"players": {title: figures}, "absent": {title: why}, "failed": {program that ended: why},
      "about": [of each program]}.
    """
    running, failed = [], {}
    with contextlib.ExitStack() as stack:
        for words, variables in programs:
            try:
                running.append(stack.enter_context(turns.Program(words, **variables)))
            except RuntimeError as error:
                failed[os.path.basename(words[3])] = str(error)
        found, absent = turns.contest(running, seconds)
    players = {}
    for program in running:
        own = found.get(program.first)
        for title in filter(found.get, program.players):
            figures = players[title] = turns.summary(found[title])
            for name, beside in (("plain", own), ("ours", found.get(report.OURS))):
                figures[name] = beside and turns.ratios(found[title], beside)
    about = [program.about for program in running]
    return {"players": players, "absent": {**absent, **failed}, "failed": failed, "about": about}


def meet_steps(at, its, forms, seconds, python_of_peers=()):
    """Returns what forms of a step, and peers, do in one setting.

    Args:
      at: the `Setting`.
      its: {rows, dim, batch, new, optimizer}.
      forms: names of `FORMS`.
      seconds: as of `turns.contest`.
      python_of_peers: {name: the Python of its environment}.
    """
    at = at._replace(**{name: its[name] for name in ("rows", "dim", "batch")})
    spec = ["step", its["optimizer"], its["new"], forms]
    programs = [(command(at, serve=spec), {})]
    for name, python in dict(python_of_peers).items():
        programs += environments.commands(name, python, dict(its, new_rows=at.new_rows))
    return dict(setting=its, **meet(programs, seconds))


def measure_parts(at, values, found):
    """Measures the parts that the flags ask for, into `found`; yields it after each of them."""
    parts = {
        part: its
        for part, its in PARTS.items()
        if part.split(",")[0] in values.only and (values.slots or not part.endswith(ADAM))
    }
    if not parts:
        return
    with tempfile.TemporaryDirectory(dir=at.directory) as directory:
        there = at._replace(directory=directory)
        needed = [["prepare", False]] if {"load", "save", "merge", "grow"} & set(parts) else []
        if any(part.endswith(ADAM) for part in parts):
            needed.append(["prepare", True])
        needed += [[name] for part, name in PREPARED.items() if part in parts]
        if needed:
            measure(there, "in_turns", needed, 1)
        empty = 0
        if not values.together:
            empty = statistics.median(measure(there, "nothing")[1] for _ in range(values.repeats))
        for some in [parts] if values.together else [{part: parts[part]} for part in parts]:
            lines = {(part, line): its for part in some for line, its in parts[part].items()}
            its = measure_lines(there, lines, values.repeats, values.together)
            for part in some:
                own = {line: its[part, line] for line in parts[part]}
                found["parts"][part] = report.figures(own, empty, 4 * at.rows * at.dim)
            yield found


def run(at, values):
    """Measures what the flags ask for; yields all that has been found so far, after each part."""
    found = {"at": dict(at._asdict(), directory=None), "repeats": values.repeats}
    found.update(machine=machine(), versions=measure(at, "versions")[0])
    found.update({"parts": {}, "contests": {}, "wrong": {}, "steps": [], "peers": []})
    found["not installed"] = {}
    yield from measure_parts(at, values, found)
    for name, spec in CONTESTS.items():
        if name.split(",")[0] in values.only:
            found["contests"][name] = meet([(command(at, serve=spec), {})], values.seconds)
            yield found
    if "wrong" in values.only:
        found["wrong"] = measure(at, "wrong_rows")[0]
        yield found
    if "step" in values.only:
        forms = [form for form in report.TITLES if form in values.forms]  # plain first
        for its in settings(values):
            found["steps"].append(meet_steps(at, its, forms, values.seconds))
            yield found
    if "peers" in values.only:
        pythons = {}
        for name in environments.PEERS:
            try:
                pythons[name] = environments.make(name)
            except RuntimeError as error:
                found["not installed"][name] = str(error)
        for rows, optimizer in itertools.product(values.peer_rows, values.optimizers):
            its = dict(rows=int(rows), dim=at.dim, batch=at.batch, new="half", optimizer=optimizer)
            forms = ["plain", "partial"]
            found["peers"].append(meet_steps(at, its, forms, values.seconds, pythons))
            yield found


def machine():
    """Returns {what: value} of the machine, and how busy it is."""
    return {
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load": [round(its, 1) for its in os.getloadavg()],
        "python": platform.python_version(),
    }


def main(arguments):
    return run_told_in_a_line("benchmark", measure_and_show, arguments)


def measure_and_show(arguments):
    """Does what the flags ask for."""
    if arguments[1:]:
        raise app.UsageError(f"expected flags alone, found {' '.join(arguments[1:])}")
    values = flags.FLAGS
    for number in (signal.SIGTERM, signal.SIGHUP):  # else files, and processes, stay
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    at = Setting(**{name: values[name].value for name in Setting._fields})
    # A new process inherits the peak of the one that starts it, which therefore never imports
    # TensorFlow.
    if values.measure:
        import measures

        function, *given = json.loads(values.measure)
        value = getattr(measures, function)(at, *given)
        # Linux counts in KiB.
        print(json.dumps([value, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))
        return
    if values.serve:
        import players

        function, *given = json.loads(values.serve)
        turns.serve(getattr(players, function)(at, *given), {})
        return
    if values.read:
        if values.json or flags.FLAGS["only"].present:
            raise ValueError("--read measures nothing; leave out --only and --json.")
        found = report.read(values.read)
        drawn = found["contests"] or found["steps"] or found["parts"].keys() - NOT_DRAWN
    else:
        drawn = set(values.only) - NOT_DRAWN
    if values.pictures and not drawn:
        expected = f"more than {', '.join(sorted(NOT_DRAWN))}"
        raise ValueError(f"nothing of this is drawn; expected {expected}.")
    if "peers" in values.only and "Momentum" in values.optimizers:
        raise ValueError("peers are measured with SGD, Adagrad and Adam; leave out Momentum.")
    if not values.read:
        for found in run(at, values):
            if values.json:  # What has been measured is kept, whatever comes after it.
                with open(values.json, "w", encoding="utf-8") as file:
                    json.dump(found, file, indent=1)
            print(".", end="", file=sys.stderr, flush=True)
    print(report.everything(found))
    contests = [*found["contests"].values(), *found["steps"], *found["peers"]]
    failed = sorted({name for its in contests for name in its.get("failed", ())})
    if values.pictures:
        import pictures

        if found["steps"]:
            pictures.draw_steps(os.path.join(values.pictures, "steps.png"), found)
        if found["contests"] or found["parts"].keys() - NOT_DRAWN:
            pictures.draw_costs(os.path.join(values.pictures, "costs.png"), found)
    if failed:
        raise ValueError(f"{', '.join(failed)} ended before its players could play; see above.")


def some_of(name, choices, default, what, needed=()):
    """Defines a flag that is a list of words, some of which must be in it."""
    flags.DEFINE_list(name, default, what)
    flags.register_validator(
        name,
        lambda its: its and set(its) <= set(choices) and set(its) >= set(needed),
        f"must be {' '.join([*needed, 'and '] if needed else [])}some of {', '.join(choices)}.",
    )


def sizes(name, default, what, least=1):
    """Defines a flag that is a list of numbers."""
    flags.DEFINE_list(name, default, what)
    flags.register_validator(
        name,
        lambda its: its and all(size.isdecimal() and int(size) >= least for size in its),
        f"must be numbers above {least - 1}, with commas between.",
    )


def place(name, what, is_there, expected):
    """Defines a flag that is a path."""
    flags.DEFINE_string(name, None, what)
    flags.register_validator(name, lambda path: path is None or is_there(path), expected)


def is_beside(path):
    """Returns whether a file can be written there."""
    return os.path.isdir(os.path.dirname(path) or ".") and not os.path.isdir(path)


if __name__ == "__main__":
    flags.DEFINE_integer("rows", 5000000, "Rows of the trained table.", lower_bound=1)
    flags.DEFINE_integer("dim", 32, "Numbers a row, float32.", lower_bound=1)
    flags.DEFINE_integer("new_rows", 1000, "Rows the table gains.", lower_bound=1)
    flags.DEFINE_integer("batch", 1024, "Ids in a batch of sparse lookups.", lower_bound=2)
    flags.DEFINE_integer("repeats", 3, "Processes for each line.", lower_bound=1)
    flags.DEFINE_boolean("together", False, "One process for all of them, which tells no memory.")
    flags.DEFINE_boolean(
        "slots", True, "Save and merge with Adam's slots, too: 3 tables in memory."
    )
    directory = os.path.isdir, "must be a directory that is there."
    place("directory", "Where checkpoints are put and removed again.", *directory)
    some_of("only", NAMES, NAMES[:-1], "Which parts, with commas between.")
    # Steps. The first of each list is the base, at which the others are varied.
    sizes("step_rows", ["1000000", "10000", "100000", "10000000"], "Old rows.")
    sizes("step_dims", ["32", "64"], "Numbers a row.")
    sizes("step_batches", ["1024", "256"], "Ids in a batch.", least=2)
    some_of("step_new", ["half", "all"], ["half", "all"], "How many of these are new.")
    some_of("forms", report.TITLES, list(report.TITLES), "Forms of a step.", needed=["plain"])
    some_of(
        "optimizers",
        ("SGD", "Momentum", "Adagrad", "Adam"),
        ["SGD", "Adagrad", "Adam"],
        "Of the steps.",
    )
    flags.DEFINE_boolean("product", False, "Every value of one list with every one of the others.")
    flags.DEFINE_float("seconds", 2.0, "How long each form of a step plays.", lower_bound=0)
    sizes("peer_rows", ["10000", "100000", "1000000"], "Old rows, beside peers.")
    place(
        "json",
        "Where all figures go.",
        is_beside,
        "must be in a directory that is there, and none.",
    )
    place("pictures", "The directory where pictures of them go.", *directory)
    read = "Figures of an earlier run, in place of measuring."
    place("read", read, os.path.isfile, "must be a file that --json wrote.")
    flags.DEFINE_string("measure", None, "Used by the script itself: the one thing to measure.")
    flags.DEFINE_string("serve", None, "Used by the script itself: players that take turns.")
    app.run(main)
