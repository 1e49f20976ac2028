"""The examples run through DVC as their READMEs say, with smaller params."""

from __future__ import annotations

import importlib.util
import json
import re
from copy import deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from clones import copy_project, sh
from conftest import DEFAULTS, ROOT, merged

from arxiv_hybrid.__main__ import main
from arxiv_hybrid.params import load_section
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.time_series.series import Series

pytestmark = pytest.mark.pipeline


def clone(folder: Path, example: str, **changes: Any) -> Path:
    """A repository with changed params of an example."""
    copy_project(folder)
    params = folder / "examples" / example / "params.yaml"
    content = yaml.safe_load(params.read_text(encoding="utf-8"))
    params.write_text(yaml.safe_dump({**content, **changes}), encoding="utf-8")
    return folder


def test_next_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repo = clone(tmp_path, "next_word", epochs=3)
    sh(repo, "dvc", "repro", "examples/next_word/dvc.yaml")
    folder = repo / "examples/next_word"
    for kind in ("cnn", "cnn_lstm"):
        curves = pd.read_csv(folder / f"metrics/{kind}.csv")
        assert list(curves["epoch"]) == [1, 2, 3]
        assert curves["loss"].is_monotonic_decreasing
        last = json.loads((folder / f"metrics/{kind}.json").read_text())["last"]
        assert last["loss"] == pytest.approx(curves["loss"].iloc[-1])
        command = ["next-word", "early detection of", "--model", str(folder / "models" / kind)]
        assert main([*command, "--top", "3"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 3
        assert all("%" in line for line in lines)
    again = sh(repo, "dvc", "repro", "examples/next_word/dvc.yaml")
    assert "Data and pipelines are up to date" in again.stdout + again.stderr


def test_next_word_without_a_model_says_how_to_train_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["next-word", "a", "--model", str(tmp_path / "none")]) == 2
    assert "dvc repro examples/next_word/dvc.yaml" in capsys.readouterr().err


@pytest.fixture
def training_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "training_script", ROOT / "examples/time_series/train.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_transfer_starts_from_the_pretrained_weights(
    training_script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[tuple[dict[str, torch.Tensor], int, int]] = []

    def fit(
        _: Any, model: torch.nn.Module, train: Series, held_out: Series, **__: Any
    ) -> list[dict[str, float]]:
        calls.append((deepcopy(model.state_dict()), len(train.y), len(held_out.y)))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(1.0)
        return [{"held_out_score": 0.5 + 0.1 * len(calls)}]

    monkeypatch.setattr(training_script, "HERE", tmp_path)
    monkeypatch.setattr(training_script, "fit", fit)
    content = yaml.safe_load((DEFAULTS / "examples/time_series/params.yaml").read_text())
    content["transfer"] = {**content["transfer"], "epochs": 1, "repeats": 2}
    training_script.train_transfer(content)
    assert len(calls) == 6
    for pretrained, fresh, transferred in (calls[:3], calls[3:]):
        for name, weights in pretrained[0].items():
            assert torch.equal(fresh[0][name], weights), name
            assert torch.equal(transferred[0][name], weights + 1.0), name
        assert [pretrained[1:], fresh[1:], transferred[1:]] == [(800, 200), (50, 1000), (50, 1000)]
    gain = json.loads((tmp_path / "metrics/transfer.json").read_text())["gain"]
    assert gain["mean"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs: 0 is not allowed"),
        ({"samples": -3}, "samples: -3"),
        ({"steps": 5}, "steps: 5"),
        ({"kernel_size": 60}, "kernel_size and pool must not be above steps"),
        ({"test": 0}, "test: 0"),
        ({"validation": -1}, "validation: -1"),
        ({"fliters": 3}, "fliters: unknown key"),
        ({"transfer": {"source": "wave"}}, "transfer.source: 'wave'"),
    ],
)
def test_invalid_params_of_series_are_reported(
    training_script: ModuleType, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    content = yaml.safe_load((DEFAULTS / "examples/time_series/params.yaml").read_text())
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(merged(content, change)))
    with pytest.raises(UserError, match=re.escape(message)):
        load_section(tmp_path / "params.yaml", training_script.Params)


def test_time_series(tmp_path: Path) -> None:
    transfer = {"source": "motif", "target": "dip", "samples": 20, "epochs": 2, "repeats": 2}
    small = {"samples": 120, "epochs": 2, "steps": 30, "transfer": transfer}
    repo = clone(tmp_path, "time_series", **small)
    sh(repo, "dvc", "repro", "examples/time_series/dvc.yaml")
    folder = repo / "examples/time_series"
    for case in ("noise", "motif", "attention", "forecast"):
        curves = pd.read_csv(folder / f"metrics/{case}.csv")
        assert list(curves["epoch"]) == [1, 2]
        report = json.loads((folder / f"metrics/{case}.json").read_text())
        assert report["test"]["score"] == pytest.approx(curves["test_score"].iloc[-1])
        assert (folder / f"models/{case}.safetensors").is_file()
    gain = json.loads((folder / "metrics/transfer.json").read_text())
    assert gain["gain"]["mean"] == pytest.approx(
        gain["transferred"]["mean"] - gain["fresh"]["mean"], abs=1e-5
    )


def test_the_search_for_time_series_runs_each_trial_once(tmp_path: Path) -> None:
    repo = clone(tmp_path, "time_series", samples=120, epochs=1, steps=30)
    sh(repo, "git", "add", "-A")
    sh(repo, "git", "commit", "-qm", "small")
    command = ["python", "examples/time_series/search.py", "random", "-n", "1"]
    first, again = sh(repo, *command).stdout, sh(repo, *command).stdout
    assert re.search(r"^\[1/1\] ts-motif-random-\w{6}-0: validation accuracy ", first, re.M)
    assert "1 of 1 trials done" in again
    assert "[1/1]" not in again
    (name,) = re.findall(r"^best: (ts-motif-random-\w{6}-0), validation accuracy ", first, re.M)
    shown = sh(repo, "git", "for-each-ref", "--format=%(refname)", "refs/exps/*/*/ts-*").stdout
    assert [ref.rsplit("/", 1)[-1] for ref in shown.split()] == [name]
    for printed in (first, again):
        assert re.search(r"^test accuracy of the best trial: [0-9.]+%$", printed, re.M)
    assert sh(repo, "git", "status", "--porcelain").stdout == ""
