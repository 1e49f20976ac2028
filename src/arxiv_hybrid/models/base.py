"""What all classifiers of a paper share: words to vectors, fused features to logits.

Shapes: B documents, T words (Tt of titles, Ta of abstracts), U distinct words of the batch,
P real words, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arxiv_hybrid.models.blocks import (
    Flat,
    Lookup,
    distinct_words,
    dropout,
    dropout_mask,
    lookup_table,
)

AttentionMaps = dict[str, Tensor]
Mixing = Callable[[Tensor], Tensor]
Counts = tuple[int | None, int | None]
Text = Literal["title", "abstract"]
PADDING = 0


class _Rows(torch.autograd.Function):
    """Rows of a matrix, whose gradient is these rows: sparse, and known to be distinct."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, distinct: Tensor) -> Tensor:
        ctx.save_for_backward(distinct)
        ctx.shape = weight.shape
        return weight.index_select(0, distinct)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (distinct,) = ctx.saved_tensors
        values = gradient * (distinct != PADDING).unsqueeze(1)
        rows = torch.sparse_coo_tensor(
            distinct.unsqueeze(0), values, ctx.shape, check_invariants=False, is_coalesced=True
        )
        return rows, None


class WordEmbedding(nn.Embedding):
    """An embedding of distinct words, as `distinct_words` gives them.

    Its gradient, where it is sparse, is known to hold each word once: nobody has to sort it,
    or to wait for a GPU to tell how many rows are left. Padding never learns.
    """

    def forward(self, distinct: Tensor) -> Tensor:
        """Words (U,) to vectors (U, D)."""
        if not self.sparse:
            return super().forward(distinct)
        vectors: Tensor = _Rows.apply(self.weight, distinct)
        return vectors


class PaperClassifier(nn.Module):
    """An embedding and a head; how the two texts become one vector is the subclass's.

    `padded` is the text whose padding costs time: batches are of papers about as long in it.
    """

    head: nn.Module
    padded: Text = "abstract"

    def __init__(self, vocab_size: int, embed_dim: int, reach: int) -> None:
        """reach: how many words the widest kernel spans; documents lie that far apart."""
        super().__init__()
        self.embedding = WordEmbedding(vocab_size, embed_dim, padding_idx=PADDING)
        self.gap = reach
        self.embedding_dropout = 0.0

    def forward(
        self,
        title_ids: Tensor,
        abstract_ids: Tensor,
        title_mask: Tensor | None = None,
        *,
        mixing: Mixing | None = None,
        words: Counts = (None, None),
    ) -> tuple[Tensor, AttentionMaps]:
        """Classify a batch.

        title_ids (B, Tt) and abstract_ids (B, Ta) are padded with 0 on the right; title_mask
        (B, Tt) is True at real words and defaults to `title_ids != 0`; mixing is applied to
        the fused features (B, F) before the head; words: how many real ones titles and abstracts
        have, for callers who know: a GPU need not be waited for then. Returns logits (B, C) and
        the maps of `attention_maps`.
        """
        mask = title_ids != PADDING if title_mask is None else title_mask.bool()
        fused, maps = self.encode(title_ids, abstract_ids, mask, words)
        return self.head(mixing(fused) if mixing else fused), maps

    def encode(
        self, title_ids: Tensor, abstract_ids: Tensor, title_mask: Tensor, words: Counts
    ) -> tuple[Tensor, AttentionMaps]:
        """Token ids to fused features (B, F) and attention maps."""
        raise NotImplementedError

    def embed(self, distinct: Tensor) -> Tensor:
        """Vectors of the batch's distinct words (U, D), with dropout on the table.

        A dropped value is dropped wherever its word stands in the batch: the same expectation
        as dropout on every running word, at a quarter of the random numbers.
        """
        table: Tensor = self.embedding(distinct)
        return dropout(table, self.embedding_dropout, self.training)

    def set_vocabulary(self, words: Sequence[str]) -> None:
        """Learn how the words of the vocabulary are written, if the model reads characters."""


def attention_maps(title: Tensor, abstract: Tensor, fusion: Tensor) -> AttentionMaps:
    """What a model shows of itself, from each head's weights (B, H, Tt) and (B, H', Ta).

    `title_attention` (B, Tt) and `abstract_attention` (B, Ta) are averages over the heads,
    which stand in `title_heads` and `abstract_heads`; all sum to 1 a document.
    `fusion_weights` (B, 2): title and abstract.
    """
    title, abstract = title.detach(), abstract.detach()
    return {
        "title_attention": title.mean(1),
        "abstract_attention": abstract.mean(1),
        "title_heads": title,
        "abstract_heads": abstract,
        "fusion_weights": fusion.detach(),
    }


class TitleAndAbstract(PaperClassifier):
    """Title and abstract go ways of their own before they are fused; abstracts unpadded."""

    padded: Text = "title"

    def encode(
        self, title_ids: Tensor, abstract_ids: Tensor, title_mask: Tensor, words: Counts
    ) -> tuple[Tensor, AttentionMaps]:
        """See `PaperClassifier.encode`."""
        flat = Flat.of(abstract_ids != PADDING, self.gap, words[1])
        distinct, places = distinct_words(torch.cat([title_ids.flatten(), flat.real(abstract_ids)]))
        table = self.embed(distinct)
        title_places, abstract_places = places.split([title_ids.numel(), len(flat.rows)])
        table = lookup_table(table)
        index = places.new_zeros(flat.length).index_copy(0, flat.rows, abstract_places + 1)
        title = F.embedding((title_places + 1).view_as(title_ids), table)
        titles = Flat.of(title_mask, self.gap, words[0])
        return self.fuse(title, titles, Lookup(table, index, flat))

    def fuse(self, title: Tensor, titles: Flat, abstract: Lookup) -> tuple[Tensor, AttentionMaps]:
        """Embedded titles (B, Tt, D) and looked-up abstracts to features (B, F) and maps."""
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
