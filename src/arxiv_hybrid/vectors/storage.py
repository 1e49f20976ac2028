"""Store word vectors in a folder, and select some of them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt

from arxiv_hybrid.system.files import read_arrays, read_lines, write_arrays, write_lines

FloatMatrix = npt.NDArray[np.float32]
WORDS, VECTORS = "words.txt", "vectors.safetensors"


def save_vectors(folder: Path, words: list[str], vectors: FloatMatrix) -> None:
    """Write `words.txt` and `vectors.safetensors`, which is bound to it."""
    write_lines(folder / WORDS, words)
    arrays = {"vectors": np.ascontiguousarray(vectors)}
    write_arrays(folder / VECTORS, arrays, bind=[folder / WORDS])


def load_vectors(folder: Path) -> tuple[list[str], FloatMatrix]:
    """Read the files of `save_vectors`: words, and vectors of shape (words, dim).

    Raises UserError if one of them is damaged, or the words belong to other vectors.
    """
    vectors = read_arrays(folder / VECTORS)["vectors"]
    return read_lines(folder / WORDS), vectors


def select_words(
    words: list[str], vectors: FloatMatrix, wanted: Collection[str]
) -> tuple[list[str], FloatMatrix]:
    """Keep the wanted words, in their order, and their vectors."""
    rows = [row for row, word in enumerate(words) if word in wanted]
    return [words[row] for row in rows], vectors[rows]
