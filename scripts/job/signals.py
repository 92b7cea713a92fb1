"""Signals that ask a job to stop."""

import contextlib
import signal
import threading

NUMBERS = signal.SIGTERM, signal.SIGINT


@contextlib.contextmanager
def as_always():
    """Lets these signals end the process at once, as where it waits and no handler of ours runs."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [signal.signal(number, signal.SIG_DFL) for number in NUMBERS]
    try:
        yield
    finally:
        for number, handler in zip(NUMBERS, before):
            signal.signal(number, handler)


class StopSignals:
    """Turns the first SIGTERM or ctrl-c into a wish to stop; the second one acts as it always does.

    Used as a context manager. `received` is the number of the signal, or None.
    """

    received = None

    def __enter__(self):
        self._before = {number: signal.signal(number, self._receive) for number in NUMBERS}
        return self

    def _receive(self, number, frame):
        del frame
        self.received = number
        self.__exit__()

    def __exit__(self, *exception):
        for number, handler in self._before.items():
            signal.signal(number, handler)
