"""From a name in params.yaml to a model."""

from __future__ import annotations

import inspect
from typing import Any

from arxiv_hybrid.models.base import PaperClassifier
from arxiv_hybrid.models.hybrid import BaselineCNNLSTM, CharacterHybrid, HybridCNNLSTM
from arxiv_hybrid.models.paired import PairedCNNLSTM
from arxiv_hybrid.models.serial import SerialCNNLSTM
from arxiv_hybrid.system.errors import UserError

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
    """Construct the model called `name` (README, What to turn) with its own defaults.

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
    """What a model's constructor takes, those that it hands on to its base included."""
    own = inspect.signature(kind.__init__).parameters.values()
    names = {one.name for one in own if one.kind is not one.VAR_KEYWORD} - {"self"}
    if any(one.kind is one.VAR_KEYWORD for one in own):
        names |= _arguments(kind.__mro__[1])
    return names
