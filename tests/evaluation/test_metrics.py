"""Scores of one class per paper."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from random_predictions import one_class
from sklearn.metrics import f1_score

from arxiv_hybrid.evaluation import metrics

NAMES = ["a", "b", "c"]


def test_scores_agree_with_sklearn() -> None:
    labels, probabilities = one_class()
    predicted = probabilities.argmax(1)
    scores = metrics.scores(labels, probabilities, NAMES)
    assert scores["accuracy"] == (labels == predicted).mean()
    assert scores["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert scores["weighted_f1"] == pytest.approx(f1_score(labels, predicted, average="weighted"))
    assert sum(entry["support"] for entry in scores["per_class"].values()) == 300


def test_any_listed_class_counts_as_right() -> None:
    labels, probabilities = one_class()
    listed = np.eye(3, dtype=bool)[labels]
    only = metrics.scores(labels, probabilities, NAMES, listed=listed)
    every = metrics.scores(labels, probabilities, NAMES, listed=np.ones((300, 3), dtype=bool))
    assert only["accuracy_any_listed"] == only["accuracy"] < 1
    assert every["accuracy_any_listed"] == 1


def test_calibration_error_is_zero_if_confidence_equals_accuracy() -> None:
    labels = np.array([0] * 8 + [1] * 2)
    calibrated = np.tile([0.8, 0.2], (10, 1))
    overconfident = np.tile([1.0, 0.0], (10, 1))
    assert metrics.expected_calibration_error(labels, calibrated, 10) == pytest.approx(0)
    assert metrics.expected_calibration_error(labels, overconfident, 10) == pytest.approx(0.2)


def test_reliability_rows_cover_all_papers() -> None:
    labels, probabilities = one_class()
    rows = metrics.reliability(labels, probabilities, 10)
    assert sum(row["papers"] for row in rows) == 300
    assert all(0 <= row["accuracy"] <= 1 for row in rows)


def test_bootstrap_interval_covers_the_mean_and_narrows() -> None:
    random = np.random.default_rng(0)
    few, many = (random.random(n) < 0.8 for n in (100, 10_000))
    wide = metrics.bootstrap_interval(few * 1.0, samples=500, confidence=0.95, seed=1)
    narrow = metrics.bootstrap_interval(many * 1.0, samples=500, confidence=0.95, seed=1)
    assert wide[0] < few.mean() < wide[1]
    assert narrow[1] - narrow[0] < (wide[1] - wide[0]) / 5
    # the normal approximation agrees
    assert narrow[1] - narrow[0] == pytest.approx(2 * 1.96 * np.sqrt(0.16 / 10_000), rel=0.15)


def test_paired_comparison() -> None:
    labels = np.zeros(100, dtype=int)
    ours = np.tile([0.9, 0.1], (100, 1))
    theirs = ours.copy()
    settings: dict[str, Any] = {"samples": 300, "confidence": 0.95, "seed": 0}
    same = metrics.paired_comparison(labels, ours, theirs, **settings)
    assert (same["gain"], same["p_value"]) == (0, 1)
    theirs[:10] = [0.1, 0.9]
    better = metrics.paired_comparison(labels, ours, theirs, **settings)
    assert better["gain"] == pytest.approx(0.1)
    assert (better["only_model_right"], better["only_baseline_right"]) == (10, 0)
    assert better["p_value"] == pytest.approx(2 / 2**10)


def test_confusion_counts() -> None:
    counts = metrics.confusion(np.array([0, 0, 2]), np.array([0, 1, 2]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
