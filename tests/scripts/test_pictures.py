"""The pictures of the benchmark show every player, and no name stands over another."""

import pictures
import pytest
import report
import turns
from matplotlib.text import Text


@pytest.fixture
def figures(monkeypatch):
    """What has been drawn: pictures are kept open in this list."""
    kept = []
    monkeypatch.setattr(pictures, "_write", lambda figure, path: kept.append(figure))
    yield kept
    for figure in kept:
        pictures.plt.close(figure)


def player(milliseconds, ratio):
    its = turns.summary([(0.0, [milliseconds / 1e3], [0.001])])
    return dict(its, plain=turns.spread([ratio, 1.1 * ratio]), ours=None)


@pytest.fixture
def found():
    """Figures of two forms at two sizes, of a peer, and of a part."""
    titles = (report.PLAIN, report.OURS, report.TITLES["where"])

    def entry(optimizer, rows, **more):
        setting = dict(dict(dim=4, batch=8, new="half", rows=rows, optimizer=optimizer), **more)
        players = {title: player(rows / 100, 0.5 + place) for place, title in enumerate(titles)}
        return {"setting": setting, "players": players, "absent": {}, "about": [{}]}

    steps = [entry(its, rows) for its in ("SGD", "Adam") for rows in (100, 1000)]
    steps.append(entry("SGD", 5000, batch=16))
    peers = [entry("SGD", 100)]
    for title, milliseconds in (
        ("all rows train; torch", 3.0),
        ("PEFT; torch, 1 thread", 7.0),
        ("PEFT; torch, 2 threads", 9.0),
    ):
        peers[0]["players"][title] = player(milliseconds, 2.0)
        peers[0]["about"].append({"peer": title})
    peers[0]["about"].pop(1)
    parts = {
        "load": {"plain": [(2.0, 500)], "grown `table`": [(3.0, 300)]},
        "ops": {"plain": [(2, 500)], "grown, in ops": [(3, 300)]},
    }
    parts = {part: report.figures(lines, 0, 1) for part, lines in parts.items()}
    contests = {"sparse": {"players": {"one": player(1.0, 1.0), "two": player(1.0, 0.7)}}}
    return {"steps": steps, "peers": peers, "parts": parts, "contests": contests}


def test_a_line_for_each_form_and_peer(found, figures):
    pictures.draw_steps("steps.png", found)
    left, right = figures[0].axes
    assert [list(line.get_xdata()) for line in left.lines[:4]] == [[100, 1000]] * 3 + [[100]]
    assert list(left.lines[0].get_ydata()) == pytest.approx([1.0, 10.0])
    assert list(left.lines[3].get_ydata()) == pytest.approx([7.0])  # of the faster one
    assert [text.get_text() for text in left.texts][-1] == "two gathers and tf.where"
    assert {text.get_text() for text in left.texts} == {
        "plain",
        "partial_embed",
        "two gathers and tf.where",
        "PEFT",
    }
    assert len(right.lines) == 2 * 3  # each with one to its name


def test_no_name_stands_over_another(found, figures):
    pictures.draw_steps("steps.png", found)
    (axes, _), figure = figures[0].axes, figures[0]
    figure.canvas.draw()
    boxes = [Text.get_window_extent(text) for text in axes.texts]  # without its line
    for place, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[place + 1 :])


def test_a_bar_for_each_ratio(found, figures):
    pictures.draw_costs("costs.png", found)
    (axes,) = figures[0].axes
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "load: grown table",
        "sparse: two",
    ]
    assert [bar.get_width() for bar in axes.patches][:2] == pytest.approx([0.5, -0.265])
    assert [text.get_text() for text in axes.texts][:2] == ["1.50", "0.73"]
