"""A hashed table of word pairs: the sum of the vectors of a paper's neighbouring words.

A linear model over word pairs is a strong classifier of texts. Here the pairs share a fixed number
of narrow rows, as in fastText (Joulin et al. 2017), so that the table stays small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arxiv_hybrid.ops.embedding import PADDING, rows_of, unique_with_inverse
from arxiv_hybrid.ops.ragged import Layout

MULTIPLIER = 0x9E3779B97F4A7C15 - 2**64  # 2^64 / golden ratio, odd, as a signed number
SCALE = 5.0  # brings the sum of a paper's pairs to the size of the other features
INIT_STD = 0.02
MIN_BUCKETS = 2


class PairEmbedding(nn.Embedding):
    """Papers to the scaled sum of the vectors of their word pairs; pairs are hashed to rows.

    Row 0 stays zero: dropped pairs map to it, as does one bucket. The optimizer sets `sparse`.
    """

    def __init__(self, buckets: int, dim: int, *, dropout: float = 0.0) -> None:
        """buckets: rows, a power of two. dropout: share of pairs left out in training."""
        if buckets < MIN_BUCKETS or buckets & (buckets - 1):
            raise ValueError(f"pair_buckets {buckets} is not a power of two from {MIN_BUCKETS}")
        super().__init__(buckets, dim, padding_idx=PADDING)
        self.dropout = dropout
        nn.init.normal_(self.weight, std=INIT_STD)
        with torch.no_grad():
            self.weight[PADDING] = 0

    def forward(self, texts: Sequence[tuple[Tensor, Layout]]) -> Tensor:  # type: ignore[override]
        """Texts of B papers, each as token ids (N,) and layout, to vectors (B, dim).

        A pair never spans two texts. The sum is divided by the square root of the paper's number of
        pairs, so papers of any length have vectors of similar size.
        """
        rows = [pair_rows(tokens, layout, self.num_embeddings) for tokens, layout in texts]
        joined, scale = torch.cat(rows), SCALE
        if self.training and self.dropout:
            joined = joined * (torch.rand(joined.shape, device=joined.device) >= self.dropout)
            scale /= 1 - self.dropout
        unique, inverse = unique_with_inverse(joined)
        vectors = rows_of(self, unique)
        pairs = torch.stack([(layout.lengths - 1).clamp(min=0) for _, layout in texts]).sum(0)
        total = sum(
            F.embedding_bag(part, vectors, layout.starts, mode="sum")
            for part, (_, layout) in zip(inverse.split([len(r) for r in rows]), texts, strict=True)
        )
        return total * (scale / pairs.clamp(min=1).sqrt()).unsqueeze(1)


def pair_rows(tokens: Tensor, layout: Layout, buckets: int) -> Tensor:
    """The row of the pair that begins at each token (N,); 0 at the last token of a document.

    tokens (N,): ids of the real tokens, documents one after the other. Fibonacci hashing: the top
    bits of a 64-bit product.
    """
    bits = int(math.log2(buckets))
    first, second = tokens[:-1].long(), tokens[1:].long()
    product = ((first << 16) | second) * MULTIPLIER  # wraps around at 64 bits
    # the mask removes the copies of the sign that an arithmetic shift brings in
    rows = (product >> (64 - bits)) & (buckets - 1)
    same = layout.documents[:-1] == layout.documents[1:]
    return F.pad(rows * same, (0, len(tokens) - len(rows)))
