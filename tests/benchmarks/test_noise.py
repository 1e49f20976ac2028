"""Estimates of label noise, on labels whose noise is known."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import scripts


@pytest.fixture(scope="module")
def noise() -> ModuleType:
    return scripts.load("noise")


def test_nearest_papers(noise: ModuleType) -> None:
    vectors = np.array([[1, 0], [0, 1], [2, 0.2], [0.1, 3]], dtype=np.float32)
    nearest, cosine = noise.near_duplicates(vectors)
    assert nearest.tolist() == [2, 3, 0, 1]
    assert (cosine > 0.99).all()


def test_the_best_accuracy_that_neighbours_allow(noise: ModuleType) -> None:
    assert noise.bayes_accuracy(0.0, 4) == 1
    assert noise.bayes_accuracy(0.75, 4) == pytest.approx(0.25), "chance"
    # two classes, noise e: neighbours differ with 2 e (1 - e)
    assert noise.bayes_accuracy(2 * 0.1 * 0.9, 2) == pytest.approx(0.9)


def test_flipped_labels(noise: ModuleType) -> None:
    truth = np.arange(2000) % 4
    confused = np.array([3, 2, 1, 0])
    for kind in ("uniform", "confused"):
        labels = noise.flipped(truth, kind, confused, seed=1)
        assert (labels != truth).sum() == 100
        assert set(labels) <= {0, 1, 2, 3}
    changed = labels != truth
    assert (labels[changed] == confused[truth[changed]]).all()


def test_the_class_that_papers_are_taken_for(noise: ModuleType) -> None:
    p = np.array([[0.9, 0.1, 0], [0, 0, 1], [0.2, 0.3, 0.5], [1, 0, 0], [0, 0.6, 0.4]])
    assert noise.most_confused(np.array([0, 0, 1, 2, 2]), p).tolist() == [2, 2, 0]


def test_the_share_found_in_the_first_papers(noise: ModuleType) -> None:
    wrong = np.zeros(100, dtype=bool)
    wrong[:10] = True
    quality = np.arange(100.0)
    assert noise.found_in(quality, wrong) == [0.5, 1.0]
    assert noise.found_in(-quality, wrong) == [0.0, 0.0]
