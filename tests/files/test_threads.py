"""Work beside other work, and in turn where Python starts no thread, as when it ends."""

import threading

import pytest

from partial_embed.files.threads import threads


@pytest.fixture(params=[True, False])
def may_start(request, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread at interpreter shutdown")

    if not request.param:
        monkeypatch.setattr(threading.Thread, "start", refuse)
    return request.param


def test_tasks(may_start):
    here = threading.get_ident()
    with threads(2) as pool:
        task, failing = pool.submit(threading.get_ident), pool.submit(int, "x")
    assert (task.result() == here) is not may_start
    with pytest.raises(ValueError, match="invalid literal"):
        failing.result()
