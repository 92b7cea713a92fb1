"""Progress on a terminal, for what takes longer than a person waits; nothing in a log file."""

import sys
import time

_PATIENCE = 2.0  # seconds
_EVERY = 0.2


class Progress:
    """A line on stderr that is written again and again, once two seconds have passed.

        with Progress("grow") as progress:
            work(progress=progress)      # calls progress(bytes done, bytes in all)

    Args:
        title: str, what goes on.
    """

    def __init__(self, title):
        self._title = title
        self._begin = self._last = time.monotonic()
        self._shown = False

    def __enter__(self):
        return self

    def __call__(self, done, total):
        """Shows how much is done, both numbers in bytes."""
        now = time.monotonic()
        if not sys.stderr.isatty() or now - self._begin < _PATIENCE or now - self._last < _EVERY:
            return
        self._last, self._shown = now, True
        share = done / max(1, total)
        left = (now - self._begin) * (1 / share - 1) if share else 0
        text = f"{self._title}: {share:4.0%}, {done / 1e6:,.0f} MB, {left:.0f} s left"
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()

    def __exit__(self, *error):
        if self._shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
