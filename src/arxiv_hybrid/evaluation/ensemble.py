"""Several classifiers voting, and how different they are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from arxiv_hybrid.text.augment import augment
from arxiv_hybrid.training.checkpoint import Classifier

Probabilities = npt.NDArray[np.float64]


def member_probabilities(
    member: Classifier, papers: pd.DataFrame, *, tta: int, alpha: float, seed: int
) -> Probabilities:
    """Probabilities (N, C) of one member, averaged over the text and `tta` EDA copies of it."""
    total = member.probabilities(papers).numpy()
    random = np.random.default_rng(seed)
    for _ in range(tta):
        variant = papers.assign(
            abstract=[augment(text, alpha, random) for text in papers["abstract"]]
        )
        total = total + member.probabilities(variant).numpy()
    mean: Probabilities = total / (1 + tta)
    return mean


def soft_vote(members: Sequence[Probabilities]) -> Probabilities:
    """The mean of the members' probabilities."""
    mean: Probabilities = np.mean(np.stack(members), axis=0)
    return mean


def diversity(labels: npt.NDArray[np.int64], members: dict[str, Probabilities]) -> dict[str, Any]:
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
