"""Scores of a classifier that may assign several classes to a paper.

All scores are functions of counts per paper, so one resample of the papers gives all of them at
once: `Outcome` holds the counts, `Outcome.measures` turns weights of papers into scores.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from arxiv_hybrid.evaluation.predictions import Floats, Labels, Predictions

MEASURES = ("precision_at_1", "micro_f1", "macro_f1", "sample_f1", "recall_at_3",
            "label_ranking_average_precision")  # fmt: skip
COMPARED = ("precision_at_1", "micro_f1")  # with the baseline
_CELLS = 2_000_000  # resampled papers at a time, to bound memory


@dataclass(frozen=True)
class Outcome:
    """What became of N papers with C classes.

    listed, assigned, hits: (N, C) sparse, the classes that a paper has, those that the classifier
    assigns, and those in both. first, recall, ranking: (N,), whether the likeliest class is listed,
    the share of the listed classes among the three likeliest, and the mean precision at the rank of
    each listed class.
    """

    listed: sparse.csr_matrix
    assigned: sparse.csr_matrix
    hits: sparse.csr_matrix
    first: Floats
    recall: Floats
    ranking: Floats

    @classmethod
    def of(cls, listed: Labels, predictions: Predictions) -> Outcome:
        """Compare predictions with the listed classes (N, C), at least one per paper."""
        chosen = predictions.assigned
        order = np.argsort(-predictions.probabilities, axis=1, kind="stable")
        ranked = np.take_along_axis(listed, order, axis=1)
        precision = ranked.cumsum(1) / np.arange(1, ranked.shape[1] + 1)
        count = listed.sum(1)
        return cls(
            listed=sparse.csr_matrix(listed, dtype=np.float64),
            assigned=sparse.csr_matrix(chosen, dtype=np.float64),
            hits=sparse.csr_matrix(listed & chosen, dtype=np.float64),
            first=ranked[:, 0].astype(np.float64),
            recall=ranked[:, :3].sum(1) / count,
            ranking=(precision * ranked).sum(1) / count,
        )

    def measures(self, weights: Floats) -> dict[str, Floats]:
        """Each of `MEASURES` (S,), where resample s counts paper n weights[s, n] times; (S, N).

        macro_f1 is the mean over the classes that a paper of the resample lists or is assigned;
        the F1 of other classes is undefined.
        """
        papers = weights.sum(1)
        per_class = [(part.T @ weights.T).T for part in (self.hits, self.listed, self.assigned)]
        hits, listed, chosen = per_class  # (S, C)
        either = listed + chosen
        defined = either > 0
        f1 = np.divide(2 * hits, either, out=np.zeros_like(hits), where=defined)
        sizes = np.asarray(self.listed.sum(1) + self.assigned.sum(1)).ravel()
        samples = 2 * np.asarray(self.hits.sum(1)).ravel() / sizes
        return {
            "precision_at_1": weights @ self.first / papers,
            "micro_f1": 2 * hits.sum(1) / either.sum(1),
            "macro_f1": f1.sum(1) / defined.sum(1),
            "sample_f1": weights @ samples / papers,
            "recall_at_3": weights @ self.recall / papers,
            "label_ranking_average_precision": weights @ self.ranking / papers,
        }


def scores(
    listed: Labels, predictions: Predictions, class_names: list[str], *, calibration_bins: int = 15
) -> dict[str, Any]:
    """`MEASURES`, calibration error, labels per paper, and scores of each class.

    listed: (N, C). The calibration error covers the probabilities of all classes.
    """
    outcome = Outcome.of(listed, predictions)
    measures = outcome.measures(np.ones((1, len(listed))))
    hits, support, chosen = (
        np.asarray(part.sum(0)).ravel() for part in (outcome.hits, outcome.listed, outcome.assigned)
    )
    bins = reliability(listed, predictions.probabilities, calibration_bins)
    gaps = [abs(row["confidence"] - row["accuracy"]) * row["probabilities"] for row in bins]
    thresholds = predictions.thresholds
    if thresholds is None:
        raise ValueError("a classifier of several classes per paper has thresholds")
    return {
        **{name: float(value[0]) for name, value in measures.items()},
        "calibration_error": float(sum(gaps) / listed.size),
        "papers": len(listed),
        "labels_per_paper": {
            "listed": float(support.sum() / len(listed)),
            "assigned": float(chosen.sum() / len(listed)),
        },
        "per_class": {
            name: {
                "precision": _share(hits[i], chosen[i]),
                "recall": _share(hits[i], support[i]),
                "f1": _share(2 * hits[i], support[i] + chosen[i]),
                "support": int(support[i]),
                "threshold": float(threshold),
            }
            for i, (name, threshold) in enumerate(zip(class_names, thresholds, strict=True))
        },
    }


def intervals(outcome: Outcome, *, samples: int, confidence: float, seed: int) -> dict[str, Any]:
    """The percentile bootstrap interval [low, high] of each of `MEASURES`, as `NAME_interval`."""
    drawn = [outcome.measures(weights) for weights in _resamples(len(outcome.first), samples, seed)]
    return {
        f"{name}_interval": _interval(np.concatenate([part[name] for part in drawn]), confidence)
        for name in MEASURES
    }


def paired_comparison(
    ours: Outcome, theirs: Outcome, *, samples: int, confidence: float, seed: int
) -> dict[str, Any]:
    """Gains over a baseline on the same papers, with intervals, and a McNemar test.

    `p_value` is that of the exact two-sided McNemar test on the papers for which only one of the
    two has a listed class as its likeliest.
    """
    from scipy.stats import binomtest  # takes half a second to load

    everyone = np.ones((1, len(ours.first)))
    mine, other = ours.measures(everyone), theirs.measures(everyone)
    gains: dict[str, list[Floats]] = {name: [] for name in COMPARED}
    for weights in _resamples(len(ours.first), samples, seed):
        first, second = ours.measures(weights), theirs.measures(weights)
        for name in COMPARED:
            gains[name].append(first[name] - second[name])
    won = int((ours.first > theirs.first).sum())
    lost = int((ours.first < theirs.first).sum())
    return {
        **{
            name: {
                "baseline": float(other[name][0]),
                "gain": float(mine[name][0] - other[name][0]),
                "gain_interval": _interval(np.concatenate(gains[name]), confidence),
            }
            for name in COMPARED
        },
        "only_model_right": won,
        "only_baseline_right": lost,
        "p_value": float(binomtest(won, won + lost).pvalue) if won + lost else 1.0,
    }


def reliability(listed: Labels, probabilities: Floats, bins: int) -> list[dict[str, float | int]]:
    """Mean probability and share of listed classes in equal-width bins; empty bins are omitted.

    listed, probabilities: (N, C). Every probability of every class counts.
    """
    number = np.minimum((probabilities * bins).astype(np.int64), bins - 1).ravel()
    counts = np.bincount(number, minlength=bins)
    confidence = np.bincount(number, probabilities.ravel(), bins)
    right = np.bincount(number, listed.ravel(), bins)
    return [
        {
            "confidence": float(confidence[i] / counts[i]),
            "accuracy": float(right[i] / counts[i]),
            "probabilities": int(counts[i]),
        }
        for i in range(bins)
        if counts[i]
    ]


def _resamples(papers: int, samples: int, seed: int) -> Iterator[Floats]:
    """How often each paper is drawn in each of `samples` resamples, some at a time: (S, papers)."""
    random = np.random.default_rng(seed)
    at_once = max(1, _CELLS // papers)
    for start in range(0, samples, at_once):
        size = min(at_once, samples - start)
        drawn = random.integers(0, papers, (size, papers))
        drawn += np.arange(size)[:, None] * papers
        counts = np.bincount(drawn.ravel(), minlength=size * papers)
        yield counts.reshape(size, papers).astype(np.float64)


def _interval(values: Floats, confidence: float) -> list[float]:
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return [float(low), float(high)]


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0
