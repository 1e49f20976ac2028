"""A trial as an experiment of DVC in a workspace of its own, watched while it trains."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from arxiv_hybrid.search.space import override
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.git import experiment, git
from arxiv_hybrid.system.redaction import redact
from arxiv_hybrid.system.watched import EPOCHS, TRIAL, read_epochs

TRIALS = Path(".dvc/tmp/search")  # a folder for each that runs, or has failed
_POLL = 0.2  # seconds
_PATIENCE = 60  # seconds for a run to end after Ctrl-C
_STARTED = "Reproducing experiment "  # DVC prints it when the run no longer needs its stash
_CONSEQUENCE = "error: failed to reproduce"
# waits for a line; if there is none because the worker is gone, ends the group of its run
_GUARD = f"""read -r line && exit
kill -s INT -- "-$1"
for second in $(seq {_PATIENCE}); do kill -s 0 -- "-$1" || exit; sleep 1; done
kill -s KILL -- "-$1"
"""

Watch = Callable[[int, float], bool]  # of an epoch and its score: whether to stop


@dataclass(frozen=True)
class Pipeline:
    """What a trial runs, in a repository at `root`.

    target: of `dvc exp run`. params, metrics: the file of parameters that a trial changes, and the
    JSON file with its result; both relative to `root`. score: its name there. settings: parameters
    that all trials have, as NAME=VALUE. text: the content that `params` must have when a trial
    starts; None: any.
    """

    root: Path
    target: str
    params: str
    metrics: str
    score: str
    settings: Sequence[str] = ()
    text: str | None = None

    def changes(self, values: Mapping[str, Any]) -> list[str]:
        """The arguments of `dvc exp run` that set the parameters of a trial."""
        prefix = "" if self.params == "params.yaml" else f"{self.params}:"
        changed = [override(name, value) for name, value in values.items()]
        return [part for each in (*self.settings, *changed) for part in ("-S", prefix + each)]


@dataclass(frozen=True)
class Outcome:
    """How a run ended. score: None unless it finished. error: why it failed, in one line."""

    score: float | None = None
    error: str | None = None
    stopped: bool = False


def run_trial(
    pipeline: Pipeline,
    name: str,
    label: str,
    values: Mapping[str, Any],
    watch: Watch,
    alive: Callable[[], None],
) -> Outcome:
    """Run `dvc exp run --temp` as the experiment `name`, and return how it ended.

    label: study and number of the trial, for MLflow. watch: told each epoch; the run is stopped
    gracefully if it returns True. alive: called several times a second. If one of them raises, or
    this process ends, the run is stopped, too.
    """
    if experiment(pipeline.root, name) is not None:
        raise UserError(
            f"the experiment {name} exists already, from an earlier search; give this one another "
            "name with --study"
        )
    folder = pipeline.root / TRIALS / name
    folder.mkdir(parents=True, exist_ok=True)
    log, epochs = folder / "log", folder / "epochs"
    environment = {**os.environ, EPOCHS: str(epochs), TRIAL: label, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "exp", "run", "--temp",
               "--name", name, *pipeline.changes(values), pipeline.target]  # fmt: skip
    outcome = None
    try:
        with ExitStack() as running:
            with start_lock(pipeline.root, alive), log.open("wb") as output:
                _check_unchanged(pipeline)
                process = subprocess.Popen(  # noqa: S603 (this interpreter)
                    command, cwd=pipeline.root, env=environment, stdin=subprocess.DEVNULL,
                    stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                )  # fmt: skip
                running.callback(_stop, pipeline.root, name, process, _guard(process))
                _until(lambda: process.poll() is not None or _has_started(log), alive)
            stopped = _watch(process, epochs, watch, alive)
        outcome = _outcome(pipeline, name, log, stopped)
    finally:
        if outcome is None or outcome.error is None:
            shutil.rmtree(folder)
    return outcome


def result(pipeline: Pipeline, name: str) -> dict[str, Any]:
    """The metrics of a trial that finished in this repository; empty if it ran elsewhere."""
    revision = experiment(pipeline.root, name)
    text = git(pipeline.root, "show", f"{revision}:{pipeline.metrics}")
    metrics: dict[str, Any] = json.loads(text or "{}")
    return metrics


@contextmanager
def start_lock(root: Path, alive: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock of a repository in which a trial starts.

    DVC has one stash, from which each run starts, and changes params.yaml for a moment. Raises
    UserError if there is no repository.
    """
    if not (root / ".dvc").is_dir():
        raise UserError(f"{root}: not a DVC repository; start the search in that of the pipeline")
    path = root / TRIALS / "start.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)

    def acquired() -> bool:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        return True

    _until(acquired, alive)
    try:
        yield
    finally:
        lock.release()


def _check_unchanged(pipeline: Pipeline) -> None:
    path = pipeline.root / pipeline.params
    if pipeline.text is not None and path.read_text(encoding="utf-8") != pipeline.text:
        raise UserError(
            f"{pipeline.params} has changed since this search began; undo that, or begin another "
            "search with --study"
        )


def _until(condition: Callable[[], bool], alive: Callable[[], None]) -> None:
    while not condition():
        alive()
        time.sleep(_POLL)


def _has_started(log: Path) -> bool:
    return _STARTED in log.read_text(encoding="utf-8", errors="replace")


def _watch(
    process: subprocess.Popen[bytes], epochs: Path, watch: Watch, alive: Callable[[], None]
) -> bool:
    """Wait until the run ends or is to be stopped; whether it is to be stopped."""
    told = 0
    while True:
        ended = process.poll() is not None
        new = read_epochs(epochs)[told:]
        told += len(new)
        stop = [watch(epoch, score) for epoch, score in new]
        if ended or any(stop):
            return not ended
        alive()
        time.sleep(_POLL)


def _guard(process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    """A process that stops the run when this one ends, however it ends: its pipe closes then."""
    return subprocess.Popen(  # noqa: S603 (a constant)
        ["/bin/sh", "-c", _GUARD, "guard", str(process.pid)], stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def _stop(
    root: Path, name: str, process: subprocess.Popen[bytes], guard: subprocess.Popen[bytes]
) -> None:
    """End the run as Ctrl-C does, or at once if it does not end then; and its guard."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            _remove_workspace(root, name)
    guard.communicate(b"ended\n")


def _remove_workspace(root: Path, name: str) -> None:
    """Remove the workspace of a run that had to be killed."""
    for path in (root / ".dvc/tmp/exps/run").glob("*/*.run"):
        try:
            info = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # another run is writing or removing it
        workspace = Path(info["root_dir"])
        if info["name"] == name and workspace.is_relative_to(root / ".dvc/tmp"):
            shutil.rmtree(workspace, ignore_errors=True)


def _outcome(pipeline: Pipeline, name: str, log: Path, stopped: bool) -> Outcome:
    if stopped:
        return Outcome(stopped=True)
    if experiment(pipeline.root, name) is None:
        return Outcome(error=_last_error(log))
    score = result(pipeline, name).get(pipeline.score)
    if score is None:
        return Outcome(error=f"{pipeline.metrics} has no {pipeline.score}")
    return Outcome(score=float(score))


def _last_error(log: Path) -> str:
    """Why a run failed: what the stage printed last, before DVC says that it failed."""
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines()]
    told = [line for line in lines if line and not line.lower().startswith(_CONSEQUENCE)]
    errors = [line for line in told if line.lower().startswith("error: ")]
    if errors:
        return redact(errors[-1][len("error: ") :])
    return redact(told[-1]) if told else "it printed nothing"
