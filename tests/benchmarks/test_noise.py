"""Estimates of label noise, on labels whose noise is known."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import scripts


@pytest.fixture(scope="module")
def noise() -> ModuleType:
    return scripts.load("noise")


def test_confident_learning_finds_the_share_of_flipped_labels(noise: ModuleType) -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 6000)
    flipped = random.random(6000) < 0.12
    labels = np.where(flipped, (truth + random.integers(1, 3, 6000)) % 3, truth)
    p = np.full((6000, 3), 0.1)
    p[np.arange(6000), truth] = 0.8
    assert noise.confident_noise(labels, p) == pytest.approx(flipped.mean(), abs=1e-6)
    assert noise.confident_noise(truth, p) == 0


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
