"""Pre-training through DVC as its README says, made small, and a classifier that starts from it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml
from clones import digests, environment, set_params, sh
from conftest import ROOT, TINY

from arxiv_hybrid.inference.pretrained import load_pretrained
from arxiv_hybrid.sources import synthetic

pytestmark = pytest.mark.pipeline
SMALL = {"dim": 12, "vector_epochs": 1, "epochs": 1, "batch_size": 16, "num_filters": 4,
         "lstm_hidden": 4, "abstract_length": 40, "min_freq": 2, "leave_out": "known.csv",
         "texts": "texts.csv"}  # fmt: skip
COMMAND = ("dvc", "repro", "pretraining/dvc.yaml")


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with both pipelines, papers to learn from and papers to leave out."""
    folder = tmp_path_factory.mktemp("clone") / "project"
    folder.mkdir()
    shutil.copytree(ROOT / ".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("tmp", "cache"))
    for name in ("dvc.yaml", "params.yaml", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, folder / name)
    caches = ("__pycache__", "*.egg-info")
    results = {"pretraining": ("dvc.lock", "model", "vectors", "metrics")}
    for name in ("src", "stages", "pretraining"):
        ignored = shutil.ignore_patterns(*caches, *results.get(name, ()))
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    set_params(folder, TINY)
    path = folder / "pretraining/params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump({**params, **SMALL}), encoding="utf-8")
    papers = synthetic.generate(papers=140, label_noise=0.05, seed=3)[0].drop_duplicates("id")
    papers["id"] = papers["id"].str.replace(
        "synthetic", "unlabelled"
    )  # so that none is a test paper
    papers.to_csv(folder / "texts.csv", index=False)
    secret = papers.head(20).assign(id=[f"other.{i}" for i in range(20)])
    secret.to_csv(folder / "known.csv", index=False)
    sh(folder, "git", "init", "-q")
    return folder


def test_papers_that_are_left_out_are_not_learned_from(repo: Path) -> None:
    sh(repo, *COMMAND)
    metrics = json.loads((repo / "pretraining/metrics/encoder.json").read_text())
    assert metrics["papers"] == 140 - 20, "known by their text, whatever their id"
    curves = pd.read_csv(repo / "pretraining/metrics/curves.csv")
    assert list(curves["epoch"]) == [1]
    assert load_pretrained(repo / "pretraining/model").embeddings.shape[1] == 12
    assert stages_run(sh(repo, *COMMAND).stdout) == ["inputs"]


def stages_run(output: str) -> list[str]:
    return re.findall(r"Running stage 'pretraining/dvc.yaml:(\w+)'", output)


@pytest.mark.parametrize("name", ["texts.csv", "known.csv"])
def test_changed_papers_are_learned_again(repo: Path, name: str) -> None:
    path = repo / name
    before = path.read_text()
    path.write_text(before.replace("learning", "teaching"))
    assert stages_run(sh(repo, *COMMAND).stdout) == ["inputs", "vectors", "encoder"]
    path.write_text(before)
    restored = stages_run(sh(repo, *COMMAND).stdout)
    assert restored == ["inputs"], "the run cache has it"


def test_pretraining_resumes_after_kill_9(repo: Path) -> None:
    here, path = repo / "pretraining", repo / "pretraining/params.yaml"
    params = path.read_text(encoding="utf-8")
    path.write_text(params.replace("epochs: 1\n", "epochs: 9\n"), encoding="utf-8")
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
    for model in ("v5", "v1"):
        none = {"num_filters": None, "lstm_hidden": None}
        small = {"num_filters": 8, "lstm_hidden": 8}
        set_params(repo, {"model": model, "pretrained": "pretraining/model",
                          "architecture": none if model == "v5" else small})  # fmt: skip
        sh(repo, "dvc", "repro", "evaluate")
        config = json.loads((repo / "models/main/model.json").read_text())
        assert config["model"] == model
        assert config["arguments"]["embed_dim"] == 12
        assert config["arguments"]["num_filters"] == (4 if model == "v5" else 8)
        assert (repo / "models/main/vocab.txt").read_text() == words


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texts": None}, "texts: None is not allowed: name a file of papers"),
        ({"texts": "none.json"}, "none.json"),
        ({"texts": "known.csv"}, "0 papers to learn from, need 32"),
        ({"temperature": 0}, "temperature: 0 is not allowed"),
        ({"unknown": 1}, "unknown: unknown key"),
    ],
)
def test_mistakes_give_one_line(repo: Path, changes: dict[str, object], message: str) -> None:
    path = repo / "pretraining/params.yaml"
    before = path.read_text(encoding="utf-8")
    path.write_text(yaml.safe_dump({**yaml.safe_load(before), **changes}), encoding="utf-8")
    here = repo / "pretraining"
    done = sh(here, "python", "vectors.py", ok=False)
    path.write_text(before, encoding="utf-8")
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_readme_names_every_stage_as_dvc_does() -> None:
    stages = yaml.safe_load((ROOT / "pretraining/dvc.yaml").read_text(encoding="utf-8"))["stages"]
    readme = (ROOT / "pretraining/README.md").read_text(encoding="utf-8")
    for name, stage in stages.items():
        assert f"| `{name}` | {stage['desc']} |" in readme
        for dep in stage["deps"]:
            assert dep == "vectors" or (ROOT / "pretraining" / dep).exists(), dep


def test_a_folder_that_is_not_there_is_named_before_any_work(repo: Path) -> None:
    set_params(repo, {"pretrained": "nowhere"})
    done = sh(repo, "python", "stages/train.py", ok=False)
    assert done.returncode == 2
    assert "nowhere/model.safetensors: not found (pretrained)" in done.stderr
