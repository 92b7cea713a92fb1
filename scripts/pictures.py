"""Pictures of a growth, and of what it costs.

Matplotlib is an extra: only who wants to draw imports this module.
"""

import matplotlib

matplotlib.use("Agg")  # Files only; there may be no screen.

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
import report  # noqa: E402
from matplotlib.lines import Line2D  # noqa: E402

OLD, NEW, LEVEL = "#9aa5b1", "#d9480f", "#1c7ed6"
# Okabe and Ito's colours, which can be told apart however one sees colours.
COLORS = ("#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f", "#8c6d00", "#5e3c99")
COLORS += ("#882255", "#004d40")


def draw_curve(path, title, epochs, grown, retrained):
    """Draws the MRR of the new entities per epoch, and the level that retraining reaches.

    Args:
      path: the PNG file.
      title: what stands above.
      epochs: a list of epochs.
      grown: the MRR of the grown model after each of them.
      retrained: one number, the MRR after retraining from scratch.
    """
    figure, axes = plt.subplots(figsize=(6.4, 4.0))
    level, reached = (
        f"everything retrained: {retrained:.3f}",
        f"only new rows trained: {grown[-1]:.3f}",
    )
    axes.axhline(retrained, color=LEVEL, linestyle="--", label=level)
    axes.plot(epochs, grown, color=NEW, marker=".", label=reached)
    axes.set(
        title=title, xlabel="epoch", ylabel="MRR on unseen triples of new entities", ylim=(0, 1)
    )
    axes.legend(loc="lower right")
    _write(figure, path)


def draw_rows(path, title, before, after, num_old):
    """Draws the rows of a table in two dimensions, before and after its new rows were trained.

    The two dimensions are the principal components of the old rows, which are the same in both
    halves of the picture.

    Args:
      path: the PNG file.
      title: what stands above.
      before: the table [n, d] with its new rows as they were initialised.
      after: the table [n, d] with its new rows trained.
      num_old: how many rows are old.
    """
    center = np.mean(after[:num_old], axis=0)
    components = np.linalg.svd(after[:num_old] - center, full_matrices=False)[2][:2]
    figure, both = plt.subplots(1, 2, figsize=(9.6, 4.6), sharex=True, sharey=True)
    for axes, table, when in zip(
        both, (before, after), ("new rows as initialised", "new rows trained")
    ):
        points = np.matmul(table - center, components.T)
        for rows, size, color, kind in (
            (points[:num_old], 16, OLD, "old"),
            (points[num_old:], 26, NEW, "new"),
        ):
            axes.scatter(rows[:, 0], rows[:, 1], s=size, color=color, label=f"{len(rows)} {kind}")
        axes.set(title=when, xlabel="first component")
        axes.legend(loc="best")
    both[0].set_ylabel("second component")
    figure.suptitle(title)
    _write(figure, path)


def draw_steps(path, found, optimizers=("SGD", "Adam")):
    """Draws milliseconds a step over the number of old rows, one line a form or a peer.

    Args:
      path: the PNG file.
      found: what `benchmark.run` returns; steps of the base, and peers of the same sizes.
      optimizers: one panel each.
    """
    lines = {optimizer: _lines_of_steps(found, optimizer) for optimizer in optimizers}
    # One color for each in all panels.
    titles = list(dict.fromkeys(title for its in lines.values() for title in its))
    titles = [title for title in titles if title not in (report.PLAIN, report.OURS)]
    figure, panels = plt.subplots(1, len(optimizers), figsize=(15, 6.4), sharey=True)
    for axes, optimizer in zip(panels, optimizers):
        ends = {}
        for title, points in lines[optimizer].items():
            style = {"linestyle": "-" if title in report.TITLES.values() else "--"}
            if title == report.PLAIN:
                style.update(color="black", linewidth=1.6)
            elif title == report.OURS:
                style.update(color=NEW, linewidth=3, zorder=9)
            else:
                style.update(color=COLORS[titles.index(title) % len(COLORS)], linewidth=1.3)
            rows, milliseconds = zip(*sorted(points.items()))
            axes.plot(rows, milliseconds, marker="o", markersize=3.5, **style)
            ends[title] = rows[-1], milliseconds[-1], style["color"]
        axes.set(xscale="log", yscale="log", xlabel="old rows", title=f"a step of {optimizer}")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.yaxis.set_tick_params(labelleft=True)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.autoscale(False)  # The lines to their names change no scale.
        _label_ends(axes, ends)
    panels[0].set_ylabel("milliseconds a step (median)")
    its = found["steps"][0]["setting"]
    figure.suptitle(
        f"{its['batch']:,} ids a batch, {its['new']} of them new, rows of {its['dim']} numbers; "
        "dashed: peers, with one thread or all, whichever is faster"
    )
    figure.subplots_adjust(wspace=0.8)
    _write(figure, path)


def _lines_of_steps(found, optimizer):
    """Returns {title: {old rows: milliseconds}} of an optimizer at the first setting's sizes."""
    same = {its: found["steps"][0]["setting"][its] for its in ("dim", "batch", "new")}
    lines = {}
    for kind in ("steps", "peers"):
        for entry in found[kind]:
            setting = entry["setting"]
            if dict(setting, **same) == setting and setting["optimizer"] == optimizer:
                # Of a peer's programs, not what it is compared with; the faster number of threads.
                shown = {about.get("peer") for about in entry["about"]}
                for title, its in entry["players"].items():
                    if kind == "steps" or title in shown:
                        points = lines.setdefault(title.split(";")[0], {})
                        before = points.get(setting["rows"], its["median"])
                        points[setting["rows"]] = min(before, its["median"])
    return lines


def _label_ends(axes, ends):
    """Writes the name of each line beside its end, none over another.

    Args:
      axes: where both scales are logarithmic.
      ends: {title: (x, y, color)}.
    """
    low, high = np.log10(axes.get_ylim())
    gap, edge = (high - low) / 21, axes.get_xlim()[1]
    order = sorted(ends, key=lambda title: ends[title][1])
    wanted = np.log10([ends[title][1] for title in order])
    # Moved up where the name below is too near, or down for the one above: the middle of both.
    steps = gap * np.arange(len(order))
    up = np.maximum.accumulate(wanted - steps) + steps
    down = np.minimum.accumulate((wanted - steps)[::-1])[::-1] + steps
    for title, height in zip(order, 10 ** ((up + down) / 2)):
        x, y, color = ends[title]
        line = {"color": color, "linewidth": 0.7, "alpha": 0.7, "clip_on": False}
        axes.add_line(Line2D([x, edge * 1.2], [y, height], **line))
        text = title.replace("`", "").split(":")[0].split(",")[0]
        weight = "bold" if title in (report.OURS, report.PLAIN) else "normal"
        place = {"va": "center", "fontsize": 9, "color": color, "weight": weight}
        axes.text(edge * 1.25, height, text, **place)


def draw_costs(path, found):
    """Draws the ratio to plain TensorFlow of all that a user meets but steps, as bars.

    Args:
      path: the PNG file.
      found: what `benchmark.run` returns.
    """
    bars = []
    for part, lines in found["parts"].items():
        if part != "ops":
            for line, its in list(lines.items())[1:]:
                ends = its["ratio"], its["ratio of the least"]
                bars.append((f"{part.split(',')[0]}: {line}", its["ratio"], ends))
    for part, its in found["contests"].items():
        for line, player in list(its["players"].items())[1:]:
            bars.append((f"{part.split(',')[0]}: {line}", *_middle_and_ends(player)))
    figure, axes = plt.subplots(figsize=(9, 0.36 * len(bars) + 1.2))
    for place, (_, ratio, ends) in enumerate(bars):
        color = NEW if ratio > 1 else COLORS[0]
        # From 1, so that the length of a bar is how far it is from plain TensorFlow.
        axes.barh(-place, ratio - 1, left=1, color=color, height=0.62, alpha=0.85)
        axes.plot(sorted(ends), [-place, -place], color="black", linewidth=1.2)
        right = ratio > 1
        axes.annotate(
            f"{ratio:.2g}" if ratio < 1 else f"{ratio:.2f}",
            (max(*ends, ratio) if right else min(*ends, ratio), -place),
            (4 if right else -4, 0),
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
            fontsize=9,
        )
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks([-place for place in range(len(bars))])
    axes.set_yticklabels([title.replace("`", "") for title, _, _ in bars], fontsize=9)
    axes.set_xscale("log")
    numbers = [number for _, ratio, ends in bars for number in (ratio, *ends)]
    axes.set_xlim(min(min(numbers) / 3, 0.5), max(numbers) * 1.6)  # and room for the labels
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_xlabel("time, beside plain TensorFlow (1): to the left it takes less")
    axes.tick_params(axis="y", length=0)
    _write(figure, path)


def _middle_and_ends(player):
    return player["plain"]["median"], player["plain"]["quartiles"]


def _write(figure, path):
    figure.savefig(path, dpi=120, bbox_inches="tight")
    plt.close(figure)
