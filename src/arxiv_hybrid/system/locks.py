"""Coordination of processes through files: a lock, and a rate limiter."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.retry import Log


@contextmanager
def file_lock(path: Path, log: Log, waiting: str) -> Iterator[None]:
    """Hold an exclusive lock on the file `path`; log `waiting` if another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=1)
    except Timeout:
        log(waiting)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def only_process(path: Path, busy: str) -> Iterator[None]:
    """Hold an exclusive lock on the file `path`; UserError `busy` if another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(busy) from None
    try:
        yield
    finally:
        lock.release()


class RateLimiter:
    """Keeps requests at least `seconds` apart, also across processes.

    The time of the last request is the modification time of the file `stamp`.
    """

    def __init__(self, stamp: Path, seconds: float) -> None:
        self.stamp = stamp
        self.seconds = seconds

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait until a request may start; the interval counts from the end of the block.

        The start is recorded too, because the process may be killed inside the block.
        """
        with suppress(FileNotFoundError):
            elapsed = time.time() - self.stamp.stat().st_mtime
            # negative if the clock was set back: then wait for the whole interval
            time.sleep(max(0.0, min(self.seconds, self.seconds - elapsed)))
        self._record()
        try:
            yield
        finally:
            self._record()

    def _record(self) -> None:
        self.stamp.parent.mkdir(parents=True, exist_ok=True)
        self.stamp.touch()
        now = time.time()  # the file system's own clock is too coarse
        os.utime(self.stamp, (now, now))
