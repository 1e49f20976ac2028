"""A pre-trained encoder on disk, as `training.pretraining` writes it; read without torch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load

from arxiv_hybrid.params import PRETRAINABLE
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import lines_of, read_bound
from arxiv_hybrid.text.vocabulary import SPECIAL, Vocabulary

WEIGHTS, CONFIG, WORDS, PAPERS = "encoder.safetensors", "encoder.json", "vocab.txt", "papers.txt"
WIDTHS = {"num_filters", "lstm_hidden"}
EMBEDDING = "embedding.weight"


@dataclass(frozen=True)
class Pretrained:
    """An encoder: its vocabulary, weights by name, and the widths it was built with.

    papers: ids of the papers that it was trained on.
    """

    vocabulary: Vocabulary
    weights: dict[str, npt.NDArray[np.float32]]
    arguments: dict[str, Any]
    papers: frozenset[str]

    def check_held_out(self, held_out: Collection[str]) -> None:
        """Raise UserError if the encoder was trained on any validation or test paper (ids)."""
        if seen := sorted(self.papers.intersection(held_out)):
            raise UserError(
                f"pretrained: it was trained on {len(seen):,} validation or test papers, such as "
                f"{seen[0]}; pre-train with leave_out (see pretraining/README.md)"
            )

    @property
    def embeddings(self) -> npt.NDArray[np.float32]:
        """The vector of every vocabulary entry, shape (V, D)."""
        return self.weights[EMBEDDING]

    def word_vectors(self) -> tuple[list[str], npt.NDArray[np.float32]]:
        """Words without the special entries, and their vectors (words, D)."""
        return list(self.vocabulary.words[len(SPECIAL) :]), self.embeddings[len(SPECIAL) :]


def load_pretrained(folder: Path) -> Pretrained:
    """Read an encoder; UserError if a file is missing, damaged or from another encoder."""
    for name in (WEIGHTS, CONFIG, WORDS, PAPERS):
        if not (folder / name).is_file():
            raise UserError(f"{folder / name}: not found (pretrained); see pretraining/README.md")
    try:
        config, files = read_bound(folder / CONFIG, (WEIGHTS, WORDS, PAPERS))
        weights = {name: value.astype(np.float32) for name, value in load(files[WEIGHTS]).items()}
        if damaged := [name for name, value in weights.items() if not np.isfinite(value).all()]:
            raise ValueError(f"{damaged[0]} has values that are not finite")
        vocabulary = Vocabulary(tuple(lines_of(files[WORDS])))
        papers = frozenset(lines_of(files[PAPERS]))
        arguments = dict(config["arguments"])
        if config["model"] != PRETRAINABLE or set(arguments) != WIDTHS:
            raise ValueError(f"{CONFIG} describes another model than {PRETRAINABLE}")
        if len(vocabulary) != len(weights[EMBEDDING]):
            raise ValueError(f"{len(vocabulary)} words but {len(weights[EMBEDDING])} vectors")
    except (SafetensorError, UserError, ValueError, TypeError, LookupError, RuntimeError) as error:
        raise UserError(f"{folder}: not a valid encoder (pretrained): {error}") from None
    return Pretrained(vocabulary, weights, arguments, papers)
