"""A pre-trained encoder: a classifier's folder with the ids of its papers; read without torch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError

from arxiv_hybrid.data.identifiers import with_zeros
from arxiv_hybrid.inference import paper_ids, weights
from arxiv_hybrid.inference.model_config import (
    CONFIG,
    FAMILIARITY,
    ORIGIN,
    PAPERS,
    WEIGHTS,
    WORDS,
    ModelConfig,
)
from arxiv_hybrid.inference.origin import Origin
from arxiv_hybrid.params import PRETRAINABLE
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import lines_of, read_bound
from arxiv_hybrid.text.vocabulary import SPECIAL, Vocabulary

EMBEDDING = "embedding.weight"
OF_THE_TASK = ("vocab_size", "num_classes", "dropout")  # arguments that a classifier sets itself


@dataclass(frozen=True, repr=False)
class Pretrained:
    """An encoder: its vocabulary, its weights by name, and the widths it was built with.

    papers: ids of the papers that it learned from. origin: where they come from. classes: the
    categories that it has learned, in the order of its head's rows.
    """

    vocabulary: Vocabulary
    weights: dict[str, npt.NDArray[np.float32]]
    arguments: dict[str, Any]
    papers: frozenset[str]
    origin: Origin = field(default_factory=Origin)
    classes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self.vocabulary):,} words, {self.origin.learned()}>"

    def check_held_out(self, held_out: Collection[str]) -> None:
        """Raise UserError if the encoder was trained on any validation or test paper (ids).

        An id that lost its last zero as a number counts as the whole one.
        """
        if seen := sorted(self.papers.intersection({*held_out, *map(with_zeros, held_out)})):
            raise UserError(
                f"pretrained: it was trained on {len(seen):,} validation or test papers, such as "
                f"{seen[0]}; set pretrained: null to train without it, or pre-train with leave_out "
                "(see pretraining/README.md)"
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
        content, files = read_bound(folder / CONFIG, (WEIGHTS, WORDS, PAPERS), (FAMILIARITY,))
        origin = Origin.from_json(content.pop(ORIGIN))
        config = ModelConfig(**content)
        config.check()
        if config.model != PRETRAINABLE:
            raise ValueError(f"{CONFIG} describes another model than {PRETRAINABLE}")
        papers = paper_ids.unpack_ids(files[PAPERS])
        vocabulary = Vocabulary(tuple(lines_of(files[WORDS])))
        arrays = _floats(files[WEIGHTS])
        if len(vocabulary) != len(arrays[EMBEDDING]):
            raise ValueError(f"{len(vocabulary)} words but {len(arrays[EMBEDDING])} vectors")
    except (SafetensorError, UserError, ValueError, TypeError, LookupError, RuntimeError) as error:
        raise UserError(f"{folder}: not a valid encoder (pretrained): {error}") from None
    widths = {name: value for name, value in config.arguments.items() if name not in OF_THE_TASK}
    return Pretrained(vocabulary, arrays, widths, papers, origin, tuple(config.classes))


def _floats(file: bytes) -> dict[str, npt.NDArray[np.float32]]:
    """The weights in a file as float32, without the counters that some layers have."""
    arrays = weights.from_bytes(file)
    return {
        name: value.astype(np.float32, copy=False)
        for name, value in arrays.items()
        if value.dtype.kind == "f"
    }
