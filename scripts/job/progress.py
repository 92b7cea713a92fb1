"""What a person sees while a job runs: one line drawn again and again, or a line now and then."""

import sys
import time

_SECONDS_OF_A_LINE = 60.0


class Progress:
    """A line such as `epoch 12/100  loss 3.214  5130 examples/s  0:00:07 left`.

    On a terminal it is drawn again and again; elsewhere, as in a log file, once a minute.

    Args:
      total: how many steps the job has, None if nobody knows.
      start: how many of them were done by an earlier run.
      label: what the line begins with.
      stream: where the line goes.
    """

    def __init__(self, total, start=0, label="", stream=None):
        self._stream = sys.stderr if stream is None else stream
        self._total, self._start, self._label = total, start, label
        self._began = self._written = time.time()
        self._drawn = 0.0

    def update(self, step, text, per_step=1, unit="steps"):
        """Draws the line, at most ten times a second."""
        now = time.time()
        terminal = self._stream.isatty()
        if now - self._drawn < 0.1 or not (terminal or now - self._written > _SECONDS_OF_A_LINE):
            return
        rate = (step - self._start) / max(now - self._began, 1e-6)
        line = f"{self._label}{text}  {rate * per_step:.0f} {unit}/s"
        if self._total and rate:
            minutes, seconds = divmod(int((self._total - step) / rate), 60)
            line += f"  {minutes // 60}:{minutes % 60:02d}:{seconds:02d} left"
        if terminal:
            self._drawn = now
            self._draw(line)
        else:
            self._written = now
            self._stream.write(line + "\n")
            self._stream.flush()

    def clear(self):
        """Takes the line away, so that other lines can be written."""
        self._drawn = 0.0
        self._draw("")

    def _draw(self, line):
        if self._stream.isatty():
            self._stream.write(f"\r\x1b[K{line}")
            self._stream.flush()
