"""The local database: after a kill, in a moved or copied repository, and in odd folders."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arxiv_hybrid.params import Params
from arxiv_hybrid.system.identity import ProcessIdentity
from arxiv_hybrid.tracking import track
from arxiv_hybrid.tracking.database import adopt_moved
from arxiv_hybrid.tracking.store import sqlite_uri

pytestmark = [
    pytest.mark.usefixtures("outside_settings_unset"),
    pytest.mark.filterwarnings("default"),
]


def log_note(params: Params, root: Path, text: str = "hello", stage: str = "evaluate") -> None:
    """Log a run with an artifact, note.txt."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # MLflow sets it for child processes
    note = root / "note.txt"
    note.write_text(text)
    with track(stage, params, root=root, workspace=root) as run:
        run.file(note)
    note.unlink()


def client_of(root: Path) -> Any:
    import mlflow

    return mlflow.MlflowClient(sqlite_uri(root / "mlflow.db"))


def runs_of(root: Path, *, parents: bool = False) -> list[Any]:
    """The runs of stages, or their parents, the newest first."""
    client = client_of(root)
    runs = client.search_runs([client.get_experiment_by_name("arxiv-hybrid").experiment_id])
    return [run for run in runs if (run.data.tags.get("stage") == "pipeline") == parents]


def notes_of(root: Path) -> list[str]:
    """What the notes of the runs say, by the paths in the database."""
    import mlflow

    mlflow.set_tracking_uri(sqlite_uri(root / "mlflow.db"))
    return [
        Path(mlflow.artifacts.download_artifacts(f"{run.info.artifact_uri}/note.txt")).read_text()
        for run in runs_of(root)
    ]


@pytest.fixture(scope="module")
def logged(tiny_params: Params, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database of one run; tests move or change copies of it."""
    root = tmp_path_factory.mktemp("tracked") / "old place"
    root.mkdir()
    log_note(tiny_params, root, "before")
    return root


def copy(logged: Path, to: Path) -> Path:
    shutil.copytree(logged, to)
    return to


def test_runs_of_killed_processes_end_with_the_next_start(
    tiny_params: Params, logged: Path, tmp_path: Path
) -> None:
    root = copy(logged, tmp_path / "copy")
    me = ProcessIdentity.current()
    client = client_of(root)
    experiment = client.get_experiment_by_name("arxiv-hybrid").experiment_id
    expected = {}
    for process, status in (
        (replace(me, started=me.started - 3600), "KILLED"),
        (replace(me, pid=2**22 + 1), "KILLED"),  # above the highest pid
        (replace(me, boot="an earlier one"), "KILLED"),
        (me, "RUNNING"),
        (replace(me, host="another", pid=2**22 + 1), "RUNNING"),
        (None, "RUNNING"),
    ):
        run = client.create_run(experiment, tags=process.tags if process else {})
        expected[run.info.run_id] = status
    log_note(tiny_params, root)
    assert {run_id: client.get_run(run_id).info.status for run_id in expected} == expected
    assert [run.info.status for run in runs_of(root)].count("FINISHED") == 2


@pytest.mark.parametrize("how", ["copied", "moved", "moved twice"])
def test_a_moved_or_copied_repository_uses_its_own_artifacts(
    how: str, tiny_params: Params, logged: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    old, new = logged, copy(logged, tmp_path / "new?place")
    if how != "copied":
        log_note(tiny_params, new, "between")
        capsys.readouterr()
        old, new = new, new.rename(tmp_path / "a%2Fb")
    if how == "moved twice":
        new = new.rename(tmp_path / "c d")
    before = sorted(old.rglob("*"))
    log_note(tiny_params, new, "after")
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"warning: mlflow.db came from {old}: its artifacts are now those in {new / 'mlartifacts'}"
    )
    assert notes_of(new) == ["after", *(["between"] if how != "copied" else []), "before"]
    for run in runs_of(new):
        assert run.info.artifact_uri.startswith((new / "mlartifacts").as_uri() + "/")
    assert sorted(old.rglob("*")) == before, "the old place is left alone"
    assert adopt_moved(new / "mlflow.db") is None, "it is said once"
    assert notes_of(logged) == ["before"]


def test_a_copied_database_without_its_artifacts_says_where_they_go(
    logged: Path, tmp_path: Path
) -> None:
    shutil.copy(logged / "mlflow.db", tmp_path)
    line = f"artifacts go to {logged / 'mlartifacts'}, outside this repository"
    assert adopt_moved(tmp_path / "mlflow.db") == line
    assert adopt_moved(logged / "mlflow.db") is None
    assert adopt_moved(tmp_path / "none.db") is None


@pytest.mark.parametrize("name", ["what?x=1#y", "p q+r&s;t", "論文 ü עב"])
def test_any_name_of_a_folder_works(
    name: str, tiny_params: Params, logged: Path, tmp_path: Path
) -> None:
    root = copy(logged, tmp_path / name)
    log_note(tiny_params, root)
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]
    assert notes_of(root) == ["hello", "before"]


def test_a_new_database_in_a_folder_with_an_odd_name(tiny_params: Params, tmp_path: Path) -> None:
    root = tmp_path / "50% a%2Fb?c#d é"
    root.mkdir()
    log_note(tiny_params, root)
    assert [path.name for path in tmp_path.iterdir()] == [root.name]
    assert sorted(path.name for path in root.iterdir()) == [
        "mlartifacts", "mlflow.db", "mlflow.db.lock",
    ]  # fmt: skip
    assert notes_of(root) == ["hello"]


def test_no_secret_of_params_or_environment_is_logged(
    tiny_params: Params, logged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = copy(logged, tmp_path / "copy")
    monkeypatch.setenv("DVC_EXP_NAME", "at-http://me:hunter2@host")
    monkeypatch.setenv("SOME_TOKEN", "sesame")
    fetch = tiny_params.fetch.model_copy(update={"path": "https://me:hunter2@host/x?token=sesame"})
    (root / "params.yaml").write_text(f"fetch: {{path: '{fetch.path}', source: csv}}")
    log_note(tiny_params.model_copy(update={"fetch": fetch}), root)
    parent = runs_of(root, parents=True)[0]
    for run in (runs_of(root)[0], parent):
        assert run.data.params["fetch.path"] == "https://***@host/x?token=***"
        assert "hunter2" not in str(run.to_dictionary())
        assert "sesame" not in str(run.to_dictionary())
    kept = next((root / "mlartifacts" / parent.info.run_id).rglob("params.yaml")).read_text()
    assert "https://***@host/x?token=***" in kept
