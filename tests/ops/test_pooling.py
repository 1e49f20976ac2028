"""Attention pooling agrees with a plain softmax over padded batches, values and gradients."""

from __future__ import annotations

import pytest
import torch
from padded_batch import LENGTHS, padded_batch

from arxiv_hybrid.models.layers import AttentionPooling, MultiHeadSelfAttention
from arxiv_hybrid.ops import Layout, Ragged, attention_pool, masked_softmax

pytestmark = pytest.mark.usefixtures("both_forms")


@pytest.mark.parametrize("heads", [1, 4])
def test_it_equals_a_plain_softmax_in_values_and_gradients(heads: int) -> None:
    x, mask = padded_batch(3)
    values = x[mask].requires_grad_()
    weight = torch.randn(heads, 3).double().requires_grad_()
    bias = torch.randn(heads).double().requires_grad_()
    actual, shown = attention_pool(Ragged(values, Layout.of(mask, gap=0)), weight, bias)
    padded = torch.zeros_like(x).masked_scatter(mask.unsqueeze(-1), values)
    scores = (padded @ weight.T + bias).masked_fill(~mask.unsqueeze(-1), -torch.inf)
    weights = scores.softmax(1)
    expected = (padded * weights.mean(2, keepdim=True)).sum(1)
    close = {"rtol": 1e-5, "atol": 1e-6}  # the weights are in single precision
    torch.testing.assert_close(actual, expected, **close)
    torch.testing.assert_close(shown.double(), weights.transpose(1, 2), **close)
    for a, b in zip(
        torch.autograd.grad(actual.pow(2).sum(), (values, weight, bias)),
        torch.autograd.grad(expected.pow(2).sum(), (values, weight, bias)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, **close)


def test_weights_sum_to_one_and_ignore_padding() -> None:
    x, mask = padded_batch(8)
    text = Ragged(x[mask], Layout.of(mask, gap=0))
    pooled, weights = AttentionPooling(8, heads=4).double()(text)
    assert pooled.shape == (len(LENGTHS), 8)
    torch.testing.assert_close(weights.sum(2), torch.ones(len(LENGTHS), 4))
    assert (weights.transpose(1, 2)[~mask] == 0).all()


def test_self_attention_is_averaged_over_real_tokens() -> None:
    x, mask = padded_batch(4)
    attention = MultiHeadSelfAttention(4, heads=2).double().eval()
    _, received = attention(x, mask)
    for row, length in enumerate(LENGTHS):
        alone = attention(x[row : row + 1, :length], mask[row : row + 1, :length])[1]
        torch.testing.assert_close(received[row, :, :length], alone[0])
        assert (received[row, :, length:] == 0).all()


def test_softmax_of_nothing_is_zero_not_nan() -> None:
    weights = masked_softmax(torch.randn(2, 3), torch.tensor([[True, True, False], [False] * 3]))
    assert weights[1].tolist() == [0, 0, 0]
    assert weights[0, 2] == 0
