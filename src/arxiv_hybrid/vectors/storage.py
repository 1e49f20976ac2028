"""Store word vectors in a folder, and select some of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save

from arxiv_hybrid.system.files import read_lines, write_bytes, write_lines

FloatMatrix = npt.NDArray[np.float32]


def save_vectors(folder: Path, words: list[str], vectors: FloatMatrix) -> None:
    """Write `words.txt` and `vectors.safetensors`."""
    write_lines(folder / "words.txt", words)
    write_bytes(folder / "vectors.safetensors", save({"vectors": np.ascontiguousarray(vectors)}))


def load_vectors(folder: Path) -> tuple[list[str], FloatMatrix]:
    """Read the files of `save_vectors`: words, and vectors of shape (words, dim)."""
    words = read_lines(folder / "words.txt")
    vectors: FloatMatrix = load_file(folder / "vectors.safetensors")["vectors"]
    return words, vectors


def select_words(
    words: list[str], vectors: FloatMatrix, wanted: set[str]
) -> tuple[list[str], FloatMatrix]:
    """Keep the wanted words, in their order, and their vectors."""
    rows = [row for row, word in enumerate(words) if word in wanted]
    return [words[row] for row in rows], vectors[rows]
