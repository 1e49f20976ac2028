"""What a word's letters say: a small convolutional network over its characters (v4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arxiv_hybrid.models.blocks import Dropout, on_host

LONGEST = 20  # characters kept of a word
CHARACTERS = 128  # ASCII; 0 is padding
FILTERS, KERNELS = (50, 75, 75), (2, 3, 4)
SPECIAL = 2  # padding and unknown words, which have no letters


def spelling(words: Sequence[str]) -> Tensor:
    """ASCII codes of each word of a vocabulary (V, 20), 0 after its end and for `SPECIAL` ones."""
    codes = np.zeros((len(words), LONGEST), dtype=np.uint8)
    for row, word in enumerate(words):
        if row >= SPECIAL:
            letters = word.encode("ascii", "ignore")[:LONGEST]
            codes[row, : len(letters)] = np.frombuffer(letters, dtype=np.uint8)
    return torch.from_numpy(codes)


class CharacterCNN(nn.Module):
    """Convolutions of 50 x 2, 75 x 3 and 75 x 4 characters, the strongest of each, to 50."""

    out_dim = 50

    def __init__(self, dim: int = 25, dropout: float = 0.2, scale: float = 1.0) -> None:
        """scale: standard deviation of the letters' first vectors."""
        super().__init__()
        # no nn.Embedding: so small a table needs no sparse updates
        self.table = nn.Parameter(scale * torch.randn(CHARACTERS, dim))
        self.convs = nn.ModuleList(
            nn.Conv1d(dim, filters, size) for filters, size in zip(FILTERS, KERNELS, strict=True)
        )
        self.project = nn.Linear(sum(FILTERS), self.out_dim)
        self.dropout = Dropout(dropout)

    def forward(self, spelled: Tensor) -> Tensor:
        """Character codes (U, 20) to features of words (U, 50)."""
        real = spelled != 0
        lengths = real.sum(1)
        longest = max(int(lengths.max()), 1) if on_host(spelled) else LONGEST
        letters = F.embedding(spelled[:, :longest].long(), self.table)
        letters = (letters * real[:, :longest].unsqueeze(-1)).transpose(1, 2)
        # windows that start after a word's end do not count, however long the longest word is
        starts = torch.arange(longest, device=spelled.device) < lengths.unsqueeze(1)
        strongest = [
            (F.relu(conv(F.pad(letters, (0, size - 1))).float()) * starts.unsqueeze(1)).amax(-1)
            for size, conv in zip(KERNELS, self.convs, strict=True)
        ]
        features: Tensor = self.dropout(self.project(torch.cat(strongest, dim=-1)))
        return features
