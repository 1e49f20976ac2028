"""Lines about the state of a long run, some seconds apart."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

SECONDS = 20.0


class Ticker:
    """Prints a line to standard error if the last one is `seconds` old.

    A terminal shows progress bars instead.
    """

    def __init__(
        self, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds, self._clock, self._last = seconds, clock, clock()

    def tick(self, line: Callable[[float], str]) -> None:
        """Print `line(seconds since the last line)` if it is due."""
        now = self._clock()
        passed = now - self._last
        if passed >= self._seconds and not sys.stderr.isatty():
            print(line(passed), file=sys.stderr, flush=True)
            self._last = now
