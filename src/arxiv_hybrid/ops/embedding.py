"""Embedding of the unique tokens of a batch, with gradients for those rows only.

A batch of 12,000 tokens has about 3,000 unique ones. Each is looked up once; a convolution then
multiplies this small table instead of every occurrence, and the optimizer updates only its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arxiv_hybrid.ops.dropout import dropout
from arxiv_hybrid.ops.precision import to_autocast
from arxiv_hybrid.ops.ragged import Layout, host_knows_sizes, token_counts, unique_places

PADDING = 0
TABLE_STEP = 256  # see SEQUENCE_STEP


@dataclass(frozen=True)
class UniqueTokens:
    """An embedded text: the vector of each unique token, and the position of each token.

    table (U, D): row 0 is zeros, for gaps and padding. index (length,): the table row of each row
    of the flat sequence. Texts of one batch share a table.
    """

    table: Tensor
    index: Tensor
    layout: Layout

    @property
    def mask(self) -> Tensor:
        """True at real tokens of the padded batch, (B, T)."""
        return self.layout.mask

    def padded(self) -> Tensor:
        """The embedded text as a padded batch (B, T, D); padding is zero."""
        places = self.layout.pad(self.index.index_select(0, self.layout.rows))
        return F.embedding(places, self.table)

    @cached_property
    def occurrences(self) -> tuple[Tensor, Tensor]:
        """Flat rows sorted by token (length,), and the start of each token's group in them (U,)."""
        tokens, rows = self.index.sort(stable=True)
        every = torch.arange(len(self.table), device=tokens.device)
        return rows, torch.searchsorted(tokens, every)


def unique_with_inverse(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Unique `ids` in ascending order (U,), and the position of each id (N,) among them.

    On a GPU `unique` keeps length N, filled up with padding ids, so the host need not wait for U.
    """
    if host_knows_sizes(ids):
        unique, inverse = ids.unique(return_inverse=True)
        return unique, inverse
    ascending, order = ids.sort(stable=True)
    is_new = torch.ones_like(ascending)
    is_new[1:] = ascending[1:] != ascending[:-1]
    place = is_new.cumsum(0) - 1
    with unique_places(ids.device):  # equal ids write equal values
        unique = torch.zeros_like(ids).scatter_(0, place, ascending)
        return unique, torch.empty_like(place).scatter_(0, order, place)


class TokenEmbedding(nn.Embedding):
    """Token ids to embedded texts; padding has no gradient. The optimizer sets `sparse`.

    Dropout applies to the table: a dropped value is dropped wherever its token occurs in the batch.
    The expectation is that of dropout on every occurrence, for a quarter of the random numbers.
    """

    def __init__(
        self, vocab_size: int, dim: int, *, dropout: float = 0.0, receptive_field: int = 1
    ) -> None:
        """receptive_field: tokens that the widest convolution spans; keeps documents apart."""
        super().__init__(vocab_size, dim, padding_idx=PADDING)
        self.dropout = dropout
        self.receptive_field = receptive_field
        self.looked_up = 0  # rows, the last time

    def forward(  # type: ignore[override]
        self, *texts: Tensor, masks: Sequence[Tensor | None] = ()
    ) -> tuple[UniqueTokens, ...]:
        """Embed the texts of a batch over one table.

        texts: padded ids (B, T) each. masks: True at real tokens (B, T); None or absent stands
        for `ids != 0`.
        """
        given = [*masks, *(None for _ in texts[len(masks) :])]
        layouts = [
            Layout.of(ids != PADDING if mask is None else mask.bool(), self.receptive_field, count)
            for ids, mask, count in zip(texts, given, token_counts(len(texts)), strict=True)
        ]
        tokens = [layout.gather(ids) for layout, ids in zip(layouts, texts, strict=True)]
        unique, inverse = unique_with_inverse(torch.cat(tokens))
        vectors = dropout(self.vectors(unique), self.dropout, self.training)
        # a row of zeros first, for gaps, and at the end up to a multiple of the step
        rows = len(unique) + 1
        table = to_autocast(F.pad(vectors, (0, 0, 1, -rows % TABLE_STEP)))
        places = inverse.split([len(part) for part in tokens])
        return tuple(
            UniqueTokens(table, layout.spread(place + 1), layout)
            for layout, place in zip(layouts, places, strict=True)
        )

    def vectors(self, unique: Tensor) -> Tensor:
        """Unique token ids (U,) to vectors (U, D)."""
        if not self.sparse:
            return super().forward(unique)
        self.looked_up = len(unique)
        vectors: Tensor = _SparseRows.apply(self.weight, unique)
        return vectors

    def mark_unique_rows(self) -> None:
        """Say that the sparse gradient has each row once, if it is that of one lookup.

        Autograd forgets it, and PyTorch would sort the rows again: on a GPU, the host waits for
        that. Gradients of several lookups have more rows; they are left as they are.
        """
        gradient = self.weight.grad
        if gradient is not None and gradient.is_sparse and gradient._nnz() == self.looked_up:
            gradient._coalesced_(True)

    def set_vocabulary(self, words: Sequence[str]) -> None:
        """Store the words, if the embedding reads their characters; see `CharacterEmbedding`."""


class _SparseRows(torch.autograd.Function):
    """Rows of a matrix with a sparse gradient: unique rows in rising order.

    On a GPU rows of padding follow, whose gradient is 0.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, unique: Tensor) -> Tensor:
        ctx.save_for_backward(unique)
        ctx.shape = weight.shape
        return weight.index_select(0, unique)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (unique,) = ctx.saved_tensors
        values = gradient * (unique != PADDING).unsqueeze(1)
        rows = torch.sparse_coo_tensor(
            unique.unsqueeze(0), values, ctx.shape, check_invariants=False, is_coalesced=True
        )
        return rows, None
