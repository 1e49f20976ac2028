"""What all worker processes of a server do, counted in memory that they share."""

from __future__ import annotations

import time
from multiprocessing.sharedctypes import RawArray

_KINDS = ("requests", "papers", "waiting", "ready")


class Counters:
    """Counters of each worker, which that worker writes; everyone reads the sums.

    workers: how many processes there are. worker: the number of this one, from 0.
    """

    def __init__(self, workers: int) -> None:
        self.worker = 0
        self.workers = workers
        self._started = time.time()
        self._values = RawArray("q", workers * len(_KINDS))

    def add(self, kind: str, number: int) -> None:
        """Count `requests`, or `papers`, that this worker has answered."""
        self._values[self._place(self.worker, kind)] += number

    def set_waiting(self, papers: int) -> None:
        """Say how many papers wait in this worker."""
        self._values[self._place(self.worker, "waiting")] = papers

    def set_ready(self) -> None:
        """Say that this worker takes requests."""
        self._values[self._place(self.worker, "ready")] = 1

    def was_ready(self, worker: int) -> bool:
        """Whether a worker that has ended took requests; clears what it wrote about its state."""
        place = self._place(worker, "ready")
        ready = bool(self._values[place])
        self._values[place] = self._values[self._place(worker, "waiting")] = 0
        return ready

    def totals(self) -> dict[str, float]:
        """The sums over all workers, the number of workers, and the server's age in seconds."""
        sums = {
            kind: sum(self._values[number :: len(_KINDS)]) for number, kind in enumerate(_KINDS)
        }
        return {**sums, "workers": self.workers, "uptime": round(time.time() - self._started, 1)}

    @staticmethod
    def _place(worker: int, kind: str) -> int:
        return worker * len(_KINDS) + _KINDS.index(kind)
