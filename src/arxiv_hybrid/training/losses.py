"""Cross-entropy and focal loss, class weights and label smoothing."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor], Tensor]
FOCAL_GAMMA = 2.5  # SYSTEMS table A, row v2


def class_weights(spec: str | list[float], labels: Tensor, classes: int) -> Tensor | None:
    """Weights (C,) from params: None for `none`, n / (C * n_c) for `balanced`, or the list."""
    if spec == "none":
        return None
    if spec == "balanced":
        counts = torch.bincount(labels, minlength=classes).float()
        return labels.numel() / (classes * counts.clamp(min=1))
    return torch.tensor(spec, dtype=torch.float32, device=labels.device)


def make_loss(name: str, weights: Tensor | None, label_smoothing: float) -> Loss:
    """The loss `cross_entropy` or `focal`: logits (B, C) and labels (B,) to a scalar.

    Weighted means divide by the sum of the weights of the batch, as torch's own do.
    """

    def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(
            logits.float(), labels, weight=weights, label_smoothing=label_smoothing
        )

    def focal(logits: Tensor, labels: Tensor) -> Tensor:
        """Lin et al. 2017: easy examples count less, by (1 - p) ** gamma."""
        each = F.cross_entropy(
            logits.float(), labels, reduction="none", label_smoothing=label_smoothing
        )
        p = torch.softmax(logits.float(), dim=-1).gather(1, labels[:, None]).squeeze(1)
        each = (1 - p) ** FOCAL_GAMMA * each
        if weights is None:
            return each.mean()
        weight = weights[labels]
        return (weight * each).sum() / weight.sum()

    return {"cross_entropy": cross_entropy, "focal": focal}[name]
