"""Thresholds of a multi-label classifier: which of a paper's probable classes it is assigned.

A class is assigned if its probability reaches its threshold. Thresholds are fitted on validation
papers, for F1.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
PRIOR = 100.0  # chosen on halves of the validation papers of all of arXiv (docs/results.md)
LOWEST, HIGHEST = 0.05, 0.95  # no threshold lies outside


def fit_thresholds(labels: Labels, probabilities: Floats, *, per_class: bool) -> Floats:
    """The thresholds (C,) for a high F1.

    labels (N, C): the classes of each validation paper; probabilities (N, C), calibrated. Without
    `per_class` all classes share the threshold that maximizes micro-F1. With it, each class gets
    the geometric mean of that one and of the threshold that maximizes its own F1: classes' own
    thresholds raise macro-F1 but cost micro-F1, and on new papers the mean is better at both.
    With few papers of a class the F1 that the probabilities themselves promise counts as `PRIOR`
    further papers: a rare class does not follow its two or three validation papers.
    """
    shared = _best_threshold(labels.reshape(-1, 1), probabilities.reshape(-1, 1), prior=0.0)
    if not per_class:
        return np.repeat(shared, labels.shape[1])
    own = _best_threshold(labels, probabilities, prior=PRIOR)
    return np.asarray(np.sqrt(own * shared))


def _best_threshold(labels: Labels, probabilities: Floats, *, prior: float) -> Floats:
    """The threshold of each column (C,) with the highest F1, shrunk towards the expected F1.

    Every cut between two neighbouring probabilities is tried: with the k most probable papers
    assigned, F1 = 2 * true positives / (k + positives).
    """
    order = np.argsort(-probabilities, axis=0, kind="stable")
    p = np.take_along_axis(probabilities, order, axis=0)
    hits = np.cumsum(np.take_along_axis(labels, order, axis=0), axis=0)
    expected_hits = np.cumsum(p, axis=0)
    share = prior / (prior + hits[-1]) if prior else np.zeros(labels.shape[1])
    blended = (1 - share) * hits + share * expected_hits
    assigned_papers = np.arange(1, len(p) + 1)[:, None]
    f1 = 2 * blended / (assigned_papers + np.maximum(blended[-1], 1e-9))
    f1[:-1][p[:-1] == p[1:]] = 0  # no threshold separates equal probabilities
    cut = f1.argmax(axis=0)
    columns = np.arange(labels.shape[1])
    last, following = p[cut, columns], p[np.minimum(cut + 1, len(p) - 1), columns]
    thresholds: Floats = np.clip((last + following) / 2, LOWEST, HIGHEST)
    return thresholds


def assigned(probabilities: Floats, thresholds: Floats) -> Labels:
    """The classes (N, C) at or above their threshold, and always each paper's likeliest class."""
    result: Labels = probabilities >= thresholds
    result[np.arange(len(result)), probabilities.argmax(axis=1)] = True
    return result
