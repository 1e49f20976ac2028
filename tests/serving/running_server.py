"""A scoring server in a thread of the test, for a model folder."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.checkpoint import Classifier
from arxiv_hybrid.serving.app import App
from arxiv_hybrid.serving.counters import Counters
from arxiv_hybrid.serving.server import make_server
from arxiv_hybrid.serving.sockets import listen


@contextmanager
def running(model: Path | Classifier) -> Iterator[tuple[str, App]]:
    """The URL of a server for a model, without a slash at its end, and its application."""
    classifier = checkpoint.load(model) if isinstance(model, Path) else model
    app = App(classifier, "tested", Counters(1))
    with listen("127.0.0.1", 0) as listener:
        server = make_server(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", app
        finally:
            server.should_exit = True
            thread.join()
