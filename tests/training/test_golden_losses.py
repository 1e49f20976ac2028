"""The first losses of a tiny fixed run: whatever changes them changes every model's training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import CLASSES, merged

from arxiv_hybrid.params import parse
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.training.classifier import train_classifier
from arxiv_hybrid.training.trainer import StepResult, Trainer

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
}  # fmt: skip


@pytest.mark.parametrize("model", sorted(GOLDEN))
def test_the_first_ten_losses(
    model: str,
    tiny_content: dict[str, Any],
    splits: dict[str, pd.DataFrame],
    vocabulary: Vocabulary,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    losses: list[float] = []
    step = Trainer.step

    def recorded(self: Trainer, *arguments: Any, **options: Any) -> StepResult:
        result = step(self, *arguments, **options)
        losses.append(result.loss.item())
        return result

    monkeypatch.setattr(Trainer, "step", recorded)
    changes = {
        "model": model, "precision": "fp32", "device": "cpu", "epochs": 1, "dropout": 0.3,
        "word_dropout": 0.1, "mixup": 0.5, "learning_rate": 0.01, "label_smoothing": 0.1,
    }  # fmt: skip
    vectors = np.random.default_rng(0).normal(0, 0.1, (len(vocabulary), 12)).astype(np.float32)
    params = parse(merged(tiny_content, changes), "params")
    train_classifier(params, splits["train"], splits["val"], vocabulary, vectors, CLASSES)
    np.testing.assert_allclose(losses[:10], GOLDEN[model], rtol=1e-4)
