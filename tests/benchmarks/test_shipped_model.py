"""What the compact weights cost, and the lines about the shipped model."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType

import pandas as pd
import pretrained_models
import pytest
import scripts
import yaml
from conftest import ROOT

from arxiv_hybrid.evaluation.multi_label import MEASURES
from arxiv_hybrid.sources.corpus import CorpusSettings, gather
from arxiv_hybrid.system.files import write_json


@pytest.fixture
def shipped() -> ModuleType:
    return scripts.load("shipped")


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """A pipeline's folder with papers of two categories and a model, without its figures."""
    rows = [
        {"id": f"2401.{number:05}", "title": f"word{number % 2}", "abstract": f"the {number}",
         "all_categories": ("cs.AI", "cs.CL")[number % 2]}
        for number in range(400)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "texts.csv", index=False)
    folder = tmp_path / "pipeline"
    gather([tmp_path / "texts.csv"], [], CorpusSettings(100, 1, 30, 300, 2), folder / "papers")
    params = yaml.safe_load((ROOT / "pretraining/params.yaml").read_text())
    params |= {"texts": "texts.csv", "validation": 0.2}
    words = (folder / "papers/vocab.txt").read_text().splitlines()[2:]
    pretrained_models.save(folder / "model", words=words)
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return folder


def test_losses_are_differences_to_the_figures_of_pre_training(
    shipped: ModuleType, pipeline: Path
) -> None:
    (pipeline / "metrics").mkdir()
    write_json(pipeline / "metrics/encoder.json", dict.fromkeys(MEASURES, 0.5))
    table = shipped.losses(pipeline / "model", pipeline)
    assert list(table.index) == list(MEASURES)
    assert (table["exact"] == 50).all()
    assert (table["loss"] == 50 - table["compact"]).all()
    exact = (table["compact"] / 100).to_dict()
    write_json(pipeline / "metrics/encoder.json", exact | {"micro_f1": exact["micro_f1"] + 0.002})
    (line,) = shipped.compactness(pipeline / "model", pipeline)
    assert line.what.endswith("micro_f1")
    assert "(-0.20)" in line.measured
    assert shipped.losses(pipeline / "model", pipeline)["loss"].drop("micro_f1").abs().max() < 1e-3


def test_figures_of_another_model_are_refused(
    shipped: ModuleType, pipeline: Path, tmp_path: Path
) -> None:
    pretrained_models.save(tmp_path / "other")
    with pytest.raises(shipped.UserError, match="has made another model than"):
        shipped.losses(tmp_path / "other", pipeline)
    shutil.rmtree(pipeline / "papers")
    assert list(shipped.compactness(tmp_path / "other", pipeline)) == []


def test_the_speed_of_a_model_is_measured(
    shipped: ModuleType, pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert float(shipped._python("-c", shipped.LOAD, str(pipeline / "model"))) > 0
    with pytest.raises(SystemExit, match="nowhere"):
        shipped._python("nowhere")
    monkeypatch.setattr(shipped, "_python", lambda *_: "0.25")
    lines = {line.what: line.measured for line in shipped.speeds(pipeline / "model", None, 64)}
    rate, loading, predict, size = lines.values()
    assert float(rate.removesuffix(" papers/s").replace(",", "")) > 0
    assert (loading, predict) == ("0.25 s", "0.0 s")
    megabytes = sum(file.stat().st_size for file in (pipeline / "model").iterdir()) / 1e6
    assert size == f"{megabytes:.1f} MB"
    assert next(iter(lines)).startswith("from text to 2 categories")
