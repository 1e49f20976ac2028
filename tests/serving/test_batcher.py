"""Micro-batching: every request gets its own answers, in time, whatever the others are."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from arxiv_hybrid.serving import batcher as module
from arxiv_hybrid.serving.batcher import BATCH, PIECE, Batcher, BusyError, Paper


class Model:
    """Answers with the title; keeps the batches. `gate` holds it up until it is set."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, papers: list[Paper]) -> list[bytes]:
        titles = [title for title, _ in papers]
        self.batches.append(titles)
        assert self.gate.wait(10)
        if "fatal" in titles:
            raise ValueError("a paper that the model cannot read")
        return [title.encode() for title in titles]


def papers(*titles: Any) -> list[Paper]:
    return [(str(title), "") for title in titles]


def run(action: Callable[[Model, Batcher], Awaitable[None]]) -> Model:
    model = Model()

    async def main() -> None:
        await asyncio.wait_for(action(model, Batcher(model)), 20)

    asyncio.run(main())
    return model


async def behind_a_closed_gate(model: Model, batcher: Batcher) -> asyncio.Task[list[bytes]]:
    """A request that the model is working on until its gate opens; the next ones wait."""
    model.gate.clear()
    first = asyncio.ensure_future(batcher.answers(papers("first")))
    while not model.batches:
        await asyncio.sleep(0.001)
    return first


def test_requests_that_arrive_meanwhile_are_one_batch_and_keep_their_answers() -> None:
    async def action(model: Model, batcher: Batcher) -> None:
        first = await behind_a_closed_gate(model, batcher)
        asked = [papers(*(f"{n}-{part}" for part in range(n % 3 + 1))) for n in range(30)]
        others = [asyncio.ensure_future(batcher.answers(paper)) for paper in asked]
        await asyncio.sleep(0)
        model.gate.set()
        assert await first == [b"first"]
        for paper, answers in zip(asked, await asyncio.gather(*others), strict=True):
            assert answers == [title.encode() for title, _ in paper]

    model = run(action)
    assert [len(batch) for batch in model.batches] == [1, 60]


def test_a_batch_has_a_limit_and_a_lone_request_does_not_wait() -> None:
    async def action(_: Model, batcher: Batcher) -> None:
        assert await batcher.answers(papers("alone")) == [b"alone"]
        assert await batcher.answers([]) == []
        await asyncio.gather(*(batcher.answers(papers(n)) for n in range(150)))

    model = run(action)
    assert model.batches[0] == ["alone"]
    assert [len(batch) for batch in model.batches[1:]] == [BATCH, BATCH, 150 - 2 * BATCH]


def test_clients_that_ask_again_after_a_batch_are_in_the_next_one_together() -> None:
    async def ask(batcher: Batcher, client: int) -> None:
        for number in range(5):
            for _ in range(client):  # the next question comes a little later
                await asyncio.sleep(0)
            assert await batcher.answers(papers(f"{client}-{number}"))

    async def action(model: Model, batcher: Batcher) -> None:
        first = await behind_a_closed_gate(model, batcher)
        clients = [asyncio.ensure_future(ask(batcher, client)) for client in range(12)]
        for _ in range(20):
            await asyncio.sleep(0)
        model.gate.set()
        await asyncio.gather(first, *clients)

    model = run(action)
    sizes = [len(batch) for batch in model.batches]
    assert sizes[:2] == [1, 12]
    assert sum(sizes) == 61
    assert len(sizes) <= 9, "a late client is forgiven a few times"


def test_large_requests_take_turns_and_do_not_hold_up_small_ones() -> None:
    finished: list[str] = []

    async def ask(batcher: Batcher, name: str, number: int) -> None:
        answers = await batcher.answers(papers(*(f"{name}{n}" for n in range(number))))
        assert answers == [f"{name}{n}".encode() for n in range(number)]
        finished.append(name)

    async def action(model: Model, batcher: Batcher) -> None:
        first = await behind_a_closed_gate(model, batcher)
        others = [asyncio.ensure_future(ask(batcher, name, 5 * BATCH)) for name in "AB"]
        await asyncio.sleep(0)
        others += [asyncio.ensure_future(ask(batcher, f"small{n}-", 1)) for n in range(BATCH + 1)]
        await asyncio.sleep(0)
        model.gate.set()
        await asyncio.gather(first, *others)

    model = run(action)
    assert set(finished[-2:]) == {"A", "B"}
    counts = [[sum(title.startswith(kind) for title in batch) for kind in ("small", "A", "B")]
              for batch in model.batches[1:3]]  # fmt: skip
    assert counts == [[BATCH, PIECE, 0], [1, 0, PIECE]]


@pytest.mark.parametrize("others", [0, 1, 5])
def test_a_paper_that_fails_fails_its_own_request_only(others: int) -> None:
    async def action(model: Model, batcher: Batcher) -> None:
        first = await behind_a_closed_gate(model, batcher)
        good = [asyncio.ensure_future(batcher.answers(papers(n))) for n in range(others)]
        bad = asyncio.ensure_future(batcher.answers(papers("x", "fatal")))
        long = asyncio.ensure_future(batcher.answers(papers(*range(2 * BATCH), "fatal", *"yz")))
        await asyncio.sleep(0)
        model.gate.set()
        for failing in (bad, long):
            with pytest.raises(ValueError, match="cannot read"):
                await failing
        assert await asyncio.gather(first, *good) == [
            [b"first"],
            *([str(n).encode()] for n in range(others)),
        ]
        assert await batcher.answers(papers("later")) == [b"later"]

    run(action)


def test_too_many_papers_are_refused_and_those_that_wait_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 10)
    counts: list[int] = []

    async def main() -> None:
        model = Model()
        batcher = Batcher(model, counts.append)
        first = await behind_a_closed_gate(model, batcher)
        second = asyncio.ensure_future(batcher.answers(papers(*range(9))))
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await batcher.answers(papers("one too many"))
        model.gate.set()
        await asyncio.gather(first, second)
        assert await batcher.answers(papers(*range(10)))
        with pytest.raises(BusyError):
            await batcher.answers(papers(*range(11)))

    asyncio.run(main())
    assert counts == [1, 10, 9, 0, 10, 0]


def test_calls_run_between_batches_in_the_same_thread_and_are_limited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_CALLS", 3)
    order: list[str] = []
    threads: set[int] = set()

    def call(number: int) -> int:
        order.append(f"call {number}")
        threads.add(threading.get_ident())
        if number == 1:
            raise KeyError("of the caller")
        return number

    async def action(model: Model, batcher: Batcher) -> None:
        first = await behind_a_closed_gate(model, batcher)
        calls = [asyncio.ensure_future(batcher.call(lambda n=n: call(n))) for n in range(3)]  # type: ignore[misc]
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await batcher.call(lambda: call(3))
        batch = asyncio.ensure_future(batcher.answers(papers("second")))
        batch.add_done_callback(lambda _: order.append("batch"))
        await asyncio.sleep(0)
        model.gate.set()
        results = await asyncio.gather(first, batch, *calls, return_exceptions=True)
        assert isinstance(results.pop(3), KeyError)
        assert results == [[b"first"], [b"second"], 0, 2]

    run(action)
    assert order[0] == "call 0"
    assert order.index("batch") < order.index("call 2"), "calls do not hold up batches"
    assert len(threads) == 1
