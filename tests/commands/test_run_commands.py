"""`summary`, `report` and `serve` before the pipeline has run; tests/pipeline covers the rest."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from conftest import ROOT

from arxiv_hybrid.__main__ import main
from arxiv_hybrid.paths import MODEL, repository_root
from arxiv_hybrid.tracking import ModelToServe

pytestmark = pytest.mark.usefixtures("outside_settings_unset")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with parameters, but without data, models or metrics."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    shutil.copy(ROOT / "params.yaml", folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("summary", "metrics/audit.json"),
        ("report", "data/splits/test.parquet"),
        ("serve", "models/main/model.safetensors"),
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


def test_serve_replaces_the_process_with_the_server(
    workspace: Path,
    model_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from arxiv_hybrid.commands import serve

    shutil.copytree(model_folder, workspace / MODEL)
    arguments: list[tuple[Path, str]] = []
    started: list[list[str]] = []

    def find_model(root: Path, name: str, digest: object) -> ModelToServe:
        assert callable(digest)
        assert len(digest()) == 16
        arguments.append((root, name))
        return ModelToServe(f"models:/{name}@champion", "sqlite:///mlflow.db")

    monkeypatch.setattr(serve, "find_model_to_serve", find_model)
    monkeypatch.setattr(os, "execvpe", lambda _, command, __: started.append(command))
    assert main(["serve", "--port", "5047"]) == 0
    assert arguments == [(workspace.resolve(), "arxiv-hybrid")]
    assert capsys.readouterr().out == (
        "models:/arxiv-hybrid@champion -> http://127.0.0.1:5047/invocations\n"
    )
    (command,) = started
    assert command[:5] == ["mlflow", "models", "serve", "-m", "models:/arxiv-hybrid@champion"]
    assert command[-2:] == ["--port", "5047"]


def test_the_repository_is_dvc_root_or_the_working_directory(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert repository_root() == workspace.resolve()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert repository_root() == tmp_path.resolve()
