"""v1 once more, in plain PyTorch: padded batches and masks, `nn.Conv1d`, `nn.LSTM`.

The oracle for the fast v1 in `hybrid.py`: a test holds logits and gradients equal, and the speed
benchmark compares against it. Dropout draws per token and step here, per word and sequence there;
the test compares without dropout.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from arxiv_hybrid.models.base import init_weights


class ReferenceV1(nn.Module):
    """BiLSTM and self-attention on titles, residual convolutions on abstracts, gated fusion."""

    def __init__(
        self, vocab_size: int, embed_dim: int = 300, num_filters: int = 128,
        kernel_sizes: Sequence[int] = (3, 4, 5), lstm_hidden: int = 128,
        num_classes: int = 3, dropout: float = 0.6, heads: int = 4,
    ) -> None:  # fmt: skip
        super().__init__()
        title, abstract = 2 * lstm_hidden, num_filters * len(kernel_sizes)
        self.embedding = nn.Embedding(vocab_size, embed_dim, padding_idx=0)
        self.dropout = nn.Dropout(0.5 * dropout)
        self.lstm = nn.LSTM(embed_dim, lstm_hidden, num_layers=2, batch_first=True,
                            bidirectional=True, dropout=dropout)  # fmt: skip
        self.attention = nn.MultiheadAttention(title, heads, dropout=0.1, batch_first=True)
        self.title_norm = nn.LayerNorm(title)
        self.blocks = nn.ModuleList(
            Block(embed_dim, num_filters, size, 0.5 * dropout) for size in kernel_sizes
        )
        self.score = nn.Linear(abstract, heads)
        self.project = nn.Linear(abstract, abstract)
        self.abstract_norm = nn.LayerNorm(abstract)
        self.title_gate = nn.Linear(title + abstract, title)
        self.abstract_gate = nn.Linear(title + abstract, abstract)
        self.fusion_norm = nn.LayerNorm(title + abstract)
        self.head = nn.Sequential(
            nn.LayerNorm(title + abstract), nn.Dropout(dropout), nn.Linear(title + abstract, 256),
            nn.ReLU(), nn.LayerNorm(256), nn.Dropout(dropout), nn.Linear(256, num_classes),
        )  # fmt: skip
        init_weights(self)

    def forward(self, title_ids: Tensor, abstract_ids: Tensor) -> Tensor:
        """Ids (B, Tt) and (B, Ta), padded with 0 on the right, to logits (B, C)."""
        title_mask, abstract_mask = title_ids != 0, abstract_ids != 0

        embedded = self.dropout(self.embedding(title_ids))
        lengths = title_mask.sum(1).cpu()
        packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(
            self.lstm(packed)[0], batch_first=True, total_length=title_ids.shape[1]
        )
        attended, _ = self.attention(states, states, states, key_padding_mask=~title_mask)
        states = self.title_norm(states + attended) * title_mask.unsqueeze(-1)
        title = states.sum(1) / lengths.to(states).unsqueeze(1)

        embedded = self.dropout(self.embedding(abstract_ids)).transpose(1, 2)
        blocks = [block(embedded, abstract_mask) for block in self.blocks]
        features = torch.cat(blocks, dim=1).transpose(1, 2)
        scores = self.score(features).masked_fill(~abstract_mask.unsqueeze(-1), -torch.inf)
        weights = scores.softmax(dim=1).mean(-1, keepdim=True)
        pooled = (features * weights).sum(1)
        abstract = self.abstract_norm(pooled + self.project(pooled))

        both = torch.cat([title, abstract], dim=-1)
        gates = torch.cat([self.title_gate(both), self.abstract_gate(both)], dim=-1).sigmoid()
        logits: Tensor = self.head(self.fusion_norm(both * gates))
        return logits


class Block(nn.Module):
    """Conv, BatchNorm, ReLU, dropout, Conv, BatchNorm, plus a 1x1 skip, then ReLU."""

    def __init__(self, channels: int, filters: int, size: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(channels, filters, size, padding="same")
        self.norm1 = nn.BatchNorm1d(filters)
        self.conv2 = nn.Conv1d(filters, filters, size, padding="same")
        self.norm2 = nn.BatchNorm1d(filters)
        self.skip = nn.Conv1d(channels, filters, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Embedded texts (B, D, T) and their mask (B, T) to features (B, filters, T)."""
        hidden = self.dropout(F.relu(_masked_norm(self.norm1, self.conv1(x), mask)))
        hidden = _masked_norm(self.norm2, self.conv2(hidden), mask)
        return F.relu(hidden + self.skip(x)) * mask.unsqueeze(1)


def _masked_norm(norm: nn.Module, x: Tensor, mask: Tensor) -> Tensor:
    """Batch norm of (B, C, T) with the statistics of real tokens; padding becomes 0."""
    x = x.transpose(1, 2)
    return torch.zeros_like(x).masked_scatter(mask.unsqueeze(-1), norm(x[mask])).transpose(1, 2)
