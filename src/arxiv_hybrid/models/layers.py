"""The layers that the models share: convolution blocks, attention, fusion, heads.

Three forms of a text occur: `UniqueTokens` from the embedding, `Ragged` with one row per real token
from the convolutions, and padded (B, T, C) with a mask for LSTMs. Padding never gets any weight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arxiv_hybrid.ops import (
    Dropout,
    Ragged,
    UniqueTokens,
    attention_pool,
    batch_norm,
    convolve,
    convolve_unique,
    masked_softmax,
    relu_dropout,
)


class ResidualConvBlock(nn.Module):
    """Conv, BatchNorm, ReLU, dropout, Conv, BatchNorm, plus a 1x1 skip, then ReLU (v1, v4).

    The `nn.Conv1d` modules hold the weights; `convolve` applies them and keeps the length.
    residual: False leaves the skip connection out.
    """

    def __init__(
        self,
        in_channels: int,
        filters: int,
        kernel_size: int,
        dropout: float,
        *,
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

    def forward(self, text: UniqueTokens) -> Ragged:
        """An embedded text to features with `filters` channels."""
        convs = [self.conv1, self.skip] if self.skip else [self.conv1]
        hidden, *skipped = convolve_unique(text, convs)
        activated = relu_dropout(batch_norm(hidden, self.norm1), self.dropout, self.training)
        out = batch_norm(convolve(Ragged(activated, text.layout), self.conv2), self.norm2)
        return Ragged(F.relu(out + skipped[0].values if skipped else out), text.layout)


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
        """Attend within each sequence.

        x (B, T, dim), mask (B, T). Returns the output (B, T, dim) and the attention that each
        token receives per head, averaged over the queries, (B, H, T); each row sums to 1.
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
        queries = mask.to(weights.dtype) / mask.sum(1, keepdim=True).clamp(min=1)
        received = (queries[:, None, None, :] @ weights.detach()).squeeze(2)
        return self.norm(x + out), received


class NoSelfAttention(nn.Module):
    """The ablation of `MultiHeadSelfAttention`: states unchanged, equal weights."""

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, T, dim) unchanged, and equal weights (B, 1, T) for real tokens."""
        return x, masked_softmax(torch.zeros_like(mask, dtype=x.dtype), mask).unsqueeze(1)


class AttentionPooling(nn.Module):
    """Pool tokens by the mean of the heads' weights; then projection, residual, LayerNorm (v1)."""

    def __init__(self, dim: int, heads: int = 4) -> None:
        super().__init__()
        self.score = nn.Linear(dim, heads)
        self.project = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, text: Ragged) -> tuple[Tensor, Tensor]:
        """Token features to document vectors (B, dim) and each head's weights (B, H, T)."""
        pooled, weights = attention_pool(text, self.score.weight, self.score.bias)
        return self.norm(pooled + self.project(pooled)), weights


class MeanPooling(nn.Module):
    """The ablation of `AttentionPooling`: the mean of the tokens."""

    def forward(self, text: Ragged) -> tuple[Tensor, Tensor]:
        """Token features to document vectors (B, dim) and equal weights (B, 1, T)."""
        values = text.values
        return attention_pool(text, values.new_zeros(1, values.shape[1]), values.new_zeros(1))


class AdditiveAttention(nn.Module):
    """One linear score per token, softmax over the tokens, weighted sum (baseline)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.score = nn.Linear(dim, 1)

    def forward(self, text: Ragged) -> tuple[Tensor, Tensor]:
        """Token features to document vectors (B, dim) and the weights (B, 1, T)."""
        return attention_pool(text, self.score.weight, self.score.bias)


class GatedFusion(nn.Module):
    """Sigmoid gates on title and abstract, from both together, then LayerNorm (v1)."""

    def __init__(self, title_dim: int, abstract_dim: int) -> None:
        super().__init__()
        both = title_dim + abstract_dim
        self.title_gate = nn.Linear(both, title_dim)
        self.abstract_gate = nn.Linear(both, abstract_dim)
        self.norm = nn.LayerNorm(both)

    def forward(self, title: Tensor, abstract: Tensor) -> tuple[Tensor, Tensor]:
        """Title (B, F) and abstract (B, G) to features (B, F + G) and the mean gates (B, 2)."""
        both = torch.cat([title, abstract], dim=-1)
        title_gate = torch.sigmoid(self.title_gate(both))
        abstract_gate = torch.sigmoid(self.abstract_gate(both))
        fused = self.norm(torch.cat([title * title_gate, abstract * abstract_gate], dim=-1))
        return fused, torch.stack([title_gate.mean(-1), abstract_gate.mean(-1)], dim=-1).detach()


class Concatenation(nn.Module):
    """The ablation of `GatedFusion`: title and abstract side by side, then LayerNorm."""

    def __init__(self, title_dim: int, abstract_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(title_dim + abstract_dim)

    def forward(self, title: Tensor, abstract: Tensor) -> tuple[Tensor, Tensor]:
        """Title (B, F) and abstract (B, G) to features (B, F + G) and equal weights (B, 2)."""
        fused = self.norm(torch.cat([title, abstract], dim=-1))
        return fused, fused.new_full((len(fused), 2), 0.5)


class SoftmaxFusion(nn.Module):
    """Weigh title and abstract by the softmax of a linear score of each (baseline, v5)."""

    def __init__(self, title_dim: int, abstract_dim: int) -> None:
        super().__init__()
        self.title_score = nn.Linear(title_dim, 1)
        self.abstract_score = nn.Linear(abstract_dim, 1)

    def forward(self, title: Tensor, abstract: Tensor) -> tuple[Tensor, Tensor]:
        """Title (B, F) and abstract (B, G) to features (B, F + G) and the two weights (B, 2)."""
        scores = torch.cat([self.title_score(title), self.abstract_score(abstract)], dim=-1)
        weights = F.softmax(scores.float(), dim=-1)
        fused = torch.cat([title * weights[:, :1], abstract * weights[:, 1:]], dim=-1)
        return fused, weights.detach()


def mlp_head(sizes: Sequence[int], dropout: float) -> nn.Sequential:
    """LayerNorm, dropout and a linear layer per step, with ReLU in between (v1, v4)."""
    layers: list[nn.Module] = []
    for number, (size, following) in enumerate(pairwise(sizes)):
        layers += [nn.ReLU()] if number else []
        layers += [nn.LayerNorm(size), Dropout(dropout), nn.Linear(size, following)]
    return nn.Sequential(*layers)
