"""One step of every model on torch's `meta` device, as far as a GPU can be tested without one.

Its tensors have shapes and a device but no values. So a CPU tensor among them is an error, and so
is reading a value (`.item()`, `.tolist()`, `nonzero`), for which the host would wait for a GPU.
torch has no autocast for this device: fp32 only; tests on a CPU cover bf16.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import CLASSES, SEVERAL, with_model
from forks import Fork
from torch import Tensor

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.inference import encoding
from arxiv_hybrid.inference.devices import DeviceConfig
from arxiv_hybrid.inference.encoding import EncodedPapers
from arxiv_hybrid.models.registry import MODELS
from arxiv_hybrid.params import Params, parse
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.training import classifier
from arxiv_hybrid.training.classifier import Classification, trainer_config
from arxiv_hybrid.training.graphs import GraphedSteps
from arxiv_hybrid.training.trainer import Trainer

META = DeviceConfig(torch.device("meta"), "fp32")
WORDS = Vocabulary(("<PAD>", "<UNK>", *(f"w{number}" for number in range(48))))
PAPERS = 40
REGULARIZED = {"word_dropout": 0.1, "dropout": 0.3, "loss": "focal"}


@pytest.fixture
def on_the_meta_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch refuses only on this device works as on a GPU, or is left out."""

    def to_device(rows: npt.NDArray[np.int64], device: torch.device) -> Tensor:
        return torch.from_numpy(rows).to(device)  # without pinned memory

    optimizers = sys.modules["torch.optim.optimizer"]
    monkeypatch.setattr(optimizers, "_get_fused_kernels_supported_devices", lambda: ["meta"])
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(DeviceConfig, "autocast", lambda _: nullcontext())
    monkeypatch.setattr(encoding, "_to_device", to_device)


def trainer(params: Params, label_set: LabelSet) -> Trainer:
    model, _ = classifier._build(params, WORDS, np.zeros((50, 12), np.float32), label_set, None)
    shape = (PAPERS, len(label_set)) if label_set.multi_label else (PAPERS,)
    kind = torch.bool if label_set.multi_label else torch.int64
    papers = EncodedPapers(
        torch.ones(PAPERS, 3, dtype=torch.int64, device="meta"),
        torch.ones(PAPERS, 9, dtype=torch.int64, device="meta"),
        torch.zeros(shape, dtype=kind, device="meta"),
        np.full(PAPERS, 3),
        np.full(PAPERS, 9),
    )
    task = Classification(model.to("meta"), papers.labels, label_set, params, META)
    return Trainer(task, papers, trainer_config(params, PAPERS), META)


def step(model: str, label_set: LabelSet, content: dict[str, Any], *, graphed: bool) -> None:
    labels: dict[str, Any] = {} if graphed else {"mixup": 1.0}
    if label_set.multi_label:
        labels = {"labels": {"from": "listed", "classes": 4}}
    weights = {"class_weights": [1.0, 2.0, 0.5, 1.0][: len(label_set)]}
    content = with_model(content, model, **labels, **weights, **REGULARIZED)
    built = trainer(parse(content, "params"), label_set)
    built.task.model.train()
    rows = np.arange(16)
    if graphed:  # with filler, as in a CUDA graph; the captured step has more tokens
        batches = [rows, np.arange(24)]
        steps = GraphedSteps(built.task, built.train, built.optimizer, batches)  # type: ignore[arg-type]
        result = steps.step(rows)
    else:
        result = built.step(rows, last=True)
    assert result.loss.device.type == result.correct.device.type == "meta"
    trained = [value for value in built.task.model.parameters() if value.requires_grad]
    states = [part["state"] for part in built.optimizer.state_dict()["optimizers"]]
    assert sum(map(len, states)) == len(trained), "the step updates all weights"


@pytest.mark.usefixtures("on_the_meta_device")
def test_a_step_of_every_model_waits_for_no_value_and_mixes_no_devices(
    tiny_content: dict[str, Any], tmp_path: Path
) -> None:
    """In a copy of this process: autograd starts threads for this device, and stays unforkable."""

    def steps() -> None:
        for model in MODELS:
            for label_set in (CLASSES, SEVERAL):
                print(model, label_set.multi_label, file=sys.stderr, flush=True)
                for graphed in (False, True):
                    step(model, label_set, tiny_content, graphed=graphed)

    process = Fork(tmp_path / "log", steps)
    assert process.wait() == 0, process.printed
    assert len(process.printed.splitlines()) == 2 * len(MODELS)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda labels: labels + torch.ones(len(labels)), "device"),
        (lambda labels: labels + labels.sum().item(), "item"),
        (lambda labels: labels[: int(labels.max())], "item"),
        (lambda labels: labels.nonzero(), "nonzero"),
        (lambda labels: labels.tolist(), "meta"),
        (lambda labels: labels[labels > 0], "nonzero"),
    ],
)
def test_such_mistakes_are_found(mistake: Any, message: str) -> None:
    with pytest.raises((RuntimeError, NotImplementedError), match=message):
        mistake(torch.zeros(5, device="meta"))
