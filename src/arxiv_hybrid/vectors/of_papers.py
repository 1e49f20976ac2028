"""The word vectors that an encoder starts from: word2vec on the papers of pre-training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from arxiv_hybrid.data.paper_arrays import PaperArrays, Rows
from arxiv_hybrid.params.pretraining import PretrainingParams
from arxiv_hybrid.text.vocabulary import SPECIAL, Vocabulary
from arxiv_hybrid.vectors.matrix import FloatMatrix, embedding_matrix
from arxiv_hybrid.vectors.train import word2vec

WINDOW, NEGATIVES = 5, 5  # so many papers need few negative samples


@dataclass(frozen=True)
class Texts:
    """The known words of the papers in `rows`, titles and abstracts; can be iterated repeatedly."""

    arrays: PaperArrays
    rows: Rows

    def __iter__(self) -> Iterator[list[str]]:
        """One list of words per paper."""
        arrays, rows = self.arrays, self.rows
        ends = arrays.starts[rows] + arrays.lengths[rows].sum(1, dtype=np.int64)
        for start, end in zip(arrays.starts[rows].tolist(), ends.tolist(), strict=True):
            ids = arrays.tokens[start:end].tolist()
            yield [arrays.words[token] for token in ids if token >= len(SPECIAL)]


def vectors_of(arrays: PaperArrays, params: PretrainingParams) -> FloatMatrix:
    """A matrix (V, dim) of the words of `arrays`, trained on all but the validation papers.

    All vectors have the same length, so rare words, whose vectors are short, count as much as
    others.
    """
    rows = np.flatnonzero(~arrays.held_back(params.validation))
    words, vectors = word2vec(
        Texts(arrays, rows), dim=params.dim, window=WINDOW, min_freq=1, epochs=params.vector_epochs,
        seed=params.seed, negative=NEGATIVES,
    )  # fmt: skip
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    vocabulary = Vocabulary(tuple(arrays.words))
    return embedding_matrix(vocabulary, words, vectors, dim=params.dim, seed=params.seed)[0]
