"""Progress on a terminal, for what takes longer than a person waits; nothing in a log file."""

import sys
import threading
import time

_PATIENCE = 2.0  # seconds
_EVERY = 0.2


class Progress:
    """A line on stderr that is written again and again, once two seconds have passed.

        with Progress("partial-embed grow") as progress:
            work(progress=progress)      # may call progress(bytes done, bytes in all)

    Args:
        title: str, what goes on.
    """

    def __init__(self, title):
        self._title = title
        self._begin = time.monotonic()
        self._done = self._total = 0
        self._ended = threading.Event()
        self._ticking = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self):
        if sys.stderr.isatty():
            self._ticking.start()
        return self

    def __call__(self, done, total):
        """Takes how much is done, both numbers in bytes."""
        self._done, self._total = done, total

    def __exit__(self, *error):
        self._ended.set()
        if self._ticking.is_alive():
            self._ticking.join()

    def _tick(self):
        wait = _PATIENCE
        while not self._ended.wait(wait):
            sys.stderr.write(f"\r\033[K{self._text()}")
            sys.stderr.flush()
            wait = _EVERY
        if wait == _EVERY:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()

    def _text(self):
        seconds = time.monotonic() - self._begin
        if not self._total:
            return f"{self._title}: {seconds:.0f} s"
        share = self._done / self._total
        left = f", {seconds * (1 / share - 1):.0f} s left" if share else ""
        return f"{self._title}: {share:4.0%}, {self._done / 1e6:,.0f} MB{left}"
