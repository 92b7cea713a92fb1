"""What a person sees while a job runs: one line, drawn again and again, only on a terminal."""

import sys
import time


class Progress:
    """A line such as `epoch 12/100  loss 3.214  5130 triples/s  0:00:07 left`.

    Args:
      total: how many steps the job has.
      start: how many of them were done by an earlier run.
      label: what the line begins with.
      stream: where the line goes; nothing is written unless it is a terminal.
    """

    def __init__(self, total, start=0, label="", stream=None):
        self._stream = sys.stderr if stream is None else stream
        self._total, self._start, self._label = total, start, label
        self._began = time.time()
        self._drawn = 0.0

    def update(self, step, text, per_step=1, unit="steps"):
        """Draws the line, at most ten times a second."""
        now = time.time()
        if now - self._drawn > 0.1:
            self._drawn = now
            rate = (step - self._start) / max(now - self._began, 1e-6)
            minutes, seconds = divmod(int((self._total - step) / rate) if rate else 0, 60)
            self._draw(
                f"{self._label}{text}  {rate * per_step:.0f} {unit}/s  "
                f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d} left"
            )

    def clear(self):
        """Takes the line away, so that other lines can be written."""
        self._drawn = 0.0
        self._draw("")

    def _draw(self, line):
        if self._stream.isatty():
            self._stream.write(f"\r\x1b[K{line}")
            self._stream.flush()
