"""Scores of several classes per paper."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from random_predictions import at, several_classes
from sklearn import metrics as sklearn

from arxiv_hybrid.evaluation import multi_label
from arxiv_hybrid.evaluation.multi_label import Outcome
from arxiv_hybrid.evaluation.predictions import Predictions

NAMES = ["a", "b", "c", "d", "e"]
SAMPLING: dict[str, Any] = {"samples": 400, "confidence": 0.95, "seed": 3}


def test_scores_agree_with_sklearn() -> None:
    listed, p = several_classes()
    predictions = at(0.4, p)
    scores = multi_label.scores(listed, predictions, NAMES)
    assigned = predictions.assigned
    for average, name in (("micro", "micro_f1"), ("macro", "macro_f1"), ("samples", "sample_f1")):
        assert scores[name] == pytest.approx(sklearn.f1_score(listed, assigned, average=average))
    assert scores["precision_at_1"] == listed[np.arange(300), p.argmax(1)].mean()
    ranking = sklearn.label_ranking_average_precision_score(listed, p)
    assert scores["label_ranking_average_precision"] == pytest.approx(ranking)
    precision, recall, f1, support = sklearn.precision_recall_fscore_support(listed, assigned)
    for number, name in enumerate(NAMES):
        expected = precision[number], recall[number], f1[number], support[number], 0.4
        assert tuple(scores["per_class"][name].values()) == pytest.approx(expected)
    assert scores["labels_per_paper"]["listed"] == pytest.approx(listed.sum(1).mean())
    assert scores["labels_per_paper"]["assigned"] == pytest.approx(assigned.sum(1).mean())


def test_scores_by_hand() -> None:
    listed = np.array([[1, 1, 0, 0], [0, 0, 0, 1]], dtype=bool)
    p = np.array([[0.9, 0.1, 0.6, 0.2], [0.4, 0.3, 0.2, 0.1]])
    scores = multi_label.scores(listed, at(0.5, p), NAMES[:4])
    assert scores["precision_at_1"] == 0.5
    assert scores["recall_at_3"] == pytest.approx((0.5 + 0) / 2)
    # a: hit; b: missed; c: wrong; d: missed; paper 2 is assigned its likeliest class a: wrong
    assert scores["micro_f1"] == pytest.approx(2 * 1 / (3 + 3))
    assert scores["sample_f1"] == pytest.approx((2 * 1 / 4 + 0) / 2)
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 0 + 0 + 0) / 4)
    # paper 1: a at rank 1, b at rank 4 with 2 of 4; paper 2: d at rank 4
    assert scores["label_ranking_average_precision"] == pytest.approx(((1 + 0.5) / 2 + 0.25) / 2)


def test_a_class_that_no_paper_has_or_gets_has_no_f1() -> None:
    listed, p = several_classes()
    with_empty = np.column_stack([listed, np.zeros(300, dtype=bool)])
    p_with_empty = np.column_stack([p, np.full(300, 1e-3)])
    scores = multi_label.scores(listed, at(0.4, p), NAMES)
    more = multi_label.scores(with_empty, at(0.4, p_with_empty), [*NAMES, "f"])
    assert more["macro_f1"] == pytest.approx(scores["macro_f1"])
    assert more["per_class"]["f"]["support"] == 0
    p_with_empty[:, 5] = 0.9
    wrong = multi_label.scores(with_empty, at(0.4, p_with_empty), [*NAMES, "f"])
    assert wrong["macro_f1"] < scores["macro_f1"], "assigned, so its F1 is 0"


def test_calibration_covers_all_classes() -> None:
    listed = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [1, 0]], dtype=bool)
    calibrated = at(0.5, np.tile([0.8, 0.2], (5, 1)))
    overconfident = at(0.5, np.tile([1.0, 0.0], (5, 1)))
    score = multi_label.scores(listed, calibrated, NAMES[:2], calibration_bins=10)
    assert score["calibration_error"] == pytest.approx(0)
    score = multi_label.scores(listed, overconfident, NAMES[:2], calibration_bins=10)
    assert score["calibration_error"] == pytest.approx(0.2)
    bins = multi_label.reliability(listed, overconfident.probabilities, 10)
    assert [row["probabilities"] for row in bins] == [5, 5]


def test_resamples_count_papers_as_drawing_them_does() -> None:
    listed, p = several_classes(number=50)
    outcome = Outcome.of(listed, at(0.4, p))
    (weights,) = list(multi_label._resamples(50, 3, seed=1))
    assert weights.sum(1).tolist() == [50, 50, 50]
    measures = outcome.measures(weights)
    for number, counts in enumerate(weights.astype(int)):
        rows = np.repeat(np.arange(50), counts)
        drawn = multi_label.scores(listed[rows], at(0.4, p[rows]), NAMES)
        for name in multi_label.MEASURES:
            assert measures[name][number] == pytest.approx(drawn[name]), name


def test_resamples_are_the_same_in_any_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(multi_label._resamples(40, 7, seed=1)))
    monkeypatch.setattr(multi_label, "_CELLS", 100)
    parts = list(multi_label._resamples(40, 7, seed=1))
    assert len(parts) == 4
    assert np.array_equal(np.concatenate(parts), whole)


def test_intervals_cover_the_scores_and_narrow() -> None:
    widths = []
    for number in (200, 5000):
        listed, p = several_classes(number=number, skill=2.0)
        scores = multi_label.scores(listed, at(0.4, p), NAMES)
        intervals = multi_label.intervals(Outcome.of(listed, at(0.4, p)), **SAMPLING)
        assert set(intervals) == {f"{name}_interval" for name in multi_label.MEASURES}
        for name in multi_label.MEASURES:
            low, high = intervals[f"{name}_interval"]
            assert low < scores[name] < high
        low, high = intervals["precision_at_1_interval"]
        widths.append(high - low)
    # the normal approximation agrees
    share = scores["precision_at_1"]
    assert widths[1] == pytest.approx(2 * 1.96 * np.sqrt(share * (1 - share) / 5000), rel=0.2)
    assert widths[1] < widths[0] / 3


def test_paired_comparison() -> None:
    listed, p = several_classes(skill=6.0)
    ours = Outcome.of(listed, at(0.4, p))
    same = multi_label.paired_comparison(ours, ours, **SAMPLING)
    assert same["p_value"] == 1
    for name in multi_label.COMPARED:
        assert same[name]["gain"] == 0
        assert same[name]["gain_interval"] == [0, 0]
    worse = p.copy()
    worse[:12] = listed[:12] < 0.5  # the likeliest class of these is not listed
    mistaken = ~listed[:12].all(1)
    theirs = Outcome.of(listed, at(0.4, worse))
    gain = multi_label.paired_comparison(ours, theirs, **SAMPLING)
    lost = int((ours.first[:12] * mistaken).sum())
    assert (gain["only_model_right"], gain["only_baseline_right"]) == (lost, 0)
    assert gain["p_value"] == pytest.approx(2 / 2**lost)
    assert gain["precision_at_1"]["gain"] == pytest.approx(lost / 300)
    low, high = gain["precision_at_1"]["gain_interval"]
    assert 0 < low < lost / 300 < high
    first, second = (multi_label.scores(listed, at(0.4, each), NAMES) for each in (p, worse))
    assert gain["micro_f1"]["gain"] == pytest.approx(first["micro_f1"] - second["micro_f1"])
    assert gain["micro_f1"]["baseline"] == pytest.approx(second["micro_f1"])


def test_thresholds_are_needed() -> None:
    listed, p = several_classes()
    with pytest.raises(ValueError, match="thresholds"):
        multi_label.scores(listed, Predictions(p), NAMES)
