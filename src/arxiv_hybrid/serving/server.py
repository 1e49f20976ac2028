"""Processes, sockets and signals of the scoring server."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import uvicorn

from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.serving.app import App
from arxiv_hybrid.serving.counters import Counters
from arxiv_hybrid.serving.sockets import BACKLOG
from arxiv_hybrid.system.errors import UserError

DRAIN_SECONDS = 10  # in which requests are answered after the signal to stop
_GRACE = 0.5  # seconds in which clients with a connection may still ask, and learn that it closes
SILENT_SECONDS = 60.0  # after which a connection without a request is closed


@dataclass(frozen=True)
class ServedModel:
    """The folder of a model, and what people call it."""

    folder: Path
    name: str


def serve(model: ServedModel, listener: socket.socket, workers: int) -> None:
    """Answer requests on `listener` until SIGTERM or Ctrl-C, then those that have arrived.

    workers: processes, each with its own copy of the model and its share of the cores.
    """
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # a client that hangs up does not end the server
    counters = Counters(workers)
    if workers == 1:
        run_worker(model, listener, counters)
    else:
        gc.freeze()
        _Workers(model, listener, counters, workers).run()


def run_worker(
    model: ServedModel, listener: socket.socket, counters: Counters, parent: int | None = None
) -> None:
    """Serve in this process. parent: the process that started it, if one did, and will stop it."""
    torch.set_num_threads(max(1, torch.get_num_threads() // counters.workers))
    app = App(checkpoint.load(model.folder), model.name, counters)
    gc.freeze()  # later collections, and that at the end, need not pass over all libraries
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn sends itself the signal once more
    make_server(app, parent).run(sockets=[listener])


def make_server(app: App, parent: int | None = None) -> uvicorn.Server:
    """Uvicorn for an application; see `run_worker`."""
    config = uvicorn.Config(
        app, lifespan="off", ws="none", log_level="error", access_log=False, server_header=False,
        # accept one connection at a time, so that they are spread over the workers
        backlog=1 if parent else BACKLOG, timeout_graceful_shutdown=DRAIN_SECONDS,
    )  # fmt: skip
    return _Server(config, app, parent)


class _Server(uvicorn.Server):
    """Uvicorn that ends with status 0 after SIGTERM, and loses no request on the way."""

    def __init__(self, config: uvicorn.Config, app: App, parent: int | None) -> None:
        super().__init__(config)
        self._app = app
        self._parent = parent
        self._last: dict[Any, tuple[Any, float]] = {}  # request of each connection, and since when

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(BACKLOG)
        self._app.counters.set_ready()

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:
            self._close_silent(time.monotonic())
            if self._parent is not None and os.getppid() != self._parent:
                self.should_exit = True
        return await super().on_tick(counter)

    def _close_silent(self, now: float) -> None:
        """Close connections without a request, or whose answer is not taken, for a minute."""
        connections: set[Any] = self.server_state.connections
        self._last = {each: last for each, last in self._last.items() if each in connections}
        for connection in connections:
            request = connection.cycle
            before, since = self._last.get(connection, (self, now))
            if before is not request or not (request is None or request.response_complete):
                self._last[connection] = (request, now)
            elif now - since > SILENT_SECONDS:
                connection.transport.abort()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse new connections, answer what comes through the others, then close them."""
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        self._app.draining = True
        end = time.monotonic() + _GRACE
        while self.server_state.connections and time.monotonic() < end:
            await asyncio.sleep(0.02)
        await super().shutdown()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._parent is None or sig != signal.SIGINT:  # Ctrl-C is the parent's matter
            super().handle_exit(sig, frame)


class _Workers:
    """Worker processes: started, started again if one is killed, and stopped together."""

    def __init__(
        self, model: ServedModel, listener: socket.socket, counters: Counters, number: int
    ) -> None:
        self._arguments = (model, listener, counters)
        self._counters, self._listener = counters, listener
        self._context = multiprocessing.get_context("spawn")
        self._processes: dict[int, SpawnProcess] = {}
        self._number = number
        self._signal = 0

    def run(self) -> None:
        """Run until SIGTERM or Ctrl-C; UserError if a worker cannot start."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            for worker in range(self._number):
                self._start(worker)
            while not self._signal:
                wait([process.sentinel for process in self._processes.values()], timeout=0.2)
                self._replace_ended()
        finally:
            self._listener.close()
            self._end()
        if self._signal == signal.SIGINT:
            raise KeyboardInterrupt

    def _stop(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._signal = number

    def _start(self, worker: int) -> None:
        process = self._context.Process(
            target=_work, args=(*self._arguments, worker, os.getpid()), name=f"worker {worker}"
        )
        process.start()
        self._processes[worker] = process

    def _replace_ended(self) -> None:
        for worker, process in list(self._processes.items()):
            if process.exitcode is None or self._signal:
                continue
            ended = f"worker {worker} ended with exit code {process.exitcode}"
            if not self._counters.was_ready(worker):
                raise UserError(f"{ended} before it took requests; the server stops")
            print(f"{ended}; a new one starts", file=sys.stderr, flush=True)
            self._start(worker)

    def _end(self) -> None:
        """Stop the workers, and kill those that do not end."""
        processes = list(self._processes.values())
        for process in processes:
            process.terminate()
        end = time.monotonic() + DRAIN_SECONDS + 5
        for process in processes:
            process.join(max(0.0, end - time.monotonic()))
            if process.exitcode is None:
                process.kill()


def _work(
    model: ServedModel, listener: socket.socket, counters: Counters, worker: int, parent: int
) -> None:
    counters.worker = worker
    run_worker(model, listener, counters, parent)
