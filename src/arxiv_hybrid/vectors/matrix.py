"""The embedding matrix: pre-trained vectors where there are any, random ones elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save

from arxiv_hybrid.system.files import require, write_bytes
from arxiv_hybrid.text.vocabulary import PAD, SPECIAL, Vocabulary

FloatMatrix = npt.NDArray[np.float32]
SPREAD = 0.1  # standard deviation of the whole matrix; vectors of any origin are scaled to it


def embedding_matrix(
    vocabulary: Vocabulary, words: list[str], vectors: FloatMatrix, *, dim: int, seed: int
) -> tuple[FloatMatrix, npt.NDArray[np.bool_]]:
    """The matrix (V, dim), and which words (V,) have a vector.

    Words without one are drawn from a normal distribution of the same spread; the padding
    row is zero. Vectors narrower than `dim`, as of a tiny corpus, are filled up with zeros.
    """
    random = np.random.default_rng(seed)
    matrix = random.normal(0, SPREAD, (len(vocabulary), dim)).astype(np.float32)
    rows = {word: row for row, word in enumerate(words)}
    places = np.array([rows.get(word, -1) for word in vocabulary.words])
    known = places >= 0
    if known.any():
        scaled = vectors * (SPREAD / max(float(vectors.std()), 1e-12))
        matrix[known] = 0
        matrix[known, : vectors.shape[1]] = scaled[places[known]]
    matrix[PAD] = 0
    return matrix, known


def coverage(
    vocabulary: Vocabulary, tokens: dict[str, list[list[str]]], known: npt.NDArray[np.bool_]
) -> dict[str, Any]:
    """Size, share of words with a vector, and share of running words unknown a split."""
    unknown = {}
    for name, documents in tokens.items():
        total = sum(len(document) for document in documents)
        missed = sum(word not in vocabulary.index for document in documents for word in document)
        unknown[name] = missed / max(total, 1)
    return {
        "size": len(vocabulary),
        "words_with_vector": float(known[len(SPECIAL) :].mean()) if len(vocabulary) > 2 else 0.0,
        "out_of_vocabulary": unknown,
    }


def save_matrix(path: Path, matrix: FloatMatrix) -> None:
    """Write the matrix as safetensors."""
    write_bytes(path, save({"embeddings": np.ascontiguousarray(matrix)}))


def load_matrix(path: Path) -> FloatMatrix:
    """Read what `save_matrix` wrote."""
    require(path)
    matrix: FloatMatrix = load_file(path)["embeddings"]
    return matrix
