"""Ensembles: votes, weights, calibration, diversity."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from random_predictions import at, label_set, one_class, papers_listing, several_classes

from arxiv_hybrid.evaluation import ensemble
from arxiv_hybrid.evaluation.ensemble import Vote
from arxiv_hybrid.evaluation.metrics import expected_calibration_error
from arxiv_hybrid.evaluation.predictions import Predictions
from arxiv_hybrid.text.augment import augment


def predictions(**members: np.ndarray) -> dict[str, Predictions]:
    return {name: Predictions(p) for name, p in members.items()}


def test_soft_vote_and_diversity() -> None:
    labels, first = one_class(seed=1)
    _, second = one_class(seed=1, skill=0.5)
    pair = {"x": first, "y": second}
    voted = ensemble.weighted_mean(pair, ensemble.equal_weights(pair))
    np.testing.assert_allclose(voted, (first + second) / 2)
    twin = ensemble.diversity(labels, predictions(x=first, y=first))
    apart = ensemble.diversity(labels, predictions(x=first, y=second))
    assert twin["mean_disagreement"] == 0
    assert twin["pairs"]["x | y"]["q_statistic"] == 1
    assert apart["mean_disagreement"] > 0
    assert apart["oracle_accuracy"] >= twin["oracle_accuracy"]
    assert ensemble.diversity(labels, predictions(x=first))["mean_disagreement"] == 0


def test_diversity_by_hand() -> None:
    """Of 8 papers, both members get 2 right, only x 3, only y 2, and neither 1."""
    labels = np.zeros(8, dtype=int)
    first = np.eye(3)[[0, 0, 0, 0, 0, 1, 1, 2]]
    second = np.eye(3)[[0, 0, 1, 1, 2, 0, 0, 2]]
    diversity = ensemble.diversity(labels, predictions(x=first, y=second))
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
    labels, good = one_class(seed=1)
    _, bad = one_class(seed=1, skill=0.2)
    members = {"good": good, "bad": bad, "none": np.full_like(good, 1 / good.shape[1])}
    weights = ensemble.fitted_weights(labels, members)
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["good"] > weights["bad"]

    def likelihood(weights: dict[str, float]) -> float:
        mixed = ensemble.weighted_mean(members, weights)
        return float(np.log(mixed[np.arange(len(labels)), labels]).mean())

    best = likelihood(weights)
    assert best >= likelihood(ensemble.equal_weights(members))
    random = np.random.default_rng(0)
    for _ in range(200):
        other = dict(zip(members, random.dirichlet(np.ones(3)), strict=True))
        assert best >= likelihood(other) - 1e-6


def test_a_vote_is_calibrated_and_keeps_the_order_of_classes() -> None:
    labels, p = one_class(number=4000, skill=2.0)
    posterior = p**2 / (p**2).sum(1, keepdims=True)  # of logits that differ by 2 on average
    sharp = {"x": p**3 / (p**3).sum(1, keepdims=True)}
    vote = Vote.fit(labels, sharp, "equal")
    assert vote.temperature == pytest.approx(3 / 2, rel=0.1)
    votes = vote.predict(sharp)
    assert votes.thresholds is None
    assert (votes.likeliest == p.argmax(1)).all()
    assert np.abs(votes.probabilities - posterior).max() < 0.05
    assert vote.weights == {"x": 1.0}


def test_fitted_weights_of_several_classes_have_the_highest_likelihood() -> None:
    listed, good = several_classes(number=800, seed=1)
    members = {"good": good, "bad": several_classes(number=800, seed=2)[1]}
    weights = ensemble.fitted_weights(listed, members)
    assert weights["good"] > weights["bad"]

    def likelihood(share: float) -> float:
        mixed = ensemble.weighted_mean(members, {"good": share, "bad": 1 - share})
        return float(np.log(np.where(listed, mixed, 1 - mixed)).sum())

    best = likelihood(weights["good"])
    assert all(best >= likelihood(share) - 1e-3 for share in np.linspace(0, 1, 101))


def test_a_vote_over_several_classes_is_calibrated_and_has_thresholds() -> None:
    listed, p = several_classes(number=3000)
    odds = p / (1 - p)
    sharp = {"x": odds**2 / (1 + odds**2), "y": odds**2 / (1 + odds**2)}
    vote = Vote.fit(listed, sharp, "fitted")
    votes = vote.predict(sharp)
    assert votes.thresholds is not None
    assert votes.thresholds.shape == (5,)
    assert abs(votes.probabilities.mean() - listed.mean()) < 0.01
    assert abs(sharp["x"].mean() - listed.mean()) > 0.02, "the premise: votes are not calibrated"
    one = Vote.fit(listed, sharp, "equal", per_class=False)
    assert one.thresholds is not None
    assert len(set(one.thresholds)) == 1


def test_members_of_several_classes_are_scored_and_compared() -> None:
    listed, p = several_classes()
    other = several_classes(seed=7)[1]
    papers = papers_listing(listed)
    classes = ensemble.classes_of(papers, label_set(5, multi_label=True))
    assert np.array_equal(classes, listed)
    assert ensemble.classes_of(papers, label_set(5, multi_label=False)).tolist() == [
        row.argmax() for row in listed
    ]
    members = {"x": at(0.5, p), "y": at(0.5, other)}
    scores = ensemble.member_scores(classes, members, {"x": 0.75, "y": 0.25})
    assert scores["x"]["weight"] == 0.75
    assert scores["x"]["precision_at_1"] > scores["y"]["precision_at_1"]
    assert scores["x"]["micro_f1"] > scores["y"]["micro_f1"]
    twin = ensemble.diversity(classes, {"x": at(0.5, p), "y": at(0.5, p)})
    assert twin["mean_disagreement"] == 0
    apart = ensemble.diversity(classes, members)
    first, second = members["x"].assigned, members["y"].assigned
    expected = (first != second).sum() / (first | second).sum()
    assert apart["mean_disagreement"] == pytest.approx(expected)
    assert apart["oracle_accuracy"] >= scores["x"]["precision_at_1"]


def test_members_get_thresholds_of_their_own_from_validation_papers() -> None:
    listed, p = several_classes(number=2000)
    val = {"x": p, "y": p / 2}
    members = ensemble.member_predictions(listed, val, val)
    assert members["x"].thresholds is not None
    assert members["y"].thresholds is not None
    assert (members["y"].thresholds < members["x"].thresholds).all()
    labels, q = one_class()
    assert ensemble.member_predictions(labels, {"x": q}, {"x": q})["x"].thresholds is None


def test_the_linear_model_is_calibrated_before_it_votes() -> None:
    labels, p = one_class(number=4000, skill=2.0)
    timid = p**0.2 / (p**0.2).sum(1, keepdims=True)
    val, test = (Predictions(timid[part]) for part in (slice(2000), slice(2000, None)))
    fitted, new = ensemble.calibrated(labels[:2000], val, test)
    for before, after, known in ((val, fitted, labels[:2000]), (test, new, labels[2000:])):
        assert expected_calibration_error(known, before.probabilities, 15) > 0.1
        assert expected_calibration_error(known, after, 15) < 0.05
        assert (after.argmax(1) == before.probabilities.argmax(1)).all()
