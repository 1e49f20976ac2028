"""Where runs are stored."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

import pytest

from arxiv_hybrid.tracking.store import import_mlflow, local_database, one_line, store_uri

pytestmark = pytest.mark.usefixtures("outside_settings_unset")


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (None, "/repo/mlflow.db"),
        ("sqlite:///runs/log.db", "/repo/runs/log.db"),
        ("sqlite:////var/log.db", "/var/log.db"),
        ("sqlite+pysqlite:////a%252Fb%3F/log.db", "/a%2Fb?/log.db"),
        ("http://127.0.0.1:5000", None),
    ],
)
def test_relative_database_paths_start_at_the_repository(
    uri: str | None, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = local_database(uri, Path("/repo"))
    assert database == (Path(expected) if expected else None)
    if uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    if uri is None or "%" not in uri:
        assert store_uri(Path("/repo")) == (f"sqlite:///{expected}" if expected else uri)
    else:
        assert store_uri(Path("/repo")) == uri


def test_log_lines_that_mlflow_prints_are_clean(capfd: pytest.CaptureFixture[str]) -> None:
    import_mlflow()
    import_mlflow()
    logger = logging.getLogger("mlflow.tracking.any")
    logger.error("no answer from http://me:hunter2@host?token=%s", "sesame")
    logger.warning("not printed")
    text = capfd.readouterr().err
    assert text.count("no answer from http://***@host?token=***") == 1
    assert "hunter2" not in text
    assert "sesame" not in text
    assert "not printed" not in text


def test_a_failed_statement_is_told_by_its_reason_alone(caplog: pytest.LogCaptureFixture) -> None:
    from mlflow.store.db import utils

    import_mlflow()
    utils._logger.exception("SQLAlchemy database error. The following exception is caught.")
    assert not caplog.records, "with a traceback"
    failed = RuntimeError("(raised by autoflush)\n[SQL: INSERT INTO tags]")
    failed.__cause__ = sqlite3.OperationalError("disk I/O error")
    assert one_line(failed) == "the database: disk I/O error"
