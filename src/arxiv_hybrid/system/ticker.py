"""Signs of life of long work: a bar in a terminal, now and then a line in a log file."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

FIRST, FACTOR, EVERY = 2.0, 3.0, 60.0  # seconds
_working: list[Progress] = []  # nested pieces of work; in a log file the innermost one is shown


class Ticker:
    """Says when a line is due: after 2, 6, 18 and 54 seconds, then every minute."""

    def __init__(
        self, first: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """first: seconds before the first line, if not two."""
        self._clock, self._started = clock, clock()
        self._next = FIRST if first is None else first

    def is_due(self) -> bool:
        """Whether to print now; each time only once."""
        passed = self._clock() - self._started
        if passed < self._next:
            return False
        self._next = min(passed * FACTOR, passed + EVERY)
        return True


class Progress(tqdm):  # type: ignore[type-arg]
    """tqdm's bar; where standard error is no terminal, a line from time to time instead.

    what: what is done. unit: the plural of what is counted. ticker: when lines are due; the pieces
    of one long work may share it. details: more to show, asked for only when it is shown. quiet:
    show nothing, as all but the first of torchrun's processes do. Others: see tqdm.
    """

    def __init__(
        self,
        iterable: Iterable[Any] | None = None,
        what: str = "",
        total: float | None = None,
        unit: str = "",
        *,
        ticker: Ticker | None = None,
        details: Callable[[], str] | None = None,
        quiet: bool = False,
        leave: bool = False,
        **options: Any,
    ) -> None:
        quiet = quiet or os.environ.get("RANK", "0") != "0"
        self._in_terminal, self._started = sys.stderr.isatty(), time.monotonic()
        self._ticker, self._details, self._is_drawn = ticker or Ticker(), details, False
        if not quiet:
            _working.append(self)
        super().__init__(
            iterable, what, total,
            unit=unit if options.get("unit_scale") else f" {unit}",
            disable=quiet, leave=leave and self._in_terminal, **options,
        )  # fmt: skip

    def display(  # type: ignore[override]  # tqdm returns whether it drew
        self, msg: str | None = None, pos: int | None = None
    ) -> bool:
        """Draw the bar, or print a line if it is due; with an empty `msg`, remove the bar."""
        if not self._is_shown() if msg is None else not self._is_drawn:
            return False
        if self._details and self.n and msg is None:
            self.postfix = self._details()
        if self._in_terminal:
            self._is_drawn = True
            return bool(super().display(msg, pos))
        # one write, because another thread may print, too
        sys.stderr.write(f"  {self.desc.rstrip(': ')}: {self._line()}\n")
        sys.stderr.flush()
        return False

    def _is_shown(self) -> bool:
        passed = time.monotonic() - self._started
        if self._in_terminal:
            return passed >= FIRST
        if self.total and not self.n and passed < 1.0:  # it has only begun
            return False
        return _working[-1:] == [self] and self._ticker.is_due()

    def clear(self, nolock: bool = False) -> None:
        """Remove the bar from the terminal."""
        if self._in_terminal:
            super().clear(nolock)

    def close(self) -> None:
        """End the work."""
        _working[:] = [other for other in _working if other is not self]
        super().close()

    def _line(self) -> str:
        """Such as `35%, 2,940 of 8,400 papers, 45 papers/s, 2:01 left`."""
        values = self.format_dict
        done, total, unit = self.n - self.initial, self.total, values["unit"]
        if not (done and unit.strip()):
            return duration(values["elapsed"])
        rate = done / max(values["elapsed"], 1e-6)
        size = tqdm.format_sizeof if values["unit_scale"] else "{:,.0f}".format
        parts = [f"{size(self.n)}{unit}"]
        if total:
            parts = [f"{self.n / total:.0%}", f"{size(self.n)} of {size(total)}{unit}"]
        if rate >= 10:
            parts.append(f"{size(rate)}{unit}/s")
        if total:
            parts.append(f"{duration((total - self.n) / rate)} left")
        return ", ".join([*parts, str(self.postfix)] if self.postfix else parts)


@contextmanager
def pulse(what: str, *, first: float | None = None, quiet: bool = False) -> Iterator[None]:
    """Show what is being done, and for how long, while work runs that cannot be counted.

    first: seconds before the first line, if not two. quiet: show nothing. In a terminal, the work
    must not print anything.
    """
    done = threading.Event()

    def beat() -> None:
        while not done.wait(1.0 if first is None else min(first, 1.0)):
            for innermost in _working[-1:]:
                innermost.refresh()

    with Progress(what=what, ticker=Ticker(first), quiet=quiet, bar_format="{desc}: {elapsed}"):
        if quiet:
            yield
            return
        thread = threading.Thread(target=beat, name="pulse", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def duration(seconds: float) -> str:
    """Minutes and seconds, such as 2:05; with hours 1:02:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
