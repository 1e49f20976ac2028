"""Where runs are stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from arxiv_hybrid.tracking.store import local_database, store_uri

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
