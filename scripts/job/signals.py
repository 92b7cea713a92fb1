"""Signals that ask a job to stop."""

import signal


class StopSignals:
    """Turns the first SIGTERM or ctrl-c into a wish to stop; the second one acts as it always does.

    Used as a context manager. `received` is the number of the signal, or None.
    """

    received = None

    def __enter__(self):
        numbers = signal.SIGTERM, signal.SIGINT
        self._before = {number: signal.signal(number, self._receive) for number in numbers}
        return self

    def _receive(self, number, frame):
        del frame
        self.received = number
        self.__exit__()

    def __exit__(self, *exception):
        for number, handler in self._before.items():
            signal.signal(number, handler)
