"""The hybrid CNN-LSTM classifiers: v1 (`HybridCNNLSTM`), v4 and the published `baseline`.

Titles go through a BiLSTM, abstracts through parallel convolutions; both are pooled by
attention, fused and classified. v2 and v3 are v1 with recipes of their own (recipes.yaml).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arxiv_hybrid.models.attention import (
    AdditiveAttention,
    AttentionPooling,
    Concatenation,
    GatedFusion,
    MeanOverWords,
    MultiHeadSelfAttention,
    NoSelfAttention,
    SoftmaxFusion,
    masked_mean,
)
from arxiv_hybrid.models.base import (
    AttentionMaps,
    BiLSTM,
    TitleAndAbstract,
    attention_maps,
    initialise,
)
from arxiv_hybrid.models.blocks import (
    Dropout,
    Flat,
    Lookup,
    ResidualConvBlock,
    convolve_lookup,
    dropout,
)
from arxiv_hybrid.models.characters import CharacterCNN, spelling


class HybridCNNLSTM(TitleAndAbstract):
    """v1: BiLSTM and self-attention on the title, residual convolutions on the abstract, gates.

    With other recipes it is v2 and v3. `attention`, `residual` and `gates` turn single parts
    off, for ablations: means instead of attention, plain blocks, a plain concatenation. With
    37,760 words and 3 classes: 13,930,887 parameters.
    """

    dilations: Sequence[int] = (1,)
    lstm_layers = 2
    heads = 4
    head_sizes: Sequence[int] = (256,)

    def __init__(
        self,
        vocab_size: int,
        embed_dim: int = 300,
        num_filters: int = 128,
        kernel_sizes: Sequence[int] = (3, 4, 5),
        lstm_hidden: int = 128,
        num_classes: int = 3,
        dropout: float = 0.6,
        *,
        attention: bool = True,
        residual: bool = True,
        gates: bool = True,
    ) -> None:
        reach = (max(kernel_sizes) - 1) * max(self.dilations) + 1
        super().__init__(vocab_size, embed_dim, reach)
        kernels = list(product(self.dilations, kernel_sizes))
        title_dim, abstract_dim = 2 * lstm_hidden, num_filters * len(kernels)
        # half of it, as in the baseline: a word's mask holds for the whole batch, see embed
        self.embedding_dropout = 0.5 * dropout
        self.title_lstm = BiLSTM(embed_dim, lstm_hidden, dropout, self.lstm_layers)
        self.title_attention = (
            MultiHeadSelfAttention(title_dim, self.heads) if attention else NoSelfAttention()
        )
        self.abstract_blocks = nn.ModuleList(
            ResidualConvBlock(embed_dim, num_filters, size, 0.5 * dropout, dilation, residual)
            for dilation, size in kernels
        )
        self.abstract_attention = (
            AttentionPooling(abstract_dim, self.heads) if attention else MeanOverWords()
        )
        fusion = GatedFusion if gates else Concatenation
        self.fusion = fusion(title_dim, abstract_dim)
        self.head = _head([title_dim + abstract_dim, *self.head_sizes, num_classes], dropout)
        initialise(self)

    def fuse(self, title: Tensor, titles: Flat, abstract: Lookup) -> tuple[Tensor, AttentionMaps]:
        """See `TitleAndAbstract.fuse`."""
        states = self.title_lstm(title, titles.mask)
        attended, title_weights = self.title_attention(states, titles.mask)
        title_vector = masked_mean(attended, titles.mask)
        features = torch.cat([block(abstract) for block in self.abstract_blocks], dim=-1)
        abstract_vector, abstract_weights = self.abstract_attention(features, abstract.flat)
        fused, gates = self.fusion(title_vector, abstract_vector)
        return fused, attention_maps(title_weights, abstract_weights, gates)


class CharacterHybrid(HybridCNNLSTM):
    """v4: v1 that reads letters, too, with nine dilated blocks, three LSTM layers, eight heads.

    letters: standard deviation of the letters' first values. At 1, as published, what words
    have in common outweighs what tells them apart, and with dropout the network never starts
    to learn (README). With 37,760 words and 3 classes some 23 million parameters.
    """

    dilations = (1, 2, 4)
    lstm_layers = 3
    heads = 8
    head_sizes = (512, 256)

    def __init__(
        self,
        vocab_size: int,
        embed_dim: int = 300,
        num_filters: int = 160,
        kernel_sizes: Sequence[int] = (3, 4, 5),
        lstm_hidden: int = 160,
        *,
        letters: float = 0.1,
        **arguments: Any,
    ) -> None:
        super().__init__(vocab_size, embed_dim, num_filters, kernel_sizes, lstm_hidden, **arguments)
        self.characters = CharacterCNN(scale=letters)
        self.both = nn.Linear(embed_dim + self.characters.out_dim, embed_dim)
        self.spelling: Tensor
        self.register_buffer("spelling", spelling([""] * vocab_size))
        initialise(self)

    def set_vocabulary(self, words: Sequence[str]) -> None:
        """See `PaperClassifier.spell`."""
        self.spelling.copy_(spelling(words))

    def embed(self, distinct: Tensor) -> Tensor:
        """Vectors and letters of distinct words, joined: (U,) to (U, D)."""
        letters = self.characters(self.spelling[distinct])
        table = self.both(torch.cat([self.embedding(distinct), letters], dim=-1))
        table = table * (distinct != 0).unsqueeze(-1)  # padding has no bias
        return dropout(table, self.embedding_dropout, self.training)


class BaselineCNNLSTM(TitleAndAbstract):
    """The published starting point: plain convolutions, additive attention, softmax fusion.

    As published.
    """

    def __init__(
        self,
        vocab_size: int,
        embed_dim: int = 300,
        num_filters: int = 256,
        kernel_sizes: Sequence[int] = (3, 4, 5),
        lstm_hidden: int = 256,
        num_classes: int = 3,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(vocab_size, embed_dim, max(kernel_sizes))
        title_dim, abstract_dim = 2 * lstm_hidden, num_filters * len(kernel_sizes)
        self.embedding_dropout = 0.5 * dropout
        self.convs = nn.ModuleList(nn.Conv1d(embed_dim, num_filters, size) for size in kernel_sizes)
        self.norms = nn.ModuleList(nn.BatchNorm1d(num_filters) for _ in kernel_sizes)
        self.abstract_attention = AdditiveAttention(abstract_dim)
        self.title_lstm = BiLSTM(embed_dim, lstm_hidden, dropout)
        self.title_attention = AdditiveAttention(title_dim)
        self.fusion = SoftmaxFusion(title_dim, abstract_dim)
        self.head = nn.Sequential(
            nn.BatchNorm1d(title_dim + abstract_dim),
            Dropout(dropout),
            nn.Linear(title_dim + abstract_dim, 512),
            nn.ReLU(),
            nn.BatchNorm1d(512),
            Dropout(dropout),
            nn.Linear(512, 256),
            nn.ReLU(),
            nn.BatchNorm1d(256),
            Dropout(0.8 * dropout),
            nn.Linear(256, num_classes),
        )
        initialise(self, lstm=False)

    def fuse(self, title: Tensor, titles: Flat, abstract: Lookup) -> tuple[Tensor, AttentionMaps]:
        """See `TitleAndAbstract.fuse`."""
        states = self.title_lstm(title, titles.mask)
        title_vector, title_weights = self.title_attention(titles.real(states), titles)
        convs = cast(Sequence[nn.Conv1d], self.convs)
        features = torch.cat(
            [
                F.relu(norm(values.float()))
                for norm, values in zip(self.norms, convolve_lookup(abstract, convs), strict=True)
            ],
            dim=-1,
        )
        abstract_vector, abstract_weights = self.abstract_attention(features, abstract.flat)
        fused, weights = self.fusion(title_vector, abstract_vector)
        return fused, attention_maps(title_weights, abstract_weights, weights)


def _head(sizes: Sequence[int], dropout: float) -> nn.Sequential:
    """LayerNorm, dropout and a linear layer for each step, ReLU between them."""
    layers: list[nn.Module] = []
    for number, (size, following) in enumerate(pairwise(sizes)):
        layers += [nn.ReLU()] if number else []
        layers += [nn.LayerNorm(size), Dropout(dropout), nn.Linear(size, following)]
    return nn.Sequential(*layers)
