"""Losses and class weights."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.taxonomy.label_sets import definitions
from arxiv_hybrid.training.losses import (
    ASYMMETRIC_GAMMA,
    ASYMMETRIC_MARGIN,
    BALANCED_BOUND,
    FOCAL_GAMMA,
    class_weights,
    make_loss,
    make_multi_label_loss,
)


def test_class_weights() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    names = LabelSet(("cs.AI-LG", "cs.CL"))
    assert class_weights("none", labels, names) is None
    balanced = class_weights("balanced", labels, names)
    assert balanced is not None
    torch.testing.assert_close(balanced, torch.tensor([4 / 6, 2.0]))
    listed = class_weights([1.0, 3.0], labels, names)
    assert listed is not None
    assert listed.tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("spec", "classes", "expected"),
    [
        ({"cs.CL": 2.0, "cs.CV": 1.5}, 3, [1.0, 2.0, 1.5]),
        ({"cs.CL": 2.0, "cs.CV": 1.5}, 4, [1.0, 2.0, 1.5, 1.0]),
        ({"cs.AI-LG": 3.0}, 4, [3.0, 1.0, 1.0, 3.0]),
        ({"cs.AI-LG": 3.0, "cs.AI": 2.0}, 4, [2.0, 1.0, 1.0, 3.0]),
        ({"cs.AI": 2.0}, 3, [1.5, 1.0, 1.0]),
    ],
)
def test_class_weights_by_name(spec: dict[str, float], classes: int, expected: list[float]) -> None:
    sets = definitions(classes)
    published = LabelSet(tuple(sets), categories=sets)
    weights = class_weights(spec, torch.tensor([0]), published)
    assert weights is not None
    assert weights.tolist() == expected


def test_focal_loss_is_weighted_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    weights = torch.tensor([1.0, 2.0, 0.5])
    p = logits.softmax(1)[torch.arange(5), labels]
    wanted = (weights[labels] * (1 - p) ** FOCAL_GAMMA * -p.log()).sum() / weights[labels].sum()
    torch.testing.assert_close(make_loss("focal", weights, 0.0)(logits, labels), wanted)
    plain = make_loss("cross_entropy", weights, 0.1)(logits, labels)
    torch.testing.assert_close(
        plain, F.cross_entropy(logits, labels, weight=weights, label_smoothing=0.1)
    )


def binary_terms(logits: torch.Tensor, target: torch.Tensor, positive: float, negative: float):
    """The two terms of the binary losses, paper by paper and class by class."""
    p = torch.sigmoid(logits)
    shifted = (p - ASYMMETRIC_MARGIN).clamp(min=0) if positive == 0 and negative else p
    gain = target * (1 - p) ** positive * p.log()
    return gain, (1 - target) * shifted**negative * (1 - shifted).log()


@pytest.mark.parametrize(
    ("name", "positive", "negative"),
    [
        ("cross_entropy", 0, 0),
        ("focal", FOCAL_GAMMA, FOCAL_GAMMA),
        ("asymmetric", 0, ASYMMETRIC_GAMMA),
    ],
)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_binary_losses_are_summed_over_classes_and_averaged_over_papers(
    name: str, positive: float, negative: float, smoothing: float
) -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(5, 4), torch.rand(5, 4) < 0.4
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0])
    target = (1 - smoothing) * labels.float() + smoothing * labels.float().mean(1, keepdim=True)
    gain, cost = binary_terms(logits, target, positive, negative)
    for given, expected in ((None, gain + cost), (weights, weights * gain + cost)):
        loss = make_multi_label_loss(name, given, smoothing)(logits, labels)
        torch.testing.assert_close(loss, -expected.sum() / 5)


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "asymmetric"])
def test_binary_losses_of_extreme_logits_are_finite(name: str) -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    loss = make_multi_label_loss(name, None, 0.0)(logits, torch.tensor([[False, True, True]]))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_balanced_weights_of_several_labels_are_bounded() -> None:
    labels = torch.zeros(1000, 3, dtype=torch.bool)
    labels[:, 0] = labels[:100, 1] = labels[:1, 2] = True
    label_set = LabelSet(("a", "b", "c"), multi_label=True)
    weights = class_weights("balanced", labels, label_set)
    assert weights is not None
    assert weights.tolist() == pytest.approx([1101 / 3000, 1101 / 300, BALANCED_BOUND])
