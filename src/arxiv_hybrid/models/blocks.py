"""Convolution over words without padding waste, and the residual block built on it.

All documents of a batch lie behind each other in one flat sequence, separated by gaps of
padding wide enough for the widest kernel. Work is done for real words only, batch statistics
see real words only, and no kernel ever reaches into a neighbour: padding cannot leak.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# matrices get a multiple of so many rows: a CPU's kernels are made for a shape when it first
# occurs, and each batch would have shapes of its own
TABLE_STEP, SEQUENCE_STEP = 256, 512


@dataclass(frozen=True)
class Flat:
    """Where each real word of a padded batch lies in the flat, gapped sequence.

    With B documents and P real words: `mask` (B, T) marks real words; `rows` (P,) gives each
    word's row in the flat sequence of `length` rows; `document` (P,) its document.
    """

    mask: Tensor
    rows: Tensor
    document: Tensor
    length: int

    @classmethod
    def of(cls, mask: Tensor, gap: int) -> Flat:
        """Lay out a batch with `gap` empty rows before, between and after the documents.

        More follow, up to a multiple of `SEQUENCE_STEP`.
        """
        document = mask.nonzero()[:, 0]
        words = document.shape[0]
        rows = torch.arange(words, device=mask.device) + gap * (document + 1)
        length = words + gap * (mask.shape[0] + 1)
        return cls(mask, rows, document, length + -length % SEQUENCE_STEP)

    def spread(self, values: Tensor) -> Tensor:
        """Put one row a word (P, C) into the flat sequence (length, C); gaps are zero."""
        return values.new_zeros(self.length, values.shape[1]).index_copy(0, self.rows, values)

    def padded(self, values: Tensor) -> Tensor:
        """Put one row a word (P, C) back into the padded batch (B, T, C); padding is zero."""
        batch, steps = self.mask.shape
        flat = values.new_zeros(batch * steps, values.shape[1])
        where = self.mask.flatten().nonzero()[:, 0]
        return flat.index_copy(0, where, values).view(batch, steps, -1)


@dataclass(frozen=True)
class Lookup:
    """The words of a batch as a small table of its distinct words.

    `table` (see `lookup_table`) holds one vector a distinct word, `index` (length,) names the word
    in each row of a `Flat` sequence. A text of 12,000 running words has about 3,000 distinct ones,
    so a convolution that multiplies the table first does a quarter of the work.
    """

    table: Tensor
    index: Tensor
    flat: Flat


def lookup_table(vectors: Tensor) -> Tensor:
    """A `Lookup`'s table from the vectors (U, D) of its words: they follow a row of zeros.

    That row is for gaps; more follow the words, up to a multiple of `TABLE_STEP`.
    """
    rows = len(vectors) + 1
    table: Tensor = F.pad(vectors, (0, 0, 1, -rows % TABLE_STEP))
    return table


class _ShiftedConvolution(torch.autograd.Function):
    """Convolution along the rows of a (L, C) matrix as one matrix product a kernel position.

    Rows are contiguous, so each product reads a plain slice: nothing is copied or unfolded.
    """

    @staticmethod
    def forward(ctx: Any, sequence: Tensor, kernel: Tensor, bias: Tensor, dilation: int) -> Tensor:
        ctx.save_for_backward(sequence, kernel)
        ctx.dilation = dilation
        length = sequence.shape[0] - dilation * (kernel.shape[0] - 1)
        out = torch.addmm(bias, sequence[:length], kernel[0])
        for place in range(1, kernel.shape[0]):
            shift = dilation * place
            out.addmm_(sequence[shift : shift + length], kernel[place])
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        sequence, kernel = ctx.saved_tensors
        length = gradient.shape[0]
        d_sequence, d_kernel = torch.zeros_like(sequence), torch.empty_like(kernel)
        for place in range(kernel.shape[0]):
            shift = ctx.dilation * place
            d_sequence[shift : shift + length].addmm_(gradient, kernel[place].T)
            d_kernel[place] = sequence[shift : shift + length].T @ gradient
        return d_sequence, d_kernel, gradient.sum(0), None


def convolve(values: Tensor, flat: Flat, conv: nn.Conv1d) -> Tensor:
    """Same-length convolution of real words: (P, C) to (P, filters).

    Equals `conv` on each document alone with zeros around it; an even kernel reaches one
    word further to the right, and no position is cut off.
    """
    kernel, bias = conv.weight.permute(2, 1, 0).contiguous(), _bias(conv)
    if torch.is_autocast_enabled(values.device.type):
        lower = torch.get_autocast_dtype(values.device.type)
        values, kernel, bias = values.to(lower), kernel.to(lower), bias.to(lower)
    dilation = conv.dilation[0]
    out: Tensor = _ShiftedConvolution.apply(flat.spread(values), kernel, bias, dilation)
    return out.index_select(0, flat.rows - _left(conv))


def convolve_lookup(words: Lookup, conv: nn.Conv1d) -> Tensor:
    """The same as `convolve` for the embedded words themselves: (U, D) to (P, filters).

    Each distinct word is multiplied with every kernel position once; then a position's
    result is the sum of what its neighbours' words contribute.
    """
    size, filters, dilation = conv.kernel_size[0], conv.out_channels, conv.dilation[0]
    left = (size - 1) // 2  # kernel places before the word's own
    kernel = conv.weight.permute(2, 0, 1).reshape(size * filters, -1)
    # the position itself always holds a word, never a gap, so it may bring the bias
    bias = F.pad(_bias(conv), (left * filters, (size - 1 - left) * filters))
    parts = F.linear(words.table, kernel, bias).view(-1, size, filters).unbind(1)
    start = words.flat.rows - _left(conv)
    out = F.embedding(words.index[start], parts[0])
    for place in range(1, size):
        out = out + F.embedding(words.index[start + dilation * place], parts[place])
    return out


def _left(conv: nn.Conv1d) -> int:
    """How many words a kernel reaches to the left."""
    return conv.dilation[0] * ((conv.kernel_size[0] - 1) // 2)


def _bias(conv: nn.Conv1d) -> Tensor:
    if conv.bias is None:
        raise ValueError("the convolutions of this project have a bias")
    return conv.bias


def dropout_mask(
    shape: Sequence[int], p: float, device: torch.device, dtype: torch.dtype = torch.float32
) -> Tensor:
    """0 with probability `p`, else 1 / (1 - p), of `shape`; `p` is kept to 1/256.

    One random byte an element: eight come out of a single draw, so that a mask costs a fifth
    of what `torch.nn.functional.dropout` takes on a CPU.
    """
    count = math.prod(shape)
    draws = torch.empty((count + 7) // 8, dtype=torch.int64, device=device)
    random_bytes = draws.random_(-(2**63), None).view(torch.uint8)[:count].view(*shape)
    dropped = round(p * 256)
    return (random_bytes >= dropped).to(dtype).mul_(256 / (256 - dropped))


def dropout(values: Tensor, p: float, training: bool) -> Tensor:
    """Element-wise dropout, see `dropout_mask`."""
    if not training or p == 0:
        return values
    return values * dropout_mask(values.shape, p, values.device, values.dtype)


class ResidualConvBlock(nn.Module):
    """Conv, BatchNorm, ReLU, dropout, Conv, BatchNorm, plus a 1x1 skip, then ReLU.

    As in the published v1 and v4. residual: whether there is a skip.
    """

    def __init__(
        self,
        in_channels: int,
        filters: int,
        kernel_size: int,
        dropout: float,
        dilation: int = 1,
        residual: bool = True,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(in_channels, filters, kernel_size, dilation=dilation)
        self.norm1 = nn.BatchNorm1d(filters)
        self.conv2 = nn.Conv1d(filters, filters, kernel_size, dilation=dilation)
        self.norm2 = nn.BatchNorm1d(filters)
        self.skip = nn.Conv1d(in_channels, filters, 1) if residual else None
        self.dropout = dropout

    def forward(self, words: Lookup) -> Tensor:
        """Distinct words (U, D) and their places to features of real words (P, filters)."""
        flat = words.flat
        hidden = F.relu(self.norm1(convolve_lookup(words, self.conv1)))
        hidden = dropout(hidden, self.dropout, self.training)
        hidden = self.norm2(convolve(hidden, flat, self.conv2))
        return F.relu(hidden + convolve_lookup(words, self.skip) if self.skip else hidden)
