"""The models, by their names in params.yaml."""

from __future__ import annotations

import inspect
from typing import Any

from arxiv_hybrid.models.base import PaperClassifier
from arxiv_hybrid.models.hybrid import BaselineCNNLSTM, CharacterHybrid, HybridCNNLSTM
from arxiv_hybrid.models.paired import PairedCNNLSTM
from arxiv_hybrid.models.pooled import PooledCNN
from arxiv_hybrid.models.serial import SerialCNNLSTM
from arxiv_hybrid.system.errors import UserError

MODELS: dict[str, type[PaperClassifier]] = {
    "baseline": BaselineCNNLSTM,
    "v1": HybridCNNLSTM,
    "v2": HybridCNNLSTM,
    "v3": HybridCNNLSTM,
    "v4": CharacterHybrid,
    "v5": PairedCNNLSTM,
    "v6": PooledCNN,
    "cnn_lstm": SerialCNNLSTM,
}


def build(name: str, **arguments: Any) -> PaperClassifier:
    """Construct the model called `name`; arguments that are not given keep their defaults.

    Raises UserError if there is no such model, or it has no such argument.
    """
    if name not in MODELS:
        raise UserError(f"model {name!r} does not exist; choose from {', '.join(MODELS)}")
    kind = MODELS[name]
    if unknown := arguments.keys() - _arguments(kind):
        raise UserError(
            f"architecture: {name} has no {', '.join(sorted(unknown))}; "
            f"it takes {', '.join(sorted(_arguments(kind)))}"
        )
    return kind(**arguments)


def _arguments(kind: type[PaperClassifier]) -> set[str]:
    """Names of a model's constructor arguments, including those it passes on to its base."""
    parameters = inspect.signature(kind.__init__).parameters.values()
    names = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD} - {"self"}
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        names |= _arguments(kind.__mro__[1])
    return names
