"""v5: one CNN-LSTM encoder for title and abstract, so that both texts share its weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arxiv_hybrid.models.base import (
    AttentionMaps,
    PaperClassifier,
    attention_maps,
    init_weights,
)
from arxiv_hybrid.models.layers import SoftmaxFusion
from arxiv_hybrid.ops import (
    BiLSTM,
    Dropout,
    Ragged,
    TokenEmbedding,
    UniqueTokens,
    convolve_unique,
    dropout_mask,
    masked_softmax,
)

FEATURES = 256


class TextEncoder(nn.Module):
    """Convolutions of several widths, then a BiLSTM over groups of tokens, both pooled.

    The result concatenates the maximum of each filter over all tokens, the attention-weighted mean
    of the LSTM states, and their maximum. Each LSTM step reads the filters' maxima over a group of
    tokens, which divides the cost of the LSTM by the size of the group.
    """

    def __init__(
        self, in_dim: int, filters: int, kernel_sizes: Sequence[int], hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(in_dim, filters, size) for size in kernel_sizes)
        channels = filters * len(kernel_sizes)
        self.lstm = BiLSTM(channels, hidden, 0.0, layers=1)
        self.score = nn.Linear(2 * hidden, 1)
        self.dropout = dropout
        self.out_dim = channels + 4 * hidden

    def forward(self, text: UniqueTokens, group: int) -> tuple[Tensor, Tensor]:
        """An embedded text to its vector (B, out_dim) and each token's attention (B, 1, T).

        group: how many consecutive tokens make one step of the LSTM.
        """
        features = Ragged.cat(convolve_unique(text, cast(Sequence[nn.Conv1d], self.convs)))
        # after ReLU no value is below the 0 of padding, so padding never wins a maximum
        padded = Ragged(F.relu(features.values), text.layout).padded()
        mask = _grouped(text.mask, group).any(2)
        # max, not amax: its gradient needs no pass over all tokens
        steps = _grouped(padded, group).max(2).values if group > 1 else padded
        filter_maxima = steps.max(1).values.float()
        if self.training and self.dropout:
            steps = steps * dropout_mask(steps[:, :1].shape, self.dropout, steps.device)

        states = self.lstm(steps, mask).float()
        weights = masked_softmax(self.score(states).squeeze(-1), mask)
        attended = (weights.unsqueeze(-1) * states).sum(1)
        # an empty text has no state: its maximum is 0, as its other parts are
        state_maxima = states.masked_fill(~mask.unsqueeze(-1), -torch.inf).max(1).values
        state_maxima = state_maxima.masked_fill(~mask.any(1, keepdim=True), 0.0)

        vector = torch.cat([filter_maxima, attended, state_maxima], dim=-1)
        return vector, _by_token(weights, text.mask, group).unsqueeze(1)


class PairedCNNLSTM(PaperClassifier):
    """v5: a shared `TextEncoder`, LayerNorm of each text, softmax fusion, two linear layers.

    title_group and abstract_group: how many tokens of each text make one step of the LSTM.
    """

    def __init__(
        self,
        vocab_size: int,
        embed_dim: int = 300,
        num_filters: int = 160,
        kernel_sizes: Sequence[int] = (1, 3, 5),
        lstm_hidden: int = 192,
        num_classes: int = 3,
        dropout: float = 0.5,
        title_group: int = 1,
        abstract_group: int = 4,
    ) -> None:
        super().__init__()
        self.title_group, self.abstract_group = title_group, abstract_group
        self.embedding = TokenEmbedding(
            vocab_size, embed_dim, dropout=0.5 * dropout, receptive_field=max(kernel_sizes)
        )
        self.encoder = TextEncoder(embed_dim, num_filters, kernel_sizes, lstm_hidden, 0.6 * dropout)
        size = self.encoder.out_dim
        self.title_norm, self.abstract_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.fusion = SoftmaxFusion(size, size)
        self.head = nn.Sequential(
            Dropout(dropout),
            nn.Linear(2 * size, FEATURES),
            nn.ReLU(),
            nn.LayerNorm(FEATURES),
            Dropout(dropout),
            nn.Linear(FEATURES, num_classes),
        )
        init_weights(self)
        nn.init.zeros_(self.fusion.title_score.weight)  # both texts start with equal weight
        nn.init.zeros_(self.fusion.abstract_score.weight)

    def forward(
        self, title_ids: Tensor, abstract_ids: Tensor, title_mask: Tensor | None = None
    ) -> tuple[Tensor, AttentionMaps]:
        """See `PaperClassifier.forward`."""
        title, abstract = self.embedding(title_ids, abstract_ids, masks=[title_mask])
        title_vector, title_weights = self.encode_title(title)
        abstract_vector, abstract_weights = self.encode_abstract(abstract)
        fused, weights = self.fusion(title_vector, abstract_vector)
        return self.head(fused), attention_maps(title_weights, abstract_weights, weights)

    def encode_title(self, text: UniqueTokens) -> tuple[Tensor, Tensor]:
        """Embedded titles to vectors (B, out_dim) and attention (B, 1, Tt)."""
        vector, weights = self.encoder(text, self.title_group)
        return self.title_norm(vector), weights

    def encode_abstract(self, text: UniqueTokens) -> tuple[Tensor, Tensor]:
        """Embedded abstracts to vectors (B, out_dim) and attention (B, 1, Ta)."""
        vector, weights = self.encoder(text, self.abstract_group)
        return self.abstract_norm(vector), weights


def _grouped(values: Tensor, group: int) -> Tensor:
    """(B, T, ...) as (B, ceil(T / group), group, ...), padded with zeros at the end."""
    missing = -values.shape[1] % group
    filled = F.pad(values, (0, 0) * (values.dim() - 2) + (0, missing))
    grouped: Tensor = filled.unflatten(1, (-1, group))
    return grouped


def _by_token(weights: Tensor, mask: Tensor, group: int) -> Tensor:
    """Weights of groups (B, G) divided evenly among their real tokens (B, T)."""
    if group == 1:
        return weights
    tokens = _grouped(mask.to(weights.dtype), group)
    per_token = tokens * (weights / tokens.sum(2).clamp(min=1)).unsqueeze(2)
    return per_token.flatten(1)[:, : mask.shape[1]]
