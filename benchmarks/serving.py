"""The scoring server under load: requests per second, latency, lost requests, memory, shutdown.

    python benchmarks/serving.py [--model models/main] [--workers 1]       # starts a server
    python benchmarks/serving.py --url http://127.0.0.1:5001/invocations   # of a running one

50 clients with persistent connections each send the next paper as soon as they have an answer. The
papers are generated, or come from --papers FILE. With --url, only the first row of the table is
measured. The load comes from this process: it shares the cores with the server.
"""

import asyncio
import itertools
import json
import re
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil
import requests
from runner import Stopwatch, markdown, new_parser

from arxiv_hybrid.inference.records import read_records
from arxiv_hybrid.sources import synthetic

LARGE = 1000  # papers in one request
BAD = (
    b"{", b'{"dataframe_records": [{"title": "x"}]}', b'{"dataframe_records": 3}', b"\xff",
    b'{"dataframe_records": [{"title": null, "abstract": "x"}]}', b"[]",
)  # fmt: skip
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)
BOOT = 120.0  # seconds that a server may take to start


@dataclass
class Answers:
    """What the clients got: the seconds of each answer, and how many had which status."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    wall: float = 0.0

    @property
    def lost(self) -> int:
        """Requests without an answer, or with one that no request of ours deserves."""
        return sum(count for status, count in self.statuses.items() if status not in ("200", "400"))

    def row(self) -> list[str]:
        p50, p99 = 1000 * np.percentile(self.seconds or [np.nan], [50, 99])
        per_second = len(self.seconds) / self.wall
        statuses = ", ".join(f"{n:,} x {status}" for status, n in sorted(self.statuses.items()))
        return [f"{per_second:,.0f}", f"{p50:.0f}", f"{p99:.0f}", statuses, str(self.lost)]


class Client(asyncio.Protocol):
    """A client that asks again as soon as it has an answer, over one connection.

    When the server announces that it closes the connection, or `stop` is set, it stops.
    """

    def __init__(self, questions: Iterator[bytes], answers: Answers, stop: asyncio.Event) -> None:
        self.questions, self.answers, self.stop = questions, answers, stop
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.buffer = bytearray()
        self.end = 0  # of the answer in the buffer, once its headers are there
        self.asked: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.asked = time.perf_counter()
        self.transport.write(next(self.questions))

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.end and (head := self.buffer.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self.buffer[:head])
            self.end = head + 4 + (int(length[1]) if length else 0)
        if not self.end or len(self.buffer) < self.end:
            return
        status = self.buffer[9:12].decode()
        if status == "200" and b'"category"' not in self.buffer:
            status = "200 without a category"
        assert self.asked is not None
        self.answers.seconds.append(time.perf_counter() - self.asked)
        self.answers.statuses[status] += 1
        closing = b"\r\nconnection: close" in self.buffer[: self.end].lower()
        self.buffer.clear()
        self.end, self.asked = 0, None
        if closing or self.stop.is_set():
            self.transport.close()
        else:
            self.ask()

    def connection_lost(self, error: Exception | None) -> None:
        if self.asked is not None:
            self.answers.statuses[
                f"no answer, {type(error).__name__}" if error else "no answer"
            ] += 1
        if not self.done.done():
            self.done.set_result(None)


def question(address: str, body: bytes) -> bytes:
    """One HTTP request for the papers in a JSON body."""
    return (
        f"POST /invocations HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def records(papers: list[dict[str, str]]) -> bytes:
    return json.dumps({"dataframe_records": papers}).encode()


async def load(
    address: str, bodies: Iterator[bytes], clients: int, seconds: float, *, most: float = np.inf
) -> Answers:
    """Ask from many clients for some seconds, or until there are `most` answers."""
    host, _, port = address.rpartition(":")
    loop, answers, stop = asyncio.get_running_loop(), Answers(), asyncio.Event()
    questions = (question(address, body) for body in bodies)
    running = []
    with Stopwatch() as watch:
        for _ in range(clients):
            _, client = await loop.create_connection(
                lambda: Client(questions, answers, stop), host, int(port)
            )
            running.append(client.done)
        ended = asyncio.gather(*running)
        end = time.monotonic() + seconds
        while time.monotonic() < end and len(answers.seconds) < most and not ended.done():
            await asyncio.sleep(0.05)
        stop.set()
        await asyncio.wait_for(ended, 120)
    answers.wall = watch.seconds
    return answers


def texts(options: Namespace) -> list[dict[str, str]]:
    """Papers to ask about."""
    if options.papers:
        tables = read_records(options.papers, 1000, key="--papers", on_bad_row=print)
        table = next(iter(tables))
    else:
        table = synthetic.generate(papers=1000, label_noise=0.0, seed=1)[0]
    columns = (table[name].tolist() for name in ("title", "abstract"))
    return [
        {"title": title, "abstract": abstract} for title, abstract in zip(*columns, strict=True)
    ]


def with_bad(bodies: list[bytes], share: float) -> Iterator[bytes]:
    """The bodies in turn for ever; every 1 / share-th is malformed instead."""
    bad, every = itertools.cycle(BAD), round(1 / share) if share else 0
    for number, body in enumerate(itertools.cycle(bodies), 1):
        yield next(bad) if every and number % every == 0 else body


async def beside_large(
    address: str, small: list[bytes], large: bytes, options: Namespace
) -> Answers:
    """Small requests while another client sends one large request after the other."""
    others = asyncio.ensure_future(load(address, itertools.repeat(large), 1, options.seconds))
    answers = await load(address, itertools.cycle(small), options.clients, options.seconds)
    big = await others
    print(f"(large ones beside them: {len(big.seconds)}, lost {big.lost})")
    return answers


async def beside_slow(address: str, small: list[bytes], options: Namespace) -> Answers:
    """Small requests beside 200 clients that stop in the middle of a request, or never begin."""
    host, _, port = address.rpartition(":")
    writers = []
    for number in range(200):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(question(address, small[0])[: (0, 20, -10)[number % 3]])
        writers.append(writer)
    answers = await load(address, itertools.cycle(small), options.clients, options.seconds)
    for writer in writers:
        writer.close()
    return answers


@contextmanager
def server(options: Namespace) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A server of its own, and its address."""
    command = [sys.executable, "-m", "arxiv_hybrid", "serve", "--port", str(options.port)]
    command += ["--model", str(options.model)] if options.model else []
    process = subprocess.Popen([*command, "--workers", str(options.workers)])
    address = f"127.0.0.1:{options.port}"
    try:
        deadline = time.monotonic() + BOOT
        while True:
            with suppress(requests.ConnectionError):
                if requests.get(f"http://{address}/ping", timeout=BOOT).ok:
                    break
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.2)
        yield process, address
    finally:
        process.terminate()
        process.wait(60)


def memory(process: subprocess.Popen[bytes]) -> float:
    """MiB in use by a process and its children."""
    root = psutil.Process(process.pid)
    return float(sum(p.memory_info().rss for p in [root, *root.children(recursive=True)])) / 2**20


async def terminated(
    process: subprocess.Popen[bytes], address: str, small: list[bytes], clients: int
) -> str:
    """SIGTERM in the middle of the load: what happened, in words."""
    asking = asyncio.ensure_future(load(address, itertools.cycle(small), clients, 60))
    await asyncio.sleep(3)
    process.send_signal(signal.SIGTERM)
    with Stopwatch() as watch:
        answers = await asking
        status = await asyncio.to_thread(process.wait, 60)
    refused = "answered"
    try:
        requests.get(f"http://{address}/ping", timeout=5)
    except requests.ConnectionError:
        refused = "refused"
    return (
        f"SIGTERM under load: {len(answers.seconds):,} answered, {answers.lost} lost, "
        f"exit code {status} after {watch.seconds:.1f} s, then {refused}"
    )


def measure(options: Namespace) -> None:
    """Start a server and print all measurements."""
    papers = texts(options)
    small = [records([paper]) for paper in papers]
    large = records((papers * (LARGE // len(papers) + 1))[:LARGE])
    rows = []
    with server(options) as (process, address):

        def run(name: str, bodies: Iterator[bytes], clients: int = options.clients) -> None:
            rows.append([name, *asyncio.run(load(address, bodies, clients, options.seconds)).row()])

        asyncio.run(load(address, itertools.cycle(small), options.clients, 3))  # warm up
        run("one client", itertools.cycle(small), 1)
        run(f"{options.clients} clients", itertools.cycle(small))
        run("1 % malformed", with_bad(small, 0.01))
        large_ones = beside_large(address, small, large, options)
        rows.append([f"beside requests of {LARGE:,} papers", *asyncio.run(large_ones).row()])
        slow_ones = beside_slow(address, small, options)
        rows.append(["beside 200 slow clients", *asyncio.run(slow_ones).row()])
        before = memory(process)
        many = load(address, with_bad(small, 0.01), options.clients, 3600, most=options.requests)
        rows.append([f"{options.requests:,} requests", *asyncio.run(many).row()])
        after = memory(process)
        print(markdown(HEADER, rows))
        print(
            f"memory before and after {options.requests:,} requests: {before:.0f}, {after:.0f} MiB"
        )
        print(asyncio.run(terminated(process, address, small, options.clients)))


HEADER = ("load", "requests/s", "p50, ms", "p99, ms", "answers", "lost")


if __name__ == "__main__":
    parser = new_parser(__doc__)
    parser.add_argument("--url", help="measure a server that is running")
    parser.add_argument("--model", type=Path, help="the model folder of the server to start")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--port", type=int, default=5055)
    parser.add_argument("--papers", type=Path, help="a CSV or JSON lines with title and abstract")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10, help="for each row of the table")
    parser.add_argument("--requests", type=int, default=50_000, help="while memory is watched")
    options = parser.parse_args()
    if options.url:
        small = [records([paper]) for paper in texts(options)]
        address = urlsplit(options.url).netloc
        first = load(address, itertools.cycle(small), options.clients, options.seconds)
        print(markdown(HEADER, [[f"{options.clients} clients", *asyncio.run(first).row()]]))
    else:
        measure(options)
