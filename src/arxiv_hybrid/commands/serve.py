"""`serve`: a classifier over HTTP, and first the lines that say which one it is."""

from __future__ import annotations

import signal
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arxiv_hybrid.commands.models import choose_model
from arxiv_hybrid.commands.terminal import coloured
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.classifier import TextClassifier
from arxiv_hybrid.paths import MODEL, repository_root
from arxiv_hybrid.serving.server import ServedModel, serve
from arxiv_hybrid.serving.sockets import listen
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.tracking import find_run


def run(options: Namespace) -> None:
    """Serve until the process is stopped; UserError if there is no model, or the port is in use."""
    with (
        _ended_by_sigterm(),
        listen(options.host, options.port) as listener,
        tempfile.TemporaryDirectory(prefix="arxiv-hybrid-") as temporary,
    ):
        model = choose_model(options.model, Path(temporary))
        host = f"[{options.host}]" if ":" in options.host else options.host
        url = f"http://{host}:{listener.getsockname()[1]}"
        for line in _described(model, checkpoint.load(model.folder)):
            print(line)
        print(f"page:       {url}\nrequests:   {url}/invocations", flush=True)
        serve(model, listener, options.workers)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the process with status 0, cleaned up, until the server has its own handler."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _described(model: ServedModel, classifier: TextClassifier) -> Iterator[str]:
    """Lines that say which model is served, its experiment, its data, and its test score."""
    digest = _digest(model.folder)
    known = f", digest {digest}" if digest else ""
    classes = len(classifier.config.classes)
    yield f"model:      {model.name}: {classifier.kind}, {classes} classes{known}"
    experiment, accuracy = _from_mlflow(digest)
    yield f"experiment: {experiment}"
    origin = classifier.origin
    data = origin.line() if origin else "unknown: saved without a record of its papers"
    yield f"data:       {coloured(data, '33') if origin and origin.synthetic else data}"
    yield f"score:      {accuracy}"
    if MODEL.is_dir() and model.folder != MODEL and digest != _digest(MODEL):
        yield f"not served: {MODEL}, the model of this workspace's last run (--model {MODEL})"


def _digest(folder: Path) -> str | None:
    try:
        return checkpoint.digest(folder)
    except UserError:
        return None


def _from_mlflow(digest: str | None) -> tuple[str, str]:
    """A model's experiment and its accuracy, in words, from the run that trained it."""
    try:
        run = find_run(repository_root(), digest) if digest else None
    except UserError as error:
        return (f"unknown: {error}",) * 2
    if run is None:
        return "unknown: no run in MLflow trained this model", "unknown"
    experiment = f"{run.experiment}, MLflow run {run.run_id}"
    if run.value is None:
        return experiment, "unknown: not evaluated"
    papers = f" on {run.papers:,} test papers" if run.papers else ""
    return experiment, f"{run.measure} {run.value:.1%}{papers}"
