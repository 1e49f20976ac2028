"""Micro-batching: requests that arrive while the model works are classified together next.

One thread runs the model. When it is free, it takes what has arrived meanwhile: a lone request is
answered at once, and under load the batches grow by themselves. After a batch of several requests
their clients soon ask again. The next batch waits for as many requests, a quarter of the last one's
time at most; it would be a batch of one otherwise, at half the cost of one of fifty.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

Paper = tuple[str, str]  # title and abstract
Result = TypeVar("Result")

BATCH = 64  # papers that the model gets at once
PIECE = 16  # papers of a large request in a batch with others
PATIENCE = 0.25  # of the seconds that a batch took, for which the next one may wait
MOST_WAITING = 10_000  # papers, of all requests
MOST_CALLS = 16  # calls, such as explanations, that wait


class BusyError(Exception):
    """Too much is waiting; try again later."""


@dataclass(eq=False)
class _Job:
    """A request's papers, the answers so far, and a future of them all."""

    papers: list[Paper]
    future: asyncio.Future[list[bytes]]
    answers: list[bytes] = field(default_factory=list)
    taken: int = 0  # papers that are classified, or being classified

    @property
    def left(self) -> int:
        return len(self.papers) - self.taken

    def take(self, most: int) -> list[Paper]:
        part = self.papers[self.taken : self.taken + most]
        self.taken += len(part)
        return part


_Part = tuple[_Job, list[Paper]]


class Batcher:
    """Classifies papers of many requests in one thread, within one event loop.

    classify: the answer of each paper, in their order; called in the thread. on_waiting: told how
    many papers have no answer yet, whenever that changes.
    """

    def __init__(
        self,
        classify: Callable[[list[Paper]], list[bytes]],
        on_waiting: Callable[[int], object] = int,
    ) -> None:
        self._classify = classify
        self._on_waiting = on_waiting
        self._thread = ThreadPoolExecutor(1, "model")
        self._small: deque[_Job] = deque()
        self._large: deque[_Job] = deque()
        self._calls: deque[tuple[Callable[[], Any], asyncio.Future[Any]]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._waiting = 0
        self._last = (0, 0.0)  # small requests of the last batch, and its seconds

    async def answers(self, papers: list[Paper]) -> list[bytes]:
        """The answer of each paper; BusyError if too many are waiting."""
        if not papers:
            return []
        if self._waiting + len(papers) > MOST_WAITING:
            raise BusyError
        job = _Job(papers, asyncio.get_running_loop().create_future())
        (self._small if len(papers) <= PIECE else self._large).append(job)
        self._count(len(papers))
        self._start()
        try:
            return await job.future
        finally:
            self._count(-len(papers))

    async def call(self, function: Callable[[], Result]) -> Result:
        """The result of a function that uses the model, called between two batches.

        Raises BusyError if too many calls are waiting.
        """
        if len(self._calls) >= MOST_CALLS:
            raise BusyError
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._calls.append((function, future))
        self._start()
        return await future

    def _count(self, papers: int) -> None:
        self._waiting += papers
        self._on_waiting(self._waiting)

    def _start(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        """Run batches and calls in turn until nothing is waiting."""
        while self._small or self._large or self._calls:
            await self._gather()
            if parts := self._next_parts():
                await self._run(parts)
            if self._calls:
                function, future = self._calls.popleft()
                try:
                    result = await self._in_thread(function)
                except Exception as error:  # it belongs to the one who called
                    _fail(future, error)
                else:
                    _finish(future, result)

    async def _gather(self) -> None:
        """Wait for as many small requests as the last batch had, if these were several."""
        requests, seconds = self._last
        end = time.monotonic() + PATIENCE * seconds
        while 1 < requests > len(self._small) and self._waiting < BATCH:
            if time.monotonic() > end:
                return
            await asyncio.sleep(0.001)

    def _next_parts(self) -> list[_Part]:
        """Whole small requests in their order, then a piece of a large one; large ones in turn."""
        parts: list[_Part] = []
        room = BATCH
        while self._small and self._small[0].left <= room:
            job = self._small.popleft()
            parts.append((job, job.take(job.left)))
            room -= len(job.papers)
        if self._large:
            job = self._large.popleft()
            parts.append((job, job.take(PIECE if parts else BATCH)))
            if job.left:
                self._large.append(job)
        return parts

    async def _run(self, parts: list[_Part]) -> None:
        """Classify; if a batch fails, each request alone, so that one cannot harm the others."""
        began = time.monotonic()
        papers = [paper for _, part in parts for paper in part]
        try:
            answers = iter(await self._in_thread(lambda: self._classify(papers)))
        except Exception as error:  # it belongs to the request
            if len(parts) > 1:
                for one in parts:
                    await self._run([one])
                return
            job = parts[0][0]
            if job in self._large:
                self._large.remove(job)
            _fail(job.future, error)
            return
        small = sum(len(job.papers) <= PIECE for job, _ in parts)
        self._last = (small, time.monotonic() - began)
        for job, part in parts:
            job.answers += [next(answers) for _ in part]
            if len(job.answers) == len(job.papers):
                _finish(job.future, job.answers)

    async def _in_thread(self, function: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)


def _finish(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():  # a request may have been given up
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
