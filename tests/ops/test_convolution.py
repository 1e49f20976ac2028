"""The fast convolutions agree with PyTorch's on each document alone, values and gradients."""

from __future__ import annotations

import pytest
import torch
from padded_batch import LENGTHS, looked_up, padded_batch
from torch import Tensor, nn
from torch.nn import functional as F

from arxiv_hybrid.models.layers import ResidualConvBlock
from arxiv_hybrid.ops import (
    Layout,
    Ragged,
    UniqueTokens,
    convolve,
    convolve_and_pool,
    convolve_unique,
)

pytestmark = pytest.mark.usefixtures("both_forms")


def one_by_one(x: Tensor, conv: nn.Conv1d) -> Tensor:
    """The plain twin: each document through PyTorch's convolution, zeros on both sides."""
    size, dilation = conv.kernel_size[0], conv.dilation[0]
    outs = []
    for document, length in zip(x, LENGTHS, strict=True):
        around = ((size - 1) // 2 * dilation, size // 2 * dilation)
        padded = F.pad(document[:length].T, around).unsqueeze(0)
        outs.append(F.conv1d(padded, conv.weight, conv.bias, dilation=dilation)[0].T)
    return torch.cat(outs)


@pytest.mark.parametrize("dilation", [1, 2, 4])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_convolve_equals_each_document_alone(size: int, dilation: int) -> None:
    x, mask = padded_batch(6)
    x.requires_grad_()
    conv = nn.Conv1d(6, 5, size, dilation=dilation).double()
    expected = one_by_one(x, conv)
    actual = convolve(Ragged(x[mask], Layout.of(mask, gap=17)), conv).values
    torch.testing.assert_close(actual, expected)
    weight = torch.randn_like(expected)
    inputs = (x, conv.weight, conv.bias)
    for a, b in zip(
        torch.autograd.grad((actual * weight).sum(), inputs),
        torch.autograd.grad((expected * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("dilation", [1, 2, 4])
@pytest.mark.parametrize("size", [1, 3, 4, 5])
def test_convolve_unique_equals_embedding_then_convolution(size: int, dilation: int) -> None:
    _, mask = padded_batch(1)
    ids = torch.randint(1, 8, mask.shape) * mask
    embedding = nn.Embedding(8, 6, padding_idx=0).double()
    conv = nn.Conv1d(6, 5, size, dilation=dilation).double()
    actual = convolve_unique(looked_up(ids, embedding.weight), [conv])[0].values
    expected = one_by_one(embedding(ids), conv)
    torch.testing.assert_close(actual, expected)
    inputs = (embedding.weight, conv.weight, conv.bias)
    for a, b in zip(
        torch.autograd.grad(actual.pow(2).sum(), inputs),
        torch.autograd.grad(expected.pow(2).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a[1:], b[1:])  # row 0 is padding, which never learns


def test_several_convolutions_at_once_equal_each_alone() -> None:
    _, mask = padded_batch(1)
    ids = torch.randint(1, 8, mask.shape) * mask
    table = torch.cat([torch.zeros(1, 6), torch.randn(7, 6)]).double().requires_grad_()
    convs = [nn.Conv1d(6, 5, size).double() for size in (4, 1, 3)]
    inputs = [table, *(parameter for conv in convs for parameter in conv.parameters())]
    together = convolve_unique(looked_up(ids, table), convs)
    single = [convolve_unique(looked_up(ids, table), [conv])[0] for conv in convs]
    for actual, expected in zip(together, single, strict=True):
        torch.testing.assert_close(actual.values, expected.values)
    gradients = (
        torch.autograd.grad(
            sum(n * out.values.pow(2).sum() for n, out in enumerate(outs, 1)), inputs
        )
        for outs in (together, single)
    )
    for actual, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(actual, expected)


def test_a_convolution_without_a_bias_is_refused() -> None:
    _, mask = padded_batch(1)
    text = looked_up(mask.long(), torch.zeros(2, 6))
    with pytest.raises(ValueError, match="needs a bias"):
        convolve_unique(text, [nn.Conv1d(6, 5, 3, bias=False)])


def test_batch_statistics_see_real_tokens_only() -> None:
    x, mask = padded_batch(6)
    x = x.float()
    block = ResidualConvBlock(6, 4, 3, dropout=0.0).train()
    ids = torch.arange(1, mask.numel() + 1).view_as(mask) * mask
    table = torch.cat([torch.zeros(1, 6), x.flatten(0, 1)])
    block(looked_up(ids, table, gap=3))
    hidden = one_by_one(x, block.conv1)
    torch.testing.assert_close(block.norm1.running_mean, 0.1 * hidden.mean(0).detach())


def plain_convolve_and_pool(
    text: UniqueTokens, convs: list[nn.Conv1d], scores: Tensor
) -> tuple[Tensor, Tensor]:
    """The plain twin: `convolve_unique`, ReLU, and a weighted sum over a padded batch."""
    tokens = text.layout.pad(text.index[text.layout.rows])
    scored = scores[tokens].masked_fill(~text.mask.unsqueeze(-1), -torch.inf)
    weights = scored.softmax(1).nan_to_num(0.0)  # an empty text has only -inf
    outs = [F.relu(out.padded()) for out in convolve_unique(text, convs)]
    pooled = [(out * weights[..., i : i + 1]).sum(1) for i, out in enumerate(outs)]
    return torch.cat(pooled, dim=-1), weights.transpose(1, 2)


@pytest.mark.parametrize("sizes", [(1,), (4,), (1, 3, 5), (2, 3)])
@pytest.mark.parametrize("lengths", [LENGTHS, (0, 3, 0), (2, 5, 0)])
def test_convolve_and_pool_equals_its_plain_twin(
    sizes: tuple[int, ...], lengths: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)
    ids = torch.randint(1, 8, mask.shape) * mask
    table = torch.cat([torch.zeros(1, 6), torch.randn(7, 6)]).double().requires_grad_()
    scores = torch.randn(8, len(sizes)).double().requires_grad_()
    convs = [nn.Conv1d(6, 5, size).double() for size in sizes]
    inputs = [table, scores, *(parameter for conv in convs for parameter in conv.parameters())]
    gap = max(sizes)  # the least that keeps documents apart
    results = []
    for function in (convolve_and_pool, plain_convolve_and_pool):
        pooled, weights = function(looked_up(ids, table, gap=gap), convs, scores)
        loss = pooled.pow(2).sum() + (weights[..., :3] * torch.arange(3)).sum()
        results.append([pooled, weights, *torch.autograd.grad(loss, inputs)])
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual.double(), expected, rtol=1e-5, atol=1e-6)
