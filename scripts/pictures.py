"""Pictures of a growth. Matplotlib is an extra: only who wants to draw imports this module."""

import matplotlib

matplotlib.use("Agg")  # Files only; there may be no screen.

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402

OLD, NEW, LEVEL = "#9aa5b1", "#d9480f", "#1c7ed6"


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


def _write(figure, path):
    figure.savefig(path, dpi=120, bbox_inches="tight")
    plt.close(figure)
