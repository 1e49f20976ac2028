"""Two workers share a search in a PostgreSQL database; one is killed, and nothing is lost."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from clones import environment, wait_for_mlflow
from postgres import running_postgres
from search_worker import wait_for, workspaces

from arxiv_hybrid.search.runner import TRIALS
from arxiv_hybrid.search.storage import open_storage
from arxiv_hybrid.system.git import experiment
from arxiv_hybrid.system.watched import read_epochs
from arxiv_hybrid.tracking.store import import_mlflow, sqlite_uri

pytestmark = pytest.mark.pipeline
SPACE = """\
dropout: {low: 0.2, high: 0.7}
learning_rate: {low: 0.0003, high: 0.003, log: true}
"""
LONG = ["-S", "epochs=20", "-S", "patience=20"]  # so that a trial can be killed


def training_runs(root: Path) -> dict[str, Any]:
    """The MLflow runs of training by the number of their trial, which has only one."""
    client = import_mlflow().MlflowClient(sqlite_uri(root / "mlflow.db"))
    experiments = [each.experiment_id for each in client.search_experiments()]
    found = client.search_runs(experiments, "tags.stage = 'train'")
    trials = [run for run in found if run.data.tags.get("search.study") == "space"]
    by_number = {run.data.tags["search.trial"]: run for run in trials}
    assert len(by_number) == len(trials), "a trial ran twice"
    return by_number


def trials_in(url: str) -> list[optuna.trial.FrozenTrial]:
    storage = open_storage(url, Path())
    assert isinstance(storage, optuna.storages.RDBStorage)
    try:
        return optuna.load_study(study_name="space", storage=storage).get_trials()
    finally:
        storage.remove_session()
        storage.engine.dispose()


def test_a_killed_workers_trial_is_taken_up_again(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "project"
    shutil.copytree(repo, root, symlinks=True)
    wait_for_mlflow(root)
    (root / "space.yaml").write_text(SPACE, encoding="utf-8")
    with running_postgres() as server:
        for name, value in {**environment(), **server.environment}.items():
            monkeypatch.setenv(name, value)
        url = server.create("sweeps")
        monkeypatch.setenv("OPTUNA_STORAGE", url)
        monkeypatch.setenv("PYTHONPATH", str(root / "src"))
        command = [sys.executable, "-m", "arxiv_hybrid", "search", "--trials", "2",
                   "--space", "space.yaml", *LONG]  # fmt: skip
        workers = [
            subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(2)
        ]
        try:
            running = root / TRIALS / "space-0/epochs"
            wait_for(lambda: len(read_epochs(running)) > 0, "the first trial trains")
            pid = int(trials_in(url)[0].user_attrs["worker"]["process.pid"])
            (killed,) = [worker for worker in workers if worker.pid == pid]
            (left,) = [worker for worker in workers if worker is not killed]
            killed.kill()
            printed, _ = left.communicate(timeout=900)
            assert left.returncode == 0
        finally:
            for worker in workers:
                worker.kill()
                worker.communicate()
        trials = trials_in(url)
    assert [each.state.name for each in trials] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert trials[2].user_attrs["retries"] == 0
    assert trials[0].params == trials[2].params != trials[1].params
    assert "space-0: its worker is gone; trying its values again" in printed
    wait_for(lambda: workspaces(root) == [], "the run of the killed worker ends, too")
    runs = training_runs(root)
    assert {number: run.info.status for number, run in runs.items()} == {
        "0": "KILLED", "1": "FINISHED", "2": "FINISHED",
    }  # fmt: skip
    for number, trial in enumerate(trials):
        name, run = f"space-{number}", runs[str(number)]
        assert run.data.tags["DVC_EXP_NAME"] == name
        assert float(run.data.params["dropout"]) == pytest.approx(trial.params["dropout"], rel=1e-3)
        assert (experiment(root, name) is not None) == (number > 0)
        if number:
            assert trial.value == float(run.data.tags["search.score"])
            shown = rf"^{name} .* {100 * trial.value:.1f}  finished$"
            assert re.search(shown, printed, re.M), printed
    (best,) = re.findall(r"^best: (space-\d), ", printed, re.M)
    (test,) = re.findall(r"^  (dvc exp run .*)$", printed, re.M)
    assert shlex.split(test)[:5] == ["dvc", "exp", "run", "--name", f"{best}-test"]
    assert set(LONG) < set(shlex.split(test))
