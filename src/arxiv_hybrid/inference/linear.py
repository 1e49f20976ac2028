"""A linear classifier of TF-IDF vectors as a folder like that of a network; see `checkpoint`.

Weights are kept by column, and only those that are stored: a model of many classes has none for
most pairs of a class and a rare pair of words. Nothing here needs scikit-learn.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from arxiv_hybrid.data.table import PaperTable
from arxiv_hybrid.inference import familiarity
from arxiv_hybrid.inference.classifier import NOT_FINITE, TextClassifier
from arxiv_hybrid.inference.familiarity import Familiarity
from arxiv_hybrid.inference.model_config import FAMILIARITY, PAPERS, WEIGHTS, WORDS, LinearConfig
from arxiv_hybrid.inference.model_folder import write_model
from arxiv_hybrid.inference.origin import Origin
from arxiv_hybrid.inference.tfidf import LEAST, TOKEN_PATTERN, Tfidf, WordIds, words_of
from arxiv_hybrid.inference.weights import from_bytes, to_bytes
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import lines_of
from arxiv_hybrid.text.vocabulary import UNK, Vocabulary

_PRODUCTS = 1 << 20  # of weights and values, in memory

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Weights:
    """K weights of V columns and C classes, and a bias for each class (C,).

    counts (V,): weights of each column, which come one column after the other. classes (K,): the
    class of each, rising within a column; factors (K,): the weights, in 16 or 32 bits.
    """

    counts: npt.NDArray[np.uint16]
    classes: npt.NDArray[np.uint16]
    factors: npt.NDArray[np.floating[Any]]
    biases: npt.NDArray[np.float32]

    @cached_property
    def starts(self) -> Integers:
        """Where the weights of each column start, and where the last ones end, (V + 1,)."""
        return np.concatenate([[0], np.cumsum(self.counts, dtype=np.int64)])

    def sums(self, rows: Integers, columns: Integers, values: Floats, number: int) -> Floats:
        """For each row and class, the sum of values times weights, (number, C).

        rows, columns, values (E,): the entries of sparse vectors.
        """
        width = len(self.biases)
        result = np.zeros(number * width)
        ends = np.cumsum(self.counts[columns], dtype=np.int64)
        first = 0
        while first < len(columns):
            before = ends[first - 1] if first else 0
            last = max(int(np.searchsorted(ends, before + _PRODUCTS, side="right")), first + 1)
            part = slice(first, last)
            counts = self.counts[columns[part]].astype(np.int64)
            places = np.arange(counts.sum())
            places += np.repeat(self.starts[columns[part]] - (np.cumsum(counts) - counts), counts)
            products = np.repeat(values[part], counts) * self.factors[places]
            targets = np.repeat(rows[part] * width, counts) + self.classes[places]
            result += np.bincount(targets, products, minlength=len(result))
            first = last
        return result.reshape(number, width)

    def check(self, columns: int, classes: int) -> None:
        """Raise ValueError unless these are weights of so many columns and classes."""
        kinds = {"counts": "u2", "classes": "u2", "biases": "f4"}
        if any(getattr(self, name).dtype != kind for name, kind in kinds.items()):
            raise ValueError("counts, classes and biases are of another type")
        if self.counts.shape != (columns,) or self.biases.shape != (classes,):
            raise ValueError(f"weights: expected {columns} columns and {classes} classes")
        stored = int(self.counts.sum(dtype=np.int64))
        if self.classes.shape != (stored,) or self.factors.shape != (stored,):
            raise ValueError(f"weights: {stored} counted, {self.classes.shape} and "
                             f"{self.factors.shape} stored")  # fmt: skip
        if self.factors.dtype.kind != "f":
            raise ValueError("weights are not numbers")
        rising = self.classes[1:] > self.classes[:-1]
        rising[self.starts[(self.starts > 0) & (self.starts < stored)] - 1] = True
        if not rising.all() or (self.classes >= classes).any():
            raise ValueError("weights: classes must rise, and exist")


@dataclass(frozen=True, repr=False)
class LinearClassifier(TextClassifier):
    """TF-IDF vectors times weights; see `TextClassifier`."""

    config: LinearConfig
    tfidf: Tfidf
    weights: Weights
    familiarity: Familiarity | None = None
    origin: Origin | None = None

    @property
    def vocabulary(self) -> Vocabulary:  # type: ignore[override]
        """The words."""
        return self.tfidf.vocabulary

    @property
    def kind(self) -> str:
        """What kind of model it is."""
        return "linear model"

    def encode(self, papers: PaperTable) -> WordIds:
        """The words of papers; UserError unless every title and abstract is a string."""
        return self.tfidf.encode(papers)

    def encoded_probabilities(self, papers: WordIds) -> Tensor:
        """See `TextClassifier`."""
        sums, first = np.empty((len(papers), len(self.config.classes))), 0
        for part in papers.blocks():
            sums[first : first + len(part)] = self._sums(part)
            first += len(part)
        return self._linked(sums)

    def without_each_word(self, paper: WordIds) -> tuple[list[str], Tensor]:
        """See `TextClassifier`; a hidden word takes the pairs that it is in with it."""
        entries = self.tfidf.entries(paper)
        values, columns = self.tfidf.values(entries), entries.columns
        words = np.unique(paper.ids[paper.ids != UNK]).astype(np.int64)
        owners = self.tfidf.words_in(columns)  # (E, 2)
        twice = owners[:, 0] == owners[:, 1]
        kept = np.concatenate([np.arange(len(columns)), np.flatnonzero(~twice)])
        hidden = np.searchsorted(words, np.concatenate([owners[:, 0], owners[~twice, 1]]))
        none = np.zeros(len(columns), np.int64)
        whole = self.weights.sums(none, columns, values, 1)
        lost = self.weights.sums(hidden, columns[kept], values[kept], len(words))
        squares = np.bincount(hidden, values[kept] ** 2, len(words))
        left = len(columns) - np.bincount(hidden, minlength=len(words))
        rest = np.where(left[:, None] > 0, whole - lost, 0.0)
        length = np.concatenate([[(values**2).sum()], (values**2).sum() - squares])
        sums = np.concatenate([whole, rest]) / np.sqrt(np.maximum(length, LEAST))[:, None]
        return [self.vocabulary.words[number] for number in words], self._linked(sums)

    def save(self, folder: Path, origin: Origin | None = None) -> None:
        """Write the classifier into `folder`, with another origin if one is given."""
        arrays = {
            **{name: value for name, value in vars(self.weights).items() if name != "starts"},
            "pairs": self.tfidf.pairs,
            "idf": self.tfidf.idf,
        }
        fitted = self.familiarity
        files = {
            WEIGHTS: to_bytes(arrays),
            WORDS: "".join(f"{word}\n" for word in self.vocabulary.words).encode(),
            FAMILIARITY: None if fitted is None else familiarity.to_bytes(fitted),
            PAPERS: None,
        }
        write_model(folder, asdict(self.config), files, origin or self.origin)

    def _sums(self, papers: WordIds) -> Floats:
        """The sums of weights of unit vectors, without biases, (N, C)."""
        entries, values = self.tfidf.unit_entries(papers)
        return self.weights.sums(entries.rows, entries.columns, values, len(papers))

    def _linked(self, sums: Floats) -> Tensor:
        """Sums of weights (N, C) as probabilities, in their place if it is a sigmoid's.

        Raises UserError if one is not finite.
        """
        sums += self.weights.biases
        result = torch.from_numpy(sums)
        if self.config.link == "softmax":
            result = torch.softmax(result, dim=1)
        else:
            result.sigmoid_()
            if not self.config.multi_label:
                result /= result.sum(1, keepdim=True)
        if not result.isfinite().all():
            raise UserError(NOT_FINITE)
        return result

    def _tokens(self, text: str) -> list[str]:
        return words_of(text.lower())


def parse(
    config: dict[str, Any], files: dict[str, bytes], origin: Origin | None
) -> LinearClassifier:
    """A classifier from what `LinearClassifier.save` wrote; see `model_folder.read_model`.

    Raises ValueError or another exception of the libraries if it is damaged.
    """
    described = LinearConfig(**config)
    described.check(TOKEN_PATTERN)
    if PAPERS in files:
        raise ValueError(f"{PAPERS} is of another model")
    vocabulary = Vocabulary(tuple(lines_of(files[WORDS])))
    arrays: dict[str, Any] = from_bytes(files[WEIGHTS])
    tfidf = Tfidf(vocabulary, arrays.pop("pairs"), arrays.pop("idf"))
    tfidf.check()
    weights = Weights(**arrays)
    weights.check(len(tfidf.idf), len(described.classes))
    fitted = None
    if FAMILIARITY in files:
        sizes = {"words": len(vocabulary), "classes": len(described.classes)}
        fitted = familiarity.parse(files[FAMILIARITY], **sizes)
    return LinearClassifier(described, tfidf, weights, fitted, origin)
