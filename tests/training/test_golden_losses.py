"""The first losses of a tiny fixed run: whatever changes them changes every model's training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import CLASSES, SEVERAL, merged

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.params import parse
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.training.classifier import train_classifier
from arxiv_hybrid.training.task import StepResult
from arxiv_hybrid.training.trainer import Trainer

# ten steps with every regularizer on, in fp32
GOLDEN = {
    "v1": [
        3.070073, 2.720237, 2.431840, 2.796987, 1.568027,
        2.059631, 2.753949, 1.827857, 1.771579, 1.455348,
    ],
    "v5": [
        1.615597, 1.749895, 2.342059, 1.985793, 1.549653,
        1.878534, 1.653124, 1.988622, 1.179024, 1.237260,
    ],
    "v5, several labels": [
        4.185897, 3.818633, 4.052790, 4.439477, 3.493069,
        3.984758, 3.480269, 4.372385, 2.967549, 3.374120,
    ],
}  # fmt: skip


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The loss of every step of training."""
    losses: list[float] = []
    step = Trainer.step

    def recorded(self: Trainer, *arguments: Any, **options: Any) -> StepResult:
        result = step(self, *arguments, **options)
        losses.append(result.loss.item())
        return result

    monkeypatch.setattr(Trainer, "step", recorded)
    return losses


def train(
    content: dict[str, Any],
    splits: dict[str, pd.DataFrame],
    vocabulary: Vocabulary,
    label_set: LabelSet,
    **changes: Any,
) -> None:
    changes |= {
        "precision": "fp32", "device": "cpu", "epochs": 1, "dropout": 0.3, "word_dropout": 0.1,
        "mixup": 0.5, "learning_rate": 0.01, "label_smoothing": 0.1,
    }  # fmt: skip
    vectors = np.random.default_rng(0).normal(0, 0.1, (len(vocabulary), 12)).astype(np.float32)
    params = parse(merged(content, changes), "params")
    train_classifier(params, splits["train"], splits["val"], vocabulary, vectors, label_set)


@pytest.mark.parametrize("model", ["v1", "v5"])
def test_the_first_ten_losses(
    model: str,
    losses: list[float],
    tiny_content: dict[str, Any],
    splits: dict[str, pd.DataFrame],
    vocabulary: Vocabulary,
) -> None:
    train(tiny_content, splits, vocabulary, CLASSES, model=model)
    np.testing.assert_allclose(losses[:10], GOLDEN[model], rtol=1e-4)


def test_the_first_ten_losses_with_several_labels(
    losses: list[float],
    several_content: dict[str, Any],
    several_splits: dict[str, pd.DataFrame],
    vocabulary: Vocabulary,
) -> None:
    train(several_content, several_splits, vocabulary, SEVERAL, model="v5")
    np.testing.assert_allclose(losses[:10], GOLDEN["v5, several labels"], rtol=1e-4)
