"""Two workers share a search in a PostgreSQL database; one is killed, and nothing is lost."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
import search_worker
from clones import environment, sh
from postgres import running_postgres
from search_worker import wait_for, workspaces

from arxiv_hybrid.search.runner import TRIALS, experiment, result
from arxiv_hybrid.search.storage import open_storage
from arxiv_hybrid.system.watched import read_epochs
from arxiv_hybrid.tracking.store import import_mlflow, sqlite_uri

pytestmark = pytest.mark.pipeline
TARGET = {"target": "train", "metrics": "metrics/train.json", "score": "val_accuracy"}
WARMUP = 12  # epochs before a trial may be pruned
POINTS = [{"seed": 1, "epochs": 400}, {"seed": 2, "epochs": 2}]


def training_runs(root: Path) -> dict[str, Any]:
    """The MLflow runs of training by the number of their trial, which has only one."""
    client = import_mlflow().MlflowClient(sqlite_uri(root / "mlflow.db"))
    experiments = [each.experiment_id for each in client.search_experiments()]
    found = client.search_runs(experiments, "tags.stage = 'train'")
    trials = [run for run in found if run.data.tags.get("search.study") == "tiny"]
    by_number = {run.data.tags["search.trial"]: run for run in trials}
    assert len(by_number) == len(trials), "a trial ran twice"
    return by_number


def test_a_killed_workers_trial_is_taken_up_again(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "project"
    shutil.copytree(repo, root, symlinks=True)
    with running_postgres() as server:
        for name, value in {**environment(), **server.environment}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PYTHONPATH", str(root / "src"))
        options = {
            "root": str(root), "pipeline": {**TARGET, "settings": ["patience=400"]},
            "space": {"seed": [1, 2], "epochs": [2, 400]}, "first": POINTS,
            "least": 1.1, "warmup": WARMUP, "storage": server.create("sweeps"),
        }  # fmt: skip
        command = [sys.executable, search_worker.__file__, json.dumps(options)]
        workers = [subprocess.Popen(command) for _ in range(2)]
        try:
            running = root / TRIALS / "tiny-0/epochs"
            wait_for(lambda: len(read_epochs(running)) > 0, "the first trial trains")
            storage = open_storage(options["storage"], root)
            study = optuna.load_study(study_name="tiny", storage=storage)
            pid = int(study.trials[0].user_attrs["worker"]["process.pid"])
            (killed,) = [worker for worker in workers if worker.pid == pid]
            (left,) = [worker for worker in workers if worker is not killed]
            killed.kill()
            assert left.wait(300) == 0
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
        trials = study.get_trials()
        assert isinstance(storage, optuna.storages.RDBStorage)
        storage.remove_session()
        storage.engine.dispose()
    assert [(each.state.name, each.params) for each in trials] == [
        ("FAIL", POINTS[0]),
        ("COMPLETE", POINTS[1]),
        ("PRUNED", POINTS[0]),
    ]
    assert trials[2].user_attrs["retries"] == 0
    assert trials[2].last_step in range(WARMUP, 400)
    wait_for(lambda: workspaces(root) == [], "the run of the killed worker ends, too")
    runs = training_runs(root)
    assert {number: run.info.status for number, run in runs.items()} == {
        "0": "KILLED", "1": "FINISHED", "2": "KILLED",
    }  # fmt: skip
    pipeline = search_worker.Pipeline(root, params="params.yaml", **TARGET)
    for number, trial in enumerate(trials):
        name, run = f"tiny-{number}", runs[str(number)]
        assert run.data.tags["DVC_EXP_NAME"] == name
        assert run.data.params["seed"] == str(trial.params["seed"])
        finished = trial.state.name == "COMPLETE"
        assert (experiment(root, name) is not None) == finished
        if finished:
            score = result(pipeline, name)["val_accuracy"]
            assert trial.value == score == float(run.data.tags["search.score"])
    table = sh(root, sys.executable, "-m", "arxiv_hybrid", "experiments", "--format", "csv").stdout
    assert 'tiny-1,finished,"seed 42 -> 2, patience' in table
