"""From a name in params.yaml to a model."""

from __future__ import annotations

from typing import Any

from arxiv_hybrid.errors import UserError
from arxiv_hybrid.models.base import PaperClassifier
from arxiv_hybrid.models.hybrid import BaselineCNNLSTM, CharacterHybrid, HybridCNNLSTM
from arxiv_hybrid.models.paired import PairedCNNLSTM
from arxiv_hybrid.models.serial import SerialCNNLSTM

MODELS: dict[str, type[PaperClassifier]] = {
    "baseline": BaselineCNNLSTM,
    "v1": HybridCNNLSTM,
    "v2": HybridCNNLSTM,
    "v3": HybridCNNLSTM,
    "v4": CharacterHybrid,
    "v5": PairedCNNLSTM,
    "cnn_lstm": SerialCNNLSTM,
}


def build(name: str, **arguments: Any) -> PaperClassifier:
    """Construct the model called `name` (README, What to turn) with its own defaults."""
    if name not in MODELS:
        raise UserError(f"model {name!r} does not exist; choose from {', '.join(MODELS)}")
    return MODELS[name](**arguments)
