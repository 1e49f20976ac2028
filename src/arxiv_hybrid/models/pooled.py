"""v6: convolutions pooled by learned word weights; made for pre-training.

Each convolution's features are averaged with the softmax of one learned score per word: rare words
that tell a topic weigh more, as by IDF. There is no recurrence, so a text costs a few products over
its unique words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arxiv_hybrid.models.base import (
    AttentionMaps,
    PaperClassifier,
    attention_maps,
    init_weights,
)
from arxiv_hybrid.ops import (
    Dropout,
    TokenEmbedding,
    UniqueTokens,
    convolve_and_pool,
)

SHARED_DIM = 256  # of the joint space of titles and abstracts


class EncodedBatch(NamedTuple):
    """A batch of papers: title and abstract (B, out_dim).

    title_weights (B, n, Tt) and abstract_weights (B, n, Ta): of tokens, for each convolution.
    """

    title: Tensor
    abstract: Tensor
    title_weights: Tensor
    abstract_weights: Tensor


class PooledCNN(PaperClassifier):
    """v6: a shared encoder for title and abstract, one hidden layer.

    The embedding keeps PyTorch's initial spread; callers scale it to `EMBEDDING_STD`.
    """

    head: nn.Linear
    matching_only = ("title_projection", "abstract_projection")

    def __init__(
        self,
        vocab_size: int,
        embed_dim: int = 200,
        num_filters: int = 160,
        kernel_sizes: Sequence[int] = (1, 3, 5),
        hidden: int = 512,
        num_classes: int = 3,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.embedding = TokenEmbedding(
            vocab_size, embed_dim, dropout=0.5 * dropout, receptive_field=max(kernel_sizes)
        )
        self.convs = nn.ModuleList(nn.Conv1d(embed_dim, num_filters, k) for k in kernel_sizes)
        self.score = nn.Linear(embed_dim, len(kernel_sizes), bias=False)
        self.out_dim = num_filters * len(kernel_sizes)
        self.title_norm, self.abstract_norm = (nn.LayerNorm(self.out_dim) for _ in range(2))
        self.hidden = nn.Sequential(
            Dropout(dropout),
            nn.Linear(2 * self.out_dim, hidden),
            nn.ReLU(),
            nn.LayerNorm(hidden),
            Dropout(dropout),
        )
        self.head = nn.Linear(hidden, num_classes)
        self.title_projection = nn.Linear(self.out_dim, SHARED_DIM)
        self.abstract_projection = nn.Linear(self.out_dim, SHARED_DIM)
        init_weights(self)

    def forward(
        self, title_ids: Tensor, abstract_ids: Tensor, title_mask: Tensor | None = None
    ) -> tuple[Tensor, AttentionMaps]:
        """See `PaperClassifier.forward`; each convolution is a head, both texts weigh the same."""
        batch = self.encode_batch(title_ids, abstract_ids, title_mask)
        logits = self.head(self.features_of(batch))
        fusion = batch.title.new_full((len(title_ids), 2), 0.5)
        return logits, attention_maps(batch.title_weights, batch.abstract_weights, fusion)

    def features(self, title_ids: Tensor, abstract_ids: Tensor) -> Tensor:
        """Token ids to the head's input (B, hidden)."""
        return self.features_of(self.encode_batch(title_ids, abstract_ids))

    def text_vectors(self, title_ids: Tensor, abstract_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Token ids to unit vectors of titles and abstracts in a joint space, (B, 256) each."""
        return self.text_vectors_of(self.encode_batch(title_ids, abstract_ids))

    def encode_batch(
        self, title_ids: Tensor, abstract_ids: Tensor, title_mask: Tensor | None = None
    ) -> EncodedBatch:
        """The part that all outputs share; arguments as of `forward`."""
        title, abstract = self.embedding(title_ids, abstract_ids, masks=[title_mask])
        title_vector, title_weights = self.encode(title)
        abstract_vector, abstract_weights = self.encode(abstract)
        return EncodedBatch(
            self.title_norm(title_vector),
            self.abstract_norm(abstract_vector),
            title_weights,
            abstract_weights,
        )

    def encode(self, text: UniqueTokens) -> tuple[Tensor, Tensor]:
        """An embedded text to its vector (B, out_dim) and the weights of its tokens (B, n, T)."""
        convs = cast(Sequence[nn.Conv1d], self.convs)
        vector, weights = convolve_and_pool(text, convs, self.score(text.table))
        return vector.float(), weights

    def features_of(self, batch: EncodedBatch) -> Tensor:
        """The head's input (B, hidden) for an encoded batch."""
        hidden: Tensor = self.hidden(torch.cat([batch.title, batch.abstract], dim=-1))
        return hidden

    def text_vectors_of(self, batch: EncodedBatch) -> tuple[Tensor, Tensor]:
        """Unit vectors of titles and abstracts (B, 256) for an encoded batch."""
        return (
            F.normalize(self.title_projection(batch.title).float(), dim=-1),
            F.normalize(self.abstract_projection(batch.abstract).float(), dim=-1),
        )
