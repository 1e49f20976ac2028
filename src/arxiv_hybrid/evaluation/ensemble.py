"""Several classifiers voting, and how different they are."""

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
_MOST_STEPS = 5000


@dataclass(frozen=True)
class Noise:
    """Test-time augmentation: how many EDA copies of each abstract, how strong, which seed."""

    copies: int
    alpha: float
    seed: int


def probabilities(
    members: Mapping[str, Classifier], papers: pd.DataFrame, noise: Noise
) -> dict[str, Probabilities]:
    """Each member's probabilities (N, C), averaged over the papers and their noisy copies."""
    random = np.random.default_rng(noise.seed)
    variants = [papers]
    for _ in range(noise.copies):
        abstracts = [augment(text, noise.alpha, random) for text in papers["abstract"]]
        variants.append(papers.assign(abstract=abstracts))
    return {
        name: np.mean([member.probabilities(one).numpy() for one in variants], axis=0)
        for name, member in members.items()
    }


def vote(members: Mapping[str, Probabilities], weights: Mapping[str, float]) -> Probabilities:
    """The members' probabilities (N, C), averaged by weights that sum to 1."""
    total: Probabilities = sum(weights[name] * p for name, p in members.items())  # type: ignore[assignment]
    return total


def calibrated(votes: Probabilities, temperature: float) -> Probabilities:
    """Votes (N, C) made as sure as the temperature says; see `training.calibration`."""
    return calibration.probabilities(_logarithms(votes), temperature).numpy()


def fit_votes(labels: npt.NDArray[np.int64], votes: Probabilities) -> float:
    """The temperature that makes votes (N, C) on held-out papers mean what they say."""
    return calibration.fit_temperature(_logarithms(votes), torch.from_numpy(labels))


def _logarithms(votes: Probabilities) -> Tensor:
    return torch.from_numpy(votes).clamp(min=1e-12).log()


def equal_weights(names: Iterable[str]) -> dict[str, float]:
    """A soft vote: every member counts the same."""
    names = list(names)
    return dict.fromkeys(names, 1 / len(names))


def fitted_weights(
    labels: npt.NDArray[np.int64], members: Mapping[str, Probabilities]
) -> dict[str, float]:
    """Weights under which the mixture finds the labels (N,) of held-out papers most likely.

    By expectation maximisation, which finds the one maximum: the likelihood of a mixture is
    concave in its weights.
    """
    given = np.stack([p[np.arange(len(labels)), labels] for p in members.values()])  # (M, N)
    weights = np.full(len(given), 1 / len(given))
    for _ in range(_MOST_STEPS):
        shares = weights[:, None] * given
        shares /= np.maximum(shares.sum(0), 1e-300)
        before, weights = weights, shares.mean(1)
        if np.abs(weights - before).max() < 1e-7:
            break
    return dict(zip(members, weights.tolist(), strict=True))


def member_scores(
    labels: npt.NDArray[np.int64],
    members: Mapping[str, Probabilities],
    weights: Mapping[str, float],
) -> dict[str, dict[str, float]]:
    """Each member's accuracy on labels (N,), and its weight in the vote."""
    return {
        name: {"accuracy": float((p.argmax(1) == labels).mean()), "weight": weights[name]}
        for name, p in members.items()
    }


def diversity(
    labels: npt.NDArray[np.int64], members: Mapping[str, Probabilities]
) -> dict[str, Any]:
    """How far the members differ (Kuncheva and Whitaker 2003).

    `disagreement` is the share of papers that a pair labels differently, `q_statistic` is
    Yule's Q of their being right: 1 means the same papers, 0 independent ones; None where a
    pair leaves it undefined. `oracle_accuracy` counts papers that at least one gets right.
    """
    predicted = {name: p.argmax(1) for name, p in members.items()}
    right = {name: p == labels for name, p in predicted.items()}
    pairs = {}
    for first, second in combinations(members, 2):
        a, b = right[first], right[second]
        same = float((a & b).sum()) * float((~a & ~b).sum())
        differ = float((a & ~b).sum()) * float((~a & b).sum())
        pairs[f"{first} | {second}"] = {
            "disagreement": float((predicted[first] != predicted[second]).mean()),
            "q_statistic": (same - differ) / (same + differ) if same + differ else None,
        }
    any_right = np.any(np.stack(list(right.values())), axis=0)
    return {
        "pairs": pairs,
        "mean_disagreement": float(np.mean([p["disagreement"] for p in pairs.values()]))
        if pairs
        else 0.0,
        "oracle_accuracy": float(any_right.mean()),
    }
