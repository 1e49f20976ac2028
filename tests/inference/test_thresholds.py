"""Which classes a paper is assigned."""

from __future__ import annotations

import numpy as np
import pytest

from arxiv_hybrid.inference.thresholds import HIGHEST, LOWEST, assigned, fit_thresholds

Floats = np.ndarray[tuple[int, int], np.dtype[np.float64]]


def drawn(papers: int, classes: int, seed: int = 0) -> tuple[np.ndarray, Floats]:
    """Calibrated probabilities, and labels that follow them."""
    random = np.random.default_rng(seed)
    probabilities = random.beta(0.5, 2, (papers, classes))
    return random.random(probabilities.shape) < probabilities, probabilities


def f1(labels: np.ndarray, chosen: np.ndarray) -> Floats:
    return 2 * (labels & chosen).sum(0) / (labels.sum(0) + chosen.sum(0))


def test_a_class_of_its_own_gets_the_threshold_with_the_highest_f1() -> None:
    labels, probabilities = drawn(5000, 1)
    fitted = fit_thresholds(labels, probabilities, per_class=True)
    best = f1(labels, probabilities >= fitted)
    for threshold in np.linspace(0.05, 0.9, 40):
        assert (f1(labels, probabilities >= threshold) <= best + 0.005).all()


def test_classes_that_are_harder_get_lower_thresholds() -> None:
    """Their own threshold is that of half their best F1; on new papers macro-F1 gains by it."""

    def drawn_unequal(seed: int) -> tuple[np.ndarray, Floats]:
        random = np.random.default_rng(seed)
        parts = [random.beta(*shape, (5000, 1)) for shape in ((0.2, 0.8), (0.5, 4), (0.5, 20))]
        probabilities = np.concatenate(parts, axis=1)
        return random.random(probabilities.shape) < probabilities, probabilities

    fitted = fit_thresholds(*drawn_unequal(0), per_class=True)
    assert (np.diff(fitted) < 0).all()
    shared = fit_thresholds(*drawn_unequal(0), per_class=False)
    labels, probabilities = drawn_unequal(1)
    better, worse = (f1(labels, probabilities >= values).mean() for values in (fitted, shared))
    assert better > worse + 0.01


def test_one_threshold_for_all_has_the_highest_micro_f1() -> None:
    labels, probabilities = drawn(2000, 5)
    fitted = fit_thresholds(labels, probabilities, per_class=False)
    assert len(set(fitted)) == 1
    every = labels.reshape(-1, 1)

    def micro(threshold: float) -> float:
        return float(f1(every, probabilities.reshape(-1, 1) >= threshold)[0])

    assert micro(fitted[0]) >= max(micro(threshold) for threshold in np.linspace(0.05, 0.9, 40))


def test_a_rare_class_does_not_follow_its_two_papers() -> None:
    """Two papers with tiny probabilities would set a threshold that assigns the class to all."""
    labels, probabilities = drawn(2000, 1)
    labels[:] = False
    labels[probabilities[:, 0].argsort()[:2]] = True
    (fitted,) = fit_thresholds(labels, probabilities, per_class=True)
    assert fitted > 0.1, "without shrinkage it would be LOWEST"


@pytest.mark.parametrize("per_class", [True, False])
def test_a_class_without_papers_gets_a_threshold(*, per_class: bool) -> None:
    labels, probabilities = drawn(50, 4)
    labels[:, 2] = False
    fitted = fit_thresholds(labels, probabilities, per_class=per_class)
    assert ((fitted >= LOWEST) & (fitted <= HIGHEST)).all()


def test_equal_probabilities_are_not_separated() -> None:
    probabilities = np.array([[0.9], [0.5], [0.5], [0.5], [0.1]])
    labels = np.array([[True], [True], [False], [False], [False]])
    (fitted,) = fit_thresholds(labels, probabilities, per_class=False)
    assert 0.5 < fitted < 0.9


def test_the_likeliest_class_is_always_assigned() -> None:
    probabilities = np.array([[0.1, 0.2, 0.05], [0.6, 0.3, 0.8], [0.5, 0.2, 0.1]])
    chosen = assigned(probabilities, np.array([0.5, 0.4, 0.7]))
    assert chosen.tolist() == [[False, True, False], [True, False, True], [True, False, False]]
