"""Signs of life of long work: a line that is rewritten in a terminal, some lines in a log file."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any, Self, TextIO

FIRST, FACTOR, EVERY = 2.0, 3.0, 60.0  # seconds
REDRAW = 0.1  # seconds
BAR, SHORTEST_BAR = 20, 5  # characters
_working: list[Progress] = []  # nested pieces of work, of which the innermost one is shown
_drawing = threading.RLock()


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


class Progress:
    """How far some work is: in a terminal a line that is rewritten, elsewhere some lines.

    Counts what is iterated over; or is entered with `with`, and told by `update`.

    what: what is done. total: how many there are, if this is known and not the iterable's length.
    unit: the plural of what is counted; `B` for bytes. ticker: when lines are due; the pieces of
    one long work may share it. details: more to show, asked for only when it is shown. quiet: show
    nothing, as all but the first of torchrun's processes do. leave: keep the last line in a
    terminal.
    """

    def __init__(
        self,
        iterable: Iterable[Any] = (),
        what: str = "",
        total: float | None = None,
        unit: str = "",
        *,
        ticker: Ticker | None = None,
        details: Callable[[], str] | None = None,
        quiet: bool = False,
        leave: bool = False,
    ) -> None:
        self.what, self.total, self.unit, self.details = what, total, unit, details
        if total is None and isinstance(iterable, Sized):
            self.total = len(iterable)
        self._iterable, self._leave = iterable, leave
        self._quiet = quiet or os.environ.get("RANK", "0") != "0"
        self._in_terminal, self._ticker = sys.stderr.isatty(), ticker or Ticker()
        self._is_drawn, self._next_look = False, 0.0
        self.restart()

    def restart(self, done: float = 0) -> None:
        """Count from here: `done` was there before the work began, and took no time."""
        self.n = self._before = done
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        self.restart()
        if not self._quiet:
            _working.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        with _drawing:
            _working[:] = [other for other in _working if other is not self]
            if self._is_drawn and self._leave:
                self._draw(end="\n")
            elif self._is_drawn:
                self._clear()

    def __iter__(self) -> Iterator[Any]:
        with self:
            for item in self._iterable:
                yield item
                self.update()

    def update(self, count: float = 1) -> None:
        """Say that `count` more are done; not more than ten times a second is it shown."""
        self.n += count
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + REDRAW
            self.refresh()

    def refresh(self) -> None:
        """Show how far the work is, if this is due."""
        with _drawing:
            if not self._is_shown():
                return
            if self._in_terminal:
                self._draw()
            else:  # one write, because another thread may print, too
                sys.stderr.write(f"  {self.what}: {self._state()}\n")
                sys.stderr.flush()

    def _is_shown(self) -> bool:
        if _working[-1:] != [self]:
            return False
        passed = time.monotonic() - self._started
        if self._in_terminal:
            return passed >= FIRST
        if self.total and not self.n and passed < 1.0:  # it has only begun
            return False
        return self._ticker.is_due()

    def _draw(self, end: str = "\r") -> None:
        width = shutil.get_terminal_size().columns - 1
        head, state = f"{self.what}: ", self._state()
        room = min(width - len(head + state) - len("[] "), BAR)
        if self.total and room >= SHORTEST_BAR:
            done = min(round(self.n / self.total * room), room)
            head += f"[{'#' * done:.<{room}}] "
        line = f"{head}{state}"[:width]
        sys.stderr.write(f"\r{line:<{width}}{end}")
        sys.stderr.flush()
        self._is_drawn = True

    def _clear(self) -> None:
        sys.stderr.write(f"\r{'':{shutil.get_terminal_size().columns - 1}}\r")
        sys.stderr.flush()
        self._is_drawn = False

    def _state(self) -> str:
        """Such as `35%, 2,940 of 8,400 papers, 45 papers/s, 2:01 left`."""
        elapsed, done = time.monotonic() - self._started, self.n - self._before
        if not (done and self.unit):
            return duration(elapsed)
        rate = done / max(elapsed, 1e-6)
        counted = self._size(self.n)
        parts = [f"{counted} {self._unit}"]
        if self.total:
            share = f"{self.n / self.total:.0%}"
            parts = [share, f"{counted} of {self._size(self.total)} {self._unit}"]
        if rate >= 10:
            parts.append(f"{self._size(rate)} {self._unit}/s")
        if self.total:
            parts.append(f"{duration(max(self.total - self.n, 0) / rate)} left")
        return ", ".join([*parts, self.details()] if self.details else parts)

    @property
    def _unit(self) -> str:
        return "MB" if self.unit == "B" else self.unit

    def _size(self, number: float) -> str:
        return f"{number / 1e6:,.1f}" if self.unit == "B" else f"{number:,.0f}"


def print_line(line: str, stream: TextIO | None = None) -> None:
    """Print a line, to standard output or `stream`, in place of the one that is rewritten."""
    with _drawing:
        for work in _working:
            if work._is_drawn:
                work._clear()
        print(line, file=stream or sys.stdout, flush=True)


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

    with Progress(what=what, ticker=Ticker(first), quiet=quiet):
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
