"""Scores of a classifier, with confidence intervals and a paired test."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float64]
_CHUNK = 200  # bootstrap samples at a time, to bound memory


def scores(
    labels: Labels,
    probabilities: Probabilities,
    class_names: list[str],
    *,
    listed: npt.NDArray[np.bool_] | None = None,
    calibration_bins: int = 15,
) -> dict[str, Any]:
    """Accuracy, macro and weighted F1, calibration error, and scores of each class.

    labels: (N,), probabilities: (N, C). With `listed` (N, C), also the share of papers whose
    predicted class is one that their authors listed.
    """
    from sklearn.metrics import precision_recall_fscore_support  # takes a second to load

    predicted = probabilities.argmax(1)
    numbers = list(range(len(class_names)))
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=numbers, zero_division=0
    )
    result: dict[str, Any] = {
        "accuracy": float((predicted == labels).mean()),
        "macro_f1": float(f1.mean()),
        "weighted_f1": float((f1 * support).sum() / support.sum()),
        "calibration_error": expected_calibration_error(labels, probabilities, calibration_bins),
        "papers": len(labels),
        "per_class": {
            name: {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "support": int(support[i]),
            }
            for i, name in enumerate(class_names)
        },
    }
    if listed is not None:
        result["accuracy_any_listed"] = float(listed[np.arange(len(labels)), predicted].mean())
    return result


def reliability(
    labels: Labels, probabilities: Probabilities, bins: int
) -> list[dict[str, float | int]]:
    """Mean confidence and accuracy in equal-width bins of confidence; empty bins are omitted."""
    confidence = probabilities.max(1)
    correct = probabilities.argmax(1) == labels
    bin_index = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        {
            "confidence": float(confidence[inside].mean()),
            "accuracy": float(correct[inside].mean()),
            "papers": int(inside.sum()),
        }
        for number in range(bins)
        if (inside := bin_index == number).any()
    ]


def expected_calibration_error(labels: Labels, probabilities: Probabilities, bins: int) -> float:
    """Mean gap between confidence and accuracy, weighted by papers per bin (Guo et al. 2017)."""
    rows = reliability(labels, probabilities, bins)
    gaps = [abs(row["confidence"] - row["accuracy"]) * row["papers"] for row in rows]
    return float(sum(gaps) / len(labels))


def bootstrap_interval(
    values: npt.NDArray[np.float64], *, samples: int, confidence: float, seed: int
) -> list[float]:
    """Percentile bootstrap interval [low, high] of the mean of `values` (N,)."""
    random = np.random.default_rng(seed)
    means: list[npt.NDArray[np.float64]] = []
    for start in range(0, samples, _CHUNK):
        size = (min(_CHUNK, samples - start), len(values))
        means.append(values[random.integers(0, len(values), size)].mean(1))
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.quantile(np.concatenate(means), tails)
    return [float(low), float(high)]


def paired_comparison(
    labels: Labels,
    probabilities: Probabilities,
    baseline: Probabilities,
    *,
    samples: int,
    confidence: float,
    seed: int,
) -> dict[str, Any]:
    """Gain in accuracy over a baseline on the same papers, with an interval and a McNemar test.

    `p_value` is that of the exact two-sided McNemar test on the papers that only one of the two
    gets right.
    """
    theirs = baseline.argmax(1) == labels
    compared = compare_correct(
        probabilities.argmax(1) == labels,
        theirs,
        samples=samples,
        confidence=confidence,
        seed=seed,
    )
    won, lost = compared.pop("only_first_correct"), compared.pop("only_second_correct")
    return {
        "baseline_accuracy": float(theirs.mean()),
        **compared,
        "only_model_right": won,
        "only_baseline_right": lost,
    }


def compare_correct(
    first: npt.NDArray[np.bool_],
    second: npt.NDArray[np.bool_],
    *,
    samples: int,
    confidence: float,
    seed: int,
) -> dict[str, Any]:
    """The gain of `first` over `second`, with an interval and the p of an exact McNemar test.

    first, second: (N,), whether each of two classifiers is correct about the same N papers.
    """
    from scipy.stats import binomtest  # takes half a second to load

    won, lost = int((first & ~second).sum()), int((~first & second).sum())
    difference = first.astype(np.float64) - second
    return {
        "gain": float(difference.mean()),
        "gain_interval": bootstrap_interval(
            difference, samples=samples, confidence=confidence, seed=seed
        ),
        "only_first_correct": won,
        "only_second_correct": lost,
        "p_value": float(binomtest(won, won + lost).pvalue) if won + lost else 1.0,
    }


def confusion(labels: Labels, predicted: Labels, classes: int) -> npt.NDArray[np.int64]:
    """Counts (C, C): rows are actual classes, columns are predicted classes."""
    flat = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes)
