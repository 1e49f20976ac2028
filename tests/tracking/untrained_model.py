"""A small model in MLflow, for tests that need one and not what it has learned."""

from __future__ import annotations

from pathlib import Path

import torch

from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.models import registry
from arxiv_hybrid.params import Params
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.tracking import track

VOCABULARY = Vocabulary(("<PAD>", "<UNK>", "deep"))
CLASSES = ["cs.AI-LG", "cs.CL", "cs.CV"]


def log_untrained_model(params: Params, root: Path, seed: int) -> str:
    """Log a small model as the train stage does; returns its digest."""
    torch.manual_seed(seed)
    arguments = {
        "vocab_size": 3,
        "embed_dim": 4,
        "num_classes": 3,
        "num_filters": 4,
        "lstm_hidden": 4,
    }
    folder = root / str(seed)
    config = checkpoint.ModelConfig("v1", arguments, CLASSES, 9, 9)
    checkpoint.save(folder, registry.build("v1", **arguments), VOCABULARY, config)
    digest = checkpoint.digest(folder)
    with track("train", params, root=root, workspace=root) as run:
        run.tags({"model.digest": digest})
        run.model(folder, CLASSES)
    return digest
