"""What all saved classifiers do: from titles and abstracts to classes with probabilities."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import Tensor

from arxiv_hybrid.data.table import PaperTable
from arxiv_hybrid.inference.familiarity import Familiarity, Tokenized
from arxiv_hybrid.inference.model_config import (
    CATEGORIES,
    CATEGORY,
    UNSURE,
    LinearConfig,
    ModelConfig,
)
from arxiv_hybrid.inference.origin import Origin
from arxiv_hybrid.inference.texts import text_table
from arxiv_hybrid.inference.thresholds import assigned
from arxiv_hybrid.text.vocabulary import Vocabulary

NOT_FINITE = (
    "the model computes values that are not finite: its weights are damaged, or its training "
    "diverged; train it again"
)


class TextClassifier(ABC):
    """A model with its vocabulary: from titles and abstracts to class probabilities.

    familiarity: what finds papers unlike the training papers; None if it was not fitted. origin:
    what the model learned from; None if an older version saved it.
    """

    vocabulary: Vocabulary
    config: ModelConfig | LinearConfig
    familiarity: Familiarity | None
    origin: Origin | None

    @property
    @abstractmethod
    def kind(self) -> str:
        """What kind of model it is, in a word or two."""

    @abstractmethod
    def encode(self, papers: PaperTable) -> Any:
        """Encode titles and abstracts; UserError unless all are strings."""

    @abstractmethod
    def encoded_probabilities(self, papers: Any) -> Tensor:
        """Like `probabilities`, of papers that `encode` returned."""

    @abstractmethod
    def without_each_word(self, paper: Any) -> tuple[list[str], Tensor]:
        """The W distinct known words of one encoded paper, and probabilities (1 + W, C).

        The first row is that of the paper as it is; in each other one, a word counts as unknown.
        """

    @abstractmethod
    def save(self, folder: Path, origin: Origin | None = None) -> None:
        """Write the classifier into `folder`, with another origin if one is given."""

    @abstractmethod
    def _tokens(self, text: str) -> list[str]:
        """The words that the model reads in a text."""

    def __str__(self) -> str:
        """One line: the model, its classes, and where it comes from."""
        origin = self.origin.line() if self.origin else "saved without a record of its papers"
        return f"{self.kind} with {len(self.config.classes)} classes, {origin}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"

    @property
    def columns(self) -> list[str]:
        """The columns of `classify`."""
        several = [CATEGORIES] if self.config.multi_label else []
        return [CATEGORY, *several, UNSURE, *self.config.classes]

    def classify(self, papers: pd.DataFrame | Sequence[Any]) -> pd.DataFrame:
        """The likeliest class of each paper, and the probability of each class.

        papers: a table with the columns title and abstract, others are ignored; or a list of
        dictionaries with these keys, or of (title, abstract) pairs. The rows have the index of
        the table. Columns: `category`, the likeliest class; `categories`, only if a paper may have
        several: those assigned, the likeliest first, joined by `;`; `unsure`: whether the paper is
        unlike the training papers, so that its probabilities mean little; then one column per
        class. Raises UserError if a title or abstract is missing or not a string; it may be empty.
        """
        names, papers = self.config.classes, text_table(papers)
        encoded = self.encode(papers)
        probabilities = self.encoded_probabilities(encoded).numpy()
        table = pd.DataFrame(probabilities, columns=names, index=papers.index)
        table.insert(0, UNSURE, self.unfamiliar(encoded).tolist())
        if self.config.multi_label:
            table.insert(0, CATEGORIES, self._joined(probabilities))
        table.insert(0, CATEGORY, [names[number] for number in probabilities.argmax(1).tolist()])
        return table

    def probabilities(self, papers: pd.DataFrame | Sequence[Any]) -> Tensor:
        """Class probabilities (N, C) in float64 on the CPU, of papers as `classify` takes them.

        Rows are in the order of the papers. They sum to 1, unless a paper may have several classes:
        then each class has a probability by itself. Raises UserError as `classify` does.
        """
        return self.encoded_probabilities(self.encode(text_table(papers)))

    def assigned(self, probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """The classes (N, C) that papers are assigned; without `multi_label` the likeliest one."""
        thresholds = self.config.thresholds or [math.inf] * len(self.config.classes)
        return assigned(probabilities, np.array(thresholds))

    def unfamiliar(self, papers: Tokenized) -> npt.NDArray[np.bool_]:
        """Whether each encoded paper (N,) is unlike the training papers; see `familiarity`."""
        if self.familiarity is None or not len(papers):
            return np.zeros(len(papers), dtype=bool)
        return self.familiarity.unfamiliar(papers)

    def known_words(self, papers: pd.DataFrame | Sequence[Any]) -> tuple[int, int]:
        """How many words of the papers' titles and abstracts the vocabulary has, and all of them.

        A word counts as often as it occurs.
        """
        known, read = self._word_counts(papers)
        return int(known.sum()), int(read.sum())

    def unknown_words(self, papers: pd.DataFrame | Sequence[Any]) -> npt.NDArray[np.float64]:
        """The share of each paper's words (N,) that the vocabulary lacks; 0 if it has no words."""
        known, read = self._word_counts(papers)
        shares: npt.NDArray[np.float64] = (read - known) / np.maximum(read, 1)
        return shares

    def _word_counts(self, papers: pd.DataFrame | Sequence[Any]) -> npt.NDArray[np.int64]:
        """Known words and all words of each paper, (2, N)."""
        table, index = text_table(papers), self.vocabulary.index
        counts = np.zeros((2, len(table)), np.int64)
        for name in table:
            for row, text in enumerate(table[name]):
                words = self._tokens(text)
                counts[:, row] += sum(word in index for word in words), len(words)
        return counts

    def _joined(self, probabilities: npt.NDArray[np.float64]) -> list[str]:
        """The assigned classes of each paper, the likeliest first, joined by `;`."""
        if not len(probabilities):
            return []
        rows, numbers = np.nonzero(self.assigned(probabilities))
        order = np.lexsort((-probabilities[rows, numbers], rows))
        names = np.array(self.config.classes, dtype=object)[numbers[order]]
        ends = np.searchsorted(rows, np.arange(1, len(probabilities)))
        return [";".join(part) for part in np.split(names, ends)]
