"""Small pre-trained models, untrained, in folders: for tests of the benchmarks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from saved_encoder import WIDTHS

from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.model_config import ModelConfig
from arxiv_hybrid.inference.origin import Origin
from arxiv_hybrid.models import PooledCNN
from arxiv_hybrid.text.vocabulary import SPECIAL, Vocabulary

COMMON = ("the", "of", "and", "data", "with")


def save(
    folder: Path,
    *,
    papers: Collection[str] = (),
    classes: Sequence[str] = ("cs.AI", "cs.CL"),
    words: Sequence[str] = COMMON,
    last_month: str = "",
) -> PooledCNN:
    """Write a v6 that has learned `classes` from `papers`; a paper may have several."""
    torch.manual_seed(0)
    vocabulary = Vocabulary((*SPECIAL, *words))
    arguments = {"vocab_size": len(vocabulary), "num_classes": max(len(classes), 1), **WIDTHS}
    model, several = PooledCNN(**arguments), len(classes)
    config = ModelConfig(
        "v6",
        arguments,
        list(classes),
        30,
        300,
        multi_label=bool(classes),
        biases=[0.0] * several,
        thresholds=[0.5] * several,
    )
    origin = Origin({"a": len(papers)}, len(papers), last_month=last_month, task="pre-trained")
    checkpoint.save(folder, model, vocabulary, config, compact=True, origin=origin, papers=papers)
    return model
