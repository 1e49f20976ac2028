"""A small model in MLflow, for tests that need one and not what it has learned."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.models import registry
from arxiv_hybrid.params import Params
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.tracking import budget, track

VOCABULARY = Vocabulary(("<PAD>", "<UNK>", "deep"))
CLASSES = ["cs.AI-LG", "cs.CL", "cs.CV"]


def save_untrained_model(folder: Path, seed: int) -> None:
    """Save a small model."""
    torch.manual_seed(seed)
    arguments = {
        "vocab_size": 3,
        "embed_dim": 4,
        "num_classes": 3,
        "num_filters": 4,
        "lstm_hidden": 4,
    }
    config = checkpoint.ModelConfig("v1", arguments, CLASSES, 9, 9)
    checkpoint.save(folder, registry.build("v1", **arguments), VOCABULARY, config)


def log_untrained_model(params: Params, root: Path, seed: int) -> str:
    """Log a small model as the train stage does; returns its digest.

    However busy the machine is: the first run of a store creates its database.
    """
    folder = root / str(seed)
    save_untrained_model(folder, seed)
    digest = checkpoint.digest(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budget, "START", 200.0)
        patch.setattr(budget, "TOTAL", 400.0)
        with track("train", params, root=root, workspace=root) as run:
            run.tags({"model.digest": digest})
            run.model(folder, CLASSES)
    return digest
