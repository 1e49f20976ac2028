"""The tokens of many texts as numbers in a file that is mapped into memory, not read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, count, islice

import numpy as np
import numpy.typing as npt

from arxiv_hybrid.system.number_file import NumberFile
from arxiv_hybrid.text.tokenize import tokenize

_TEXTS_AT_ONCE = 4096

Integers = npt.NDArray[np.int64]


class TokenIds:
    """The tokens of N texts; iterated, it gives each text's tokens, as often as one likes.

    words: each distinct token, in the order in which they first occur. ids (T,): their numbers in
    all texts, one after the other. starts (N + 1,): text n is ids[starts[n]:starts[n + 1]].
    """

    def __init__(self, words: list[str], ids: npt.NDArray[np.int32], starts: Integers) -> None:
        self.words, self.ids, self.starts = words, ids, starts

    @classmethod
    def of(cls, texts: Iterable[str]) -> TokenIds:
        """Tokenize texts."""
        return cls.of_tokens(map(tokenize, texts))

    @classmethod
    def of_tokens(cls, documents: Iterable[Sequence[str]]) -> TokenIds:
        """The tokens of each text, from another tokenizer."""
        numbers: defaultdict[str, int] = defaultdict(count().__next__)  # looks up in C
        lengths: list[Integers] = [np.zeros(1, np.int64)]
        every, ids = iter(documents), NumberFile(np.int32)
        while some := list(islice(every, _TEXTS_AT_ONCE)):
            lengths.append(np.fromiter(map(len, some), np.int64, len(some)))
            found = map(numbers.__getitem__, chain.from_iterable(some))
            ids.append(np.fromiter(found, np.int32, int(lengths[-1].sum())))
        return cls(list(numbers), ids.array(), np.cumsum(np.concatenate(lengths)))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __iter__(self) -> Iterator[list[str]]:
        words = self.words
        for start, end in zip(self.starts[:-1].tolist(), self.starts[1:].tolist(), strict=True):
            yield [words[number] for number in self.ids[start:end].tolist()]

    @property
    def lengths(self) -> Integers:
        """Tokens of each text, (N,)."""
        return np.diff(self.starts)

    def counts(self) -> dict[str, int]:
        """How often each token occurs in these texts."""
        pairs = zip(self.words, self.totals().tolist(), strict=True)
        return {word: total for word, total in pairs if total}

    def totals(self) -> Integers:
        """How often each of `words` occurs in these texts, (W,)."""
        result = np.zeros(len(self.words), np.int64)
        for ids, _, _ in self.blocks():
            result += np.bincount(ids, minlength=len(result))
        return result

    def papers_with(self, rows: npt.NDArray[np.bool_] | None = None) -> Integers:
        """In how many of the texts in `rows`, (N,) bool, each word occurs, (W,); None: in all."""
        words = max(len(self.words), 1)
        result, first = np.zeros(len(self.words), np.int64), 0
        for ids, text, number in self.blocks():
            if rows is not None:
                chosen = rows[first : first + number][text]
                ids, text = ids[chosen], text[chosen]
            first += number
            once = np.unique(text * words + ids) % words
            result += np.bincount(once, minlength=len(result))
        return result

    def first(self, number: int) -> TokenIds:
        """The first texts of these."""
        starts = self.starts[: number + 1]
        return TokenIds(self.words, self.ids[: starts[-1]], starts)

    def blocks(self, first: int = 0) -> Iterator[tuple[Integers, Integers, int]]:
        """Some thousand texts at a time, from the text `first` on.

        The numbers of their tokens (T,), the text of each (T,), from 0 on, and how many texts.
        """
        for start in range(first, len(self), _TEXTS_AT_ONCE):
            end = min(start + _TEXTS_AT_ONCE, len(self))
            ids = self.ids[self.starts[start] : self.starts[end]].astype(np.int64)
            lengths = np.diff(self.starts[start : end + 1])
            yield ids, np.repeat(np.arange(end - start), lengths), end - start
