"""The local MLflow database: is it sound, was it moved, and which of its runs were killed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.identity import ProcessIdentity

ARTIFACTS = "mlartifacts"  # the folder beside the database
_HEADER = b"SQLite format 3\0"
_TIMEOUT = 5.0  # seconds, for a lock that another process holds
# columns that hold absolute paths or URIs
_PATHS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def check_database(database: Path) -> None:
    """Raise UserError with the reason if this file cannot be a database to write to."""
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        if database.is_dir():
            raise UserError(f"{database}: a folder, not a database")
        if database.exists() and not database.is_file():
            raise UserError(f"{database}: not a regular file")
        with database.open("ab"), database.open("rb") as file:
            header = file.read(len(_HEADER))
    except OSError as error:
        raise UserError(f"{database}: cannot be written: {error.strerror}") from None
    if header not in (b"", _HEADER):
        raise UserError(f"{database}: not an SQLite database")


def adopt_moved(database: Path) -> str | None:
    """Let a database that was moved or copied use the artifacts beside it; one line about that.

    MLflow stores absolute paths, so it would go on to use the old place. The paths change in one
    transaction. A copy without a folder of artifacts may share those of the old place on purpose:
    it keeps them, and the line says so. Returns None if nothing was moved. Raises UserError if the
    database cannot be read.
    """
    if not database.is_file() or not database.stat().st_size:
        return None
    here = database.parent
    try:
        with closing(sqlite3.connect(database, timeout=_TIMEOUT)) as connection:
            olds = sorted(_old_places(connection, here))
            if not olds:
                return None
            if not (here / ARTIFACTS).is_dir() and any((old / ARTIFACTS).is_dir() for old in olds):
                return f"artifacts go to {olds[0] / ARTIFACTS}, outside this repository"
            with connection:
                for old in olds:
                    _move(connection, old, here)
    except sqlite3.Error as error:
        raise UserError(f"{database}: cannot be read: {error}") from None
    return f"{database.name} came from {olds[0]}: its artifacts are now those in {here / ARTIFACTS}"


def _old_places(connection: sqlite3.Connection, here: Path) -> Iterator[Path]:
    """Folders other than `here` whose mlartifacts belong to an experiment."""
    if not list(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'")):
        return
    for (location,) in connection.execute("SELECT DISTINCT artifact_location FROM experiments"):
        parts = urlsplit(location or "")
        folder = Path(unquote(parts.path))
        if parts.scheme == "file" and folder.name == ARTIFACTS and folder.parent != here:
            yield folder.parent


def _move(connection: sqlite3.Connection, old: Path, new: Path) -> None:
    for table, column in _PATHS:
        if column not in [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]:
            continue  # of another version of MLflow
        for before, after in ((old.as_uri(), new.as_uri()), (str(old), str(new))):
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608 (constants)
                f"WHERE substr({column}, 1, ?) = ?",
                (after, len(before) + 1, len(before) + 1, f"{before}/"),
            )


def end_killed_runs(mlflow: Any, experiment: str) -> None:
    """Mark runs as KILLED whose process has provably ended without doing so."""
    client = mlflow.MlflowClient()
    found = client.search_runs([experiment], "attributes.status = 'RUNNING'")
    for run in found:
        process = ProcessIdentity.from_tags(run.data.tags)
        if process is not None and process.is_dead():
            client.set_terminated(run.info.run_id, "KILLED")
