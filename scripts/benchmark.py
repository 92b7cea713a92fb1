"""What growing costs beside plain TensorFlow: loading, saving, merging, proving, building, steps.

  python scripts/benchmark.py                                  # 5,000,000 x 32, 640 MB
  python scripts/benchmark.py --rows=100000 --only=step,build  # a first impression

What comes out is a table in Markdown. The first line of each part is plain TensorFlow; the others
are given as ratios to it, of the medians and (of the least). Each number comes from a process of
its own, --repeats of them for each line, in turns, so that a busy minute meets all lines alike.

Memory is the most a process ever held, less what one holds that has imported TensorFlow and run a
tiny session, in units of the table. Checkpoints take 12 times the table's size on disk.
"""

import collections
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile

from absl import app, flags

Setting = collections.namedtuple("Setting", "rows dim new_rows batch directory")
# By part: {line: (function of measures.py, its arguments)}. The first line of each is plain.
PARTS = {
    "load": {
        "loading: `tf.train.Saver.restore` of one whole variable": ("files", True, "base"),
        "a grown table's own initializer": ("files", False, None),
        "`pe.Saver.restore` of the base": ("files", False, "base"),
        "of a whole checkpoint": ("files", False, "whole"),
        "of a delta": ("files", False, "delta"),
    },
    "save": {
        "saving: `tf.train.Saver.save` of the whole table": ("files", True, "whole", True),
        "`pe.Saver.save`, whole": ("files", False, None, True),
    },
    "save, Adam": {
        "saving with Adam's slots: `tf.train.Saver.save`": ("files", True, "whole", True, True),
        "`pe.Saver.save`, whole, with slots": ("files", False, None, True, True),
    },
    "merge": {
        "merging: plain restore and save": ("files", True, "whole", "both"),
        "`merge_checkpoint` of base and delta": ("merge", False),
    },
    "merge, Adam": {
        "merging with Adam's slots: plain restore and save": ("files", True, "whole", "both", True),
        "`merge_checkpoint`, with slots": ("merge", True),
    },
    "prove": {
        "frozen rows, a pass: read them, keep a copy": ("prove", False),
        "`record_frozen_rows`: hash them": ("prove", True),
    },
    "build": {
        "building 50 lookups of one variable": ("build", True, 50),
        "of a grown table": ("build", False, 50),
        "of a grown table, all of the same ids": ("build", False, 50, True),
    },
    "ops": {
        "the ops of 50 lookups of one variable": ("build", True, 50, False, True),
        "of a grown table, in ops": ("build", False, 50, False, True),
        "of the same ids, in ops": ("build", False, 50, True, True),
    },
}
for _optimizer in ("SGD", "Momentum", "Adagrad", "Adam"):
    PARTS[f"step, {_optimizer}"] = {
        f"a step of {_optimizer}: one variable, all rows train": ("step", "plain", _optimizer),
        f"{_optimizer}, a grown table": ("step", "partial", _optimizer),
        f"{_optimizer}, a mask on the sparse gradient": ("step", "gradient mask", _optimizer),
    }
PARTS["step, SGD"].update(
    {
        "SGD, `tf.concat` of the halves and a lookup": ("step", "concat", "SGD"),
        "SGD, a mask over the whole table in the forward pass": ("step", "table mask", "SGD"),
    }
)
PARTS["sparse"] = {
    f"{name} of {which}": ("step", form, "SGD", lookup)
    for lookup, name in (("sparse", "`embedding_lookup_sparse`"), ("safe", "its safe form"))
    for form, which in (("plain", "one variable"), ("partial", "a grown table"))
}
PARTS["decoder"] = {
    f"a decoder of 50,000 columns at most and its bias, {what}": ("decoder", form, "SGD")
    for form, what in (
        ("plain", "all training"),
        ("partial", "grown"),
        ("matmul", "grown, scored by `kernel.matmul(x)`"),
    )
}
for _model, _what in (
    ("complex", "a bare loop of `make_callable`, ComplEx at UMLS's size"),
    ("matrix_factorization", "the same, ratings and a table of all rows"),
):
    PARTS[f"loop, {_model}"] = {
        _what: ("loop", _model, True),
        f"the training job, {_model}": ("loop", _model, False),
    }
NAMES = list(dict.fromkeys(part.split(",")[0] for part in PARTS))
# By part: what its numbers are multiplied with, decimals, unit. Files are about memory, too.
UNITS = {
    "prove": (1, 2, " s/GB"),
    "build": (1e3, 1, " ms"),
    "ops": (1, 0, ""),
    "step": (1e3, 2, " ms"),
    "sparse": (1e3, 2, " ms"),
    "decoder": (1e3, 2, " ms"),
    "loop": (1e3, 3, " ms"),
}


def measure(at, function, *arguments):
    """Returns what a process of its own measures: value, peak of its memory in bytes."""
    command = [sys.executable, "-W", "ignore", os.path.abspath(__file__)]
    command += [f"--measure={json.dumps([function, *arguments])}"]
    command += [f"--{flag}={value}" for flag, value in at._asdict().items()]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{function}{arguments} failed:\n{result.stderr[-2000:]}")
    return json.loads(result.stdout.strip().split("\n")[-1])


def lines_of(part, found, empty, table_bytes):
    """Returns the lines of a part.

    Args:
        part: a name of `PARTS`.
        found: {line: list of (value, peak) of its processes}, plain TensorFlow first.
        empty: the peak of a process that does nothing.
        table_bytes: size of the table.
    """
    factor, decimals, unit = UNITS.get(part.split(",")[0], (1, 2, " s"))
    lines, plain = [], None
    for name, results in found.items():
        values, peaks = zip(*results)
        middle, least = statistics.median(values), min(values)
        beside = f"{middle / plain[0]:.2f} ({least / plain[1]:.2f})" if plain else "1"
        plain = plain or (middle, least)
        memory = f"{(statistics.median(peaks) - empty) / table_bytes:.2f}" if " s" in unit else ""
        lines.append(f"| {name} | {factor * middle:.{decimals}f}{unit} | {beside} | {memory} |")
    return lines


def run(at, parts, repeats):
    """Measures everything and prints it."""
    table_bytes = 4 * at.rows * at.dim
    measure(at, "prepare")
    empty = statistics.median(measure(at, "nothing")[1] for _ in range(repeats))
    size = f"{at.rows:,} x {at.dim} float32 ({table_bytes / 1e6:,.0f} MB)"
    print(f"| {size}, {at.new_rows:,} new rows; medians of {repeats} |", end="")
    print(" | beside plain: median (least) | memory, in tables |\n|---|---:|---:|---:|")
    for part, measures in PARTS.items():
        if part.split(",")[0] in parts:
            found = {line: [] for line in measures}
            for _ in range(repeats):
                for line, results in found.items():
                    results.append(measure(at, *measures[line]))
            print("\n".join(lines_of(part, found, empty, table_bytes)), flush=True)


def main(arguments):
    if arguments[1:]:
        raise app.UsageError(f"expected flags alone, found {' '.join(arguments[1:])}")
    values = flags.FLAGS
    at = Setting(**{name: values[name].value for name in Setting._fields})
    if values.measure:
        # A new process inherits the peak of the one that starts it, which therefore never imports
        # TensorFlow.
        import measures

        function, *given = json.loads(values.measure)
        value = getattr(measures, function)(at, *given)
        # Linux counts in KiB.
        print(json.dumps([value, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))
        return
    with tempfile.TemporaryDirectory(dir=at.directory) as directory:
        run(at._replace(directory=directory), values.only, values.repeats)


if __name__ == "__main__":
    flags.DEFINE_integer("rows", 5000000, "Rows of the trained table.", lower_bound=1)
    flags.DEFINE_integer("dim", 32, "Numbers a row, float32.", lower_bound=1)
    flags.DEFINE_integer("new_rows", 1000, "Rows the table gains.", lower_bound=1)
    flags.DEFINE_integer("batch", 1024, "Ids in a batch of the steps.", lower_bound=2)
    flags.DEFINE_integer("repeats", 3, "Processes for each line.", lower_bound=1)
    flags.DEFINE_string("directory", None, "Where checkpoints are put and removed again.")
    flags.DEFINE_list("only", NAMES, "Which parts, with commas between.")
    flags.register_validator(
        "only", lambda parts: set(parts) <= set(NAMES), f"must be some of {', '.join(NAMES)}."
    )
    flags.DEFINE_string("measure", None, "Used by the script itself: the one thing to measure.")
    app.run(main)
