"""Batch normalization over the tokens of a ragged batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from arxiv_hybrid.ops.ragged import Ragged


def batch_norm(text: Ragged, norm: nn.BatchNorm1d) -> Tensor:
    """Features (N, C) normalized over the tokens; documents that are filler do not count.

    Without filler, or outside of training, it is `norm` itself.
    """
    layout = text.layout
    if not (layout.filler and norm.training):
        normalized: Tensor = norm(text.values)
        return normalized
    values = text.values.float()
    real = (layout.documents < len(layout.mask) - layout.filler).unsqueeze(1)  # (N, 1)
    count = real.sum()
    mean = (values * real).sum(0) / count
    centred = values - mean
    variance = (centred.square() * real).sum(0) / count
    _track(norm, mean.detach(), variance.detach() * count / (count - 1))
    out = centred * (variance + norm.eps).rsqrt() * norm.weight + norm.bias
    return out.to(text.values.dtype)


@torch.no_grad()
def _track(norm: nn.BatchNorm1d, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics, as `nn.BatchNorm1d` does with its default settings."""
    if norm.running_mean is None or norm.running_var is None or norm.momentum is None:
        raise ValueError("the normalization needs running statistics and a momentum")
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(variance, norm.momentum)
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
