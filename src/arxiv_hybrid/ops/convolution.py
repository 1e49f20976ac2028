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
from arxiv_hybrid.ops.precision import to_autocast
from arxiv_hybrid.ops.ragged import SEQUENCE_STEP, Layout, Ragged


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
    at a position is then the sum of the contributions of the tokens around it.
    """
    filters = convs[0].out_channels
    kernels = [position for conv in convs for position in conv.weight.unbind(2)]
    # the bias goes to the centre of the kernel, where there is a real token, never a gap
    biases = [
        F.pad(_bias(conv), (before * filters, (_size(conv) - 1 - before) * filters))
        for conv in convs
        for before in [(_size(conv) - 1) // 2]
    ]
    parts = F.linear(text.table, torch.cat(kernels), torch.cat(biases))
    sums = _SumOfNeighbours.apply(parts.unflatten(1, (-1, filters)), text, convs)
    return tuple(Ragged(values, text.layout) for values in sums)


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


def _spread(values: Tensor, rows: Tensor, length: int) -> Tensor:
    """Values (N, C) at the ascending `rows` (N,) of `length` rows, zeros elsewhere.

    Computed as sums of one value or none, in a fifth of the time of `index_copy` on a CPU.
    """
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
