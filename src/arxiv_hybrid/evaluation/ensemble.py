"""Ensembles: members' probabilities, weighted votes, calibration, diversity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from arxiv_hybrid.inference import calibration
from arxiv_hybrid.inference.checkpoint import Classifier
from arxiv_hybrid.text.augment import augment

Probabilities = npt.NDArray[np.float64]
_MAX_STEPS = 5000
_TOLERANCE = 1e-7  # largest change of a weight at which fitting stops


@dataclass(frozen=True)
class TestTimeAugmentation:
    """Test-time augmentation: the number of EDA copies of each abstract, their strength, a seed.

    alpha: the share of words that each copy changes, see `text.augment`.
    """

    copies: int
    alpha: float
    seed: int


def member_probabilities(
    members: Mapping[str, Classifier], papers: pd.DataFrame, augmentation: TestTimeAugmentation
) -> dict[str, Probabilities]:
    """Each member's probabilities (N, C), averaged over the papers and their augmented copies."""
    random = np.random.default_rng(augmentation.seed)
    variants = [papers]
    for _ in range(augmentation.copies):
        abstracts = [augment(text, augmentation.alpha, random) for text in papers["abstract"]]
        variants.append(papers.assign(abstract=abstracts))
    return {
        name: np.mean([member.probabilities(variant).numpy() for variant in variants], axis=0)
        for name, member in members.items()
    }


def vote(members: Mapping[str, Probabilities], weights: Mapping[str, float]) -> Probabilities:
    """The weighted mean of the members' probabilities (N, C); weights sum to 1."""
    total: Probabilities = sum(weights[name] * p for name, p in members.items())  # type: ignore[assignment]
    return total


def calibrated(votes: Probabilities, temperature: float) -> Probabilities:
    """Calibrate votes (N, C) with a temperature; see `inference.calibration`."""
    return calibration.probabilities(_logarithms(votes), temperature).numpy()


def fit_vote_temperature(labels: npt.NDArray[np.int64], votes: Probabilities) -> float:
    """Fit the temperature for `calibrated` to votes (N, C) and labels (N,) of held-out papers."""
    return calibration.fit_temperature(_logarithms(votes), torch.from_numpy(labels))


def _logarithms(votes: Probabilities) -> Tensor:
    return torch.from_numpy(votes).clamp(min=1e-12).log()


def equal_weights(names: Iterable[str]) -> dict[str, float]:
    """Equal weights that sum to 1."""
    names = list(names)
    return dict.fromkeys(names, 1 / len(names))


def fitted_weights(
    labels: npt.NDArray[np.int64], members: Mapping[str, Probabilities]
) -> dict[str, float]:
    """Weights that maximize the mixture's likelihood of the labels (N,) of held-out papers.

    Fitted by expectation maximization. A mixture's log-likelihood is concave in its weights, so
    there are no local maxima.
    """
    likelihood = np.stack([p[np.arange(len(labels)), labels] for p in members.values()])  # (M, N)
    weights = np.full(len(likelihood), 1 / len(likelihood))
    for _ in range(_MAX_STEPS):
        responsibility = weights[:, None] * likelihood
        responsibility /= np.maximum(responsibility.sum(0), 1e-300)
        previous, weights = weights, responsibility.mean(1)
        if np.abs(weights - previous).max() < _TOLERANCE:
            break
    return dict(zip(members, weights.tolist(), strict=True))


def member_scores(
    labels: npt.NDArray[np.int64],
    members: Mapping[str, Probabilities],
    weights: Mapping[str, float],
) -> dict[str, dict[str, float]]:
    """Each member's accuracy against labels (N,), and its weight in the vote."""
    return {
        name: {"accuracy": float((p.argmax(1) == labels).mean()), "weight": weights[name]}
        for name, p in members.items()
    }


def diversity(
    labels: npt.NDArray[np.int64], members: Mapping[str, Probabilities]
) -> dict[str, Any]:
    """How much the members differ (Kuncheva and Whitaker 2003).

    `disagreement` is the share of papers that a pair of members classifies differently.
    `q_statistic` is Yule's Q of a pair: 1 if both are right on the same papers, 0 if they are
    right independently, None if undefined. `oracle_accuracy` is the share of papers that at
    least one member gets right.
    """
    predicted = {name: p.argmax(1) for name, p in members.items()}
    right = {name: p == labels for name, p in predicted.items()}
    pairs: dict[str, dict[str, float | None]] = {}
    disagreements = []
    for first, second in combinations(members, 2):
        a, b = right[first], right[second]
        agree = float((a & b).sum()) * float((~a & ~b).sum())
        differ = float((a & ~b).sum()) * float((~a & b).sum())
        disagreements.append(float((predicted[first] != predicted[second]).mean()))
        pairs[f"{first} | {second}"] = {
            "disagreement": disagreements[-1],
            "q_statistic": (agree - differ) / (agree + differ) if agree + differ else None,
        }
    any_right = np.any(np.stack(list(right.values())), axis=0)
    return {
        "pairs": pairs,
        "mean_disagreement": float(np.mean(disagreements)) if disagreements else 0.0,
        "oracle_accuracy": float(any_right.mean()),
    }
