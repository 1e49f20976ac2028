"""Made-up probabilities of papers, for tests of the evaluation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.evaluation.predictions import Predictions

Floats = npt.NDArray[np.float64]


def one_class(
    number: int = 300, skill: float = 2.0, seed: int = 0, classes: int = 3
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Labels (N,), and probabilities (N, C) that favour them by `skill`."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, number)
    logits = random.normal(size=(number, classes))
    logits[np.arange(number), labels] += skill
    exponents = np.exp(logits)
    return labels, exponents / exponents.sum(1, keepdims=True)


def several_classes(
    number: int = 300, skill: float = 4.0, seed: int = 0, classes: int = 5
) -> tuple[npt.NDArray[np.bool_], Floats]:
    """Listed classes (N, C), at least one per paper, and probabilities of each by itself (N, C)."""
    random = np.random.default_rng(seed)
    listed = random.random((number, classes)) < 0.2
    listed[np.arange(number), random.integers(0, classes, number)] = True
    logits = random.normal(size=(number, classes)) - 2 + skill * listed
    return listed, 1 / (1 + np.exp(-logits))


def papers_listing(listed: npt.NDArray[np.bool_]) -> pd.DataFrame:
    """Papers with these classes (N, C); the main one is the first."""
    return pd.DataFrame(
        {
            "id": [f"2505.{number:05}" for number in range(len(listed))],
            "title": [f"Title {number}" for number in range(len(listed))],
            "abstract": "Words of an abstract",
            "label": listed.argmax(1),
            "labels": [np.flatnonzero(row).tolist() for row in listed],
        }
    )


def label_set(classes: int, *, multi_label: bool) -> LabelSet:
    """The classes c0, c1 and so on."""
    return LabelSet(tuple(f"c{number}" for number in range(classes)), multi_label)


def at(thresholds: float, probabilities: Floats) -> Predictions:
    """Predictions of several classes per paper with one threshold for all."""
    return Predictions(probabilities, np.full(probabilities.shape[1], thresholds))
