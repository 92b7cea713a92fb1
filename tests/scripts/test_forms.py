"""Every form of a step computes what the benchmark says of it."""

import benchmark
import forms
import numpy as np
import players
import pytest
import report
import tensorflow.compat.v1 as tf

# Tables of a multiple of 8 numbers: TensorFlow 1.15 computes what remains in another way, which may
# differ in the last bit, so that Adam's update of a row depends on where in a table it is.
AT = benchmark.Setting(30, 4, 6, 8, None)
# Of old rows that have been trained before, none moves, and new rows are the oracle's: under which
# optimizers. Plain TensorFlow with all rows training is there to be compared with.
RIGHT = {
    "plain": [],
    "partial": ["SGD", "Momentum", "Adagrad", "Adam"],
    "drop": ["SGD", "Momentum", "Adagrad"],
    "gradient mask": ["SGD", "Adagrad"],
    "where": ["SGD", "Adagrad", "Adam"],  # A zero gradient reaches new row 0 for every old id.
    "cond": ["SGD", "Adagrad", "Adam"],  # It reaches all new rows in a batch of old ones.
    "concat": ["SGD", "Momentum", "Adagrad", "Adam"],
    "dense mask": ["SGD", "Adagrad"],
    "table mask": ["SGD", "Adagrad"],
}
DENSE = ("dense mask", "table mask")  # which sum up the gradients of an id in another order


def test_every_form_is_here():
    assert list(RIGHT) == list(forms.FORMS) == list(report.TITLES)


@pytest.mark.parametrize("optimizer", sorted(forms.OPTIMIZERS))
@pytest.mark.parametrize("form", forms.FORMS)
def test_wrong_rows(form, optimizer):
    old, new, same = forms.count_wrong_rows(AT, form, optimizer)
    assert (old + new == 0) == (optimizer in RIGHT[form])
    assert same == (optimizer in RIGHT[form] and form not in DENSE)


@pytest.mark.parametrize("optimizer", sorted(forms.OPTIMIZERS))
@pytest.mark.parametrize("form", forms.FORMS)
def test_rows_that_were_never_trained_move_as_they_are_looked_up(form, optimizer, start):
    tables = forms.Tables(AT, optimizer)
    step = forms.training_step(tables, form)
    table = tf.convert_to_tensor(step.table)
    session = start()
    before = session.run(table)
    for ids in forms.parts_of(form, np.array([3, 3]), np.array([31])):
        session.run(step.train, forms.feed_of(step, ids, AT.rows))
    moved = np.flatnonzero((session.run(table) != before).any(axis=1)).tolist()
    # Momentum of a batch of new ids goes on in the batch of old ones; here, the old come first.
    assert moved == ([3, 31] if form == "plain" else [31])


@pytest.mark.parametrize("new, old", [("half", 4), ("all", 0)])
@pytest.mark.parametrize("form", ["partial", "cond"])
def test_players_draw_batches(form, new, old):
    (player,) = players.step(AT, "SGD", new, [form]).values()
    feeds = player.draw()
    ids = [value for feed in feeds for its, value in feed.items() if its.dtype == tf.int32]
    if form == "cond":
        assert [len(some) for some in ids] == [4, 4][: len(ids)] or [len(ids[0])] == [8]
        assert all((some < (6 if len(some) == 8 else 30)).all() for some in ids)
    else:
        assert ((ids[0] < 30).sum(), len(ids[0])) == (old, 8)
    player.take(feeds)


def test_what_does_not_fit_into_memory_does_not_play(monkeypatch):
    table = 4 * AT.rows * AT.dim
    monkeypatch.setattr(players, "free_bytes", lambda: 3 * table / players.MEMORY)
    found = players.step(AT, "SGD", "half", list(forms.FORMS))
    absent = [title for title, player in found.items() if isinstance(player, str)]
    # Two tables are there, and a third is joined from them.
    assert absent == [report.TITLES["dense mask"], report.TITLES["table mask"]]
    assert found[absent[0]] == "needs 0 GB of 0"


@pytest.mark.parametrize(
    "function, given", [("sparse", [True]), ("sparse", [False]), ("decoder", []), ("scores", [])]
)
def test_other_players_take_steps(function, given):
    found = getattr(players, function)(AT, *given)
    for player in found.values():
        player.take(player.draw())
    assert len(found) == (3 if function == "decoder" else 2)
