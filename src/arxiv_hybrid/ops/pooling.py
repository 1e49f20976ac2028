"""From tokens to documents: masked softmax and mean, and attention pooling of ragged batches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from arxiv_hybrid.ops.ragged import SEQUENCE_STEP, Layout, Ragged, host_knows_sizes


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the last dimension in float32, zero where `mask` is False.

    A row without any True gives all zeros, not NaN.
    """
    scores = scores.float().masked_fill(~mask, torch.finfo(torch.float32).min)
    return torch.softmax(scores, dim=-1) * mask


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of (B, T, C) over the positions where `mask` (B, T) is True."""
    counts = mask.sum(1, keepdim=True).clamp(min=1)
    return (values * mask.unsqueeze(-1)).sum(1) / counts


def attention_pool(text: Ragged, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Pool tokens by a softmax of linear scores, averaged over heads.

    weight (H, C) and bias (H,): each head's linear score. Returns documents (B, C) and each head's
    weights (B, H, T), through which no gradient flows.
    """
    pooled, weights = _AttentionPool.apply(text.values, weight, bias, text.layout)
    return pooled, weights


class _AttentionPool(torch.autograd.Function):
    """See `attention_pool`. Scoring and summing share one product in the backward pass.

    Rows are padded to a multiple of `SEQUENCE_STEP` (see there). Heads are padded to 32: four
    columns would take ten times as long.
    """

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, weight: Tensor, bias: Tensor, layout: Layout
    ) -> tuple[Tensor, Tensor]:
        tokens, heads = len(values), len(weight)
        filled = F.pad(values, (0, 0, 0, -tokens % SEQUENCE_STEP))
        wide = F.pad(weight.to(values.dtype), (0, 0, 0, -heads % 32))
        scores = (filled @ wide.T)[:tokens, :heads] + bias
        weights = masked_softmax(layout.pad(scores).transpose(1, 2), layout.mask.unsqueeze(1))
        shares = layout.gather(weights.transpose(1, 2))
        ctx.layout = layout
        ctx.save_for_backward(filled, wide, shares, layout.documents)
        ctx.mark_non_differentiable(weights)
        share = shares.mean(1).to(values.dtype)
        return _sum_by_document(values, layout, share), weights

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        filled, wide, shares, documents = ctx.saved_tensors
        (tokens, heads), batch = shares.shape, len(gradient)
        column = documents.unsqueeze(1)
        d_share = (filled @ gradient.T)[:tokens].gather(1, column) / heads
        moved = shares * d_share
        d_scores = moved - shares * _sum_by_document(moved, ctx.layout).index_select(0, documents)
        both = filled.new_zeros(len(filled), batch + len(wide))
        both[:tokens].scatter_(1, column, shares.mean(1, keepdim=True).to(filled.dtype))
        both[:tokens, batch : batch + heads] = d_scores
        d_values = (both @ torch.cat([gradient, wide]))[:tokens]
        d_weight = (both[:, batch:].T @ filled)[:heads]
        return d_values, d_weight, d_scores.sum(0), None


def _sum_by_document(values: Tensor, layout: Layout, weights: Tensor | None = None) -> Tensor:
    """Sums (B, C) of the tokens (N, C) of each document, weighted by `weights` (N,)."""
    if not host_knows_sizes(values):  # a GPU sums a document's tokens one after the other
        if weights is None:
            return layout.pad(values).sum(1)
        with torch.autocast(values.device.type, enabled=False):  # sums keep their precision
            return (layout.pad(weights).unsqueeze(1) @ layout.pad(values)).squeeze(1)
    every = torch.arange(len(values), device=values.device)
    return F.embedding_bag(every, values, layout.starts, mode="sum", per_sample_weights=weights)
