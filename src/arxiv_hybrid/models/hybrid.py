"""The hybrid CNN-LSTM classifiers: v1 (`HybridCNNLSTM`), v4, and the published `baseline`.

A BiLSTM reads the title, parallel convolutions read the abstract. Attention pools each to a vector;
the two are fused and classified. v2 and v3 are v1 with their own recipes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional as F

from arxiv_hybrid.models.base import (
    AttentionMaps,
    PaperClassifier,
    TextName,
    attention_maps,
    init_weights,
)
from arxiv_hybrid.models.characters import CharacterEmbedding
from arxiv_hybrid.models.layers import (
    AdditiveAttention,
    AttentionPooling,
    Concatenation,
    GatedFusion,
    MeanPooling,
    MultiHeadSelfAttention,
    NoSelfAttention,
    ResidualConvBlock,
    SoftmaxFusion,
    mlp_head,
)
from arxiv_hybrid.ops import (
    BiLSTM,
    Dropout,
    Ragged,
    TokenEmbedding,
    batch_norm,
    convolve_unique,
    masked_mean,
)


class HybridCNNLSTM(PaperClassifier):
    """v1: BiLSTM and self-attention on the title, residual convolutions on the abstract, gates.

    attention, residual, gates: False replaces that part by its ablation (means, plain blocks, a
    plain concatenation). With 37,760 words and 3 classes it has 13,930,887 parameters.
    """

    bucket_by: TextName = "title"
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
        super().__init__()
        kernels = list(product(self.dilations, kernel_sizes))
        title_dim, abstract_dim = 2 * lstm_hidden, num_filters * len(kernels)

        # half the rate: all occurrences of a word share a mask, which makes it stronger
        self.embedding = TokenEmbedding(
            vocab_size,
            embed_dim,
            dropout=0.5 * dropout,
            receptive_field=(max(kernel_sizes) - 1) * max(self.dilations) + 1,
        )

        self.title_lstm = BiLSTM(embed_dim, lstm_hidden, dropout, self.lstm_layers)
        self.title_attention = (
            MultiHeadSelfAttention(title_dim, self.heads) if attention else NoSelfAttention()
        )

        self.abstract_blocks = nn.ModuleList(
            ResidualConvBlock(
                embed_dim, num_filters, size, 0.5 * dropout, dilation=dilation, residual=residual
            )
            for dilation, size in kernels
        )
        self.abstract_attention = (
            AttentionPooling(abstract_dim, self.heads) if attention else MeanPooling()
        )

        fusion = GatedFusion if gates else Concatenation
        self.fusion = fusion(title_dim, abstract_dim)
        self.head = mlp_head([title_dim + abstract_dim, *self.head_sizes, num_classes], dropout)
        init_weights(self)

    def forward(
        self, title_ids: Tensor, abstract_ids: Tensor, title_mask: Tensor | None = None
    ) -> tuple[Tensor, AttentionMaps]:
        """See `PaperClassifier.forward`. Below, F filters per block, K blocks, H LSTM units."""
        title, abstract = self.embedding(title_ids, abstract_ids, masks=[title_mask])

        states = self.title_lstm(title.padded(), title.mask)  # (B, Tt, 2H)
        states, title_weights = self.title_attention(states, title.mask)
        title_vector = masked_mean(states, title.mask)  # (B, 2H)

        features = Ragged.cat([block(abstract) for block in self.abstract_blocks])  # K * F channels
        abstract_vector, abstract_weights = self.abstract_attention(features)  # (B, K * F)

        fused, gates = self.fusion(title_vector, abstract_vector)
        return self.head(fused), attention_maps(title_weights, abstract_weights, gates)


class CharacterHybrid(HybridCNNLSTM):
    """v4: v1 that also reads characters, with nine dilated blocks, three LSTM layers, eight heads.

    char_init_std: standard deviation of the initial character vectors. At the published 1.0 the
    characters overwhelm the words, and with dropout the network never learns. With 37,760
    words and 3 classes it has about 23 million parameters.
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
        char_init_std: float = 0.1,
        **arguments: Any,
    ) -> None:
        super().__init__(vocab_size, embed_dim, num_filters, kernel_sizes, lstm_hidden, **arguments)
        self.embedding = CharacterEmbedding(
            vocab_size,
            embed_dim,
            dropout=self.embedding.dropout,
            receptive_field=self.embedding.receptive_field,
            char_init_std=char_init_std,
        )
        init_weights(self.embedding)


class BaselineCNNLSTM(PaperClassifier):
    """The published starting point: plain convolutions, additive attention, softmax fusion."""

    bucket_by: TextName = "title"

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
        super().__init__()
        title_dim, abstract_dim = 2 * lstm_hidden, num_filters * len(kernel_sizes)
        self.embedding = TokenEmbedding(
            vocab_size, embed_dim, dropout=0.5 * dropout, receptive_field=max(kernel_sizes)
        )
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
        init_weights(self, lstm=False)

    def forward(
        self, title_ids: Tensor, abstract_ids: Tensor, title_mask: Tensor | None = None
    ) -> tuple[Tensor, AttentionMaps]:
        """See `PaperClassifier.forward`."""
        title, abstract = self.embedding(title_ids, abstract_ids, masks=[title_mask])

        states = self.title_lstm(title.padded(), title.mask)  # (B, Tt, 2H)
        tokens = Ragged(title.layout.gather(states), title.layout)
        title_vector, title_weights = self.title_attention(tokens)

        convolved = convolve_unique(abstract, cast(Sequence[nn.Conv1d], self.convs))
        normalized = [
            batch_norm(Ragged(part.values.float(), part.layout), norm)
            for norm, part in zip(
                cast(Sequence[nn.BatchNorm1d], self.norms), convolved, strict=True
            )
        ]
        activated = [Ragged(F.relu(values), abstract.layout) for values in normalized]
        abstract_vector, abstract_weights = self.abstract_attention(Ragged.cat(activated))

        fused, weights = self.fusion(title_vector, abstract_vector)
        return self.head(fused), attention_maps(title_weights, abstract_weights, weights)
