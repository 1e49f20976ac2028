"""Ragged batches: one row per real token, and no computation on padding.

All documents of a batch are concatenated into one flat sequence. Gaps of zeros separate them, wide
enough for the widest convolution, so no kernel covers two documents at once. Batch
statistics, products and attention see real tokens only.

Shapes: B documents, T positions of a padded batch, N real tokens, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

# Row counts are rounded up to a multiple of this: CPU kernels are compiled for each new shape, and
# without rounding every batch would have its own shape.
SEQUENCE_STEP = 512

_token_counts: ContextVar[tuple[int, ...]] = ContextVar("token_counts", default=())
_filler: ContextVar[int] = ContextVar("filler", default=0)


@contextmanager
def known_token_counts(*counts: int, filler: int = 0) -> Iterator[None]:
    """Within this block, models know the number of real tokens of each text of the batch.

    counts: one number per text, as the host knows them. Only a hint for speed: without it the host
    waits for the GPU to count. filler: so many documents at the end of the batch only fill it up to
    a fixed number of tokens; batch statistics leave them out.
    """
    previous = _token_counts.set(counts), _filler.set(filler)
    try:
        yield
    finally:
        _token_counts.reset(previous[0])
        _filler.reset(previous[1])


def token_counts(texts: int) -> Sequence[int | None]:
    """The known number of real tokens for each of `texts` texts; None where it is not known."""
    counts = _token_counts.get()
    if len(counts) == texts:
        return counts
    if texts == 1 and counts:  # the texts were joined into one
        return (sum(counts),)
    return (None,) * texts


def host_knows_sizes(values: Tensor) -> bool:
    """Whether sizes that depend on values are at hand; on a GPU the host would wait for them."""
    return values.device.type == "cpu"


@contextmanager
def unique_places(device: torch.device) -> Iterator[None]:
    """Within this block, no two different values are written to one place.

    The order of writes then does not matter. A GPU would sort them first, if deterministic
    algorithms are asked for.
    """
    deterministic = torch.are_deterministic_algorithms_enabled() and device.type == "cuda"
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    if deterministic:
        torch.use_deterministic_algorithms(mode=False)
    try:
        yield
    finally:
        if deterministic:
            torch.use_deterministic_algorithms(mode=True, warn_only=warn_only)


class _Take(torch.autograd.Function):
    """Rows (N, ...) at unique places of a matrix."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.length = len(matrix)
        return matrix.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        return put_rows(gradient, places, ctx.length), None


class _Put(torch.autograd.Function):
    """See `put_rows`."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, places: Tensor, length: int) -> Tensor:
        ctx.save_for_backward(places)
        return put_rows(values, places, length)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (places,) = ctx.saved_tensors
        return gradient.index_select(0, places), None, None


def put_rows(values: Tensor, places: Tensor, length: int) -> Tensor:
    """Rows of `length` with the values (N, ...) at their unique places, zeros elsewhere."""
    with unique_places(values.device):
        return values.new_zeros(length, *values.shape[1:]).index_copy_(0, places, values)


@dataclass(frozen=True)
class Layout:
    """The positions of a padded batch's real tokens in the flat sequence.

    mask (B, T): True at real tokens. positions (N,): indices into `mask.flatten()`. rows (N,):
    indices into the flat, gapped sequence of `length` rows. documents (N,): each token's document.
    gap: empty rows before each document. filler: documents at the end that only fill the batch up.
    """

    mask: Tensor
    positions: Tensor
    rows: Tensor
    documents: Tensor
    length: int
    gap: int
    filler: int = 0

    @classmethod
    def of(cls, mask: Tensor, gap: int, count: int | None = None) -> Layout:
        """Lay out a batch with `gap` empty rows before, between and after the documents.

        count: the number of real tokens, if known; otherwise the mask is counted.
        """
        flat_mask = mask.flatten()
        tokens = int(flat_mask.sum()) if count is None else count
        positions = torch.nonzero_static(flat_mask, size=tokens)[:, 0]
        documents = positions.div(mask.shape[1], rounding_mode="floor")
        rows = torch.arange(tokens, device=mask.device) + gap * (documents + 1)
        length = tokens + gap * (mask.shape[0] + 1)
        length += -length % SEQUENCE_STEP
        return cls(mask, positions, rows, documents, length, gap, _filler.get())

    @cached_property
    def lengths(self) -> Tensor:
        """Real tokens per document, (B,)."""
        return self.mask.sum(1)

    @cached_property
    def starts(self) -> Tensor:
        """The first token of each document, as an index into the N tokens, (B,)."""
        return self.lengths.cumsum(0) - self.lengths

    @cached_property
    def steps(self) -> Tensor:
        """Each token's position within its document, from 0, (N,)."""
        return torch.arange(len(self.rows), device=self.rows.device) - self.starts[self.documents]

    def gather(self, padded: Tensor) -> Tensor:
        """Values of real tokens (N, ...) from a padded batch (B, T, ...)."""
        flat = padded.flatten(0, 1)
        if host_knows_sizes(flat):
            return flat.index_select(0, self.positions)
        taken: Tensor = _Take.apply(flat, self.positions)
        return taken

    def pad(self, values: Tensor) -> Tensor:
        """Values (N, ...) at their positions in a padded batch (B, T, ...), zeros elsewhere."""
        batch, steps = self.mask.shape
        shape = batch, steps, *values.shape[1:]
        if host_knows_sizes(values):
            flat = values.new_zeros(batch * steps, *values.shape[1:])
            return flat.index_copy_(0, self.positions, values).view(shape)
        put: Tensor = _Put.apply(values, self.positions, batch * steps)
        return put.view(shape)

    def spread(self, values: Tensor) -> Tensor:
        """Values (N,) at their rows of the flat sequence (length,), zeros in the gaps."""
        return put_rows(values, self.rows, self.length)


@dataclass(frozen=True)
class Ragged:
    """A batch of documents as one row per real token: values (N, C) and their layout."""

    values: Tensor
    layout: Layout

    @classmethod
    def cat(cls, parts: Sequence[Ragged]) -> Ragged:
        """Concatenate the channels of several feature maps of the same tokens."""
        return cls(torch.cat([part.values for part in parts], dim=-1), parts[0].layout)

    def padded(self) -> Tensor:
        """The padded batch (B, T, C); padding is zero."""
        return self.layout.pad(self.values)

    def left_aligned(self) -> tuple[Tensor, Tensor]:
        """Documents padded on the right only (B, L, C), and the mask of real tokens (B, L).

        L is the longest document; on a GPU, where that is not known, it is T. The padded batch may
        have padding between tokens, as when a title and an abstract were joined.
        """
        layout = self.layout
        documents, width = layout.mask.shape
        if host_knows_sizes(self.values):
            width = max(int(layout.lengths.max()), 1)
        sequence = self.values.new_zeros(documents, width, self.values.shape[1])
        sequence = sequence.index_put((layout.documents, layout.steps), self.values)
        steps = torch.arange(width, device=self.values.device)
        return sequence, steps < layout.lengths.unsqueeze(1)
