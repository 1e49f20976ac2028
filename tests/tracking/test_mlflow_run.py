"""A stage's MLflow run, and what it does when MLflow is missing, down or broken."""

from __future__ import annotations

import builtins
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from arxiv_hybrid.params import Params
from arxiv_hybrid.tracking import Run, track

pytestmark = pytest.mark.usefixtures("outside_settings_unset")


def test_importing_tracking_loads_nothing_large(tmp_path: Path) -> None:
    code = (
        "import sys\nimport arxiv_hybrid.tracking\n"
        "print([name for name in ('mlflow', 'torch', 'pandas', 'pydantic', 'matplotlib') "
        "if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.strip() == "[]"


def test_a_run_continues_without_mlflow(
    tiny_params: Params,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = builtins.__import__

    def no_mlflow(name: str, *args: object, **kwargs: object) -> object:
        if name.split(".")[0] == "mlflow":
            raise ImportError(name)
        return real(name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", no_mlflow)
    with track("train", tiny_params, root=tmp_path, workspace=tmp_path) as run:
        run.metrics({"loss": 1.0}, step=1)
        assert not run.active
    assert "mlflow is not installed" in capsys.readouterr().err


def test_a_server_that_is_down_costs_a_warning(
    tiny_params: Params,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with track("train", tiny_params, root=tmp_path, workspace=tmp_path) as run:
        run.metrics({"loss": 1.0})
    warning = capsys.readouterr().err
    assert "MLflow does not log this run" in warning
    assert len(warning.splitlines()) == 1


def test_a_call_that_fails_stops_logging_once(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken:
        def log_metrics(self, *_: object, **__: object) -> None:
            raise RuntimeError("disk full")

    run = Run(Broken())
    run.metrics({"a": 1.0})
    run.metrics({"a": 2.0})
    run.end("FINISHED")
    assert not run.active
    assert capsys.readouterr().err.count("disk full") == 1


def test_tracking_can_be_switched_off(tiny_params: Params, tmp_path: Path) -> None:
    off = tiny_params.model_copy(
        update={"tracking": tiny_params.tracking.model_copy(update={"enabled": False})}
    )
    with track("train", off, root=tmp_path, workspace=tmp_path) as run:
        assert not run.active
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("default")
def test_learning_curves_are_drawn_only_for_a_run_that_logs(
    tiny_params: Params, store: Path
) -> None:
    epochs = pd.DataFrame({"epoch": [1, 2]})
    for part in ("train", "val"):
        epochs[f"{part}_loss"], epochs[f"{part}_accuracy"] = [1.0, 0.5], [0.5, 0.7]
    Run(None).learning_curves(epochs.drop(columns="epoch"))  # never drawn, so nothing is missed
    with track("train", tiny_params, root=store, workspace=store) as run:
        run.learning_curves(epochs)
    (picture,) = (store / "mlartifacts").rglob("learning_curves.png")
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.filterwarnings("default")
def test_a_run_is_stored_under_the_root_whatever_the_workspace(
    tiny_params: Params,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    prepare_store: Callable[[Path], None],
) -> None:
    import mlflow

    root, workspace = tmp_path / "root", tmp_path / "temporary"
    root.mkdir()
    workspace.mkdir()
    prepare_store(root)
    (workspace / "dvc.lock").write_text(
        "stages: {vocab: {outs: [{path: data/processed/vocab.txt, md5: aaa}]}}"
    )
    (workspace / "dvc.yaml").write_text("stages: {train: {deps: [data/processed/vocab.txt]}}")
    monkeypatch.setenv("DVC_EXP_NAME", "gusty-dawn")
    monkeypatch.chdir(workspace)
    papers = pd.DataFrame({"title": ["t"], "label": [1]})
    with track("train", tiny_params, root=root, workspace=workspace) as run:
        run.metrics({"loss": 0.5, "nested": {"f1": 0.25}, "word": "x"}, step=3)
        run.tags({"model.digest": "abc"})
        run.dataset(papers, "train", "training")
        (workspace / "note.txt").write_text("hello")
        run.file(workspace / "note.txt")
        assert run.active
    with (
        pytest.raises(KeyboardInterrupt),
        track("evaluate", tiny_params, root=root, workspace=workspace),
    ):
        raise KeyboardInterrupt
    assert not (workspace / "mlflow.db").exists()
    client = mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("arxiv-hybrid")
    runs = {r.data.tags["stage"]: r for r in client.search_runs([experiment.experiment_id])}
    train = runs["train"]
    assert train.info.status == "FINISHED"
    assert runs["evaluate"].info.status == "KILLED"
    assert train.data.metrics == {"loss": 0.5, "nested.f1": 0.25}
    assert train.data.params["dropout"] == "0.5"
    assert train.data.params["architecture.lstm_hidden"] == "8"
    assert train.data.tags["DVC_EXP_NAME"] == "gusty-dawn"
    assert train.data.tags["dep.data/processed/vocab.txt"] == "aaa"
    assert train.info.artifact_uri.startswith((root / "mlartifacts").as_uri())
    assert [a.path for a in client.list_artifacts(train.info.run_id)] == ["note.txt"]
    assert train.inputs.dataset_inputs[0].dataset.name == "train"
