"""What the compact weights cost, and the lines about the shipped model."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pretrained_models
import pytest
import scripts

from arxiv_hybrid.evaluation.multi_label import MEASURES
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.system.files import write_json


@pytest.fixture
def shipped() -> ModuleType:
    return scripts.load("shipped")


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """A pipeline's folder with a model, and the figures of its compact and of exact weights."""
    folder = tmp_path / "pipeline"
    pretrained_models.save(folder / "model")
    figures: dict[str, Any] = dict.fromkeys(MEASURES, 0.5) | {"papers": 400}
    figures["exact"] = {name: 0.5 + 0.001 * number for number, name in enumerate(MEASURES)}
    figures["model"] = checkpoint.digest(folder / "model")
    (folder / "metrics").mkdir()
    write_json(folder / "metrics/encoder.json", figures)
    return folder


def test_losses_are_differences_to_exact_weights(shipped: ModuleType, pipeline: Path) -> None:
    table = shipped.losses(pipeline / "model", pipeline)
    assert list(table.index) == list(MEASURES)
    assert (table["compact"] == 50).all()
    assert (table["exact"] == table["compact"] + table["loss"]).all()
    assert list(table["loss"]) == pytest.approx([0.1 * n for n in range(len(MEASURES))])
    line = shipped.compactness(pipeline / "model", pipeline)
    assert line.what.endswith(MEASURES[-1])
    assert line.measured == f"50.00 (-{0.1 * (len(MEASURES) - 1):.2f})"


def test_figures_of_another_model_are_refused(
    shipped: ModuleType, pipeline: Path, tmp_path: Path
) -> None:
    pretrained_models.save(tmp_path / "other", words=["other", "words"])
    with pytest.raises(shipped.UserError, match="has made another model than"):
        shipped.losses(tmp_path / "other", pipeline)


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
