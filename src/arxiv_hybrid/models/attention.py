"""Attention over words; padding never gets any weight."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arxiv_hybrid.models.blocks import SEQUENCE_STEP, Dropout, Flat


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the last dimension, zero where `mask` is False.

    A row without any True gives all zeros, not NaN.
    """
    scores = scores.float().masked_fill(~mask, torch.finfo(torch.float32).min)
    return torch.softmax(scores, dim=-1) * mask


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of (B, T, C) over the steps where `mask` (B, T) is True."""
    counts = mask.sum(1, keepdim=True).clamp(min=1)
    return (values * mask.unsqueeze(-1)).sum(1) / counts


class MultiHeadSelfAttention(nn.Module):
    """Scaled dot-product self-attention with residual and LayerNorm (v1)."""

    def __init__(self, dim: int, heads: int = 4, dropout: float = 0.1) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"dim {dim} is not a multiple of heads {heads}")
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)
        self.dropout = Dropout(dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Attend within each title.

        x (B, T, dim), mask (B, T) to: output (B, T, dim) and the weight that each word
        receives from each head, averaged over asking words, (B, H, T), summing to 1 a row.
        """
        batch, steps, dim = x.shape
        q, k, v = (
            layer(x).view(batch, steps, self.heads, dim // self.heads).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        scores = q @ k.transpose(-2, -1) / math.sqrt(dim // self.heads)
        weights = masked_softmax(scores, mask[:, None, None, :])
        context = self.dropout(weights).to(v.dtype) @ v
        out = self.out(context.transpose(1, 2).reshape(batch, steps, dim))
        asking = mask.to(weights.dtype) / mask.sum(1, keepdim=True).clamp(min=1)
        received = (asking[:, None, None, :] @ weights.detach()).squeeze(2)
        return self.norm(x + out), received


class AttentionPooling(nn.Module):
    """Pool words by several heads' averaged weights; projection, residual, LayerNorm (v1)."""

    def __init__(self, dim: int, heads: int = 4) -> None:
        super().__init__()
        self.score = nn.Linear(dim, heads)
        self.project = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, values: Tensor, flat: Flat) -> tuple[Tensor, Tensor]:
        """Real words (P, dim) to pooled documents (B, dim) and each head's weights (B, H, T)."""
        pooled, weights = attend(values, self.score.weight, self.score.bias, flat)
        return self.norm(pooled + self.project(pooled)), weights


class NoSelfAttention(nn.Module):
    """Titles as they are, all words alike: what is left without `MultiHeadSelfAttention`."""

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, T, dim) unchanged, and equal weights (B, 1, T) for real words."""
        return x, masked_softmax(torch.zeros_like(mask, dtype=x.dtype), mask).unsqueeze(1)


class MeanOverWords(nn.Module):
    """The mean of the words: what is left without `AttentionPooling`."""

    def forward(self, values: Tensor, flat: Flat) -> tuple[Tensor, Tensor]:
        """Real words (P, dim) to documents (B, dim) and equal weights (B, 1, T)."""
        return attend(values, values.new_zeros(1, values.shape[1]), values.new_zeros(1), flat)


class AdditiveAttention(nn.Module):
    """One linear score a position, softmax over positions, weighted sum (`baseline`)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.score = nn.Linear(dim, 1)

    def forward(self, values: Tensor, flat: Flat) -> tuple[Tensor, Tensor]:
        """Real words (P, dim) to pooled documents (B, dim) and the one head's weights (B, 1, T)."""
        return attend(values, self.score.weight, self.score.bias, flat)


class _Attend(torch.autograd.Function):
    """See `attend`. Words count as what is scored and as what is summed: one product for both.

    A CPU's 16-bit kernels are made for a shape when it first occurs, so there are rows of zeros
    up to a multiple of `SEQUENCE_STEP`; and four columns take ten times as long as 32.
    """

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, weight: Tensor, bias: Tensor, flat: Flat
    ) -> tuple[Tensor, Tensor]:
        words, heads = len(values), len(weight)
        filled = F.pad(values, (0, 0, 0, -words % SEQUENCE_STEP))
        wide = F.pad(weight.to(values.dtype), (0, 0, 0, -heads % 32))
        scores = (filled @ wide.T)[:words, :heads] + bias
        weights = masked_softmax(flat.padded(scores).transpose(1, 2), flat.mask.unsqueeze(1))
        shares = flat.real(weights.transpose(1, 2))
        ctx.counts = flat.mask.sum(1)
        ctx.save_for_backward(filled, wide, shares, flat.document)
        ctx.mark_non_differentiable(weights)
        share = shares.mean(1).to(values.dtype)
        return _sums(values, ctx.counts, share), weights

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        filled, wide, shares, document = ctx.saved_tensors
        (words, heads), documents = shares.shape, len(gradient)
        own = document.unsqueeze(1)
        d_share = (filled @ gradient.T)[:words].gather(1, own) / heads
        moved = shares * d_share
        d_scores = moved - shares * _sums(moved, ctx.counts).index_select(0, document)
        both = filled.new_zeros(len(filled), documents + len(wide))
        both[:words].scatter_(1, own, shares.mean(1, keepdim=True).to(filled.dtype))
        both[:words, documents : documents + heads] = d_scores
        d_values = (both @ torch.cat([gradient, wide]))[:words]
        d_weight = (both[:, documents:].T @ filled)[:heads]
        return d_values, d_weight, d_scores.sum(0), None


def _sums(values: Tensor, counts: Tensor, weights: Tensor | None = None) -> Tensor:
    """Sums of words (P, C), times `weights` (P,), by document (B, C) of so many words (B,)."""
    every = torch.arange(len(values), device=values.device)
    starts = counts.cumsum(0) - counts
    return F.embedding_bag(every, values, starts, mode="sum", per_sample_weights=weights)


def attend(values: Tensor, weight: Tensor, bias: Tensor, flat: Flat) -> tuple[Tensor, Tensor]:
    """Pool real words (P, C) by a softmax of linear scores, averaged over heads.

    weight (H, C) and bias (H,) make each head's scores. Returns documents (B, C) and each head's
    weights (B, H, T), through which no gradient flows.
    """
    pooled, weights = _Attend.apply(values, weight, bias, flat)
    return pooled, weights


class GatedFusion(nn.Module):
    """Sigmoid gates on both branches from their concatenation, then LayerNorm (v1)."""

    def __init__(self, title_dim: int, abstract_dim: int) -> None:
        super().__init__()
        both = title_dim + abstract_dim
        self.title_gate = nn.Linear(both, title_dim)
        self.abstract_gate = nn.Linear(both, abstract_dim)
        self.norm = nn.LayerNorm(both)

    def forward(self, title: Tensor, abstract: Tensor) -> tuple[Tensor, Tensor]:
        """Branches to the fused vector and each branch's mean gate, (B, 2)."""
        both = torch.cat([title, abstract], dim=-1)
        title_gate = torch.sigmoid(self.title_gate(both))
        abstract_gate = torch.sigmoid(self.abstract_gate(both))
        fused = self.norm(torch.cat([title * title_gate, abstract * abstract_gate], dim=-1))
        return fused, torch.stack([title_gate.mean(-1), abstract_gate.mean(-1)], dim=-1).detach()


class Concatenation(nn.Module):
    """Both branches side by side, then LayerNorm: what is left without `GatedFusion`."""

    def __init__(self, title_dim: int, abstract_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(title_dim + abstract_dim)

    def forward(self, title: Tensor, abstract: Tensor) -> tuple[Tensor, Tensor]:
        """Branches to the fused vector and equal weights, (B, 2)."""
        fused = self.norm(torch.cat([title, abstract], dim=-1))
        return fused, fused.new_full((len(fused), 2), 0.5)


class SoftmaxFusion(nn.Module):
    """One linear score a branch, softmax over the two, scaled branches side by side."""

    def __init__(self, title_dim: int, abstract_dim: int) -> None:
        super().__init__()
        self.title_score = nn.Linear(title_dim, 1)
        self.abstract_score = nn.Linear(abstract_dim, 1)

    def forward(self, title: Tensor, abstract: Tensor) -> tuple[Tensor, Tensor]:
        """Branches to the fused vector and the two weights, (B, 2), summing to 1."""
        scores = torch.cat([self.title_score(title), self.abstract_score(abstract)], dim=-1)
        weights = F.softmax(scores.float(), dim=-1)
        fused = torch.cat([title * weights[:, :1], abstract * weights[:, 1:]], dim=-1)
        return fused, weights.detach()
