"""`ui`: MLflow's pages about the runs of this repository."""

from __future__ import annotations

import os
import sys
from argparse import Namespace

from arxiv_hybrid.paths import repository_root
from arxiv_hybrid.serving.sockets import listen
from arxiv_hybrid.system.redaction import redact
from arxiv_hybrid.tracking.store import open_store, store_uri


def run(options: Namespace) -> None:
    """Replace this process with MLflow's server, or name the server that has the runs."""
    uri = store_uri(repository_root())
    if uri.startswith(("http:", "https:", "databricks")):
        print(f"MLFLOW_TRACKING_URI names a server that shows its runs itself: {redact(uri)}")
        return
    open_store(repository_root())
    listen(options.host, options.port).close()  # fails if the port is in use
    command = [sys.executable, "-m", "mlflow", "ui", "--host", options.host]
    environment = {**os.environ, "MLFLOW_BACKEND_STORE_URI": uri}
    os.execve(  # noqa: S606 (MLflow's own server)
        sys.executable, [*command, "--port", str(options.port)], environment
    )
