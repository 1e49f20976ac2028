"""Convolution over words without padding waste, and the residual block built on it.

All documents of a batch lie behind each other in one flat sequence, separated by gaps of
padding wide enough for the widest kernel. Work is done for real words only, batch statistics
see real words only, and no kernel ever reaches into a neighbour: padding cannot leak.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
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

    With B documents and P real words: `mask` (B, T) marks real words; `where` (P,) gives each
    word's place in the flattened batch, `rows` (P,) its row in the flat sequence of `length`
    rows; `document` (P,) its document.
    """

    mask: Tensor
    where: Tensor
    rows: Tensor
    document: Tensor
    length: int

    @classmethod
    def of(cls, mask: Tensor, gap: int, words: int | None = None) -> Flat:
        """Lay out a batch with `gap` empty rows before, between and after the documents.

        More follow, up to a multiple of `SEQUENCE_STEP`. words: how many are real; where that is
        not told, the host waits for a GPU to count them.
        """
        every = mask.flatten()
        count = int(every.sum()) if words is None else words
        where = torch.nonzero_static(every, size=count)[:, 0]
        document = where.div(mask.shape[1], rounding_mode="floor")
        rows = torch.arange(count, device=mask.device) + gap * (document + 1)
        length = count + gap * (mask.shape[0] + 1)
        return cls(mask, where, rows, document, length + -length % SEQUENCE_STEP)

    def real(self, values: Tensor) -> Tensor:
        """The values of real words (P, ...) from those of a padded batch (B, T, ...)."""
        return values.flatten(0, 1).index_select(0, self.where)

    def padded(self, values: Tensor) -> Tensor:
        """Put one row a word (P, C) back into the padded batch (B, T, C); padding is zero."""
        batch, steps = self.mask.shape
        flat = values.new_zeros(batch * steps, values.shape[1])
        return flat.index_copy_(0, self.where, values).view(batch, steps, -1)


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

    @cached_property
    def occurrences(self) -> tuple[Tensor, Tensor]:
        """Rows of the sequence (length,) by the word in them, and where each word's begin (U,)."""
        words, rows = self.index.sort(stable=True)
        every = torch.arange(len(self.table), device=words.device)
        return rows, torch.searchsorted(words, every)


def on_host(values: Tensor) -> bool:
    """Whether a size that depends on values is at hand, with no GPU to wait for."""
    return values.device.type == "cpu"


def distinct_words(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Words of `ids` (N,), each once and rising (U,), and the place of each id among them (N,).

    Where the host would have to wait for their number, U is N: what is left over is padding.
    """
    if on_host(ids):
        distinct, places = ids.unique(return_inverse=True)
        return distinct, places
    rising, order = ids.sort(stable=True)
    new = torch.ones_like(rising)
    new[1:] = rising[1:] != rising[:-1]
    place = new.cumsum(0) - 1
    distinct = torch.zeros_like(ids).scatter_(0, place, rising)  # one word's are all the same
    return distinct, torch.empty_like(place).scatter_(0, order, place)


def lookup_table(vectors: Tensor) -> Tensor:
    """A `Lookup`'s table from the vectors (U, D) of its words: they follow a row of zeros.

    That row is for gaps; more follow the words, up to a multiple of `TABLE_STEP`. Under autocast
    it is in the lower precision, in which alone it is used.
    """
    rows = len(vectors) + 1
    return _lower(F.pad(vectors, (0, 0, 1, -rows % TABLE_STEP)))


def _lower(values: Tensor) -> Tensor:
    """Values in the precision of matrix products here, see `torch.autocast`."""
    device = values.device.type
    if torch.is_autocast_enabled(device) and values.dtype == torch.float32:
        return values.to(torch.get_autocast_dtype(device))
    return values


def _spread(values: Tensor, rows: Tensor, length: int) -> Tensor:
    """Values (P, C) in the rising `rows` (P,) of `length`, zeros in the others.

    As sums of one value or none, which takes a fifth of `index_copy`'s time on a CPU.
    """
    present = rows.new_zeros(length).index_fill_(0, rows, 1)
    every = torch.arange(len(rows), device=rows.device)
    return F.embedding_bag(every, values, present.cumsum(0) - present, mode="sum")


class _FlatConvolution(torch.autograd.Function):
    """Convolution along a flat sequence as one matrix product a kernel position.

    Rows are contiguous, so each product reads a plain slice: nothing is copied or unfolded.
    """

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, kernel: Tensor, bias: Tensor, flat: Flat, conv: nn.Conv1d
    ) -> Tensor:
        dilation = ctx.dilation = conv.dilation[0]
        rows, length = flat.rows, flat.length
        sequence = _spread(values, rows, length + dilation * (len(kernel) - 1))
        ctx.firsts = rows - _left(conv)  # where each word's first neighbour stands
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
        # sums of products of so many rows: they stay in the processor's cache
        pieces = spread.view(-1, SEQUENCE_STEP, spread.shape[1])
        for place in range(len(kernel)):
            part = slice(ctx.dilation * place, ctx.dilation * place + length)
            d_sequence[part].addmm_(spread, kernel[place].T)
            seen = sequence[part].view(-1, SEQUENCE_STEP, sequence.shape[1])
            d_kernel[place] = torch.bmm(seen.transpose(1, 2), pieces).sum(0)
        return d_sequence.index_select(0, rows), d_kernel, gradient.sum(0), None, None


def convolve(values: Tensor, flat: Flat, conv: nn.Conv1d) -> Tensor:
    """Same-length convolution of real words: (P, C) to (P, filters).

    Equals `conv` on each document alone with zeros around it; an even kernel reaches one
    word further to the right, and no position is cut off.
    """
    kernel, bias = conv.weight.permute(2, 1, 0).contiguous(), _bias(conv)
    inputs = (_lower(tensor) for tensor in (values, kernel, bias))
    out: Tensor = _FlatConvolution.apply(*inputs, flat, conv)
    return out


class _SumOfNeighbours(torch.autograd.Function):
    """For each word the sum of what its neighbours' words bring, for several convolutions.

    `parts` (U, K, C) holds what each distinct word brings in each of the K kernel places of all
    `convs`; the result is one (P, C) a convolution. Both directions are sums of rows by index,
    in 16 bits added up in 32: no order of additions is left to chance.
    """

    @staticmethod
    def forward(
        ctx: Any, parts: Tensor, words: Lookup, convs: Sequence[nn.Conv1d]
    ) -> tuple[Tensor, ...]:
        ctx.words, ctx.convs = words, convs
        every = torch.arange(parts.shape[1], device=parts.device)
        brought = parts.flatten(0, 1)
        sums = []
        for conv, places in zip(convs, every.split([_size(conv) for conv in convs]), strict=True):
            first = (words.flat.rows - _left(conv)).unsqueeze(1)
            neighbours = words.index[first + conv.dilation[0] * (places - places[0])]
            sums.append(F.embedding_bag(neighbours * len(every) + places, brought, mode="sum"))
        return tuple(sums)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        flat, (rows, starts) = ctx.words.flat, ctx.words.occurrences
        sums = []
        for conv, gradient in zip(ctx.convs, gradients, strict=True):
            dilation, reach = conv.dilation[0], conv.dilation[0] * (_size(conv) - 1)
            spread = _spread(gradient, flat.rows + (reach - _left(conv)), flat.length + reach)
            for place in range(_size(conv)):
                shifted = rows + (reach - dilation * place)
                sums.append(F.embedding_bag(shifted, spread, starts, mode="sum"))
        return torch.stack(sums, dim=1), None, None


def convolve_lookup(words: Lookup, convs: Sequence[nn.Conv1d]) -> tuple[Tensor, ...]:
    """`convolve` for the embedded words themselves: (U, D) to (P, filters) a convolution.

    Each distinct word is multiplied with every kernel place once, in one product for all `convs`,
    which have as many filters each; then a position's result is the sum of what its neighbours'
    words contribute.
    """
    filters = convs[0].out_channels
    kernels = [conv.weight.permute(2, 0, 1).flatten(0, 1) for conv in convs]
    # the word itself is never a gap, so it may bring the bias, for all kernel places
    biases = [
        F.pad(_bias(conv), (before * filters, (_size(conv) - 1 - before) * filters))
        for conv in convs
        for before in [(_size(conv) - 1) // 2]
    ]
    parts = F.linear(words.table, torch.cat(kernels), torch.cat(biases))
    sums: tuple[Tensor, ...] = _SumOfNeighbours.apply(
        parts.unflatten(1, (-1, filters)), words, convs
    )
    return sums


def _size(conv: nn.Conv1d) -> int:
    return conv.kernel_size[0]


def _left(conv: nn.Conv1d) -> int:
    """How many words a kernel reaches to the left."""
    return conv.dilation[0] * ((_size(conv) - 1) // 2)


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
    mask = torch.empty(*shape, dtype=dtype, device=device)
    # straight into `dtype`: turning booleans into 16 bits takes four times as long
    return torch.ge(random_bytes, round(p * 256), out=mask).mul_(_scale(p))


def _scale(p: float) -> float:
    """What makes up for the share that is dropped."""
    return 256 / (256 - round(p * 256))


def dropout(values: Tensor, p: float, training: bool) -> Tensor:
    """Element-wise dropout, see `dropout_mask`."""
    if not training or p == 0:
        return values
    return values * dropout_mask(values.shape, p, values.device, values.dtype)


class Dropout(nn.Dropout):
    """The layer of `dropout`."""

    def forward(self, values: Tensor) -> Tensor:
        """Values of any shape."""
        return dropout(values, self.p, self.training)


class _ReluDropout(torch.autograd.Function):
    """What was dropped is 0 in the result, as is what was not positive: one test finds both."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, mask: Tensor, p: float) -> Tensor:
        out = F.relu(values).mul_(mask)
        ctx.save_for_backward(out)
        ctx.scale = _scale(p)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (out,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradient, out, 0).mul_(ctx.scale), None, None


def relu_dropout(values: Tensor, p: float, training: bool) -> Tensor:
    """`dropout` of ReLU, in one pass over the gradients and without keeping a mask."""
    if not training or p == 0:
        return F.relu(values)
    mask = dropout_mask(values.shape, p, values.device, values.dtype)
    out: Tensor = _ReluDropout.apply(values, mask, p)
    return out


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
        convs = [self.conv1, self.skip] if self.skip else [self.conv1]
        hidden, *skipped = convolve_lookup(words, convs)
        hidden = relu_dropout(self.norm1(hidden), self.dropout, self.training)
        hidden = self.norm2(convolve(hidden, words.flat, self.conv2))
        return F.relu(hidden + skipped[0] if skipped else hidden)
