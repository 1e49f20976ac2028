"""Pre-training through DVC as its README says, made small, and a classifier that starts from it."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
import yaml
from clones import copy_project, digests, environment, set_params, sh
from conftest import ROOT, TINY

from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.pretrained import load_pretrained
from arxiv_hybrid.sources import synthetic

pytestmark = pytest.mark.pipeline
SMALL = {"dim": 12, "epochs": 1, "batch_size": 16, "num_filters": 4, "hidden": 8,
         "abstract_length": 40, "min_freq": 2, "min_papers": 10,
         "validation": 0.2, "texts": ["texts.csv", "more.csv.gz"], "leave_out": ["known.csv"],
         "tracking": {"enabled": True, "experiment": "pre-training"}}  # fmt: skip
COMMAND = ("dvc", "repro", "pretraining/dvc.yaml")


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with both pipelines, papers to learn from and papers to leave out."""
    folder = tmp_path_factory.mktemp("clone") / "project"
    copy_project(folder)
    set_params(folder, TINY)
    path = folder / "pretraining/params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump({**params, **SMALL}), encoding="utf-8")
    papers = synthetic.generate(papers=160, label_noise=0.05, seed=3)[0].drop_duplicates("id")
    # so that none is a test paper
    papers["id"] = papers["id"].str.replace("synthetic", "unlabelled")
    papers.head(100).to_csv(folder / "texts.csv", index=False)
    papers.tail(80).to_csv(folder / "more.csv.gz", index=False)
    known = papers.head(20).assign(id=[f"other.{i}" for i in range(20)])
    known.to_csv(folder / "known.csv", index=False)
    return folder


def test_all_papers_are_learned_from_but_those_left_out(repo: Path) -> None:
    sh(repo, *COMMAND)
    here = repo / "pretraining"
    summary = json.loads((here / "papers/papers.json").read_text())["summary"]
    assert summary["papers"] == 160 - 20, "known by their text, whatever their id"
    assert summary["sources"]["more.csv.gz"]["left_out"] == {"repeated id": 20}
    metrics = json.loads((here / "metrics/encoder.json").read_text())
    assert metrics["papers"] + metrics["validation_papers"] == 140
    assert 0 <= metrics["micro_f1"] <= 1
    assert metrics["exact"].keys() <= metrics.keys(), "the same before rounding"
    assert metrics["model"] == checkpoint.digest(here / "model")
    curves = pd.read_csv(here / "metrics/curves.csv")
    assert list(curves["epoch"]) == [1]
    assert curves[["train_loss", "val_loss", "val_accuracy"]].notna().all(axis=None)
    pretrained = load_pretrained(here / "model")
    assert pretrained.embeddings.shape[1] == 12
    assert len(pretrained.papers) == pretrained.origin.papers == 140
    model = checkpoint.load(here / "model")
    assert len(model.classify(pd.read_csv(repo / "known.csv", dtype=str))) == 20
    assert model.familiarity is not None, "so it can be unsure"
    card = (here / "model/README.md").read_text()
    for part in ("140 papers", "| texts.csv | 80 |", "| more.csv.gz | 60 |", "CC0", "dim: 12",
                 "text in leave_out: 20",
                 f"| micro-F1 | {100 * metrics['micro_f1']:.2f} % |"):  # fmt: skip
        assert part in card, part


def test_the_run_and_its_curves_are_in_mlflow(repo: Path) -> None:
    with closing(sqlite3.connect(repo / "mlflow.db")) as store:
        query = "SELECT key, step FROM metrics"
        logged = set(store.execute(query))
        (name,) = store.execute("SELECT name FROM experiments WHERE experiment_id != 0").fetchone()
    assert {("train_loss", 1), ("val_loss", 1), ("val_precision_at_1", 1)} <= logged
    assert name == "pre-training"
    path = repo / "pretraining/params.yaml"  # the other tests need no MLflow
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["tracking"]["enabled"] = False
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert stages_run(sh(repo, *COMMAND).stdout) == ["inputs"], "a log changes no result"


def stages_run(output: str) -> list[str]:
    return re.findall(r"Running stage 'pretraining/dvc.yaml:(\w+)'", output)


def changed_stages(repo: Path) -> set[str]:
    """The stages that DVC would run now, whatever the stages before them then write."""
    sh(repo / "pretraining", "python", "inputs.py")
    status = json.loads(sh(repo, "dvc", "status", "--json", "pretraining/dvc.yaml").stdout)
    return {name.rpartition(":")[2] for name in status} - {"inputs"}


@pytest.mark.parametrize("name", ["texts.csv", "more.csv.gz", "known.csv"])
def test_changed_papers_are_learned_again(repo: Path, name: str) -> None:
    path = repo / name
    before = path.read_bytes()
    path.write_bytes(before + b"\n")
    changed = changed_stages(repo)
    path.write_bytes(before)
    assert changed == {"papers"}, "and then the encoder, which depends on them"
    assert changed_stages(repo) == set(), "the content counts, not the time"


def test_pretraining_resumes_after_kill_9(repo: Path) -> None:
    here, path = repo / "pretraining", repo / "pretraining/params.yaml"
    params = path.read_text(encoding="utf-8")
    path.write_text(yaml.safe_dump({**yaml.safe_load(params), "epochs": 9}), encoding="utf-8")
    kept = {p: p.read_bytes() for f in ("model", "metrics") for p in (here / f).iterdir()}
    sh(here, "python", "encoder.py")
    before = digests(here / "model")
    with subprocess.Popen(
        ["python", "encoder.py"], cwd=here, env=environment(), stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if b"epoch   2" in line:
                process.kill()
    (here / "model/model.safetensors").unlink()
    resumed = sh(here, "python", "encoder.py")
    assert "resuming after epoch" in resumed.stderr
    assert digests(here / "model") == before
    assert not (repo / "checkpoints/pretraining").exists()
    path.write_text(params, encoding="utf-8")
    for file, content in kept.items():
        file.write_bytes(content)


def test_a_classifier_starts_from_the_encoder_and_so_do_other_models(repo: Path) -> None:
    words = (repo / "pretraining/model/vocab.txt").read_text()
    for model, filters in (("v6", 4), ("v1", 8)):
        none = {"num_filters": None, "lstm_hidden": None}
        small = {"num_filters": 8, "lstm_hidden": 8}
        set_params(repo, {"model": model, "pretrained": "pretraining/model",
                          "architecture": none if model == "v6" else small})  # fmt: skip
        sh(repo, "dvc", "repro", "evaluate" if model == "v6" else "train")
        config = json.loads((repo / "models/main/model.json").read_text())
        assert config["model"] == model
        assert config["arguments"]["embed_dim"] == 12
        assert config["arguments"]["num_filters"] == filters
        assert (repo / "models/main/vocab.txt").read_text() == words


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texts": None}, "texts: None is not allowed: name a file of papers"),
        ({"texts": "none.json"}, "none.json"),
        ({"texts": ["texts.csv", "none.json"]}, "none.json: no such file (texts)"),
        ({"leave_out": "none.csv"}, "none.csv: no such file (leave_out)"),
        ({"texts": "known.csv"}, "known.csv: 0 papers to learn from, need 32 (texts)"),
        ({"until": "1990-01"}, "0 papers to learn from, need 32"),
        ({"temperature": 0}, "temperature: 0 is not allowed"),
        ({"unknown": 1}, "unknown: unknown key"),
    ],
)
def test_mistakes_give_one_line(repo: Path, changes: dict[str, object], message: str) -> None:
    path = repo / "pretraining/params.yaml"
    before = path.read_text(encoding="utf-8")
    path.write_text(yaml.safe_dump({**yaml.safe_load(before), **changes}), encoding="utf-8")
    here = repo / "pretraining"
    kept = digests(here / "papers")
    done = sh(here, "python", "papers.py", ok=False)
    assert digests(here / "papers") == kept
    path.write_text(before, encoding="utf-8")
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_readme_names_every_stage_as_dvc_does() -> None:
    stages = yaml.safe_load((ROOT / "pretraining/dvc.yaml").read_text(encoding="utf-8"))["stages"]
    readme = (ROOT / "pretraining/README.md").read_text(encoding="utf-8")
    made = {name for stage in stages.values() for out in stage["outs"] for name in out}
    for name, stage in stages.items():
        assert f"| `{name}` | {stage['desc']} |" in readme
        for dep in stage["deps"]:
            assert dep in made or (ROOT / "pretraining" / dep).exists(), dep


def test_a_folder_that_is_not_there_is_named_before_any_work(repo: Path) -> None:
    set_params(repo, {"model": "v1", "pretrained": "nowhere"})
    done = sh(repo, "python", "stages/train.py", ok=False)
    assert done.returncode == 2
    assert "nowhere/model.safetensors: not found (pretrained)" in done.stderr
