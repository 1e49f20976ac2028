"""`serve` as a process: how it ends, and that it replaces a worker that is killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import requests
from untrained_model import save_untrained_model

from arxiv_hybrid.serving.sockets import listen

BODY = json.dumps({"dataframe_records": [{"title": "deep", "abstract": "words"}]})
PATIENCE = 120.0  # seconds, for a busy machine


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server in a process of its own that answers, and its URL."""
    save_untrained_model(folder / "model", seed=0)
    command = [sys.executable, "-m", "arxiv_hybrid", "serve", "--port", "0", "--model", "model"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*command, *options], cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            url = next(line.split()[1] for line in lines if line.startswith("page:"))
            assert requests.get(f"{url}/ping", timeout=PATIENCE).ok
            yield process, url
        finally:
            for child in psutil.Process(process.pid).children() if process.poll() is None else []:
                child.kill()
            process.kill()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_server_stopped_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    save_untrained_model(tmp_path / "model", seed=0)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "arxiv_hybrid", "serve", "--port", "0", "--model", "model"],
        cwd=tmp_path, env={**os.environ, "TMPDIR": str(temporary)}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    until(lambda: any(temporary.glob("arxiv-hybrid-*")))
    process.terminate()
    assert process.wait(PATIENCE) == 0
    assert not list(temporary.glob("arxiv-hybrid-*"))


class Load:
    """Clients with persistent connections that ask until the server closes these."""

    def __init__(self, url: str, clients: int) -> None:
        self.answered, self.lost = 0, list[str]()
        self._address = ("127.0.0.1", int(url.rpartition(":")[2]))
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        request = (
            "POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(BODY)}\r\n\r\n{BODY}"
        ).encode()
        with socket.create_connection(self._address, timeout=PATIENCE) as connection:
            answer = b""
            while b"connection: close" not in answer.lower():
                try:
                    connection.sendall(request)
                    answer = connection.recv(1 << 16)
                    while b'"predictions"' not in answer or not answer.endswith(b"}"):
                        part = connection.recv(1 << 16)
                        assert part, "closed without an answer"
                        answer += part
                except (OSError, AssertionError) as error:
                    self.lost.append(repr(error))
                    return
                self.answered += 1

    def wait(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE)


def test_clients_that_hang_up_do_not_end_it(tmp_path: Path) -> None:
    with serving(tmp_path) as (process, url):
        process.send_signal(signal.SIGSTOP)  # so that it answers after they have gone
        for _ in range(10):
            with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as client:
                client.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        process.send_signal(signal.SIGCONT)
        assert requests.get(f"{url}/ping", timeout=PATIENCE).ok
        assert process.poll() is None


@pytest.mark.parametrize(
    ("workers", "number", "status", "said"),
    [
        (1, signal.SIGTERM, 0, []),
        (2, signal.SIGINT, 130, ["worker 0 ended with exit code -9; a new one starts", "stopped"]),
    ],
)
def test_it_answers_what_has_arrived_refuses_more_and_ends(
    workers: int, number: int, status: int, said: list[str], tmp_path: Path
) -> None:
    with serving(tmp_path, "--workers", str(workers)) as (process, url):
        if workers > 1:
            replaces_a_killed_worker(process, url)
        load = Load(url, clients=8)
        until(lambda: load.answered >= 50)
        process.send_signal(number)
        load.wait()
        assert load.lost == []
        assert process.wait(PATIENCE) == status
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{url}/ping", timeout=5)
        assert process.stderr is not None
        assert process.stderr.read().splitlines() == said


def replaces_a_killed_worker(process: subprocess.Popen[str], url: str) -> None:
    """Kill a worker; the other one goes on, and a new one starts."""

    def ready() -> int:
        number: int = requests.get(f"{url}/health", timeout=PATIENCE).json()["ready"]
        return number

    until(lambda: ready() == 2)
    children = psutil.Process(process.pid).children()
    workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    first, second = sorted(workers, key=lambda child: child.pid)
    first.kill()
    until(lambda: ready() == 1)
    until(lambda: ready() == 2)
    assert second.is_running()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_response_does_not_wait_for_the_client_to_confirm_its_headers(host: str) -> None:
    if host == "::1" and not Path("/proc/net/if_inet6").is_file():
        pytest.skip("this machine has no IPv6")
    with listen(host, 0) as listener, socket.create_connection(listener.getsockname()[:2]):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
