"""The tables of the benchmark say what was found."""

import report
import turns


def spread(value, low, high):
    return {"median": value, "least": low, "quartiles": [low, high]}


def test_the_lines_of_a_part():
    found = {"plain": [(2.0, 500), (1.0, 300), (4.0, 400)], "grown": [(3.0, 300), (2.5, 300)]}
    assert report.lines_of("load", report.figures(found, 100, 200)) == [
        "| plain | 2.00 s | 1 | 1.50 |",
        "| grown | 2.75 s | 1.38 (2.50) | 1.00 |",
    ]
    found = {"plain": [(7, 5)], "grown": [(14, 5)]}
    assert report.lines_of("ops", report.figures(found, 0, 1)) == [
        "| plain | 7 | 1 |  |",
        "| grown | 14 | 2.00 (2.00) |  |",
    ]
    together = {"plain": [(0.5, None)], "grown": [(1.0, None)]}
    assert report.lines_of("save, Adam", report.figures(together, 0, 1)) == [
        "| plain | 0.50 s | 1 |  |",
        "| grown | 1.00 s | 2.00 (2.00) |  |",
    ]


def entry(optimizer, ratio):
    player = dict(turns.summary([(0.0, [0.0021], [0.002])]), plain=ratio, ours=None)
    setting = {"rows": 1000, "dim": 32, "batch": 64, "new": "half", "optimizer": optimizer}
    return {"setting": setting, "players": {"grown": player}, "absent": {"mask": "needs 9 GB"}}


def found_of(**more):
    at = {"rows": 1000, "dim": 32, "new_rows": 10, "batch": 64, "directory": None}
    machine = {"python": "3.11", "cores": 2, "load": [0.5]}
    found = {"at": at, "machine": machine, "versions": {"tensorflow": "2.21.0"}, "repeats": 3}
    found.update({"parts": {}, "contests": {}, "wrong": {}, "steps": [], "peers": []})
    return dict(found, **dict({"not installed": {}}, **more))


def test_steps_of_several_optimizers_stand_side_by_side():
    steps = [entry("SGD", spread(1.02, 0.98, 1.05)), entry("Adam", spread(0.04, 0.03, 0.05))]
    text = report.everything(found_of(steps=steps))
    assert "| 1,000 x 32, batch 64, half of the ids new | SGD | Adam |" in text
    assert (
        "| grown | 2.10 ms · 1.02 [0.98, 1.05] | 2.10 ms · 0.040 [0.030, 0.050] |\n"
        "| mask | needs 9 GB | needs 9 GB |"
    ) in text


def test_peers_are_compared_with_both_and_what_is_not_installed_is_told():
    peers = [entry("SGD", spread(12.4, 9, 20))]
    text = report.everything(found_of(peers=peers))
    assert "| grown | 2.10 ms · 12 [9, 20] · ? |" in text
    missing = {"not installed": {"peft": "pip: ERROR: No matching distribution"}}
    text = report.everything(dict(found_of(), **missing))
    assert text.endswith("peft is not measured: pip: ERROR: No matching distribution")


def test_wrong_rows():
    wrong = {"of": [200, 20], "rows": {"grown": {"SGD": [0, 0, True], "Adam": [7, 0, False]}}}
    text = report.everything(found_of(wrong=wrong))
    assert "| grown | none, to the bit | 7; 0 |" in text
