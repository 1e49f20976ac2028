"""Word dropout and mixup."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from arxiv_hybrid.training.losses import make_loss, make_multi_label_loss
from arxiv_hybrid.training.regularizer import Mixup, drop_tokens


def test_dropped_tokens_become_unknown_and_padding_stays() -> None:
    torch.manual_seed(0)
    ids = torch.full((200, 10), 7)
    ids[:, 5:] = 0
    dropped = drop_tokens(ids, 0.3)
    assert (dropped[:, 5:] == 0).all()
    assert set(dropped[:, :5].unique().tolist()) == {1, 7}
    assert (dropped[:, :5] == 1).float().mean() == pytest.approx(0.3, abs=0.05)
    assert drop_tokens(ids, 0.0) is ids


def test_mixup_mixes_features_and_labels() -> None:
    random = np.random.default_rng(0)
    mix = Mixup.draw(6, torch.device("cpu"), random)
    fused = torch.arange(12.0).view(6, 2)
    mixed = mix.mix(fused)
    row = 2
    other = int(mix.partner[row])
    torch.testing.assert_close(mixed[row], mix.share * fused[row] + (1 - mix.share) * fused[other])
    labels, logits = torch.tensor([0, 1, 2, 0, 1, 2]), torch.randn(6, 3)
    soft = mix.share * F.one_hot(labels, 3) + (1 - mix.share) * F.one_hot(labels[mix.partner], 3)
    expected = -(soft * torch.log_softmax(logits, -1)).sum(1).mean()
    torch.testing.assert_close(
        mix.loss(make_loss("cross_entropy", None, 0.0), logits, labels), expected
    )


def test_mixup_of_several_labels() -> None:
    mix = Mixup(0.3, torch.tensor([1, 0]))
    labels, logits = torch.tensor([[True, True, False], [False, True, False]]), torch.randn(2, 3)
    soft = 0.3 * labels.float() + 0.7 * labels[[1, 0]].float()
    expected = F.binary_cross_entropy_with_logits(logits, soft, reduction="sum") / 2
    loss = make_multi_label_loss("cross_entropy", None, 0.0)
    torch.testing.assert_close(mix.loss(loss, logits, labels), expected)
    assert mix.majority(labels).tolist() == labels[[1, 0]].tolist()


def test_under_mixup_the_majority_label_counts_as_right() -> None:
    labels, partner = torch.tensor([0, 1, 2]), torch.tensor([1, 2, 0])
    assert Mixup(0.7, partner).majority(labels).tolist() == [0, 1, 2]
    assert Mixup(0.2, partner).majority(labels).tolist() == [1, 2, 0]
