"""The local database: after a kill, in a moved or copied repository, and in odd folders."""

from __future__ import annotations

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
    note = root / "note.txt"
    note.write_text(text)
    with track(stage, params, root=root, workspace=root) as run:
        run.file(note)
    note.unlink()


def client_of(root: Path) -> Any:
    import mlflow

    return mlflow.MlflowClient(sqlite_uri(root / "mlflow.db"))


def runs_of(root: Path) -> list[Any]:
    """The runs, the newest first."""
    client = client_of(root)
    return list(client.search_runs([client.get_experiment_by_name("arxiv-hybrid").experiment_id]))


def notes_of(root: Path) -> list[str]:
    """What the notes of the runs say, by the paths in the database."""
    import mlflow

    mlflow.set_tracking_uri(sqlite_uri(root / "mlflow.db"))
    return [
        Path(mlflow.artifacts.download_artifacts(f"{run.info.artifact_uri}/note.txt")).read_text()
        for run in runs_of(root)
    ]


def test_runs_of_killed_processes_end_with_the_next_start(
    tiny_params: Params, tmp_path: Path
) -> None:
    log_note(tiny_params, tmp_path)
    me = ProcessIdentity.current()
    client = client_of(tmp_path)
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
    log_note(tiny_params, tmp_path)
    assert {run_id: client.get_run(run_id).info.status for run_id in expected} == expected
    assert [run.info.status for run in runs_of(tmp_path)].count("FINISHED") == 2


@pytest.mark.parametrize("how", ["moved", "copied", "moved twice"])
def test_a_moved_or_copied_repository_uses_its_own_artifacts(
    how: str, tiny_params: Params, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "old place", tmp_path / "new?place"
    old.mkdir()
    log_note(tiny_params, old, "before")
    if how == "copied":
        shutil.copytree(old, new)
    else:
        shutil.move(old, new)
    if how == "moved twice":
        log_note(tiny_params, new, "between")
        capsys.readouterr()
        new = new.rename(tmp_path / "a%2Fb")
    before = sorted(path for path in old.rglob("*"))
    log_note(tiny_params, new, "after")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: mlflow.db came from ")
    assert line.endswith(f"its artifacts are now those in {new / 'mlartifacts'}")
    assert notes_of(new)[0] == "after"
    assert notes_of(new)[-1] == "before"
    uris = {run.info.artifact_uri for run in runs_of(new)}
    assert all(uri.startswith((new / "mlartifacts").as_uri() + "/") for uri in uris)
    assert sorted(path for path in old.rglob("*")) == before, "the old place is left alone"
    log_note(tiny_params, new)
    assert capsys.readouterr().err == "", "it is said once"
    if how == "copied":
        assert notes_of(old) == ["before"]


def test_a_copied_database_without_its_artifacts_says_where_they_go(
    tiny_params: Params, tmp_path: Path
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
    log_note(tiny_params, old)
    shutil.copy(old / "mlflow.db", new)
    line = f"artifacts go to {old / 'mlartifacts'}, outside this repository"
    assert adopt_moved(new / "mlflow.db") == line
    assert adopt_moved(old / "mlflow.db") is None
    assert adopt_moved(tmp_path / "none.db") is None


@pytest.mark.parametrize("name", ["a%2Fb", "what?x=1#y", "p q+r&s;t", "論文 ü עב"])
def test_any_name_of_a_folder_works(name: str, tiny_params: Params, tmp_path: Path) -> None:
    root = tmp_path / name
    root.mkdir()
    log_note(tiny_params, root)
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]
    assert sorted(path.name for path in root.iterdir()) == [
        "mlartifacts", "mlflow.db", "mlflow.db.lock",
    ]  # fmt: skip
    assert notes_of(root) == ["hello"]


def test_no_secret_of_params_or_environment_is_logged(
    tiny_params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "at-http://me:hunter2@host")
    monkeypatch.setenv("SOME_TOKEN", "sesame")
    fetch = tiny_params.fetch.model_copy(update={"path": "https://me:hunter2@host/x?token=sesame"})
    log_note(tiny_params.model_copy(update={"fetch": fetch}), tmp_path)
    (run,) = runs_of(tmp_path)
    assert run.data.params["fetch.path"] == "https://***@host/x?token=***"
    assert "hunter2" not in str(run.to_dictionary())
    assert "sesame" not in str(run.to_dictionary())
