"""The MLflow store: `MLFLOW_TRACKING_URI` if it is set, else SQLite at the repository root."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

TRACKING_URI = "MLFLOW_TRACKING_URI"
DATABASE, ARTIFACTS = "mlflow.db", "mlartifacts"
_MAX_ERROR_LENGTH = 200
# mlflow reads these when it is imported; variables that the user has set take precedence
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # a server that is down must cost seconds only
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


def import_mlflow() -> Any:
    """Import mlflow, configured to log little and to give up quickly; may raise ImportError."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    import mlflow

    for name in ("alembic", "mlflow"):  # database migrations and hints about model signatures
        logging.getLogger(name).setLevel(logging.ERROR)
    return mlflow


def local_database(uri: str | None, root: Path) -> Path | None:
    """The SQLite file that a tracking URI names, or None if it names a server.

    A relative path is relative to `root`, the repository, not to the working directory.
    """
    if not uri:
        return root / DATABASE
    if not uri.startswith("sqlite:///"):
        return None
    return root / uri.removeprefix("sqlite:///")


def store_uri(root: Path) -> str:
    """The tracking URI in use, for a repository at `root`."""
    uri = os.environ.get(TRACKING_URI)
    database = local_database(uri, root)
    return f"sqlite:///{database}" if database else str(uri)


def prepare_store(mlflow: Any, experiment: str, root: Path) -> None:
    """Select the store and the experiment, creating the experiment if it is new.

    MLflow fixes an experiment's artifact folder when it creates the experiment. A local store
    therefore gets an absolute folder beside its database: a path inside a temporary workspace
    would soon be gone.
    """
    mlflow.set_tracking_uri(store_uri(root))
    database = local_database(os.environ.get(TRACKING_URI), root)
    if database is not None:
        from filelock import FileLock

        database.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{database}.lock"):  # queue jobs may start at the same moment
            if mlflow.get_experiment_by_name(experiment) is None:
                artifacts = (database.parent / ARTIFACTS).as_uri()
                mlflow.create_experiment(experiment, artifact_location=artifacts)
    mlflow.set_experiment(experiment)


def warn(message: str) -> None:
    """Print a warning to standard error."""
    print(f"warning: {message}", file=sys.stderr, flush=True)


def one_line(error: Exception) -> str:
    """The text of an exception on one line, at most 200 characters."""
    text = " ".join(str(error).split())
    return text if len(text) <= _MAX_ERROR_LENGTH else text[: _MAX_ERROR_LENGTH - 3] + "..."
