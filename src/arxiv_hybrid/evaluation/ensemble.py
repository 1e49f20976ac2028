"""Ensembles: members' probabilities, weighted votes, calibration, diversity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from arxiv_hybrid.data.label_set import LabelSet, multi_hot
from arxiv_hybrid.evaluation.predictions import Floats, Labels, Predictions
from arxiv_hybrid.inference import calibration
from arxiv_hybrid.inference.checkpoint import TextClassifier
from arxiv_hybrid.inference.thresholds import fit_thresholds
from arxiv_hybrid.text.augment import augment

Classes = npt.NDArray[Any]  # of papers: the number of each one's class (N,), or (N, C) bool
_MAX_STEPS = 5000
_TOLERANCE = 1e-7  # largest change of a weight at which fitting stops
_SMALLEST = 1e-12  # probability, before a logarithm


def classes_of(papers: pd.DataFrame, label_set: LabelSet) -> Classes:
    """The class of each paper (N,), or with several per paper all of them (N, C)."""
    if label_set.multi_label:
        return multi_hot(papers["labels"], len(label_set))
    return papers["label"].to_numpy()


@dataclass(frozen=True)
class TestTimeAugmentation:
    """Test-time augmentation: the number of EDA copies of each abstract, their strength, a seed.

    alpha: the share of words that each copy changes, see `text.augment`.
    """

    copies: int
    alpha: float
    seed: int


def member_probabilities(
    members: Mapping[str, TextClassifier], papers: pd.DataFrame, augmentation: TestTimeAugmentation
) -> dict[str, Floats]:
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


@dataclass(frozen=True)
class Vote:
    """A weighted vote, calibrated on held-out papers; see `inference.calibration`.

    weights: of the members' probabilities, by name; they sum to 1. bias: added to the logits if
    papers may have several classes. thresholds: (C,) in that case, else None.
    """

    weights: dict[str, float]
    temperature: float
    bias: float = 0.0
    thresholds: Floats | None = None

    @classmethod
    def fit(
        cls,
        classes: Classes,
        members: Mapping[str, Floats],
        weighting: str,
        *,
        per_class: bool = True,
    ) -> Vote:
        """Fit to held-out papers: their classes, and the probabilities (N, C) of each member.

        weighting: `equal` or `fitted`, see `fitted_weights`. per_class: see `fit_thresholds`.
        """
        fitted = weighting == "fitted"
        weights = fitted_weights(classes, members) if fitted else equal_weights(members)
        mean, labels = weighted_mean(members, weights), torch.tensor(classes)
        if classes.ndim == 1:
            return cls(weights, calibration.fit_temperature(_logarithms(mean), labels))
        vote = cls(weights, *calibration.fit_sigmoids(_logits(mean), labels), np.ones(1))
        p = vote.predict(members).probabilities
        return replace(vote, thresholds=fit_thresholds(classes, p, per_class=per_class))

    def predict(self, members: Mapping[str, Floats]) -> Predictions:
        """The calibrated vote on papers, given the members' probabilities (N, C)."""
        mean = weighted_mean(members, self.weights)
        if self.thresholds is None:
            p = calibration.probabilities(_logarithms(mean), self.temperature)
        else:
            biases = [self.bias] * mean.shape[1]
            p = calibration.sigmoid_probabilities(_logits(mean), self.temperature, biases)
        return Predictions(p.numpy(), self.thresholds)


def calibrated(classes: Classes, val: Predictions, test: Predictions) -> tuple[Floats, Floats]:
    """Probabilities (N, C) of validation and test papers, calibrated on the validation papers.

    Networks are calibrated when they are trained. The linear model is not: unless it is, its
    timid probabilities hardly count in a vote.
    """
    alone = Vote.fit(classes, {"linear": val.probabilities}, "equal")
    first, second = (alone.predict({"linear": p.probabilities}).probabilities for p in (val, test))
    return first, second


def weighted_mean(members: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    """The weighted mean of the members' probabilities (N, C); weights sum to 1."""
    total: Floats = sum(weights[name] * p for name, p in members.items())  # type: ignore[assignment]
    return total


def _logarithms(votes: Floats) -> Tensor:
    return torch.from_numpy(votes).clamp(min=_SMALLEST).log()


def _logits(votes: Floats) -> Tensor:
    return torch.from_numpy(votes).clamp(_SMALLEST, 1 - _SMALLEST).logit()


def equal_weights(names: Iterable[str]) -> dict[str, float]:
    """Equal weights that sum to 1."""
    names = list(names)
    return dict.fromkeys(names, 1 / len(names))


def fitted_weights(classes: Classes, members: Mapping[str, Floats]) -> dict[str, float]:
    """Weights that maximize the mixture's likelihood of the classes of held-out papers.

    With several classes per paper, each class of each paper is an outcome by itself. Fitted by
    expectation maximization. A mixture's log-likelihood is concave in its weights, so there are no
    local maxima.
    """
    likelihood = np.stack([_likelihood(classes, p) for p in members.values()])  # (M, outcomes)
    weights = np.full(len(likelihood), 1 / len(likelihood))
    for _ in range(_MAX_STEPS):
        responsibility = weights[:, None] * likelihood
        responsibility /= np.maximum(responsibility.sum(0), 1e-300)
        previous, weights = weights, responsibility.mean(1)
        if np.abs(weights - previous).max() < _TOLERANCE:
            break
    return dict(zip(members, weights.tolist(), strict=True))


def _likelihood(classes: Classes, p: Floats) -> Floats:
    """The probability that a member gives to each outcome."""
    if classes.ndim == 1:
        result: Floats = p[np.arange(len(classes)), classes]
        return result
    return np.where(classes, p, 1 - p).ravel()


def member_predictions(
    classes: Classes,
    val: Mapping[str, Floats],
    test: Mapping[str, Floats],
    *,
    per_class: bool = True,
) -> dict[str, Predictions]:
    """Each member's predictions of test papers, with thresholds fitted to validation papers.

    classes: of the validation papers.
    """
    if classes.ndim == 1:
        return {name: Predictions(p) for name, p in test.items()}
    return {
        name: Predictions(p, fit_thresholds(classes, val[name], per_class=per_class))
        for name, p in test.items()
    }


def member_scores(
    classes: Classes, members: Mapping[str, Predictions], weights: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """Each member's weight in the vote, and how often its likeliest class is right.

    With several classes per paper this share is called precision_at_1, and micro_f1 stands beside.
    """
    result: dict[str, dict[str, float]] = {}
    for name, member in members.items():
        right = float(_right(classes, member).mean())
        if classes.ndim == 1:
            scores = {"accuracy": right}
        else:
            hits = 2 * (classes & member.assigned).sum()
            micro_f1 = float(hits / (classes.sum() + member.assigned.sum()))
            scores = {"precision_at_1": right, "micro_f1": micro_f1}
        result[name] = {**scores, "weight": weights[name]}
    return result


def _right(classes: Classes, member: Predictions) -> Labels:
    """Whether each paper's likeliest class is right, (N,)."""
    result: Labels = (
        member.likeliest == classes
        if classes.ndim == 1
        else classes[np.arange(len(classes)), member.likeliest]
    )
    return result


def diversity(classes: Classes, members: Mapping[str, Predictions]) -> dict[str, Any]:
    """How much the members differ (Kuncheva and Whitaker 2003).

    `disagreement` of a pair is the share of papers that they classify differently; with several
    classes per paper, the share of the classes assigned by either that only one assigns.
    `q_statistic` is Yule's Q of a pair: 1 if both are right on the same papers, 0 if they are
    right independently, None if undefined. `oracle_accuracy` is the share of papers that at
    least one member gets right. A member is right if its likeliest class is.
    """
    right = {name: _right(classes, member) for name, member in members.items()}
    pairs: dict[str, dict[str, float | None]] = {}
    disagreements = []
    for first, second in combinations(members, 2):
        a, b = right[first], right[second]
        agree = float((a & b).sum()) * float((~a & ~b).sum())
        differ = float((a & ~b).sum()) * float((~a & b).sum())
        disagreements.append(_disagreement(members[first], members[second]))
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


def _disagreement(first: Predictions, second: Predictions) -> float:
    if first.thresholds is None:
        return float((first.likeliest != second.likeliest).mean())
    either = (first.assigned | second.assigned).sum()
    return float((first.assigned ^ second.assigned).sum() / either)
