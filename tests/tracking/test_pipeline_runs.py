"""One parent run for the stages of a pipeline run, names that tell runs apart, ranked models."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import merged
from random_predictions import label_set, one_class, papers_listing
from untrained_model import log_untrained_model

from arxiv_hybrid.evaluation.predictions import Predictions
from arxiv_hybrid.evaluation.report import full_report
from arxiv_hybrid.params import Params, parse, to_yaml, values_in_force
from arxiv_hybrid.tracking import track
from arxiv_hybrid.tracking.names import pipeline_name, run_name
from arxiv_hybrid.tracking.parent import pipeline_key
from arxiv_hybrid.tracking.run import gpu_metrics_available

pytestmark = pytest.mark.usefixtures("outside_settings_unset")
Content = dict[str, Any]
TRAINED = {"best_epoch": 2, "parameters": 9, "val_accuracy": 0.7, "val_loss": 0.9, "epochs": 2}


def write_params(folder: Path, content: Content) -> None:
    (folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


@pytest.fixture
def workspace(store: Path, tiny_content: Content) -> Path:
    """A repository whose committed parameters are the tiny ones."""
    write_params(store, tiny_content)
    resolved = to_yaml(values_in_force(parse(tiny_content, "params")))
    (store / "params.resolved.yaml").write_text(resolved)
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "params.yaml"], ["commit", "-qm", "first"]):
        subprocess.run(["git", *identity, *command], cwd=store, check=True)
    return store


@pytest.mark.parametrize(
    ("changed", "name", "pipeline"),
    [
        ({}, "train", "workspace"),
        ({"dropout": 0.4}, "train · dropout 0.4", "workspace · dropout 0.4"),
        ({"fetch": {"source": "csv", "path": "/data/me/papers.csv"}},
         "train · fetch.source csv, fetch.path papers.csv",
         "workspace · fetch.source csv, fetch.path papers.csv"),
        ({"evaluate": {"bootstrap": 9}, "tracking": {"enabled": False}},
         "train", "workspace · evaluate.bootstrap 9"),
        ({"seed": 1, "epochs": 3, "dropout": 0.1, "patience": 2, "loss": "focal"},
         "train · seed 1, dropout 0.1, epochs 3, 2 more",
         "workspace · seed 1, dropout 0.1, epochs 3, 2 more"),
        ({"fetch": {"contact": "http://me:hunter2@example.org"}},
         "train · fetch.contact ***@example.org", "workspace · fetch.contact ***@example.org"),
        ({"labels": {"classes": ["cs.RO", "cs.CR", "stat.ML", "math.PR", "math.ST"]}},
         "train · labels.classes ['cs.RO', 'cs.CR', 'stat.ML...",
         "workspace · labels.classes ['cs.RO', 'cs.CR', 'stat.ML..."),
    ],
)  # fmt: skip
def test_a_name_says_what_differs_from_the_last_commit(
    changed: Content, name: str, pipeline: str, workspace: Path, tiny_content: Content
) -> None:
    write_params(workspace, merged(tiny_content, changed))
    assert run_name("train", None, workspace) == name
    assert run_name("train", "seed-123", workspace) == name.replace("train", "train seed-123")
    assert pipeline_name(workspace) == pipeline


def test_a_pipeline_run_is_named_by_its_experiment(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "gusty-dawn")
    assert pipeline_name(workspace) == "gusty-dawn"
    (workspace / "params.yaml").write_text("{")
    assert run_name("evaluate", None, workspace) == "evaluate"
    (workspace / "params.yaml").unlink()
    assert run_name("evaluate", None, workspace) == "evaluate"
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    write_params(outside, {"dropout": 0.1})
    assert run_name("evaluate", None, outside) == "evaluate", "git cannot tell"


def test_parameters_repository_and_user_identify_a_pipeline_run(
    workspace: Path, tmp_path: Path, tiny_content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME", raising=False)
    key = pipeline_key(workspace, workspace)
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
        assert pipeline_key(workspace, workspace) != key
    write_params(workspace, merged(tiny_content, {"tracking": {"experiment": "other"}}))
    assert pipeline_key(workspace, workspace) == key
    assert pipeline_key(tmp_path / "elsewhere", workspace) != key
    copy = tmp_path / "temporary"  # of `dvc exp run --temp`
    copy.mkdir()
    write_params(copy, tiny_content)
    assert pipeline_key(workspace, copy) == key
    write_params(workspace, merged(tiny_content, {"seed": 1}))
    assert pipeline_key(workspace, workspace) != key


def run_stage(params: Params, root: Path, stage: str, member: str | None = None) -> None:
    with track(stage, params, member, root=root, workspace=root) as run:
        if stage == "train":
            run.training(TRAINED, model="digest", main=member is None)


def tree(root: Path) -> list[tuple[str, str, list[str]]]:
    """Name, status and children of each pipeline run, the oldest first."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("arxiv-hybrid")
    runs = client.search_runs([experiment.experiment_id])[::-1]
    return [
        (
            parent.info.run_name,
            parent.info.status,
            [
                run.info.run_name
                for run in runs
                if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id
            ],
        )
        for parent in runs
        if parent.data.tags["stage"] == "pipeline"
    ]


@pytest.mark.filterwarnings("default")
def test_stages_of_a_pipeline_run_share_a_parent(
    workspace: Path, tiny_params: Params, tiny_content: Content
) -> None:
    run_stage(tiny_params, workspace, "train")
    with (
        pytest.raises(ZeroDivisionError),
        track("train", tiny_params, "other", root=workspace, workspace=workspace),
    ):
        raise ZeroDivisionError
    assert tree(workspace) == [("workspace", "FAILED", ["train", "train other"])]
    run_stage(tiny_params, workspace, "train", "other")  # it resumes
    run_stage(tiny_params, workspace, "evaluate")
    resumed = ["train", "train other", "train other", "evaluate"]
    assert tree(workspace) == [("workspace", "FINISHED", resumed)]
    write_params(workspace, merged(tiny_content, {"dropout": 0.4}))  # another experiment
    run_stage(tiny_params, workspace, "train")
    changed = ("workspace · dropout 0.4", "FINISHED", ["train · dropout 0.4"])
    assert tree(workspace) == [("workspace", "FINISHED", resumed), changed]
    write_params(workspace, tiny_content)
    run_stage(tiny_params, workspace, "ensemble")  # it was left out at first
    assert tree(workspace) == [("workspace", "FINISHED", [*resumed, "ensemble"]), changed]
    run_stage(tiny_params, workspace, "evaluate")  # `dvc repro -f`
    assert tree(workspace)[2] == ("workspace", "FINISHED", ["evaluate"])


KILLED = """
import os, sys
from pathlib import Path
import yaml
from arxiv_hybrid.params import load
from arxiv_hybrid.tracking import budget, track
budget.START = budget.TOTAL = 120.0
root = Path(sys.argv[1])
with track("train", load(root / "params.yaml"), root=root, workspace=root) as run:
    while run._parent is None:
        pass
    os.kill(os.getpid(), 9)
"""


@pytest.mark.filterwarnings("default")
def test_a_killed_stage_leaves_no_parent_running(workspace: Path, tiny_params: Params) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(workspace)], check=False)
    assert done.returncode == -9
    assert tree(workspace) == [("workspace", "RUNNING", ["train"])]
    other = tiny_params.model_copy(update={"seed": 3})
    write_params(workspace, {"seed": 3})
    run_stage(other, workspace, "evaluate")
    assert tree(workspace)[0] == ("workspace", "KILLED", ["train"])


@pytest.fixture
def report(tiny_params: Params) -> tuple[Content, Any]:
    """Scores of a made-up model, and the papers."""
    labels, p = one_class()
    papers = papers_listing(np.eye(3, dtype=bool)[labels])
    predictions = Predictions(p, unsure=p.max(1) < 0.5)
    baseline = Predictions(one_class(skill=1.0)[1])
    classes = label_set(3, multi_label=False)
    return full_report(papers, classes, predictions, baseline, tiny_params), papers


@pytest.mark.filterwarnings("default")
def test_models_can_be_ranked_by_their_test_scores(
    workspace: Path, tiny_params: Params, report: tuple[Content, Any]
) -> None:
    import mlflow

    scores, papers = report
    digests = [log_untrained_model(tiny_params, workspace, seed) for seed in (1, 2)]
    for digest, accuracy in zip(digests, (0.7, 0.8), strict=True):
        with track("evaluate", tiny_params, root=workspace, workspace=workspace) as run:
            run.scores({**scores, "accuracy": accuracy}, papers, model=digest)
    mlflow.set_tracking_uri(f"sqlite:///{workspace / 'mlflow.db'}")
    ranked = mlflow.search_logged_models(
        experiment_ids=[mlflow.get_experiment_by_name("arxiv-hybrid").experiment_id],
        order_by=[{"field_name": "metrics.accuracy", "ascending": False, "dataset_name": "test"}],
        output_format="list",
    )
    client = mlflow.MlflowClient()
    found = [client.get_run(model.source_run_id).data.tags["model.digest"] for model in ranked]
    assert found == digests[::-1]
    (metric,) = [m for m in ranked[0].metrics if m.key == "accuracy"]
    assert (metric.value, metric.dataset_name) == (0.8, "test")


@pytest.mark.filterwarnings("default")
def test_the_parent_has_the_results_and_few_columns(
    workspace: Path, tiny_params: Params, report: tuple[Content, Any]
) -> None:
    import mlflow

    scores, papers = report
    run_stage(tiny_params, workspace, "train")
    run_stage(tiny_params, workspace, "train", "other")
    with track("evaluate", tiny_params, root=workspace, workspace=workspace) as run:
        run.scores(scores, papers, model="of no logged model")
    with track("ensemble", tiny_params, root=workspace, workspace=workspace) as run:
        run.scores({**scores, "members": {"x": {"accuracy": 0.1}}}, papers)
    client = mlflow.MlflowClient(f"sqlite:///{workspace / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("arxiv-hybrid")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if run.data.tags["stage"] == "pipeline"]
    shown = parent.data.metrics
    assert shown["val_accuracy"] == 0.7
    assert shown["accuracy"] == shown["ensemble.accuracy"] == pytest.approx(scores["accuracy"])
    assert shown["against_baseline.gain"] == pytest.approx(scores["against_baseline"]["gain"])
    assert parent.data.params["model"] == "v1"
    assert parent.data.params["fetch.source"] == "synthetic"
    assert len(parent.data.params) < 15
    for run in runs:
        assert len(run.data.metrics) < 32
        assert not [name for name in run.data.metrics if "per_class" in name or "members" in name]
    (file,) = client.list_artifacts(parent.info.run_id)
    assert file.path == "params.yaml"
    assert json.loads(json.dumps(parent.data.tags))["pipeline.finished"] == (
        "train, train other, evaluate, ensemble"
    )


@pytest.mark.parametrize(
    ("gpus", "available"), [(2, True), (0, False), (None, False), ("not installed", False)]
)
def test_gpu_metrics_need_the_library_and_a_gpu(
    gpus: int | str | None, available: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NVMLError(Exception):
        pass

    def start() -> None:
        if gpus is None:
            raise NVMLError("no driver")

    library: Any = ModuleType("pynvml")
    library.NVMLError, library.nvmlInit = NVMLError, start
    library.nvmlDeviceGetCount = lambda: gpus
    monkeypatch.setitem(sys.modules, "pynvml", None if gpus == "not installed" else library)
    assert gpu_metrics_available() is available
