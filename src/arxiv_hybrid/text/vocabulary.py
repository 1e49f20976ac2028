"""The vocabulary: maps words to ids, and texts to padded matrices of ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import numpy.typing as npt

from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.text.token_ids import TokenIds

PAD, UNK = 0, 1
SPECIAL = ("<PAD>", "<UNK>")


@dataclass(frozen=True, repr=False)
class Vocabulary:
    """Words by id: `<PAD>` is 0, `<UNK>` is 1, then words by descending frequency.

    Raises UserError if the first two are others, or a word appears twice.
    """

    words: tuple[str, ...]
    index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.words[:2] != SPECIAL:
            raise UserError(f"a vocabulary starts with {SPECIAL}, not with {self.words[:2]}")
        object.__setattr__(self, "index", {word: i for i, word in enumerate(self.words)})
        if len(self.index) < len(self.words):
            raise UserError("a word of the vocabulary appears twice")

    def __len__(self) -> int:
        return len(self.words)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self):,} words>"

    @classmethod
    def build(
        cls, documents: Iterable[Iterable[str]], *, max_size: int, min_freq: int
    ) -> Vocabulary:
        """Keep at most `max_size` words (specials included) that occur `min_freq` times.

        Pass training documents only: words of validation or test papers must stay unknown.
        """
        ranked = sorted(word_counts(documents).items(), key=lambda item: (-item[1], item[0]))
        kept = [word for word, count in ranked if count >= min_freq][: max_size - len(SPECIAL)]
        return cls((*SPECIAL, *kept))

    def encode(self, documents: Iterable[Sequence[str]], length: int) -> npt.NDArray[np.int32]:
        """Token ids, shape (documents, length), truncated or padded with 0 on the right.

        A document without tokens becomes a single `<UNK>`, so that no row is all padding.
        """
        id_of = _IndexWithUnknown(self.index).__getitem__
        rows = [list(map(id_of, document[:length])) or [UNK] for document in documents]
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        ids = np.full((len(rows), length), PAD, dtype=np.int32)
        mask = np.arange(length) < lengths[:, None]
        ids[mask] = np.fromiter(chain.from_iterable(rows), np.int32, int(lengths.sum()))
        return ids


def word_counts(documents: Iterable[Iterable[str]]) -> Mapping[str, int]:
    """How often each word occurs in documents."""
    if isinstance(documents, TokenIds):
        return documents.counts()
    counts: Counter[str] = Counter()
    for document in documents:
        counts.update(document)
    return counts


class _IndexWithUnknown(dict[str, int]):
    """Ids by word, `<UNK>` for all others; as a dict, its look-ups run in C."""

    def __missing__(self, word: str) -> int:
        return UNK
