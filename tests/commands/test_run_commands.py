"""`summary` and `report` before the pipeline has run; tests/pipeline covers the rest."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest
from conftest import DEFAULTS
from ports import free_port

from arxiv_hybrid.__main__ import main
from arxiv_hybrid.paths import repository_root

pytestmark = pytest.mark.usefixtures("outside_settings_unset")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with parameters, but without data, models or metrics."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    shutil.copy(DEFAULTS / "params.yaml", folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("summary", "metrics/evaluate.json"),
        ("report", "data/splits/test.parquet"),
    ],
)
@pytest.mark.filterwarnings("default")
def test_without_a_run_the_missing_file_is_named(
    command: str, missing: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command]) == 2
    error = f"error: {missing}: not found; run `dvc repro` to create it\n"
    assert capsys.readouterr().err.endswith(error)
    assert not (workspace / "reports").exists()


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("command", ["serve", "ui"])
@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (["--port", "BUSY"], "Address already in use"),
        (["--port", "70000"], "a number from 1 to 65535"),
        (["--host", "192.0.2.1", "--port", "0"], "Cannot assign requested address"),
    ],
)
@pytest.mark.filterwarnings("default")
def test_an_address_that_cannot_be_used_is_one_line(
    command: str, address: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        assert main([command, *(port if text == "BUSY" else text for text in address)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot listen there" in line
    assert reason in line
    assert "--port" in line


@pytest.mark.parametrize(
    "uri", ["http://me:s3cret@example.org:5000", "https://example.org", "databricks://profile"]
)
def test_ui_names_the_server_that_has_the_runs(
    uri: str, workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert main(["ui"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert "MLFLOW_TRACKING_URI names a server" in line
    assert "s3cret" not in line
    assert not (workspace / "mlflow.db").exists()


def test_ui_opens_the_database_of_the_repository(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[list[str], str]] = []

    def start(_: str, command: list[str], environment: dict[str, str]) -> None:
        started.append((command, environment["MLFLOW_BACKEND_STORE_URI"]))

    monkeypatch.setattr(os, "execve", start)
    port = free_port()
    assert main(["ui", "--port", str(port)]) == 0
    ((command, store),) = started
    assert command[1:4] == ["-m", "mlflow", "ui"]
    assert command[-1] == str(port)
    assert store == f"sqlite:///{workspace.resolve() / 'mlflow.db'}"


def test_the_repository_is_dvc_root_or_the_working_directory(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert repository_root() == workspace.resolve()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert repository_root() == tmp_path.resolve()
