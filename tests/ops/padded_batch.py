"""A small padded batch for the tests of ops: four documents of different lengths."""

from __future__ import annotations

import torch
from torch import Tensor

from arxiv_hybrid.ops import Layout, UniqueTokens

LENGTHS = (9, 1, 4, 6)


def padded_batch(channels: int) -> tuple[Tensor, Tensor]:
    """Values (B, T, C) in float64 and the mask of real tokens (B, T)."""
    torch.manual_seed(0)
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS).unsqueeze(1)
    return torch.randn(len(LENGTHS), max(LENGTHS), channels, dtype=torch.float64), mask


def looked_up(ids: Tensor, table: Tensor, gap: int = 17) -> UniqueTokens:
    """Padded ids (B, T) whose vectors are the rows of `table`; row 0 is padding."""
    layout = Layout.of(ids != 0, gap)
    return UniqueTokens(table, layout.spread(layout.gather(ids)), layout)
