"""What benchmark.py found, as figures for JSON and as tables in Markdown.

Nothing here imports TensorFlow: the process that starts the others must stay small.
"""

import json
import statistics

import turns

PLAIN, OURS = "plain: one variable, all rows train", "partial_embed"
# Forms of a step, by their names in forms.py.
TITLES = {
    "plain": PLAIN,
    "partial": OURS,
    "drop": "old ids dropped from the sparse gradient",
    "gradient mask": "mask of the sparse gradient",
    "where": "two gathers and `tf.where`",
    "cond": "the Q&A's `tf.cond`, old ids and new ones in two runs",
    "concat": "`tf.concat` of the halves",
    "dense mask": "mask of the dense gradient",
    "table mask": "`tf.stop_gradient` mask of the table",
}
# By part: what its numbers are multiplied with, decimals, unit. Files are about memory, too.
UNITS = {
    "prove": (1, 2, " s/GB"),
    "build": (1e3, 1, " ms"),
    "ops": (1, 0, ""),
}


def figures(lines, empty, table_bytes):
    """Returns the figures of a part.

    Args:
      lines: {line: list of (value, peak of memory or None) of its processes}, plain first.
      empty: the peak of a process that does nothing.
      table_bytes: size of the table.

    Returns:
      {line: spread of its values, "ratio" of the median and "ratio of the least" to plain's,
      "memory" in tables}.
    """
    found, plain = {}, None
    for name, results in lines.items():
        values, peaks = zip(*results)
        its = found[name] = turns.spread(values)
        plain = plain or its
        its["ratio"] = its["median"] / plain["median"]
        its["ratio of the least"] = its["least"] / plain["least"]
        if None not in peaks:
            its["memory"] = (statistics.median(peaks) - empty) / table_bytes
    return found


def lines_of(part, found):
    """Returns the lines of a part: value, ratios to the first line, memory where it counts."""
    factor, decimals, unit = UNITS.get(part.split(",")[0], (1, 2, " s"))
    lines = []
    for name, its in found.items():
        value = f"{factor * its['median']:.{decimals}f}{unit}"
        beside = f"{its['ratio']:.2f} ({its['ratio of the least']:.2f})" if lines else "1"
        memory = f"{its['memory']:.2f}" if " s" in unit and "memory" in its else ""
        lines.append(f"| {name} | {value} | {beside} | {memory} |")
    return lines


def lines_of_contest(found):
    """Returns the lines of forms that took turns: milliseconds and their ratio to plain."""
    lines = []
    for name, its in found["players"].items():
        beside = within(its["plain"]) if lines else "1"
        lines.append(f"| {name} | {its['median']:.2f} ms | {beside} | |")
    return [*lines, *(f"| {name} | {why} | | |" for name, why in found["absent"].items())]


def within(ratio):
    """Returns a ratio with its quartiles."""
    if not ratio:
        return "?"
    limits = ((10, 0), (0.1, 2), (0.01, 3), (0, 4))
    decimals = next(decimals for least, decimals in limits if ratio["median"] >= least)
    low, high = ratio["quartiles"]
    return f"{ratio['median']:.{decimals}f} [{low:.{decimals}f}, {high:.{decimals}f}]"


def milliseconds(value):
    """Returns three digits of a number of milliseconds, and the unit."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} ms"


def table_of_steps(entries, which):
    """Returns a table of contests in one setting, one column an optimizer.

    Args:
      entries: of `found["steps"]` or `found["peers"]`, of the same sizes.
      which: which ratios are shown: names among "plain", "ours".
    """
    its = entries[0]["setting"]
    size = f"{its['rows']:,} x {its['dim']}, batch {its['batch']:,}, {its['new']} of the ids new"
    optimizers = [entry["setting"]["optimizer"] for entry in entries]
    lines = [f"| {size} | {' | '.join(optimizers)} |", "|---" + "|---:" * len(optimizers) + "|"]
    titles = dict.fromkeys(
        title for entry in entries for kind in ("players", "absent") for title in entry[kind]
    )
    for title in titles:
        cells = []
        for entry in entries:
            player = entry["players"].get(title)
            cell = entry["absent"].get(title, "")
            if player:
                ratios = [within(player[name]) for name in which]
                cell = " · ".join([milliseconds(player["median"]), *ratios])
            cells.append(cell)
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return lines


def table_of_wrong_rows(found):
    """Returns a table of what forms do to old rows that have slots, and to new rows."""
    optimizers = list(next(iter(found["rows"].values())))
    old, new = found["of"]
    lines = [
        f"| old rows that move, of {old}; new rows that are wrong, of {new} | "
        + f"{' | '.join(optimizers)} |",
        "|---" + "|---:" * len(optimizers) + "|",
    ]
    for title, by_optimizer in found["rows"].items():
        cells = [
            f"{moved}; {wrong}" if moved or wrong else "none" + ", to the bit" * same
            for moved, wrong, same in by_optimizer.values()
        ]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return lines


def _by_setting(entries):
    """Returns lists of entries that differ in the optimizer alone."""
    found = {}
    for entry in entries:
        key = tuple(value for name, value in entry["setting"].items() if name != "optimizer")
        found.setdefault(key, []).append(entry)
    return found.values()


def everything(found):
    """Returns all tables, as Markdown.

    Args:
      found: what `benchmark.run` returns.
    """
    at, machine = found["at"], found["machine"]
    said = [f"{name} {version}" for name, version in found["versions"].items()]
    said += [f"Python {machine['python']}", f"{machine['cores']} cores"]
    said.append(f"load {machine['load'][0]} when it started")
    blocks = [[f"{', '.join(said)}."]]
    if found["parts"] or found["contests"]:
        size = f"{at['rows']:,} x {at['dim']} float32 ({4e-6 * at['rows'] * at['dim']:,.0f} MB)"
        lines = [
            f"| {size}, {at['new_rows']:,} new rows; medians of {found['repeats']} | "
            "| beside plain: median (least), or [quartiles] | memory, in tables |",
            "|---|---:|---:|---:|",
        ]
        for part, its in found["parts"].items():
            lines += lines_of(part, its)
        for its in found["contests"].values():
            lines += lines_of_contest(its)
        blocks.append(lines)
    if found["wrong"]:
        blocks.append(table_of_wrong_rows(found["wrong"]))
    if found["steps"]:
        blocks.append(["A step: milliseconds · beside plain [quartiles]."])
        blocks += [table_of_steps(its, ["plain"]) for its in _by_setting(found["steps"])]
    if found["peers"]:
        blocks.append(
            ["A step: milliseconds · beside its own framework's plain · beside partial_embed."]
        )
        blocks += [table_of_steps(its, ["plain", "ours"]) for its in _by_setting(found["peers"])]
    blocks += [[f"{name} is not measured: {why}"] for name, why in found["not installed"].items()]
    return "\n\n".join("\n".join(lines) for lines in blocks)


def read(path):
    """Returns what a file says that --json wrote; raises ValueError if it is none."""
    with open(path, encoding="utf-8") as file:
        try:
            found = json.load(file)
        except ValueError as error:
            raise ValueError(f"{path} is no file that --json wrote: {error}.") from error
    needed = (
        "at",
        "repeats",
        "machine",
        "versions",
        "parts",
        "contests",
        "wrong",
        "steps",
        "peers",
    )
    lacks = [name for name in needed if not isinstance(found, dict) or found.get(name) is None]
    if lacks:
        raise ValueError(f"{path} is no file that --json wrote: it has no {', '.join(lacks)}.")
    return found
