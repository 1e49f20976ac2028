"""Convolution over the real tokens of a batch, as matrix products over contiguous rows.

Each kernel position is one product of a slice of the flat sequence: nothing is unfolded or copied.
For embedded texts the products run over unique tokens instead, which is a quarter of the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arxiv_hybrid.ops.embedding import UniqueTokens
from arxiv_hybrid.ops.pooling import masked_softmax
from arxiv_hybrid.ops.precision import to_autocast
from arxiv_hybrid.ops.ragged import SEQUENCE_STEP, Layout, Ragged, host_knows_sizes, put_rows


def convolve(text: Ragged, conv: nn.Conv1d) -> Ragged:
    """Same-length convolution of each document: channels C to the filters of `conv`.

    Equals `conv` on each document alone with zeros around it. An even kernel covers one token
    more on the right, and the output has as many positions as the input.
    """
    kernel = conv.weight.permute(2, 1, 0).contiguous()
    inputs = (to_autocast(tensor) for tensor in (text.values, kernel, _bias(conv)))
    out: Tensor = _RaggedConvolution.apply(*inputs, text.layout, conv)
    return Ragged(out, text.layout)


def convolve_unique(text: UniqueTokens, convs: Sequence[nn.Conv1d]) -> tuple[Ragged, ...]:
    """`convolve` an embedded text with several convolutions of equally many filters.

    One product multiplies each unique token with all kernel positions of all `convs`. The result
    at a position is then the sum of the contributions of the tokens around it. On a GPU, where
    products are cheap and such sums are slow, every occurrence is convolved.
    """
    if not host_knows_sizes(text.table):
        tokens = F.embedding(text.index.index_select(0, text.layout.rows), text.table)
        return tuple(convolve(Ragged(tokens, text.layout), conv) for conv in convs)
    sums = _SumOfNeighbours.apply(_contributions(text.table, convs), text, convs)
    return tuple(Ragged(values, text.layout) for values in sums)


def convolve_and_pool(
    text: UniqueTokens, convs: Sequence[nn.Conv1d], scores: Tensor
) -> tuple[Tensor, Tensor]:
    """Convolutions, ReLU, and for each convolution the weighted mean over the tokens of a text.

    scores (U, n): of each unique token, for each of the n `convs`, which have equally many filters
    F. The weights are the softmax of the scores over a text. Returns (B, n * F) and the weights
    (B, n, T). Equals `convolve_unique`, ReLU and a weighted sum, in half the time on a CPU:
    features stay in the gapped sequence, and one pass over their gradients serves ReLU and weights.
    """
    layout = text.layout
    words = text.index.index_select(0, layout.rows)
    on_cpu = host_knows_sizes(scores)
    by_token = scores.index_select(0, words) if on_cpu else F.embedding(words, scores)
    weights = masked_softmax(layout.pad(by_token).transpose(1, 2), layout.mask.unsqueeze(1))
    if not on_cpu:
        features = [layout.pad(F.relu(part.values)) for part in convolve_unique(text, convs)]
        rows = weights.to(features[0].dtype).split(1, dim=1)
        sums = [row @ part for row, part in zip(rows, features, strict=True)]
        return torch.cat(sums, dim=-1).squeeze(1), weights
    shares = layout.gather(weights.transpose(1, 2)).T  # (n, N)
    contributions = _contributions(text.table, convs)
    spread = shares.new_zeros(len(convs), layout.length).index_copy(1, layout.rows, shares)
    pooled = _PooledConvolution.apply(contributions, spread, text, convs)
    return torch.cat(pooled, dim=-1), weights


def _contributions(table: Tensor, convs: Sequence[nn.Conv1d]) -> Tensor:
    """What each of U unique tokens adds at each of the K kernel positions of `convs`, (U, K, C)."""
    filters = convs[0].out_channels
    kernels = [position for conv in convs for position in conv.weight.unbind(2)]
    # the bias goes to the centre of the kernel, where there is a real token, never a gap
    biases = [
        F.pad(_bias(conv), (before * filters, (_size(conv) - 1 - before) * filters))
        for conv in convs
        for before in [(_size(conv) - 1) // 2]
    ]
    parts: Tensor = F.linear(table, torch.cat(kernels), torch.cat(biases))
    return parts.view(len(table), -1, filters)


class _RaggedConvolution(torch.autograd.Function):
    """Convolution along the flat sequence, one matrix product per kernel position."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, kernel: Tensor, bias: Tensor, layout: Layout, conv: nn.Conv1d
    ) -> Tensor:
        dilation = ctx.dilation = conv.dilation[0]
        rows, length = layout.rows, layout.length
        sequence = _spread(values, rows, length + dilation * (len(kernel) - 1))
        ctx.firsts = rows - _left(conv)  # the row of each token's first neighbour
        ctx.save_for_backward(sequence, rows, kernel)
        out = torch.addmm(bias, sequence[:length], kernel[0])
        for place in range(1, len(kernel)):
            shift = dilation * place
            out.addmm_(sequence[shift : shift + length], kernel[place])
        return out.index_select(0, ctx.firsts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        sequence, rows, kernel = ctx.saved_tensors
        d_sequence, d_kernel = torch.zeros_like(sequence), torch.empty_like(kernel)
        length = len(sequence) - ctx.dilation * (len(kernel) - 1)
        spread = _spread(gradient, ctx.firsts, length)
        # in chunks of SEQUENCE_STEP rows, which stay in the processor's cache
        chunks = spread.view(-1, SEQUENCE_STEP, spread.shape[1])
        for place in range(len(kernel)):
            part = slice(ctx.dilation * place, ctx.dilation * place + length)
            d_sequence[part].addmm_(spread, kernel[place].T)
            inputs = sequence[part].view(-1, SEQUENCE_STEP, sequence.shape[1])
            d_kernel[place] = torch.bmm(inputs.transpose(1, 2), chunks).sum(0)
        return d_sequence.index_select(0, rows), d_kernel, gradient.sum(0), None, None


class _SumOfNeighbours(torch.autograd.Function):
    """For each token the sum of its neighbours' contributions, for several convolutions.

    parts (U, K, C): what each unique token contributes at each of the K kernel positions of all
    `convs`. Returns (N, C) per convolution. Both directions are sums of rows by index, accumulated
    in 32 bits in a fixed order, so results are deterministic.
    """

    @staticmethod
    def forward(
        ctx: Any, parts: Tensor, text: UniqueTokens, convs: Sequence[nn.Conv1d]
    ) -> tuple[Tensor, ...]:
        ctx.text, ctx.convs = text, convs
        every = torch.arange(parts.shape[1], device=parts.device)
        contributions = parts.flatten(0, 1)
        sums = []
        for conv, places in zip(convs, every.split([_size(conv) for conv in convs]), strict=True):
            first = (text.layout.rows - _left(conv)).unsqueeze(1)
            neighbours = text.index[first + conv.dilation[0] * (places - places[0])]
            rows = neighbours * len(every) + places
            sums.append(F.embedding_bag(rows, contributions, mode="sum"))
        return tuple(sums)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        layout, (rows, starts) = ctx.text.layout, ctx.text.occurrences
        sums = []
        for conv, gradient in zip(ctx.convs, gradients, strict=True):
            dilation, span = conv.dilation[0], conv.dilation[0] * (_size(conv) - 1)
            spread = _spread(gradient, layout.rows + (span - _left(conv)), layout.length + span)
            for place in range(_size(conv)):
                shifted = rows + (span - dilation * place)
                sums.append(F.embedding_bag(shifted, spread, starts, mode="sum"))
        return torch.stack(sums, dim=1), None, None


class _PooledConvolution(torch.autograd.Function):
    """For each document the weighted sum of ReLU of its convolved tokens, per convolution.

    parts (U, K, C) as in `_SumOfNeighbours`; shares (n, length): the weight of each row of the flat
    sequence for each of the n `convs`, 0 in gaps. Returns (B, C) per convolution. All rows are
    computed, gaps included: that saves copying the features of real tokens out and back.
    """

    @staticmethod
    def forward(
        ctx: Any, parts: Tensor, shares: Tensor, text: UniqueTokens, convs: Sequence[nn.Conv1d]
    ) -> tuple[Tensor, ...]:
        layout, places = text.layout, parts.shape[1]
        contributions = parts.flatten(0, 1)
        rows = torch.arange(layout.length, device=parts.device)
        # a document begins with the gap before it, whose weights are 0: the first begins at row 0
        starts = layout.starts + layout.gap * torch.arange(len(layout.mask), device=parts.device)
        features, sums, place = [], [], 0
        for conv, share in zip(convs, shares.to(parts.dtype), strict=True):
            neighbours = torch.stack([_shifted(rows, step) for step in _steps(conv)], dim=1)
            every = torch.arange(place, place + _size(conv), device=parts.device)
            tokens = text.index[neighbours] * places + every
            features.append(F.embedding_bag(tokens, contributions, mode="sum").relu_())
            sums.append(
                F.embedding_bag(rows, features[-1], starts, mode="sum", per_sample_weights=share)
            )
            place += _size(conv)
        ctx.text, ctx.convs = text, convs
        ctx.save_for_backward(shares, *features)
        return tuple(sums)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        shares, *features = ctx.saved_tensors
        rows, starts = ctx.text.occurrences
        documents = ctx.text.layout.spread(ctx.text.layout.documents)
        d_shares, sums = torch.empty_like(shares), []
        for number, (conv, feature) in enumerate(zip(ctx.convs, features, strict=True)):
            gradient = gradients[number].index_select(0, documents)
            products = torch.bmm(gradient.unsqueeze(1), feature.unsqueeze(2))
            d_shares[number] = products.flatten()
            gradient.mul_(shares[number].unsqueeze(1))
            torch.ops.aten.threshold_backward.grad_input(gradient, feature, 0, grad_input=gradient)
            for step in _steps(conv):
                shifted = _shifted(rows, -step)
                sums.append(F.embedding_bag(shifted, gradient, starts, mode="sum"))
        return torch.stack(sums, dim=1), d_shares, None, None


def _steps(conv: nn.Conv1d) -> list[int]:
    """How far each kernel position is from the token, from left to right."""
    return [conv.dilation[0] * place - _left(conv) for place in range(_size(conv))]


def _shifted(rows: Tensor, step: int) -> Tensor:
    """All rows (length,) of a sequence moved by `step`, but not past its ends, which are gaps."""
    return (rows + step).clamp_(0, len(rows) - 1)


def _spread(values: Tensor, rows: Tensor, length: int) -> Tensor:
    """Values (N, C) at the ascending `rows` (N,) of `length` rows, zeros elsewhere.

    Computed as sums of one value or none, in a fifth of the time of `index_copy` on a CPU.
    """
    if not host_knows_sizes(values):
        return put_rows(values, rows, length)
    present = rows.new_zeros(length).index_fill_(0, rows, 1)
    every = torch.arange(len(rows), device=rows.device)
    return F.embedding_bag(every, values, present.cumsum(0) - present, mode="sum")


def _size(conv: nn.Conv1d) -> int:
    return conv.kernel_size[0]


def _left(conv: nn.Conv1d) -> int:
    """How many tokens to the left a kernel covers."""
    return conv.dilation[0] * ((_size(conv) - 1) // 2)


def _bias(conv: nn.Conv1d) -> Tensor:
    if conv.bias is None:
        raise ValueError("the convolution needs a bias")
    return conv.bias
