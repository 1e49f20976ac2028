"""A pre-trained encoder as a folder: what `training.pretraining` wrote, read without torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file

from arxiv_hybrid.errors import UserError
from arxiv_hybrid.io import read_lines
from arxiv_hybrid.text.vocabulary import SPECIAL, Vocabulary

WEIGHTS, FACTS, WORDS = "encoder.safetensors", "encoder.json", "vocab.txt"
EMBEDDING = "embedding.weight"
MODEL = "v5"  # the one model that can be pre-trained


@dataclass(frozen=True)
class Pretrained:
    """An encoder's weights by name, the arguments it was built with, the words it knows."""

    vocabulary: Vocabulary
    weights: dict[str, npt.NDArray[np.float32]]
    arguments: dict[str, Any]

    @property
    def embeddings(self) -> npt.NDArray[np.float32]:
        """The vector of every entry of the vocabulary, (V, D)."""
        return self.weights[EMBEDDING]

    def word_vectors(self) -> tuple[list[str], npt.NDArray[np.float32]]:
        """Real words and their vectors (words, D)."""
        return list(self.vocabulary.words[len(SPECIAL) :]), self.embeddings[len(SPECIAL) :]


def load_pretrained(folder: Path) -> Pretrained:
    """Read an encoder; UserError if a file is missing or damaged."""
    for name in (WEIGHTS, FACTS, WORDS):
        if not (folder / name).is_file():
            raise UserError(f"{folder / name}: not found (pretrained); see pretraining/README.md")
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        stored = load_file(folder / WEIGHTS)
        weights = {name: value.astype(np.float32) for name, value in stored.items()}
        vocabulary = Vocabulary(tuple(read_lines(folder / WORDS)))
        arguments = dict(facts["arguments"])
        if len(vocabulary) != len(weights[EMBEDDING]):
            raise ValueError(f"{len(vocabulary)} words for {len(weights[EMBEDDING])} vectors")
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{folder}: not a sound encoder (pretrained): {error}") from None
    return Pretrained(vocabulary, weights, arguments)
