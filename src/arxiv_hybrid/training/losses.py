"""Cross-entropy and focal loss, class weights and label smoothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from arxiv_hybrid.data.labels import MERGED

Loss = Callable[[Tensor, Tensor], Tensor]
FOCAL_GAMMA = 2.5  # of the published v2
MIXUP_ALPHA = 0.2  # of the published v4


def class_weights(
    spec: str | list[float] | dict[str, float], labels: Tensor, names: Sequence[str]
) -> Tensor | None:
    """Weights (C,) from params, for the classes in `names`.

    None for `none`, n / (C * n_c) for `balanced`, a list as it is. By name, a class weighs 1
    unless it is named; the weight of cs.AI-LG stands for cs.AI and cs.LG where those are
    classes, and the mean of theirs for it where it is one.
    """
    if spec == "none":
        return None
    if spec == "balanced":
        counts = torch.bincount(labels, minlength=len(names)).float()
        return labels.numel() / (len(names) * counts.clamp(min=1))
    if isinstance(spec, dict):
        spec = [_weight(spec, name) for name in names]
    return torch.tensor(spec, dtype=torch.float32, device=labels.device)


def _weight(weights: dict[str, float], name: str) -> float:
    if name in weights:
        return weights[name]
    parts = [part for part, whole in MERGED.items() if whole == name]
    if parts:
        return sum(weights.get(part, 1.0) for part in parts) / len(parts)
    return weights.get(MERGED.get(name, name), 1.0)


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


@dataclass(frozen=True)
class Mixup:
    """Pairs of documents of a batch, mixed in feature space (Zhang et al. 2018; published v4).

    Each document keeps `share` of itself and takes the rest from the one at its `partner`.
    """

    share: float
    partner: Tensor

    @classmethod
    def draw(cls, size: int, device: torch.device, random: np.random.Generator) -> Mixup:
        """A mix for a batch of `size` documents, its share from Beta(0.2, 0.2)."""
        partner = torch.from_numpy(random.permutation(size)).to(device)
        return cls(float(random.beta(MIXUP_ALPHA, MIXUP_ALPHA)), partner)

    def features(self, fused: Tensor) -> Tensor:
        """Mix fused features (B, F)."""
        return self.share * fused + (1 - self.share) * fused[self.partner]

    def stronger(self, labels: Tensor) -> Tensor:
        """The label (B,) that has the greater share of each document."""
        return labels if self.share >= 0.5 else labels[self.partner]

    def loss(self, loss: Loss, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss against both labels, by their shares."""
        return self.share * loss(logits, labels) + (1 - self.share) * loss(
            logits, labels[self.partner]
        )
