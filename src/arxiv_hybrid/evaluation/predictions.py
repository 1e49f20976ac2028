"""Probabilities of papers, and what a classifier makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from arxiv_hybrid.inference import thresholds
from arxiv_hybrid.system.files import read_json, read_parquet, write_json, write_parquet

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]
_THRESHOLDS = "thresholds.json"


@dataclass(frozen=True)
class Predictions:
    """Class probabilities (N, C) of N papers.

    thresholds: (C,) if a paper may have several classes, else None. unsure: (N,), the papers that
    the classifier calls unsure; None if it does not say.
    """

    probabilities: Floats
    thresholds: Floats | None = None
    unsure: Labels | None = None

    @property
    def likeliest(self) -> npt.NDArray[np.int64]:
        """The most probable class of each paper, (N,)."""
        result: npt.NDArray[np.int64] = self.probabilities.argmax(1)
        return result

    @cached_property
    def assigned(self) -> Labels:
        """The classes of each paper, (N, C): the likeliest, and those that reach a threshold."""
        if self.thresholds is not None:
            return thresholds.assigned(self.probabilities, self.thresholds)
        result = np.zeros(self.probabilities.shape, dtype=bool)
        result[np.arange(len(result)), self.likeliest] = True
        return result

    def write(self, folder: Path, part: str, class_names: list[str]) -> None:
        """Write PART.parquet, one column of 32-bit probabilities per class, and thresholds."""
        table = pd.DataFrame(self.probabilities.astype(np.float32), columns=class_names)
        bound = []
        if self.thresholds is not None:
            write_json(folder / _THRESHOLDS, {"thresholds": self.thresholds.tolist()})
            bound.append(folder / _THRESHOLDS)
        write_parquet(folder / f"{part}.parquet", table, bind=bound)

    @classmethod
    def read(cls, folder: Path, part: str, *, multi_label: bool) -> Predictions:
        """Read what `write` wrote."""
        probabilities = read_parquet(folder / f"{part}.parquet").to_numpy(dtype=np.float64)
        if not multi_label:
            return cls(probabilities)
        return cls(probabilities, np.array(read_json(folder / _THRESHOLDS)["thresholds"]))
