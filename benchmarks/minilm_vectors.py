"""MiniLM's vectors of papers, which minilm.py wrote, and the logistic regression on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.linear_model import LogisticRegression

from arxiv_hybrid.data.identifiers import canonical, with_zeros
from arxiv_hybrid.system.errors import UserError

STRENGTHS = (1.0, 5.0, 20.0)  # C of the logistic regression; validation accuracy decides


@dataclass(frozen=True)
class Encodings:
    """Vectors (N, D) of papers; rows: of each whole id; seconds: to encode one paper."""

    rows: dict[str, int]
    vectors: npt.NDArray[np.float32]
    seconds: float

    @classmethod
    def read(cls, files: Sequence[Path]) -> Encodings:
        """The papers of all files; UserError if one is not from minilm.py."""
        rows: dict[str, int] = {}
        parts: list[npt.NDArray[np.float32]] = []
        papers, seconds = 0, 0.0
        for file in files:
            try:
                with np.load(file) as stored:
                    ids, part = stored["id"].tolist(), stored["vectors"]
                    seconds += float(stored["seconds"])
                if part.ndim != 2 or len(part) != len(ids):
                    raise ValueError(f"{len(ids)} ids for vectors of shape {part.shape}")
            except (ValueError, KeyError, OSError) as error:
                raise UserError(f"{file}: not from benchmarks/minilm.py: {error}") from None
            for row, name in enumerate(ids, start=papers):
                rows.setdefault(with_zeros(canonical(name)), row)
            papers += len(ids)
            parts.append(part)
        return cls(rows, np.concatenate(parts), seconds / max(papers, 1))

    def missing(self, ids: Iterable[str]) -> list[str]:
        """The ids without a vector, sorted."""
        return sorted({name for name in ids if with_zeros(name) not in self.rows})

    def require(self, ids: Iterable[str], files: Sequence[Path], option: str) -> None:
        """Raise UserError if a paper has no vector."""
        if missing := self.missing(ids):
            names = ", ".join(map(str, files))
            raise UserError(
                f"{names}: has no vector for {missing[0]}, nor for {len(missing) - 1:,} more; "
                f"encode these papers with benchmarks/minilm.py ({option})"
            )

    def of(self, ids: Iterable[str]) -> npt.NDArray[np.float32]:
        """The vectors of some papers, (papers, D)."""
        return self.vectors[[self.rows[with_zeros(name)] for name in ids]]


def fit_logistic(
    parts: Mapping[str, pd.DataFrame], encodings: Encodings, ids: str = "id"
) -> dict[str, npt.NDArray[np.float64]]:
    """Probabilities (N, C) of validation and test papers by a logistic regression on vectors.

    parts: train, val and test. ids: the column with the ids of papers.
    """
    x = {name: encodings.of(part[ids]) for name, part in parts.items()}
    y = {name: part["label"].to_numpy() for name, part in parts.items()}
    models = (LogisticRegression(C=c, max_iter=1000) for c in STRENGTHS)
    fitted = (model.fit(x["train"], y["train"]) for model in models)
    best = max(fitted, key=lambda model: float(model.score(x["val"], y["val"])))
    return {name: best.predict_proba(x[name]) for name in ("val", "test")}
