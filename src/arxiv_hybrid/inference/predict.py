"""Logits of a model for many papers."""

from __future__ import annotations

import torch
from torch import Tensor

from arxiv_hybrid.inference.devices import DeviceConfig
from arxiv_hybrid.inference.encoding import Papers, inference_batch, sorted_batches
from arxiv_hybrid.models.base import PaperClassifier
from arxiv_hybrid.system.ticker import Progress

SHOWN = 8  # batches; fewer take a moment


@torch.inference_mode()
def predict(model: PaperClassifier, papers: Papers, device_config: DeviceConfig) -> Tensor:
    """Logits (N, C) in float32, in the order of the papers, with dropout off."""
    model.eval()
    parts, orders = [], []
    batches = list(
        sorted_batches(papers.lengths(model.bucket_by), inference_batch(device_config.device))
    )
    few = len(batches) < SHOWN
    for rows in Progress(batches, "predicting", unit="batches", quiet=few):
        with device_config.autocast():
            logits, _ = papers.batch(rows).feed(model)
        parts.append(logits.float())
        orders.append(torch.from_numpy(rows))
    order = torch.cat(orders).to(device_config.device)
    logits = torch.cat(parts)
    return torch.empty_like(logits).index_copy_(0, order, logits)
