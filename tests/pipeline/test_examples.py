"""The examples run through DVC as their README says, made small."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from conftest import ROOT
from test_pipeline import sh

from arxiv_hybrid.__main__ import main

pytestmark = pytest.mark.pipeline


def clone(folder: Path, example: str, **changes: Any) -> Path:
    """A repository with one example, its parameters changed."""
    source = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", folder / "src", ignore=source)
    made = shutil.ignore_patterns("__pycache__", "models", "metrics", "dvc.lock", ".gitignore")
    shutil.copytree(ROOT / "examples" / example, folder / "examples" / example, ignore=made)
    (folder / ".dvc").mkdir()
    for name in (".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore"):
        shutil.copy(ROOT / name, folder / name)
    params = folder / "examples" / example / "params.yaml"
    content = yaml.safe_load(params.read_text(encoding="utf-8"))
    params.write_text(yaml.safe_dump({**content, **changes}), encoding="utf-8")
    sh(folder, "git", "init", "-q")
    return folder


def test_next_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repo = clone(tmp_path, "next_word", epochs=3)
    sh(repo, "dvc", "repro", "examples/next_word/dvc.yaml")
    here = repo / "examples/next_word"
    for kind in ("cnn", "cnn_lstm"):
        curves = pd.read_csv(here / f"metrics/{kind}.csv")
        assert list(curves["epoch"]) == [1, 2, 3]
        assert curves["loss"].is_monotonic_decreasing
        last = json.loads((here / f"metrics/{kind}.json").read_text())["last"]
        assert last["loss"] == pytest.approx(curves["loss"].iloc[-1])
        command = ["next-word", "early detection of", "--model", str(here / "models" / kind)]
        assert main([*command, "--top", "3"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 3
        assert all("%" in line for line in lines)
    again = sh(repo, "dvc", "repro", "examples/next_word/dvc.yaml")
    assert "Data and pipelines are up to date" in again.stdout + again.stderr


def test_next_word_without_a_model_says_how_to_make_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["next-word", "a", "--model", str(tmp_path / "none")]) == 2
    assert "dvc repro examples/next_word/dvc.yaml" in capsys.readouterr().err


def test_time_series(tmp_path: Path) -> None:
    transfer = {"source": "motif", "target": "dip", "samples": 20, "epochs": 2, "repeats": 2}
    small = {"samples": 120, "epochs": 2, "steps": 30, "transfer": transfer}
    repo = clone(tmp_path, "time_series", **small)
    sh(repo, "dvc", "repro", "examples/time_series/dvc.yaml")
    here = repo / "examples/time_series"
    for case in ("noise", "motif", "attention", "forecast"):
        curves = pd.read_csv(here / f"metrics/{case}.csv")
        assert list(curves["epoch"]) == [1, 2]
        report = json.loads((here / f"metrics/{case}.json").read_text())
        assert report["test"]["score"] == pytest.approx(curves["test_score"].iloc[-1])
        assert (here / f"models/{case}.safetensors").is_file()
    gain = json.loads((here / "metrics/transfer.json").read_text())
    assert gain["gain"]["mean"] == pytest.approx(
        gain["transferred"]["mean"] - gain["fresh"]["mean"], abs=1e-5
    )
