"""TF-IDF of words and pairs of neighbouring words, equal to scikit-learn's but without it.

Title and abstract are one text, joined by a full stop. A word is two letters or more in lower case.
Each pair is stored as two word numbers: a word that a pair has is always a word by itself, because
both must occur in two training papers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
import numpy.typing as npt
import pandas as pd

from arxiv_hybrid.data.table import PaperFile, PaperTable
from arxiv_hybrid.inference.familiarity import Tokens
from arxiv_hybrid.inference.texts import texts
from arxiv_hybrid.system.number_file import NumberFile
from arxiv_hybrid.text.vocabulary import SPECIAL, UNK, Vocabulary

TOKEN_PATTERN = r"(?u)\b\w\w+\b"  # noqa: S105 (no password): scikit-learn's default
_BLOCK = 1 << 17  # tokens whose features are in memory
LEAST = 1e-12  # the square of a vector's length
_CHUNK = 1 << 20  # tokens that are compared with the training papers at a time

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

words_of = re.compile(TOKEN_PATTERN).findall  # of a text in lower case


def paper_words(papers: pd.DataFrame) -> Iterator[list[str]]:
    """The words of each paper; UserError unless every title and abstract is a string."""
    for title, abstract in zip(texts(papers, "title"), texts(papers, "abstract"), strict=True):
        yield words_of(f"{title}. {abstract}".lower())


@dataclass(frozen=True)
class WordIds:
    """The words of N texts: ids (T,), `UNK` for unknown words.

    starts (N + 1,): text n is ids[starts[n]:starts[n + 1]].
    """

    ids: npt.NDArray[np.int32]
    starts: Integers

    def __len__(self) -> int:
        return len(self.starts) - 1

    def part(self, first: int, end: int) -> WordIds:
        """The texts from `first` up to `end`."""
        starts = self.starts[first : end + 1]
        return WordIds(self.ids[starts[0] : starts[-1]], starts - starts[0])

    def blocks(self, tokens: int = _BLOCK) -> Iterator[WordIds]:
        """Parts of at most so many tokens, or of one text."""
        first = 0
        while first < len(self):
            end = int(np.searchsorted(self.starts, self.starts[first] + tokens, side="right")) - 1
            end = max(end, first + 1)
            yield self.part(first, end)
            first = end

    def token_chunks(self) -> Iterator[Tokens]:
        """The tokens of all texts, for `familiarity`."""
        for part in self.blocks(_CHUNK):
            yield Tokens(part.rows, part.ids.astype(np.int64), len(part))

    @property
    def rows(self) -> Integers:
        """The text of each token, (T,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))


@dataclass(frozen=True)
class Entries:
    """The E entries of sparse vectors, sorted by row: row, column, and how often it occurs."""

    rows: Integers
    columns: Integers
    counts: Integers


@dataclass(frozen=True)
class Tfidf:
    """Columns: first the vocabulary, then the pairs (P, 2) of word ids, sorted; idf (V + P,)."""

    vocabulary: Vocabulary
    pairs: npt.NDArray[np.int32]
    idf: npt.NDArray[np.float32]

    @classmethod
    def of(cls, columns: dict[str, int], idf: Floats) -> tuple[Tfidf, Integers]:
        """What scikit-learn's vectorizer of words and pairs fitted, and its number of each column.

        columns: its `vocabulary_`. idf: its `idf_`. The special words have no number there, so the
        numbers are those of the columns after them.
        """
        words = sorted(name for name in columns if " " not in name)
        vocabulary = Vocabulary((*SPECIAL, *words))
        names = [name for name in columns if " " in name]
        split = (vocabulary.index[word] for name in names for word in name.split(" "))
        pairs = np.fromiter(split, np.int32, 2 * len(names)).reshape(-1, 2)
        order = np.lexsort(pairs.T[::-1])
        ordered = chain(words, (names[place] for place in order.tolist()))
        numbers = np.fromiter((columns[name] for name in ordered), np.int64, len(columns))
        values = np.concatenate([np.ones(len(SPECIAL)), idf[numbers]]).astype(np.float32)
        return cls(vocabulary, pairs[order], values), numbers

    def check(self) -> None:
        """Raise ValueError unless pairs and frequencies fit the vocabulary."""
        words = len(self.vocabulary)
        if self.pairs.dtype != np.int32 or self.pairs.ndim != 2 or self.pairs.shape[1] != 2:
            raise ValueError("pairs must be two word numbers each")
        if ((self.pairs < len(SPECIAL)) | (self.pairs >= words)).any():
            raise ValueError("pairs must be of words in the vocabulary")
        if (np.diff(self._keys, prepend=-1) <= 0).any():
            raise ValueError("pairs must rise")
        if self.idf.dtype != np.float32 or self.idf.shape != (words + len(self.pairs),):
            raise ValueError("idf must have one number for each word and pair")
        if not (self.idf > 0).all():
            raise ValueError("idf must be positive")

    def encode(self, papers: PaperTable) -> WordIds:
        """The words of papers; UserError unless every title and abstract is a string.

        Those of a file of papers are in a file as well, mapped into memory.
        """
        if isinstance(papers, PaperFile):
            ids = NumberFile(np.int32)
            lengths: list[Integers] = [np.zeros(1, np.int64)]
            for part in papers.batches():
                encoded = self.encode(part)
                ids.append(encoded.ids)
                lengths.append(np.diff(encoded.starts))
            return WordIds(ids.array(), np.cumsum(np.concatenate(lengths)))
        id_of = self.vocabulary.index.get
        rows = [[id_of(word, UNK) for word in words] for words in paper_words(papers)]
        starts = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=starts[1:])
        return WordIds(np.fromiter(chain.from_iterable(rows), np.int32, int(starts[-1])), starts)

    def entries(self, papers: WordIds) -> Entries:
        """How often each column occurs in each text."""
        width = len(self.idf)
        rows, ids = papers.rows, papers.ids.astype(np.int64)
        known = ids != UNK
        places, numbers = self._pairs_in(rows, ids, known)
        keys = np.concatenate(
            [
                rows[known] * width + ids[known],
                rows[places] * width + len(self.vocabulary) + numbers,
            ]
        )
        keys, counts = np.unique(keys, return_counts=True)
        cells, columns = np.divmod(keys, width)
        return Entries(cells, columns, counts)

    def values(self, entries: Entries) -> Floats:
        """The weight of each entry (E,), before its text's vector is scaled to length 1."""
        result: Floats = (1 + np.log(entries.counts)) * self.idf[entries.columns]
        return result

    def unit_entries(self, papers: WordIds) -> tuple[Entries, Floats]:
        """The entries of each text, and their weights in a vector of length 1."""
        entries = self.entries(papers)
        values = self.values(entries)
        squares = np.bincount(entries.rows, values**2, len(papers))
        values /= np.sqrt(np.maximum(squares, LEAST))[entries.rows]
        return entries, values

    def words_in(self, columns: Integers) -> Integers:
        """The two words of each column (E, 2); twice the same for a single word."""
        number = columns - len(self.vocabulary)
        single = np.repeat(columns[:, None], 2, axis=1)
        if not len(self.pairs):
            return single
        return np.where(number[:, None] < 0, single, self.pairs[np.maximum(number, 0)])

    def _pairs_in(
        self, rows: Integers, ids: Integers, known: npt.NDArray[np.bool_]
    ) -> tuple[Integers, Integers]:
        """Where a pair begins that is a column, and its number among the pairs."""
        neighbours = known[:-1] & known[1:] & (rows[:-1] == rows[1:])
        places = np.flatnonzero(neighbours)
        wanted = ids[places] * len(self.vocabulary) + ids[places + 1]
        keys = self._keys
        numbers = np.searchsorted(keys, wanted)
        found = numbers < len(keys)
        found[found] = keys[numbers[found]] == wanted[found]
        return places[found], numbers[found]

    @cached_property
    def _keys(self) -> Integers:
        """One number for each pair (P,), in their order."""
        first, second = self.pairs.astype(np.int64).T
        result: Integers = first * len(self.vocabulary) + second
        return result
