"""Dropout: rate, mean, gradients, and the fused ReLU."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from arxiv_hybrid.ops import dropout, relu_dropout


def test_dropout_drops_single_values_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    ones = torch.ones(2001, 101)
    values = dropout(ones, 0.25, training=True)
    assert values.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert values.mean() == pytest.approx(1.0, abs=0.01)
    # neither rows nor columns are dropped as a whole
    assert values.mean(0).std() < 0.03
    assert values.mean(1).std() < 0.1
    assert not torch.equal(values, dropout(ones, 0.25, training=True))
    assert dropout(ones, 0.25, training=False) is ones
    assert dropout(ones, 0.0, training=True) is ones


@pytest.mark.parametrize("p", [0.1, 0.3, 0.7])
def test_dropout_rate_and_gradient(p: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(400, 500, requires_grad=True)
    y = dropout(x, p, training=True)
    y.sum().backward()
    assert (y == 0).float().mean().item() == pytest.approx(p, abs=0.005)
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())


def test_relu_dropout_is_relu_then_dropout() -> None:
    x = torch.randn(50, 40, requires_grad=True)
    torch.manual_seed(0)
    actual = relu_dropout(x, 0.3, training=True)
    torch.manual_seed(0)
    expected = dropout(F.relu(x), 0.3, training=True)
    assert torch.equal(actual, expected)
    weight = torch.randn_like(x)
    gradients = (torch.autograd.grad((out * weight).sum(), x)[0] for out in (actual, expected))
    torch.testing.assert_close(*gradients)
    assert torch.equal(relu_dropout(x, 0.3, training=False), F.relu(x))
