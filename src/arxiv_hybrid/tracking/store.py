"""The MLflow store: `MLFLOW_TRACKING_URI` if it is set, else SQLite at the repository root."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import sys
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.redaction import RedactingFilter, redact
from arxiv_hybrid.tracking.database import ARTIFACTS, adopt_moved, check_database, end_killed_runs

TRACKING_URI = "MLFLOW_TRACKING_URI"
DATABASE = "mlflow.db"
_SQLITE, _SQLITE_QUOTED = "sqlite:///", "sqlite+pysqlite:///"
_MAX_ERROR_LENGTH = 200
_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
# what mlflow reads; variables that the user has set take precedence
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    _RETRIES: "2",  # a server that is down must cost seconds only
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # files go through the server: its bucket may be out of a client's reach
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # the URL may contain a password
    "GIT_PYTHON_REFRESH": "quiet",
}
_UNKNOWN_USER = ("UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED")  # MLflow's codes of status 401
_NOT_PERMITTED = "PERMISSION_DENIED"  # and of 403


def import_mlflow() -> Any:
    """Import mlflow, configured to log little and to give up quickly; may raise ImportError."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    import mlflow

    # hints about MLflow's own defaults
    warnings.filterwarnings("ignore", module=r"(mlflow|arxiv_hybrid\.tracking)\b")
    for name in ("alembic", "mlflow", "urllib3"):  # migrations, model signatures, repeated requests
        logger = logging.getLogger(name)
        logger.setLevel(logging.ERROR)
        for handler in logger.handlers:
            if not any(isinstance(each, RedactingFilter) for each in handler.filters):
                handler.addFilter(RedactingFilter())
    # it logs a traceback of every failed statement, which the caller reports in one line
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    return mlflow


def outlast_restarts() -> None:
    """From now on, a request is repeated for minutes if the server does not answer.

    For the background only. A number of retries that the user has set stays.
    """
    if os.environ.get(_RETRIES) == _DEFAULTS[_RETRIES]:
        del os.environ[_RETRIES]  # MLflow's own default is 7, with growing pauses


def local_database(uri: str | None, root: Path) -> Path | None:
    """The SQLite file that a tracking URI names, or None if it names a server.

    A relative path is relative to `root`, the repository, not to the working directory.
    """
    if not uri:
        return root / DATABASE
    if not uri.startswith((_SQLITE, _SQLITE_QUOTED)):
        return None
    return root / (unquote(uri.split(":///", 1)[1].split("?")[0]) or DATABASE)


def sqlite_uri(database: Path) -> str:
    """The URI of an SQLite file.

    If its path must be quoted, the URI names the driver, too: MLflow would make an empty folder
    with the quoted name otherwise.
    """
    quoted = str(database).replace("%", "%25").replace("?", "%3F")
    return f"{_SQLITE if quoted == str(database) else _SQLITE_QUOTED}{quoted}"


def store_uri(root: Path) -> str:
    """The tracking URI in use, for a repository at `root`."""
    uri = os.environ.get(TRACKING_URI)
    database = local_database(uri, root)
    return sqlite_uri(database) if database else str(uri)


def open_store(root: Path) -> None:
    """Check a local store that is about to be read; UserError if it cannot be used."""
    database = local_database(os.environ.get(TRACKING_URI), root)
    if database is not None:
        check_database(database)
        if moved := adopt_moved(database):
            warn(moved)


def prepare_store(mlflow: Any, experiment: str, root: Path, lock_timeout: float) -> None:
    """Select the store and the experiment, creating the experiment if it is new.

    MLflow fixes an experiment's artifact folder when it creates the experiment. A local store
    therefore gets an absolute folder beside its database: a path inside a temporary workspace
    would soon be gone. lock_timeout: seconds to wait for another process that does the same.
    Raises UserError if a local store cannot be used.
    """
    mlflow.set_tracking_uri(store_uri(root))
    database = local_database(os.environ.get(TRACKING_URI), root)
    if database is None:
        mlflow.set_experiment(experiment)
        return
    from filelock import FileLock, Timeout

    check_database(database)  # it makes the folder of the lock, too
    lock = f"{database}.lock"
    try:
        with FileLock(lock, timeout=lock_timeout):  # queue jobs may start at the same moment
            open_store(root)
            if mlflow.get_experiment_by_name(experiment) is None:
                artifacts = (database.parent / ARTIFACTS).as_uri()
                mlflow.create_experiment(experiment, artifact_location=artifacts)
            end_killed_runs(mlflow, mlflow.set_experiment(experiment).experiment_id)
    except Timeout:
        raise UserError(f"{lock}: another process holds this lock") from None


def warn(message: str) -> None:
    """Print a warning to standard error, without secrets."""
    print(f"warning: {redact(message)}", file=sys.stderr, flush=True)


def one_line(error: BaseException) -> str:
    """The text of an exception on one line, at most 200 characters, without secrets.

    Of a failed SQL statement it is SQLite's reason alone, of a refusal what the user can do.
    """
    if refused := refusal(error):
        return redact(refused)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, sqlite3.Error):
            return f"the database: {cause}"
        cause = cause.__cause__
    text = redact(" ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= _MAX_ERROR_LENGTH else text[: _MAX_ERROR_LENGTH - 3] + "..."


def refusal(error: BaseException) -> str | None:
    """Why a server refuses this user or this client, in words; None if the error is another one."""
    response = getattr(error, "response", None)  # of an upload or a download
    status, code = getattr(response, "status_code", None), getattr(error, "error_code", None)
    unknown = status == 401 or code in _UNKNOWN_USER
    if not unknown and status != 403 and code != _NOT_PERMITTED:
        return None
    uri = urlsplit(os.environ.get(TRACKING_URI, ""))
    user = os.environ.get("MLFLOW_TRACKING_USERNAME") or uri.username
    if unknown:
        verb = "does not accept this" if user else "asks for a"
        variables = "MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD"
        return f"the server {verb} user and password ({variables})"
    text = f"{error} {getattr(response, 'text', '')}"
    if "Invalid Host header" in text:
        host = uri.netloc.rpartition("@")[2]
        return f"the server does not answer to the name {host} (its option --allowed-hosts)"
    request = re.search(r"/(?:mlflow|mlflow-artifacts)/([\w/-]+)", text)
    what = request[1] if request else "this"
    return f"the server does not permit user {user} to do {what}; ask its admin"
