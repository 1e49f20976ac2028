"""Losses and class weights."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.taxonomy.label_sets import definitions
from arxiv_hybrid.training.losses import FOCAL_GAMMA, class_weights, make_loss


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
