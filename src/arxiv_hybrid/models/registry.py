"""From a name in params.yaml to a model."""

from __future__ import annotations

from typing import Any

from arxiv_hybrid.errors import UserError
from arxiv_hybrid.models.hybrid import BaselineCNNLSTM, HybridCNNLSTM, TitleAndAbstract

MODELS: dict[str, type[TitleAndAbstract]] = {
    "v1": HybridCNNLSTM,
    "baseline": BaselineCNNLSTM,
}


def build(name: str, **arguments: Any) -> TitleAndAbstract:
    """Construct the model called `name` (a row of SYSTEMS table A) with its own defaults."""
    if name not in MODELS:
        raise UserError(f"model {name!r} does not exist; choose from {', '.join(MODELS)}")
    return MODELS[name](**arguments)
