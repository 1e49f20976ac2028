"""Real `dvc repro` and `dvc exp run` in a temporary clone, with a tiny corpus."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from clones import digests, environment, set_params, sh
from conftest import ROOT

from arxiv_hybrid.text.tokenize import tokenize

pytestmark = pytest.mark.pipeline
STAGES = [
    "resolve", "inputs", "fetch", "audit", "split", "augment", "glove",
    "vocab", "baseline", "train", "evaluate", "ensemble",
]  # fmt: skip


@pytest.fixture
def params_restored(repo: Path) -> Iterator[Path]:
    """The repository, reset to its commit afterwards."""
    yield repo
    sh(repo, "git", "checkout", "-q", "--", ".")
    sh(repo, "dvc", "checkout", "-q")


def runs(repo: Path) -> list[Any]:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{repo / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("arxiv-hybrid")
    return list(client.search_runs([experiment.experiment_id]))


def test_a_tagged_model_is_fetched_by_its_name(repo: Path, tmp_path: Path) -> None:
    papers = tmp_path / "papers"
    sh(tmp_path, "git", "clone", "-q", str(repo), "papers")
    sh(papers, "dvc", "remote", "add", "-q", "-d", "shared", str(tmp_path / "remote"))
    sh(papers, "git", "commit", "-qam", "remote")
    sh(papers, "git", "remote", "set-url", "origin", str(papers))
    sh(papers, "dvc", "cache", "dir", "--local", str(repo / ".dvc/cache"))
    text = (ROOT / "docs/serving.md").read_text(encoding="utf-8")
    section = text.split("## A model from another machine")[1].split("\n## ")[0]
    publish, fetch = re.findall(r"^```sh network\n(.*?)^```$", section, re.M | re.S)
    sh(papers, "bash", "-euc", publish)
    (papers / ".dvc/config.local").unlink()  # the model is in the remote only
    command = fetch.splitlines()[0]
    assert "https://git.example.org/papers.git" in command
    sh(tmp_path, "bash", "-euc", command.replace("https://git.example.org/papers.git", "papers"))
    assert digests(tmp_path / "main") == digests(repo / "models/main")
    described = yaml.safe_load((repo / "dvc.yaml").read_text())["artifacts"]["classifier"]
    assert {"type", "desc", "labels"} < set(described)


def test_all_stages_left_their_outputs(repo: Path) -> None:
    metrics = {path.stem for path in (repo / "metrics").glob("*.json")}
    assert metrics == {"audit", "vocab", "baseline", "train", "evaluate", "ensemble"}
    evaluation = json.loads((repo / "metrics/evaluate.json").read_text())
    assert {
        "accuracy", "macro_f1", "weighted_f1", "per_class", "calibration_error",
        "accuracy_interval", "accuracy_any_listed", "against_baseline",
    } <= set(evaluation)  # fmt: skip
    audit = json.loads((repo / "metrics/audit.json").read_text())
    assert 0.7 < audit["task"]["label_ceiling"] < 1
    assert set(json.loads((repo / "metrics/ensemble.json").read_text())["members"]) == {
        "main",
        "other",
    }
    assert not list(repo.rglob("*.pkl"))
    summary = sh(repo, "python", "-m", "arxiv_hybrid", "summary").stdout
    for words in ("TF-IDF + linear", "this model", "oracle ceiling", "models/main", "make ui"):
        assert words in summary


def test_the_report_is_one_file_that_needs_no_network(repo: Path) -> None:
    sh(repo, "python", "-m", "arxiv_hybrid", "report")
    page = (repo / "reports/index.html").read_text(encoding="utf-8")
    accuracy = json.loads((repo / "metrics/evaluate.json").read_text())["accuracy"]
    assert f"<h1>The last run: {100 * accuracy:.1f}\N{NO-BREAK SPACE}%" in page
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:|https://arxiv\.org/abs/)[^"']*""", page)
    assert "url(" not in page
    assert "@import" not in page
    targets = set(re.findall(r'href="#([^"]+)"', page))
    assert targets == set(re.findall(r'<h2 id="([^"]+)"', page))
    assert page.count("<svg") == 3
    sections = page.split("<h3>Hardest</h3>")
    assert sections[0].count('<td class="name">') <= 10
    assert sections[1].count('<td class="name">') == 10


def test_a_report_needs_a_run(tmp_path: Path, repo: Path) -> None:
    for name in ("stages", "src"):
        (tmp_path / name).symlink_to(repo / name)
    shutil.copy(repo / "params.yaml", tmp_path)
    done = sh(tmp_path, "python", "-m", "arxiv_hybrid", "report", ok=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: data/splits/test.parquet: not found; run `dvc repro` to create it"
    ]


def test_no_word_of_the_held_out_papers_is_learned(repo: Path) -> None:
    held_out: Counter[str] = Counter()
    seen: set[str] = set()
    splits = {n: pd.read_parquet(repo / f"data/splits/{n}.parquet") for n in ("val", "test")}
    held_ids = {i for part in splits.values() for i in part["id"]}
    papers = pd.read_parquet(repo / "data/raw/papers.parquet").drop_duplicates("id")
    for paper in papers.itertuples():
        words = tokenize(f"{paper.title} {paper.abstract}")
        held_out.update(words) if paper.id in held_ids else seen.update(words)
    only_there = {word for word, count in held_out.items() if count > 1} - seen
    assert len(only_there) > 5
    assert not only_there & set((repo / "data/processed/vocab.txt").read_text().split())
    assert not only_there & set((repo / "data/processed/vectors/words.txt").read_text().split())


def test_git_sees_metrics_and_no_data(repo: Path) -> None:
    tracked = set(sh(repo, "git", "ls-files").stdout.split())
    assert "metrics/evaluate.json" in tracked
    assert "metrics/plots/learning_curves.csv" in tracked
    assert not [name for name in tracked if name.startswith(("data/", "models/", "mlflow"))]


def test_one_run_for_each_training_evaluation_and_ensemble(repo: Path) -> None:
    logged = [run for run in runs(repo) if "DVC_EXP_NAME" not in run.data.tags]
    stages = sorted(run.data.tags["stage"] for run in logged)
    assert stages == ["baseline", "ensemble", "evaluate", "pipeline", "train", "train"]
    parent = next(run for run in logged if run.data.tags["stage"] == "pipeline")
    parents = [run.data.tags.get("mlflow.parentRunId") for run in logged if run is not parent]
    assert parents == [parent.info.run_id] * 5
    scores = json.loads((repo / "metrics/ensemble.json").read_text())
    assert parent.data.metrics["ensemble.accuracy"] == pytest.approx(scores["accuracy"], abs=1e-6)
    main = next(r for r in logged if r.data.tags.get("member") == "main")
    evaluate = next(r for r in logged if r.data.tags["stage"] == "evaluate")
    assert evaluate.data.tags["model.digest"] == main.data.tags["model.digest"]
    assert "dep.data/processed/vocab.txt" in main.data.tags
    assert main.data.metrics["val_accuracy"] >= 0


def test_a_second_repro_only_looks_for_changed_files(repo: Path) -> None:
    done = sh(repo, "dvc", "repro")
    assert re.findall(r"Running stage '(\w+)'", done.stdout) == ["inputs"]
    assert not sh(repo, "git", "status", "--porcelain").stdout


def test_forced_repetition_gives_identical_metrics(repo: Path) -> None:
    before = digests(repo / "metrics")
    sh(repo, "dvc", "repro", "-f")
    assert digests(repo / "metrics") == before
    assert not sh(repo, "git", "status", "--porcelain").stdout


def test_the_documented_experiment(params_restored: Path) -> None:
    repo = params_restored
    done = sh(repo, "dvc", "exp", "run", "-S", "dropout=0.6", "-n", "heavier")
    output = done.stdout + done.stderr
    assert "Running stage 'train'" in output
    assert "Running stage 'fetch'" not in output  # only what depends on it ran
    shown = sh(repo, "dvc", "exp", "show", "--only-changed", "--md").stdout
    assert "heavier" in shown
    assert "0.6" in shown
    assert "dropout" in sh(repo, "dvc", "params", "diff").stdout
    sh(repo, "dvc", "metrics", "diff")
    assert {r.data.tags.get("DVC_EXP_NAME") for r in runs(repo)} == {None, "heavier"}


def test_a_temporary_workspace_logs_to_the_repository(params_restored: Path) -> None:
    repo = params_restored
    done = sh(repo, "dvc", "exp", "run", "--temp", "-S", "evaluate.bootstrap=150", "-n", "aside")
    assert "WARNING" not in done.stdout + done.stderr
    logged = [run for run in runs(repo) if run.data.tags.get("DVC_EXP_NAME") == "aside"]
    assert {run.data.tags["stage"] for run in logged} == {"evaluate", "ensemble", "pipeline"}
    for run in logged:
        assert run.info.artifact_uri.startswith((repo / "mlartifacts").as_uri())
    evaluate = next(run for run in logged if run.data.tags["stage"] == "evaluate")
    assert (repo / "mlartifacts" / evaluate.info.run_id / "artifacts/confusion.png").exists()


def test_the_summary_names_parameters_that_changed_since(params_restored: Path) -> None:
    set_params(params_restored, {"seed": 4711})
    summary = sh(params_restored, "python", "-m", "arxiv_hybrid", "summary").stdout
    assert "warning: these scores belong to other parameters: seed 42 (now 4711)" in summary


def test_what_a_partial_run_leaves_is_not_shown_as_its_own(params_restored: Path) -> None:
    repo = params_restored
    set_params(repo, {"dropout": 0.6, "tracking": {"enabled": False}})
    for stage in ("resolve", "train", "evaluate"):  # without DVC, whose lock stays as it was
        sh(repo, "python", f"stages/{stage}.py")
    scores = json.loads((repo / "metrics/evaluate.json").read_text())
    summary = sh(repo, "python", "-m", "arxiv_hybrid", "summary").stdout
    assert f"this model{scores['accuracy']:>20.2%}" in summary
    remark = "ensemble: not of this run: models/main/model.safetensors has changed since"
    assert f"{remark}; run `dvc repro ensemble`" in summary
    assert "members" not in summary
    assert "oracle ceiling" in summary, "the papers are the same"
    assert "warning" not in summary, "what is shown has these parameters"
    report = sh(repo, "python", "-m", "arxiv_hybrid", "report")
    assert remark in report.stderr
    page = (repo / "reports/index.html").read_text(encoding="utf-8")
    assert "models vote" not in page
    assert "Run <code>dvc repro ensemble</code>" in page
    sh(repo, "git", "checkout", "-q", "--", ".")
    done = sh(repo, "python", "-m", "arxiv_hybrid", "summary", ok=False)
    assert done.returncode == 2, "the metrics of one run, the model of another"
    assert "models/main/model.safetensors has changed since" in done.stderr
    sh(repo, "dvc", "checkout", "-fq")


@pytest.mark.parametrize(
    ("stage", "changes", "words"),
    [
        ("train", {"dropout": 1.5}, "params.yaml: dropout: 1.5"),
        ("fetch", {"fetch": {"source": "csv", "path": "none.csv"}}, "none.csv: no such file"),
        ("split", {"labels": {"classes": 5}}, "labels.classes: 5"),
    ],
)
def test_mistakes_give_one_line_and_keep_outputs(
    params_restored: Path, stage: str, changes: dict[str, Any], words: str
) -> None:
    repo = params_restored
    set_params(repo, changes)
    before = {name: digests(repo / name) for name in ("data", "models", "metrics")}
    done = sh(repo, "python", f"stages/{stage}.py", ok=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert {name: digests(repo / name) for name in before} == before


def test_a_failed_repro_can_be_undone(params_restored: Path) -> None:
    repo = params_restored
    before = digests(repo / "models")
    set_params(repo, {"learning_rate": -1})
    done = sh(repo, "dvc", "repro", ok=False)
    assert done.returncode != 0
    assert "learning_rate: -1" in done.stdout + done.stderr
    sh(repo, "git", "checkout", "-q", "--", ".")
    again = sh(repo, "dvc", "repro")
    assert "Running stage 'train'" not in again.stdout  # the run cache has it
    assert digests(repo / "models") == before


def test_ctrl_c_in_training_exits_130_and_writes_nothing(params_restored: Path) -> None:
    repo = params_restored
    set_params(repo, {"epochs": 10_000, "patience": 10_000, "tracking": {"enabled": False}})
    before = digests(repo / "models")
    with subprocess.Popen(
        ["python", "stages/train.py"], cwd=repo, env=environment(), stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL, text=True,
        # a test run in the background of a shell would otherwise ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        try:
            assert process.stderr is not None
            assert "epoch   1" in process.stderr.readline()
            process.send_signal(signal.SIGINT)
            rest = process.communicate(timeout=60)[1]
        finally:
            process.kill()
    assert process.returncode == 130
    assert "Traceback" not in rest
    assert rest.strip().splitlines()[-1].startswith("stopped")
    assert digests(repo / "models") == before


@pytest.mark.parametrize("member", ["main", "other"])
def test_training_resumes_after_kill_9(params_restored: Path, member: str) -> None:
    repo, name = params_restored, ["--member", "other"] if member == "other" else []
    set_params(repo, {"epochs": 12, "patience": 12, "tracking": {"enabled": False}})
    folder = repo / "models" / ("main" if member == "main" else "members/other")
    command = ["python", "stages/train.py", *name]
    sh(repo, *command)
    before = digests(folder)
    shutil.rmtree(folder)
    with subprocess.Popen(
        command, cwd=repo, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if b"epoch   3" in line:
                process.kill()
    assert process.returncode == -signal.SIGKILL
    assert len(list((repo / "checkpoints").iterdir())) == 1
    resumed = sh(repo, *command)
    assert re.search(r"^resuming after epoch \d+ of 12$", resumed.stderr, re.M)
    assert digests(folder) == before
    assert not list((repo / "checkpoints").iterdir())
    assert "checkpoints" not in sh(repo, "git", "status", "--porcelain", "--untracked=all").stdout
    sh(repo, "dvc", "checkout", "-fq")


def test_the_readme_names_every_stage_as_dvc_does() -> None:
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    described = {name: stage["desc"] for name, stage in pipeline["stages"].items()}
    assert set(STAGES) | {"member"} == set(described)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", readme, flags=re.MULTILINE))
    assert {name: rows.get(name) for name in described} == described
