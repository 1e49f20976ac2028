"""v5: one CNN-LSTM for title and abstract, which can be pre-trained without any label.

Because both texts go through the same encoder, it can learn from unlabelled papers which
title belongs to which abstract (`training.pretrain`) before it learns categories.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arxiv_hybrid.models.attention import SoftmaxFusion, masked_softmax
from arxiv_hybrid.models.base import (
    PADDING,
    AttentionMaps,
    BiLSTM,
    Counts,
    PaperClassifier,
    attention_maps,
    initialise,
)
from arxiv_hybrid.models.blocks import (
    Dropout,
    Flat,
    Lookup,
    convolve_lookup,
    distinct_words,
    dropout_mask,
    lookup_table,
)

FEATURES = 256


class TextEncoder(nn.Module):
    """Convolutions of several widths, then a BiLSTM over groups of words, both pooled.

    The result is the maximum of each filter over all words, beside the LSTM's states: their
    maximum and their mean weighted by additive attention. Reading groups of words, each
    with its filters' maxima, makes the LSTM as many times cheaper.
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

    def forward(self, words: Lookup, group: int) -> tuple[Tensor, Tensor]:
        """Looked-up texts to vectors (B, out_dim) and each word's attention (B, 1, T).

        group: how many words behind each other are one step of the LSTM.
        """
        features = convolve_lookup(words, cast(Sequence[nn.Conv1d], self.convs))
        # no filter is below padding's 0
        padded = words.flat.padded(F.relu(torch.cat(features, dim=-1)))
        mask = _grouped(words.flat.mask, group).any(2)
        # indexed maxima: their gradients need no pass over all words, as those of amax do
        steps = _grouped(padded, group).max(2).values if group > 1 else padded
        highest = steps.max(1).values.float()
        if self.training and self.dropout:
            steps = steps * dropout_mask(steps[:, :1].shape, self.dropout, steps.device)
        states = self.lstm(steps, mask).float()
        weights = masked_softmax(self.score(states).squeeze(-1), mask)
        attended = (weights.unsqueeze(-1) * states).sum(1)
        # an empty text has no state: its maximum is 0, as its other parts are
        strongest = states.masked_fill(~mask.unsqueeze(-1), -torch.inf).max(1).values
        strongest = strongest.masked_fill(~mask.any(1, keepdim=True), 0.0)
        vector = torch.cat([highest, attended, strongest], dim=-1)
        return vector, _by_word(weights, words.flat.mask, group).unsqueeze(1)


class PairedCNNLSTM(PaperClassifier):
    """v5: a shared `TextEncoder`, LayerNorm of each text, softmax fusion, two linear layers."""

    title_group, abstract_group = 1, 4

    def __init__(
        self,
        vocab_size: int,
        embed_dim: int = 300,
        num_filters: int = 160,
        kernel_sizes: Sequence[int] = (1, 3, 5),
        lstm_hidden: int = 192,
        num_classes: int = 3,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(vocab_size, embed_dim, max(kernel_sizes))
        self.embedding_dropout = 0.5 * dropout
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
        initialise(self)
        nn.init.zeros_(self.fusion.title_score.weight)  # both texts count the same at first
        nn.init.zeros_(self.fusion.abstract_score.weight)

    def texts(self, title: Lookup, abstract: Lookup) -> tuple[tuple[Tensor, Tensor], ...]:
        """Vector (B, F) and attention (B, 1, T) of the title, and of the abstract."""
        title_vector, title_weights = self.encoder(title, self.title_group)
        abstract_vector, abstract_weights = self.encoder(abstract, self.abstract_group)
        return (
            (self.title_norm(title_vector), title_weights),
            (self.abstract_norm(abstract_vector), abstract_weights),
        )

    def encode(
        self, title_ids: Tensor, abstract_ids: Tensor, title_mask: Tensor, words: Counts
    ) -> tuple[Tensor, AttentionMaps]:
        """See `PaperClassifier.encode`."""
        looked_up = self.look_up(title_ids, abstract_ids, title_mask, words)
        (title, title_weights), (abstract, abstract_weights) = self.texts(*looked_up)
        fused, weights = self.fusion(title, abstract)
        return fused, attention_maps(title_weights, abstract_weights, weights)

    def look_up(
        self, title_ids: Tensor, abstract_ids: Tensor, title_mask: Tensor, words: Counts
    ) -> tuple[Lookup, Lookup]:
        """Both texts of a batch over one table of its distinct words."""
        titles = Flat.of(title_mask, self.gap, words[0])
        abstracts = Flat.of(abstract_ids != PADDING, self.gap, words[1])
        distinct, places = distinct_words(
            torch.cat([titles.real(title_ids), abstracts.real(abstract_ids)])
        )
        table = lookup_table(self.embed(distinct))
        parts = places.split([len(titles.rows), len(abstracts.rows)])
        title, abstract = (
            Lookup(table, part.new_zeros(flat.length).index_copy(0, flat.rows, part + 1), flat)
            for flat, part in zip((titles, abstracts), parts, strict=True)
        )
        return title, abstract


def _grouped(values: Tensor, group: int) -> Tensor:
    """(B, T, ...) as (B, ceil(T / group), group, ...), filled up with zeros at the end."""
    missing = -values.shape[1] % group
    filled = F.pad(values, (0, 0) * (values.dim() - 2) + (0, missing))
    grouped: Tensor = filled.unflatten(1, (-1, group))
    return grouped


def _by_word(weights: Tensor, mask: Tensor, group: int) -> Tensor:
    """Weights of groups (B, G) shared out evenly among their real words (B, T)."""
    if group == 1:
        return weights
    words = _grouped(mask.to(weights.dtype), group)
    shared = words * (weights / words.sum(2).clamp(min=1)).unsqueeze(2)
    return shared.flatten(1)[:, : mask.shape[1]]
