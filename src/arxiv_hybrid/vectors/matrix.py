"""The embedding matrix: pre-trained vectors where available, random ones elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from arxiv_hybrid.system.files import read_arrays, write_arrays
from arxiv_hybrid.text.vocabulary import PAD, SPECIAL, Vocabulary, word_counts

FloatMatrix = npt.NDArray[np.float32]
EMBEDDING_STD = 0.1  # of random rows; pre-trained vectors are scaled to it


def embedding_matrix(
    vocabulary: Vocabulary, words: list[str], vectors: FloatMatrix, *, dim: int, seed: int
) -> tuple[FloatMatrix, npt.NDArray[np.bool_]]:
    """Build the matrix (V, dim), and a mask (V,) of the words that have a vector.

    Other rows are normal with the same standard deviation; the padding row is zero. Vectors
    with fewer than `dim` dimensions, as from a tiny corpus, are padded with zeros.
    """
    random = np.random.default_rng(seed)
    matrix = random.normal(0, EMBEDDING_STD, (len(vocabulary), dim)).astype(np.float32)
    row_of = {word: row for row, word in enumerate(words)}
    rows = np.array([row_of.get(word, -1) for word in vocabulary.words])
    known = rows >= 0
    if known.any():
        scaled = vectors * (EMBEDDING_STD / max(float(vectors.std()), 1e-12))
        matrix[known] = 0
        matrix[known, : vectors.shape[1]] = scaled[rows[known]]
    matrix[PAD] = 0
    return matrix, known


def coverage(
    vocabulary: Vocabulary, tokens: Mapping[str, Iterable[Iterable[str]]],
    known: npt.NDArray[np.bool_],
) -> dict[str, Any]:  # fmt: skip
    """Vocabulary size, share of its words with a vector, and out-of-vocabulary share per split.

    tokens: the documents of each split. known: mask of the words that have a vector.
    """
    out_of_vocabulary = {}
    for name, documents in tokens.items():
        counts = word_counts(documents)
        unknown = sum(count for word, count in counts.items() if word not in vocabulary.index)
        out_of_vocabulary[name] = unknown / max(sum(counts.values()), 1)
    return {
        "size": len(vocabulary),
        "words_with_vector": float(known[len(SPECIAL) :].mean()) if len(vocabulary) > 2 else 0.0,
        "out_of_vocabulary": out_of_vocabulary,
    }


def save_matrix(path: Path, matrix: FloatMatrix, *, words: Path) -> None:
    """Write the matrix as safetensors; words: the vocabulary's file, to which it is bound."""
    write_arrays(path, {"embeddings": np.ascontiguousarray(matrix)}, bind=[words])


def load_matrix(path: Path) -> FloatMatrix:
    """Read a file of `save_matrix`; UserError if it is damaged or beside other words."""
    return read_arrays(path)["embeddings"]
