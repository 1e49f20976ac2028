"""The fast convolutions and the LSTM agree with torch's own layers, values and gradients."""

from __future__ import annotations

import pytest
import torch
from arxiv_hybrid.models.attention import (
    AttentionPooling,
    MultiHeadSelfAttention,
    attend,
    masked_softmax,
)
from arxiv_hybrid.models.blocks import (
    Flat,
    Lookup,
    ResidualConvBlock,
    convolve,
    convolve_lookup,
    dropout,
    relu_dropout,
)
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from arxiv_hybrid.models.hybrid import BiLSTM

LENGTHS = (9, 1, 4, 6)


def batch(channels: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS).unsqueeze(1)
    return torch.randn(len(LENGTHS), max(LENGTHS), channels, dtype=torch.float64), mask


def one_by_one(x: Tensor, conv: nn.Conv1d) -> Tensor:
    """Each document alone through torch's convolution, zeros on both sides."""
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
    x, mask = batch(6)
    x.requires_grad_()
    conv = nn.Conv1d(6, 5, size, dilation=dilation).double()
    flat = Flat.of(mask, gap=17)
    wanted, got = one_by_one(x, conv), convolve(x[mask], flat, conv)
    torch.testing.assert_close(got, wanted)
    weight = torch.randn_like(wanted)
    inputs = (x, conv.weight, conv.bias)
    for a, b in zip(
        torch.autograd.grad((got * weight).sum(), inputs),
        torch.autograd.grad((wanted * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("dilation", [1, 2, 4])
@pytest.mark.parametrize("size", [1, 3, 4, 5])
def test_convolve_lookup_equals_embedding_then_convolution(size: int, dilation: int) -> None:
    _, mask = batch(1)
    ids = torch.randint(1, 8, mask.shape) * mask
    embedding = nn.Embedding(8, 6, padding_idx=0).double()
    conv = nn.Conv1d(6, 5, size, dilation=dilation).double()
    flat = Flat.of(mask, gap=17)
    index = torch.zeros(flat.length, dtype=torch.long).index_copy(0, flat.rows, ids[mask])
    got = convolve_lookup(Lookup(embedding.weight, index, flat), [conv])[0]
    wanted = one_by_one(embedding(ids), conv)
    torch.testing.assert_close(got, wanted)
    for a, b in zip(
        torch.autograd.grad(got.pow(2).sum(), (embedding.weight, conv.weight, conv.bias)),
        torch.autograd.grad(wanted.pow(2).sum(), (embedding.weight, conv.weight, conv.bias)),
        strict=True,
    ):
        torch.testing.assert_close(a[1:], b[1:])  # row 0 is padding, which never learns


def test_convolutions_looked_up_together_equal_each_alone() -> None:
    _, mask = batch(1)
    flat = Flat.of(mask, gap=17)
    index = torch.zeros(flat.length, dtype=torch.long)
    index[flat.rows] = torch.randint(1, 8, (len(flat.rows),))
    table = torch.cat([torch.zeros(1, 6), torch.randn(7, 6)]).double().requires_grad_()
    convs = [nn.Conv1d(6, 5, 4).double(), nn.Conv1d(6, 5, 1).double(), nn.Conv1d(6, 5, 3).double()]
    inputs = [table, *(parameter for conv in convs for parameter in conv.parameters())]
    together = convolve_lookup(Lookup(table, index, flat), convs)
    alone = [convolve_lookup(Lookup(table, index, flat), [conv])[0] for conv in convs]
    for got, wanted in zip(together, alone, strict=True):
        torch.testing.assert_close(got, wanted)
    gradients = (
        torch.autograd.grad(sum(n * out.pow(2).sum() for n, out in enumerate(outs, 1)), inputs)
        for outs in (together, alone)
    )
    for got, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(got, wanted)


def test_batch_statistics_see_real_words_only() -> None:
    x, mask = batch(6)
    x = x.float()
    block = ResidualConvBlock(6, 4, 3, dropout=0.0).train()
    ids = torch.arange(1, mask.numel() + 1).view_as(mask) * mask
    table = torch.cat([torch.zeros(1, 6), x.flatten(0, 1)])
    flat = Flat.of(mask, gap=3)
    index = torch.zeros(flat.length, dtype=torch.long).index_copy(0, flat.rows, ids[mask])
    block(Lookup(table, index, flat))
    hidden = one_by_one(x, block.conv1)
    torch.testing.assert_close(block.norm1.running_mean, 0.1 * hidden.mean(0).detach())


def test_bilstm_equals_torchs_packed_one() -> None:
    x, mask = batch(6)
    ours = BiLSTM(6, 3, dropout=0.0, layers=1).double()
    theirs = nn.LSTM(6, 3, batch_first=True, bidirectional=True).double()
    for name, parameter in ours.ahead[0].named_parameters():
        getattr(theirs, name).data.copy_(parameter.data)
    for name, parameter in ours.back[0].named_parameters():
        getattr(theirs, f"{name}_reverse").data.copy_(parameter.data)
    packed = pack_padded_sequence(x, torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False)
    wanted, _ = pad_packed_sequence(theirs(packed)[0], batch_first=True)
    torch.testing.assert_close(ours(x, mask), wanted)


def test_bilstm_drops_out_between_its_layers_only() -> None:
    x, mask = batch(6)
    x = x.float()
    single, double = (BiLSTM(6, 3, dropout=0.5, layers=layers).train() for layers in (1, 2))
    assert torch.equal(single(x, mask), single(x, mask))
    assert not torch.equal(double(x, mask), double(x, mask))
    assert torch.equal(double.eval()(x, mask), double(x, mask))


def test_self_attention_is_averaged_over_real_words() -> None:
    x, mask = batch(4)
    attention = MultiHeadSelfAttention(4, heads=2).double().eval()
    _, received = attention(x, mask)
    for row, length in enumerate(LENGTHS):
        alone = attention(x[row : row + 1, :length], mask[row : row + 1, :length])[1]
        torch.testing.assert_close(received[row, :, :length], alone[0])
        assert (received[row, :, length:] == 0).all()


def test_pooling_weights_sum_to_one_and_ignore_padding() -> None:
    x, mask = batch(8)
    flat = Flat.of(mask, gap=0)
    pooled, weights = AttentionPooling(8, heads=4).double()(x[mask], flat)
    assert pooled.shape == (len(LENGTHS), 8)
    torch.testing.assert_close(weights.sum(2), torch.ones(len(LENGTHS), 4))
    assert (weights.transpose(1, 2)[~mask] == 0).all()


@pytest.mark.parametrize("heads", [1, 4])
def test_pooled_words_and_their_gradients(heads: int) -> None:
    x, mask = batch(3)
    values = x[mask].requires_grad_()
    weight = torch.randn(heads, 3).double().requires_grad_()
    bias = torch.randn(heads).double().requires_grad_()
    got, shown = attend(values, weight, bias, Flat.of(mask, gap=0))
    padded = torch.zeros_like(x).masked_scatter(mask.unsqueeze(-1), values)
    scores = (padded @ weight.T + bias).masked_fill(~mask.unsqueeze(-1), -torch.inf)
    weights = scores.softmax(1)
    wanted = (padded * weights.mean(2, keepdim=True)).sum(1)
    # the weights are in single precision
    close = {"rtol": 1e-5, "atol": 1e-6}
    torch.testing.assert_close(got, wanted, **close)
    torch.testing.assert_close(shown.double(), weights.transpose(1, 2), **close)
    for a, b in zip(
        torch.autograd.grad(got.pow(2).sum(), (values, weight, bias)),
        torch.autograd.grad(wanted.pow(2).sum(), (values, weight, bias)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, **close)


def test_softmax_of_nothing_is_zero_not_nan() -> None:
    weights = masked_softmax(torch.randn(2, 3), torch.tensor([[True, True, False], [False] * 3]))
    assert weights[1].tolist() == [0, 0, 0]
    assert weights[0, 2] == 0


def test_dropout_drops_single_values_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    ones = torch.ones(2001, 101)
    values = dropout(ones, 0.25, training=True)
    assert values.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert values.mean() == pytest.approx(1.0, abs=0.01)
    # neither rows nor columns are dropped as one
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
    got = relu_dropout(x, 0.3, training=True)
    torch.manual_seed(0)
    wanted = dropout(F.relu(x), 0.3, training=True)
    assert torch.equal(got, wanted)
    weight = torch.randn_like(x)
    gradients = (torch.autograd.grad((out * weight).sum(), x)[0] for out in (got, wanted))
    torch.testing.assert_close(*gradients)
    assert torch.equal(relu_dropout(x, 0.3, training=False), F.relu(x))
