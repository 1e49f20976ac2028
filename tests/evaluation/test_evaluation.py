"""Scores, ensembles, and the summary of a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import f1_score

from arxiv_hybrid.evaluation import ensemble, metrics
from arxiv_hybrid.evaluation.report import full_report, prediction_rows, summary_table
from arxiv_hybrid.params import Params
from arxiv_hybrid.text.augment import augment

NAMES = ["a", "b", "c"]


def sample(number: int = 300, skill: float = 2.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and probabilities that favour them by `skill`."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, number)
    logits = random.normal(size=(number, 3))
    logits[np.arange(number), labels] += skill
    exponents = np.exp(logits)
    return labels, exponents / exponents.sum(1, keepdims=True)


def test_scores_agree_with_sklearn() -> None:
    labels, probabilities = sample()
    predicted = probabilities.argmax(1)
    scores = metrics.scores(labels, probabilities, NAMES)
    assert scores["accuracy"] == (labels == predicted).mean()
    assert scores["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert scores["weighted_f1"] == pytest.approx(f1_score(labels, predicted, average="weighted"))
    assert sum(entry["support"] for entry in scores["per_class"].values()) == 300


def test_any_listed_class_counts_as_right() -> None:
    labels, probabilities = sample()
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
    labels, probabilities = sample()
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


def test_soft_vote_and_diversity() -> None:
    labels, first = sample(seed=1)
    _, second = sample(seed=1, skill=0.5)
    pair = {"x": first, "y": second}
    voted = ensemble.vote(pair, ensemble.equal_weights(pair))
    np.testing.assert_allclose(voted, (first + second) / 2)
    twin = ensemble.diversity(labels, {"x": first, "y": first})
    apart = ensemble.diversity(labels, {"x": first, "y": second})
    assert twin["mean_disagreement"] == 0
    assert twin["pairs"]["x | y"]["q_statistic"] == 1
    assert apart["mean_disagreement"] > 0
    assert apart["oracle_accuracy"] >= twin["oracle_accuracy"]
    assert ensemble.diversity(labels, {"x": first})["mean_disagreement"] == 0


def test_diversity_by_hand() -> None:
    """Of 8 papers, both members get 2 right, only x 3, only y 2, and neither 1."""
    labels = np.zeros(8, dtype=int)
    first = np.eye(3)[[0, 0, 0, 0, 0, 1, 1, 2]]
    second = np.eye(3)[[0, 0, 1, 1, 2, 0, 0, 2]]
    diversity = ensemble.diversity(labels, {"x": first, "y": second})
    assert diversity["pairs"]["x | y"]["disagreement"] == 5 / 8
    assert diversity["pairs"]["x | y"]["q_statistic"] == (2 * 1 - 3 * 2) / (2 * 1 + 3 * 2)
    assert diversity["oracle_accuracy"] == 7 / 8


class Counting:
    """A member whose "probabilities" are the words and characters of each abstract."""

    def probabilities(self, papers: pd.DataFrame) -> torch.Tensor:
        return torch.tensor(
            [[len(text.split()), len(text)] for text in papers["abstract"]]
        ).double()


def test_augmented_copies_are_averaged_with_the_papers_themselves() -> None:
    papers = pd.DataFrame({"title": "t", "abstract": ["we show that it can be done", "one two"]})
    augmentation = ensemble.TestTimeAugmentation(copies=2, alpha=0.3, seed=5)
    mean = ensemble.member_probabilities({"x": Counting()}, papers, augmentation)["x"]
    random = np.random.default_rng(5)
    variants = [papers["abstract"].tolist()]
    variants += [[augment(text, 0.3, random) for text in variants[0]] for _ in range(2)]
    assert len({tuple(texts) for texts in variants}) == 3, "the premise: copies differ"
    sizes = np.array([[[len(text.split()), len(text)] for text in texts] for texts in variants])
    np.testing.assert_allclose(mean, sizes.mean(0))


def test_fitted_weights_have_the_highest_likelihood() -> None:
    labels, good = sample(seed=1)
    _, bad = sample(seed=1, skill=0.2)
    members = {"good": good, "bad": bad, "none": np.full_like(good, 1 / good.shape[1])}
    weights = ensemble.fitted_weights(labels, members)
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["good"] > weights["bad"]

    def likelihood(weights: dict[str, float]) -> float:
        mixed = ensemble.vote(members, weights)
        return float(np.log(mixed[np.arange(len(labels)), labels]).mean())

    best = likelihood(weights)
    assert best >= likelihood(ensemble.equal_weights(members))
    random = np.random.default_rng(0)
    for _ in range(200):
        other = dict(zip(members, random.dirichlet(np.ones(3)), strict=True))
        assert best >= likelihood(other) - 1e-6


@pytest.fixture
def report(tiny_params: Params) -> dict[str, Any]:
    labels, probabilities = sample()
    papers = pd.DataFrame({"label": labels, "labels": [[label] for label in labels]})
    _, baseline = sample(skill=1.0)
    return full_report(papers, probabilities, baseline, NAMES, tiny_params)


def test_the_summary_compares_the_model_with_baseline_and_ceiling(report: dict[str, Any]) -> None:
    audit = {"task": {"majority_accuracy": 0.4, "oracle_accuracy": 1.0, "label_ceiling": 0.88}}
    text = summary_table(
        {
            "audit": audit,
            "baseline": {"accuracy": 0.8, "macro_f1": 0.79},
            "evaluate": report,
            "ensemble": {**report, "members": {"main": {}, "x": {}}},
        },
        {"model": "models/main/"},
    )
    for part in ("TF-IDF + linear", "80.00%", "79.00%", "88.00%", "models/main/", "McNemar"):
        assert part in text
    assert f"{report['accuracy']:.2%}" in text


def test_prediction_rows_name_the_classes() -> None:
    rows = prediction_rows(np.array([0, 2]), np.array([[0.9, 0.1, 0], [0.5, 0.3, 0.2]]), NAMES)
    assert rows.to_dict("list") == {"actual": ["a", "c"], "predicted": ["a", "a"]}
