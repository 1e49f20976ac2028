"""Files that users name: the stages that read one run again after it changed, and no others."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from clones import set_params, sh
from conftest import ROOT
from saved_encoder import save_encoder

from arxiv_hybrid.sources import synthetic
from arxiv_hybrid.text.vocabulary import Vocabulary

NAMED = {  # the parameter that names a file, and how a stage's script reads it
    "fetch.path": "SOURCES[source](params",
    "glove.source": "vector_file(params.glove",
    "glove.extra_text": "params.glove.extra_text",
    "pretrained": "params.pretrained",
}


def recorded(stage: dict[str, Any], file: str) -> set[str]:
    """The entries of the file of digests that a stage depends on."""
    keys = [p[file] for p in stage.get("params", []) if isinstance(p, dict) and file in p]
    return {key for part in keys for key in part}


def test_a_stage_depends_on_the_files_that_it_reads() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for name, stage in stages.items():
        script = (ROOT / stage.get("do", stage)["cmd"].split()[1]).read_text()
        if name == "inputs":
            continue
        read = {parameter for parameter, words in NAMED.items() if words in script}
        keys = recorded(stage, "data/inputs.json")
        covered = {p for p in NAMED if any(p == k or p.startswith(f"{k}.") for k in keys)}
        assert covered == read, name
    pretraining = yaml.safe_load((ROOT / "pretraining/dvc.yaml").read_text())["stages"]
    assert recorded(pretraining["papers"], "inputs.json") == {"texts", "leave_out"}
    assert recorded(pretraining["encoder"], "inputs.json") == set(), "it reads the stage papers"


@pytest.fixture(scope="module")
def project(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run repository with a file of each kind, ignored by git."""
    folder = tmp_path_factory.mktemp("files") / "project"
    shutil.copytree(repo, folder, symlinks=True)
    (folder / ".git/info").mkdir(exist_ok=True)
    (folder / ".git/info/exclude").write_text("/mine/\n")
    mine = folder / "mine"
    papers = synthetic.generate(papers=160, label_noise=0.05, seed=5)[0]
    mine.mkdir()
    papers.to_csv(mine / "papers.csv", index=False)
    papers.head(20).to_csv(mine / "more.csv", index=False)
    (mine / "words.vec").write_text("learning" + " 0.5" * 12 + "\n")
    torch.manual_seed(0)
    words = Vocabulary(("<PAD>", "<UNK>", "deep", "learning", "words"))
    save_encoder(mine / "encoder", words, ["other.1"], embed_dim=12)
    return folder


def changed_stages(project: Path) -> set[str]:
    """The stages that DVC would run now, whatever the stages before them then write."""
    sh(project, "python", "stages/inputs.py")
    status = json.loads(sh(project, "dvc", "status", "--json", "dvc.yaml").stdout)
    return status.keys() - {"inputs"}


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


CORPUS = {"glove": {"source": "corpus", "extra_text": "mine/more.csv"}, "pretrained": None}
CSV = {"source": "csv", "path": "mine/papers.csv"}


@pytest.mark.pipeline
@pytest.mark.parametrize(
    ("params", "edits"),
    [
        (
            {"fetch": CSV, "glove": {"source": "mine/words.vec", "extra_text": "mine/more.csv"}},
            {"papers.csv": {"fetch"}, "words.vec": {"glove"}, "more.csv": set()},
        ),
        (
            {"fetch": {**CSV, "source": "synthetic"}, **CORPUS},
            {"more.csv": {"glove"}, "papers.csv": set(), "encoder/vocab.txt": set()},
        ),
        (
            {**CORPUS, "model": "v1", "pretrained": "mine/encoder"},
            {
                "encoder/model.safetensors": {
                    "resolve",
                    "glove",
                    "vocab",
                    "train",
                    "member@member0",
                },
                "more.csv": set(),
            },
        ),
    ],
)
def test_exactly_the_dependent_stages_run_again(
    project: Path, params: dict[str, Any], edits: dict[str, set[str]]
) -> None:
    set_params(project, params)
    sh(project, "python", "stages/inputs.py")
    sh(project, "python", "stages/resolve.py")
    sh(project, "dvc", "commit", "-fq", "dvc.yaml")
    assert changed_stages(project) == set()
    for file, stages in edits.items():
        before = (project / "mine" / file).read_bytes()
        append(project / "mine" / file)
        assert changed_stages(project) == stages, file
        (project / "mine" / file).write_bytes(before)
    assert changed_stages(project) == set(), "the content counts, not the time"


def ran(output: str) -> list[str]:
    return re.findall(r"Running stage '([^']+)'", output)


@pytest.mark.pipeline
def test_an_edited_file_is_fetched_again_and_a_lost_one_is_named(project: Path) -> None:
    def fetch(*command: str, ok: bool = True) -> str:
        done = sh(project, *command, ok=ok)
        return done.stdout + done.stderr

    set_params(project, {"fetch": CSV, **CORPUS})
    path = project / "mine/papers.csv"
    pd.read_csv(path).head(150).to_csv(path, index=False)
    assert ran(fetch("dvc", "repro", "fetch")) == ["inputs", "fetch"]
    assert ran(fetch("dvc", "repro", "fetch")) == ["inputs"]
    pd.read_csv(path).head(140).to_csv(path, index=False)
    aside = fetch("dvc", "exp", "run", "--temp", "fetch")
    assert ran(aside) == ["inputs", "fetch"], "a file that git ignores, in a temporary copy"
    assert "140 rows" in aside
    path.rename(path.with_suffix(".lost"))
    lost = fetch("dvc", "repro", "fetch", ok=False)
    assert "papers.csv: no such file (fetch.path)" in lost
    assert "Traceback" not in lost
