"""Word vectors combined with a small CNN over the characters of each word (v4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arxiv_hybrid.ops import PADDING, Dropout, TokenEmbedding, host_knows_sizes

LONGEST = 20  # characters kept of a word
CHARACTERS = 128  # ASCII; 0 is padding
FILTERS, KERNELS = (50, 75, 75), (2, 3, 4)
SPECIAL = 2  # <PAD> and <UNK>, which have no characters


class CharacterEmbedding(TokenEmbedding):
    """Each word's vector joined with features of its characters, projected back to `dim`."""

    def __init__(
        self, vocab_size: int, dim: int, *, char_init_std: float = 0.1, **arguments: Any
    ) -> None:
        super().__init__(vocab_size, dim, **arguments)
        self.characters = CharacterCNN(init_std=char_init_std)
        self.join = nn.Linear(dim + self.characters.out_dim, dim)
        self.spelling: Tensor
        self.register_buffer("spelling", spelling([""] * vocab_size))

    def set_vocabulary(self, words: Sequence[str]) -> None:
        """See `PaperClassifier.set_vocabulary`."""
        self.spelling.copy_(spelling(words))

    def vectors(self, unique: Tensor) -> Tensor:
        """Unique token ids (U,) to vectors (U, D)."""
        characters = self.characters(self.spelling[unique])
        joined: Tensor = self.join(torch.cat([super().vectors(unique), characters], dim=-1))
        return joined * (unique != PADDING).unsqueeze(-1)  # keep padding zero despite the bias


class CharacterCNN(nn.Module):
    """Convolutions of 50 x 2, 75 x 3 and 75 x 4 characters, max-pooled and projected to 50."""

    out_dim = 50

    def __init__(self, dim: int = 25, dropout: float = 0.2, init_std: float = 1.0) -> None:
        """init_std: standard deviation of the initial character vectors."""
        super().__init__()
        # not an nn.Embedding: the table is too small for sparse updates to pay off
        self.table = nn.Parameter(init_std * torch.randn(CHARACTERS, dim))
        self.convs = nn.ModuleList(
            nn.Conv1d(dim, filters, size) for filters, size in zip(FILTERS, KERNELS, strict=True)
        )
        self.project = nn.Linear(sum(FILTERS), self.out_dim)
        self.dropout = Dropout(dropout)

    def forward(self, codes: Tensor) -> Tensor:
        """Character codes of words (U, 20) to features (U, 50)."""
        real = codes != 0
        lengths = real.sum(1)
        longest = LONGEST
        if host_knows_sizes(codes):
            longest = max([1, *lengths.tolist()])
        vectors = F.embedding(codes[:, :longest].long(), self.table)
        vectors = (vectors * real[:, :longest].unsqueeze(-1)).transpose(1, 2)
        # keep only windows that start inside the word, so other words of the batch have no effect
        starts = torch.arange(longest, device=codes.device) < lengths.unsqueeze(1)
        maxima = [
            (F.relu(conv(F.pad(vectors, (0, size - 1))).float()) * starts.unsqueeze(1)).amax(-1)
            for size, conv in zip(KERNELS, self.convs, strict=True)
        ]
        features: Tensor = self.dropout(self.project(torch.cat(maxima, dim=-1)))
        return features


def spelling(words: Sequence[str]) -> Tensor:
    """ASCII codes (V, 20) of each word of a vocabulary, 0 after its end and for special tokens."""
    codes = np.zeros((len(words), LONGEST), dtype=np.uint8)
    for row, word in enumerate(words):
        if row >= SPECIAL:
            ascii_bytes = word.encode("ascii", "ignore")[:LONGEST]
            codes[row, : len(ascii_bytes)] = np.frombuffer(ascii_bytes, dtype=np.uint8)
    return torch.from_numpy(codes)
