"""The two hybrid CNN-LSTM classifiers: v1 (`HybridCNNLSTM`) and the published `baseline`.

Titles go through a BiLSTM, abstracts through parallel convolutions; both are pooled by
attention, fused and classified. Shapes: B documents, T words, U distinct words of the batch,
P real words, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arxiv_hybrid.models.attention import (
    AdditiveAttention,
    AttentionPooling,
    GatedFusion,
    MultiHeadSelfAttention,
    SoftmaxFusion,
    masked_mean,
)
from arxiv_hybrid.models.blocks import (
    Flat,
    Lookup,
    ResidualConvBlock,
    convolve_lookup,
    dropout,
    dropout_mask,
)

AttentionMaps = dict[str, Tensor]
PADDING = 0


class TitleAndAbstract(nn.Module):
    """What both hybrids share: the embedding, its dropout and the order of the two branches."""

    def __init__(self, vocab_size: int, embed_dim: int, kernel_sizes: Sequence[int]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embed_dim, padding_idx=PADDING)
        self.gap = max(kernel_sizes)
        self.embedding_dropout = 0.0

    def forward(
        self, title_ids: Tensor, abstract_ids: Tensor, title_mask: Tensor | None = None
    ) -> tuple[Tensor, AttentionMaps]:
        """Classify a batch.

        title_ids (B, Tt) and abstract_ids (B, Ta) are padded with 0 on the right; title_mask
        (B, Tt) is True at real words and defaults to `title_ids != 0`. Returns logits (B, C)
        and the maps `title_attention` (B, Tt), `abstract_attention` (B, Ta), both summing to
        1 a document, and `fusion_weights` (B, 2) for title and abstract.
        """
        mask = title_ids != PADDING if title_mask is None else title_mask.bool()
        flat = Flat.of(abstract_ids != PADDING, self.gap)
        distinct, places = torch.cat([title_ids.flatten(), abstract_ids[flat.mask]]).unique(
            return_inverse=True
        )
        table = self._embed(distinct)
        title_places, abstract_places = places.split([title_ids.numel(), len(flat.rows)])
        # the gaps need a row of zeros: one is put in front of the table
        table = F.pad(table, (0, 0, 1, 0))
        index = places.new_zeros(flat.length).index_copy(0, flat.rows, abstract_places + 1)
        title = F.embedding((title_places + 1).view_as(title_ids), table)
        return self.classify(title, mask, Lookup(table, index, flat))

    def _embed(self, distinct: Tensor) -> Tensor:
        """Vectors of the batch's distinct words (U, D), with dropout on the table.

        A dropped value is dropped wherever its word stands in the batch: the same expectation
        as dropout on every running word, at a quarter of the random numbers.
        """
        table: Tensor = self.embedding(distinct)
        return dropout(table, self.embedding_dropout, self.training)

    def classify(
        self, title: Tensor, title_mask: Tensor, abstract: Lookup
    ) -> tuple[Tensor, AttentionMaps]:
        """Embedded titles (B, Tt, D) and looked-up abstracts to logits and attention maps."""
        raise NotImplementedError


class BiLSTM(nn.Module):
    """Bidirectional LSTM layers with dropout between them, blind to padding.

    The backward direction is an LSTM over each sequence reversed within its own length, so
    that padding only ever comes last and needs no packing (twice as fast on a CPU). One
    dropout mask serves all steps of a sequence (Gal and Ghahramani 2016).
    """

    def __init__(self, in_dim: int, hidden: int, dropout: float, layers: int = 2) -> None:
        super().__init__()
        sizes = [in_dim] + [2 * hidden] * (layers - 1)
        self.ahead = nn.ModuleList(nn.LSTM(size, hidden, batch_first=True) for size in sizes)
        self.back = nn.ModuleList(nn.LSTM(size, hidden, batch_first=True) for size in sizes)
        self.dropout = dropout

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D) to (B, T, 2 hidden); zero at padding. Padding must come last."""
        steps = torch.arange(mask.shape[1], device=mask.device)
        lengths = mask.sum(1, keepdim=True)
        reverse = torch.where(steps < lengths, lengths - 1 - steps, steps).unsqueeze(-1)
        for number, (ahead, back) in enumerate(zip(self.ahead, self.back, strict=True)):
            if number and self.training and self.dropout:
                x = x * dropout_mask(x[:, :1].shape, self.dropout, x.device)
            forwards = ahead(x)[0]
            backwards = back(x.gather(1, reverse.expand_as(x)))[0]
            backwards = backwards.gather(1, reverse.expand_as(backwards))
            x = torch.cat([forwards, backwards], dim=-1)
        return x * mask.unsqueeze(-1)


class HybridCNNLSTM(TitleAndAbstract):
    """v1: BiLSTM and self-attention on the title, residual convolutions on the abstract.

    Source: SYSTEMS table A, row v1. With 37,760 words and 3 classes: 13,930,887 parameters.
    """

    def __init__(
        self,
        vocab_size: int,
        embed_dim: int = 300,
        num_filters: int = 128,
        kernel_sizes: Sequence[int] = (3, 4, 5),
        lstm_hidden: int = 128,
        num_classes: int = 3,
        dropout: float = 0.6,
    ) -> None:
        super().__init__(vocab_size, embed_dim, kernel_sizes)
        title_dim, abstract_dim = 2 * lstm_hidden, num_filters * len(kernel_sizes)
        # half of it, as in the baseline: a word's mask holds for the whole batch, see _embed
        self.embedding_dropout = 0.5 * dropout
        self.title_lstm = BiLSTM(embed_dim, lstm_hidden, dropout)
        self.title_attention = MultiHeadSelfAttention(title_dim)
        self.abstract_blocks = nn.ModuleList(
            ResidualConvBlock(embed_dim, num_filters, size, 0.5 * dropout) for size in kernel_sizes
        )
        self.abstract_attention = AttentionPooling(abstract_dim)
        self.fusion = GatedFusion(title_dim, abstract_dim)
        self.head = nn.Sequential(
            nn.LayerNorm(title_dim + abstract_dim),
            nn.Dropout(dropout),
            nn.Linear(title_dim + abstract_dim, 256),
            nn.ReLU(),
            nn.LayerNorm(256),
            nn.Dropout(dropout),
            nn.Linear(256, num_classes),
        )
        initialise(self)

    def classify(
        self, title: Tensor, title_mask: Tensor, abstract: Lookup
    ) -> tuple[Tensor, AttentionMaps]:
        """See `TitleAndAbstract.classify`."""
        states = self.title_lstm(title, title_mask)
        attended, title_weights = self.title_attention(states, title_mask)
        title_vector = masked_mean(attended, title_mask)
        words = torch.cat([block(abstract) for block in self.abstract_blocks], dim=-1)
        abstract_vector, abstract_weights = self.abstract_attention(words, abstract.flat)
        fused, gates = self.fusion(title_vector, abstract_vector)
        maps = {
            "title_attention": title_weights,
            "abstract_attention": abstract_weights.detach(),
            "fusion_weights": gates,
        }
        return self.head(fused), maps


class BaselineCNNLSTM(TitleAndAbstract):
    """The published starting point: plain convolutions, additive attention, softmax fusion.

    Source: SYSTEMS table A, row baseline.
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
        super().__init__(vocab_size, embed_dim, kernel_sizes)
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
            nn.Dropout(dropout),
            nn.Linear(title_dim + abstract_dim, 512),
            nn.ReLU(),
            nn.BatchNorm1d(512),
            nn.Dropout(dropout),
            nn.Linear(512, 256),
            nn.ReLU(),
            nn.BatchNorm1d(256),
            nn.Dropout(0.8 * dropout),
            nn.Linear(256, num_classes),
        )
        initialise(self, lstm=False)

    def classify(
        self, title: Tensor, title_mask: Tensor, abstract: Lookup
    ) -> tuple[Tensor, AttentionMaps]:
        """See `TitleAndAbstract.classify`."""
        states = self.title_lstm(title, title_mask)
        title_vector, title_weights = self.title_attention(
            states[title_mask], Flat.of(title_mask, 0)
        )
        words = torch.cat(
            [
                F.relu(norm(convolve_lookup(abstract, cast(nn.Conv1d, conv)).float()))
                for conv, norm in zip(self.convs, self.norms, strict=True)
            ],
            dim=-1,
        )
        abstract_vector, abstract_weights = self.abstract_attention(words, abstract.flat)
        fused, weights = self.fusion(title_vector, abstract_vector)
        maps = {
            "title_attention": title_weights.detach(),
            "abstract_attention": abstract_weights.detach(),
            "fusion_weights": weights,
        }
        return self.head(fused), maps


def initialise(model: nn.Module, *, lstm: bool = True) -> None:
    """Linear Xavier-uniform, Conv Kaiming-normal (fan-out), with `lstm` Xavier and orthogonal.

    Biases start at 0. The embedding keeps torch's normal values until vectors replace them.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv1d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif lstm and isinstance(module, nn.LSTM):
            for name, weight in module.named_parameters():
                if name.startswith("weight_ih"):
                    nn.init.xavier_uniform_(weight)
                elif name.startswith("weight_hh"):
                    nn.init.orthogonal_(weight)
                else:
                    nn.init.zeros_(weight)
