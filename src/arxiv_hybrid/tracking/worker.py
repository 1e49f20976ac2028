"""MLflow's calls in a thread of their own, so that no server and no lock can hold up a stage."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Any, TypeVar

from arxiv_hybrid.system.process import ABANDONABLE

Result = TypeVar("Result")


class Worker:
    """Runs calls one after the other in a daemon thread, until one fails or it is abandoned.

    A call that hangs cannot be ended, only left alone: see `process.exit_past_stuck_threads`.
    """

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.abandoned = False
        self.waited = 0.0  # seconds that the last `wait` took
        self._calls: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread = Thread(target=self._run, name=ABANDONABLE, daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it takes more calls."""
        return self.error is None and not self.abandoned

    def submit(self, call: Callable[[], object]) -> None:
        """Run `call` after those before it, unless one of them fails."""
        self._calls.put(call)

    def wait(self, seconds: float) -> bool:
        """Wait until all calls are done, or one has failed; False after `seconds`."""
        done = Event()
        self._calls.put(done.set)
        began = time.monotonic()
        while not done.wait(0.02):
            if not self.running or time.monotonic() - began > seconds:
                break
        self.waited = time.monotonic() - began
        return done.is_set() or not self.running

    def stop(self, *, abandon: bool = False) -> None:
        """End the thread after the calls so far or, with `abandon`, after the current one."""
        self.abandoned = self.abandoned or abandon
        self._calls.put(None)
        if not abandon:
            self._thread.join(1)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            if self.running:
                try:
                    call()
                except Exception as error:
                    self.error = error


def within(seconds: float, call: Callable[[], Result]) -> Result:
    """The result of `call`, which runs in a thread; TimeoutError if it takes over `seconds`."""
    worker, results = Worker(), list[Any]()
    worker.submit(lambda: results.append(call()))
    answered = worker.wait(seconds)
    worker.stop(abandon=not answered)
    if not answered:
        raise TimeoutError(f"no answer within {seconds:g} s")
    if worker.error:
        raise worker.error
    result: Result = results[0]
    return result
