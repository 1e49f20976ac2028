"""Losses for one or several labels per paper, class weights and label smoothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.taxonomy.label_sets import MERGED

Loss = Callable[[Tensor, Tensor], Tensor]
FOCAL_GAMMA = 2.5  # of the published v2
ASYMMETRIC_GAMMA, ASYMMETRIC_MARGIN = 4.0, 0.05  # of Ridnik et al. 2021
BALANCED_BOUND = 4.0  # `balanced` weighs a class of a multi-label run by 1/4 to 4


def class_weights(
    spec: str | list[float] | dict[str, float], labels: Tensor, label_set: LabelSet
) -> Tensor | None:
    """Class weights (C,) from params, in the order of the classes; None for `none`.

    labels: (N,) class numbers, or (N, C) bool if a paper may have several classes. `balanced`:
    n / (C * n_c), where n counts all labels and n_c those of class c; with several labels per paper
    it is bounded, since a rare class would otherwise weigh hundreds of times more. A list is taken
    as it is. In a mapping, classes without an entry weigh 1; a class of several categories weighs
    the mean of theirs. The weight of cs.AI-LG applies to cs.AI and cs.LG where they are separate
    classes. Raises UserError if a list has the wrong length.
    """
    if spec == "none":
        return None
    if spec == "balanced":
        if label_set.multi_label:
            counts = labels.sum(0).float()
            balanced = counts.sum() / (len(label_set) * counts.clamp(min=1))
            return balanced.clamp(1 / BALANCED_BOUND, BALANCED_BOUND)
        counts = torch.bincount(labels, minlength=len(label_set)).float()
        return labels.numel() / (len(label_set) * counts.clamp(min=1))
    if isinstance(spec, dict):
        spec = [_weight(spec, name, label_set.categories.get(name, ())) for name in label_set.names]
    if len(spec) != len(label_set):
        raise UserError(f"class_weights has {len(spec)} values for {len(label_set)} classes")
    return torch.tensor(spec, dtype=torch.float32, device=labels.device)


def _weight(weights: dict[str, float], name: str, categories: Sequence[str]) -> float:
    if name in weights:
        return weights[name]
    if len(categories) > 1:
        return sum(weights.get(part, 1.0) for part in categories) / len(categories)
    return weights.get(MERGED.get(name, name), 1.0)


def make_loss(name: str, weights: Tensor | None, label_smoothing: float) -> Loss:
    """The loss `cross_entropy` or `focal`: logits (B, C) and labels (B,) to a scalar mean.

    Weighted means divide by the sum of the batch's weights, as in PyTorch.
    """

    def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(
            logits.float(), labels, weight=weights, label_smoothing=label_smoothing
        )

    def focal(logits: Tensor, labels: Tensor) -> Tensor:
        """Easy examples count less, by (1 - p) ** gamma (Lin et al. 2017)."""
        losses = F.cross_entropy(
            logits.float(), labels, reduction="none", label_smoothing=label_smoothing
        )
        p = torch.softmax(logits.float(), dim=-1).gather(1, labels[:, None]).squeeze(1)
        losses = (1 - p) ** FOCAL_GAMMA * losses
        if weights is None:
            return losses.mean()
        weight = weights[labels]
        return (weight * losses).sum() / weight.sum()

    return {"cross_entropy": cross_entropy, "focal": focal}[name]


def make_multi_label_loss(name: str, weights: Tensor | None, label_smoothing: float) -> Loss:
    """A loss of independent sigmoids: logits (B, C) and labels (B, C) bool to a scalar.

    Binary losses are summed over classes and averaged over papers. name: `cross_entropy`; `focal`
    (Lin et al. 2017), where easy decisions count less; `asymmetric` (Ridnik et al. 2021), where
    only easy negatives count less, and those below a margin not at all. Class weights multiply the
    term of classes that a paper has. Label smoothing takes that share from a paper's classes and
    spreads it over all, so a paper keeps its number of labels.
    """

    def smooth(labels: Tensor) -> Tensor:
        target = labels.float()
        if not label_smoothing:
            return target
        return target.lerp(target.mean(1, keepdim=True).expand_as(target), label_smoothing)

    def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
        losses = F.binary_cross_entropy_with_logits(
            logits.float(), smooth(labels), pos_weight=weights, reduction="sum"
        )
        return losses / len(labels)

    def focused(logits: Tensor, labels: Tensor) -> Tensor:
        logits, target = logits.float(), smooth(labels)
        if name == "focal":
            positive = torch.sigmoid(-logits) ** FOCAL_GAMMA * F.logsigmoid(logits)
            negative = torch.sigmoid(logits) ** FOCAL_GAMMA * F.logsigmoid(-logits)
        else:
            positive = F.logsigmoid(logits)
            p = (torch.sigmoid(logits) - ASYMMETRIC_MARGIN).clamp(min=0)
            negative = p**ASYMMETRIC_GAMMA * torch.log1p(-p)
        if weights is not None:
            positive = weights * positive
        return -(target * positive + (1 - target) * negative).sum() / len(labels)

    return cross_entropy if name == "cross_entropy" else focused
