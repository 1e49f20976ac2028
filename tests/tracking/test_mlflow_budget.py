"""MLflow in bad states: one warning, a bounded wait, and training goes on."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from arxiv_hybrid.params import Params
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.tracking import (
    Run,
    budget,
    find_champion,
    find_run,
    registry,
    track,
    training_seconds,
)
from arxiv_hybrid.tracking.budget import Budget
from arxiv_hybrid.tracking.parent import Parent
from arxiv_hybrid.tracking.worker import Worker, within

pytestmark = pytest.mark.usefixtures("outside_settings_unset")
START, TOTAL = 0.4, 0.6  # seconds
LONG = 30.0  # seconds: far above the budget, far below what the faults would cost
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"


@pytest.fixture(autouse=True)
def short_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipeline in tmp_path that may wait for less than a second."""
    # the thread of an earlier test may hold MLflow's own lock for an hour
    monkeypatch.setattr("mlflow.tracking.fluent._experiment_lock", threading.Lock())
    monkeypatch.setattr(budget, "START", START)
    monkeypatch.setattr(budget, "TOTAL", TOTAL)
    monkeypatch.setattr(budget, "_dvc_process", lambda: "1 2")
    (tmp_path / ".dvc/tmp").mkdir(parents=True)


def never_answer(connection: socket.socket) -> None:
    connection.recv(65536)
    time.sleep(60)


def trickle(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(OK)
    while True:
        connection.sendall(b" ")
        time.sleep(0.05)


def come_back_in_an_hour(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(
        b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n"
    )


def endless_header(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X: y\r\n")
        time.sleep(0.05)


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[tuple[str, list[str]]]:
    """A server's URL, and a list with an entry for each connection to it."""
    connections: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def one(connection: socket.socket) -> None:
            with connection:
                try:
                    answer(connection)
                except OSError:
                    connections.append("closed by the client")

        def loop() -> None:
            while True:
                try:
                    connection = listener.accept()[0]
                except OSError:
                    return
                connections.append("opened")
                threading.Thread(target=one, args=[connection], daemon=True).start()

        threading.Thread(target=loop, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", connections
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def run_stages(params: Params, root: Path) -> float:
    """Run the tracked part of two stages of a pipeline; returns the seconds that they took."""
    began = time.monotonic()
    for stage in ("train", "evaluate"):
        with track(stage, params, root=root, workspace=root) as run:
            run.metrics({"loss": 1.0})
        assert not run.active
    return time.monotonic() - began


@pytest.mark.parametrize("answer", [never_answer, trickle, come_back_in_an_hour, endless_header])
@pytest.mark.filterwarnings("ignore")
def test_a_server_costs_no_more_than_the_budget(
    answer: Callable[[socket.socket], None], tiny_params: Params, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for name in ("START", "TOTAL"):  # enough for a first request on a busy machine
        monkeypatch.setattr(budget, name, 2.0)
    with answering(answer) as (url, connections):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        assert run_stages(tiny_params, tmp_path) < LONG
        assert "opened" in connections
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("warning: MLflow does not log this run: ")
        asked = len(connections)
        assert run_stages(tiny_params, tmp_path) < LONG
        assert len(connections) == asked, "later stages of the pipeline do not try again"
        assert capsys.readouterr().err == ""
    monkeypatch.setattr(budget, "_dvc_process", lambda: "3 4")
    run_stages(tiny_params, tmp_path)
    assert len(capsys.readouterr().err.splitlines()) == 1, "the next pipeline tries again"


@pytest.mark.parametrize(
    ("status", "body", "user", "reason"),
    [
        ("401 Unauthorized", "Who?", "ada", "does not accept this user and password (MLFLOW_TRA"),
        ("401 Unauthorized", "Who?", "", "asks for a user and password (MLFLOW_TRACKING_USERNAME"),
        ("403 Forbidden", "Invalid Host header - ...", "ada", "answer to the name 127.0.0.1:"),
        ("403 Forbidden", "Permission denied", "ada", "not permit user ada to do experiments/get-"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_refusal_says_what_to_do(
    status: str, body: str, user: str, reason: str, tiny_params: Params, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def refuse(connection: socket.socket) -> None:
        connection.recv(65536)
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        connection.sendall(f"{head}{body}".encode())

    monkeypatch.setattr(budget, "START", LONG)
    monkeypatch.setattr(budget, "TOTAL", LONG)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", user)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "correct horse" if user else "")
    with answering(refuse) as (url, _):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        run_stages(tiny_params, tmp_path)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: MLflow does not log this run: the server ")
    assert reason in line


@pytest.mark.filterwarnings("ignore")
def test_a_name_that_is_never_resolved_costs_no_more_than_the_budget(
    tiny_params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(60) or [])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example.org")
    assert run_stages(tiny_params, tmp_path) < LONG
    released.set()
    (line,) = capsys.readouterr().err.splitlines()
    assert "no answer within" in line


def a_folder(database: Path) -> str:
    database.mkdir()
    return "a folder, not a database"


def another_file(database: Path) -> str:
    database.write_text("These are notes, not a database.")
    return "not an SQLite database"


def a_pipe(database: Path) -> str:
    os.mkfifo(database)
    return "not a regular file"


def below_a_file(database: Path) -> str:
    (database.parent / "file").touch()
    os.environ["MLFLOW_TRACKING_URI"] = "sqlite:///file/mlflow.db"
    return "cannot be written"


def a_damaged_database(database: Path) -> str:
    database.write_bytes(b"SQLite format 3\0" + b"damage" * 1000)
    return "cannot be read: file is not a database"


def a_newer_schema(database: Path) -> str:
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('from_the_future')")
    connection.close()
    return ""  # a matter of MLflow's own words


@pytest.mark.parametrize(
    "state",
    [a_folder, another_file, a_pipe, below_a_file, a_damaged_database, a_newer_schema],
)
@pytest.mark.filterwarnings("ignore")
def test_a_database_that_cannot_be_used_costs_one_line(
    state: Callable[[Path], str], tiny_params: Params, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    reason = state(tmp_path / "mlflow.db")
    assert run_stages(tiny_params, tmp_path) < LONG
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: MLflow does not log this run: ")
    assert reason in line


@pytest.fixture
def suspended_holder(tmp_path: Path) -> Iterator[None]:
    """A suspended process that holds mlflow.db.lock."""
    lock = tmp_path / "mlflow.db.lock"
    code = (
        "import fcntl, sys, time\nfile = open(sys.argv[1], 'w')\n"
        "fcntl.flock(file, fcntl.LOCK_EX)\nprint('held', flush=True)\ntime.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            holder.kill()


@pytest.mark.usefixtures("suspended_holder")
@pytest.mark.filterwarnings("ignore")
def test_a_lock_of_a_suspended_process_costs_one_line(
    tiny_params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(budget, "START", 3.0)  # the lock's own timeout is shorter
    monkeypatch.setattr(budget, "TOTAL", 3.0)
    assert run_stages(tiny_params, tmp_path) < LONG
    (line,) = capsys.readouterr().err.splitlines()
    assert "mlflow.db.lock: another process holds this lock" in line
    with (tmp_path / "mlflow.db.lock").open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it is still held


@pytest.mark.parametrize("answer", [never_answer, trickle, come_back_in_an_hour])
@pytest.mark.filterwarnings("ignore")
def test_serving_does_not_wait_for_ever_and_prints_no_password(
    answer: Callable[[socket.socket], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_ANSWER", START)
    with answering(answer) as (url, _):
        secret = url.replace("http://", "http://me:hunter2@")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", secret)
        with pytest.raises(UserError, match=r"cannot be queried: no answer within 0\.4 s") as error:
            find_champion(tmp_path, "papers", tmp_path)
        assert "hunter2" not in str(error.value)
        monkeypatch.setattr(registry, "_LOOK", START)
        with pytest.raises(UserError, match=r"cannot tell: no answer within 0\.4 s"):
            find_run(tmp_path, "any")
        assert training_seconds(tmp_path, ["any"]) is None


def test_the_exit_status_is_that_of_the_training(
    tiny_params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(never_answer) as (url, _):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        with (
            pytest.raises(ZeroDivisionError),
            track("train", tiny_params, root=tmp_path, workspace=tmp_path),
        ):
            raise ZeroDivisionError


def test_stages_share_what_a_server_costs(tmp_path: Path) -> None:
    def stage() -> Budget:
        return Budget(tmp_path / "waits.json")

    first = stage()
    assert (first.start, first.left) == (START, TOTAL)
    first.left -= 0.5
    first.save()
    second = stage()
    assert second.left == pytest.approx(0.1)
    assert second.start == pytest.approx(0.1), "a start takes no more than what is left"
    second.exhaust()
    assert stage().left == 0
    for content in ("", "[]", '{"waited": "x"}'):
        (tmp_path / "waits.json").write_text(content)
        assert stage().left == TOTAL, "a damaged file costs nothing"


def test_a_local_database_that_answers_costs_nothing(tmp_path: Path) -> None:
    local = Budget(tmp_path / "waits.json", local=True)
    local.left = 0.2
    local.save()
    assert Budget(tmp_path / "waits.json", local=True).left == TOTAL
    local.exhaust()
    assert Budget(tmp_path / "waits.json", local=True).left == 0


def test_a_parent_run_that_hangs_costs_no_more_than_the_budget(
    capsys: pytest.CaptureFixture[str],
) -> None:
    released, limited = threading.Event(), Budget(None)
    limited.left = 0.2

    def hang() -> Parent:
        released.wait(60)
        raise AssertionError

    run = Run(object(), limited)
    run.join(hang, {})
    assert run.active, "the stage starts without it"
    run.end("FINISHED")
    released.set()
    assert not run.active
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: MLflow stopped logging this run: no answer within 0.2 s")


def test_a_failed_call_ends_the_calls_after_it() -> None:
    done: list[int] = []
    worker = Worker()
    for call in (lambda: done.append(1), lambda: 1 / 0, lambda: done.append(2)):
        worker.submit(call)
    assert worker.wait(LONG)
    assert isinstance(worker.error, ZeroDivisionError)
    worker.stop()
    assert done == [1]


def test_within_returns_raises_or_gives_up() -> None:
    assert within(LONG, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        within(LONG, lambda: 1 / 0)
    released = threading.Event()
    with pytest.raises(TimeoutError, match=r"no answer within 0\.1 s"):
        within(0.1, lambda: released.wait(60))
    released.set()


STUCK = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from arxiv_hybrid.system.process import exit_past_stuck_threads
from arxiv_hybrid.tracking.worker import Worker
worker, begun = Worker(), threading.Event()
def upload():
    with ThreadPoolExecutor() as pool:  # as MLflow does; Python waits for its threads at exit
        pool.submit(lambda: (begun.set(), threading.Event().wait(60))).result()
worker.submit(upload)
begun.wait()
worker.stop(abandon=True)
try:
    print("result", end="")
    {end}
finally:
    exit_past_stuck_threads(sys.exc_info()[1])
"""


@pytest.mark.parametrize(
    ("end", "status", "error"),
    [
        ("pass", 0, ""),
        ("sys.exit(2)", 2, ""),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
    ],
)
def test_a_stuck_upload_does_not_hold_up_the_end_of_a_process(
    end: str, status: int, error: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STUCK.format(end=end)],
        capture_output=True, text=True, timeout=LONG, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    assert done.stdout == "result"
    assert done.stderr.endswith(error) if error else done.stderr == ""


def test_the_dvc_command_is_found_among_the_parents(tmp_path: Path) -> None:
    code = "from arxiv_hybrid.tracking import budget; print(budget._dvc_process())"
    (tmp_path / "dvc").write_text(
        "import os, subprocess, sys\n"
        f"for _ in 'ab': subprocess.run(['sh', '-c', sys.executable + ' -c \"{code}\"; true'])\n"
        "print(os.getpid())"
    )
    done = subprocess.run(
        [sys.executable, str(tmp_path / "dvc"), "repro"], capture_output=True, text=True, check=True
    )
    first, second, pid = done.stdout.splitlines()
    assert first == second
    assert first.split()[0] == pid
