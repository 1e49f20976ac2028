"""A small pre-trained model in a folder, untrained: for tests of what starts from it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.model_config import ModelConfig
from arxiv_hybrid.inference.origin import Origin
from arxiv_hybrid.models import PooledCNN
from arxiv_hybrid.text.vocabulary import Vocabulary

WIDTHS = {"embed_dim": 8, "num_filters": 4, "kernel_sizes": [1, 3], "hidden": 6}  # fmt: skip


def save_encoder(
    folder: Path, vocabulary: Vocabulary, papers: Collection[str], **widths: Any
) -> PooledCNN:
    """Write a v6 of two classes, which has learned from `papers`; return it."""
    arguments = {"vocab_size": len(vocabulary), "num_classes": 2, **WIDTHS, **widths}
    model = PooledCNN(**arguments)
    config = ModelConfig("v6", arguments, ["cs.AI", "cs.CL"], 30, 300)
    origin = Origin({"papers.json": len(papers)}, len(papers), task="pre-trained")
    checkpoint.save(folder, model, vocabulary, config, compact=True, origin=origin, papers=papers)
    return model
