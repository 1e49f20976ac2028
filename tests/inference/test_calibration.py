"""One temperature for all papers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from arxiv_hybrid.evaluation.metrics import expected_calibration_error
from arxiv_hybrid.inference.calibration import (
    fit_sigmoids,
    fit_temperature,
    probabilities,
    sigmoid_probabilities,
)


def drawn(papers: int = 20_000) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and labels that follow the probabilities they stand for."""
    torch.manual_seed(0)
    logits = 2 * torch.randn(papers, 4)
    return logits, torch.multinomial(torch.softmax(logits, -1), 1).squeeze(1)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_a_scaling_of_the_logits(factor: float) -> None:
    logits, labels = drawn()
    assert fit_temperature(factor * logits, labels) == pytest.approx(factor, rel=0.03)


@pytest.mark.parametrize(("factor", "shift"), [(0.5, 0.0), (1.0, 2.0), (3.0, -1.0)])
def test_sigmoids_get_back_their_scale_and_shift(factor: float, shift: float) -> None:
    torch.manual_seed(0)
    logits = 2 * torch.randn(10_000, 6) - 2
    labels = torch.rand(logits.shape) < torch.sigmoid(logits)
    changed = factor * logits + shift
    temperature, bias = fit_sigmoids(changed, labels)
    assert temperature == pytest.approx(factor, rel=0.03)
    assert bias == pytest.approx(-shift / factor, abs=0.05)
    fitted = sigmoid_probabilities(changed, temperature, [bias] * 6)
    torch.testing.assert_close(fitted, torch.sigmoid(logits.double()), rtol=0, atol=0.02)


def test_a_few_perfect_papers_do_not_make_sigmoids_overconfident() -> None:
    labels = torch.eye(3).repeat(5, 1).bool()
    temperature, bias = fit_sigmoids(4 * (2 * labels.float() - 1), labels)
    assert temperature > 0.2
    assert abs(bias) < 5


def test_a_temperature_gives_a_small_calibration_error() -> None:
    logits, labels = drawn()
    known = labels.numpy()
    before = probabilities(3 * logits, 1.0).numpy()
    after = probabilities(3 * logits, fit_temperature(3 * logits, labels)).numpy()
    assert expected_calibration_error(known, before, 15) > 0.08
    assert expected_calibration_error(known, after, 15) < 0.015
    assert np.array_equal(after.argmax(1), before.argmax(1)), "no paper changes its category"
    assert after.sum(1) == pytest.approx(1.0)


def test_a_few_correct_papers_do_not_lead_to_overconfidence() -> None:
    logits = 4 * torch.eye(3).repeat(10, 1)
    temperature = fit_temperature(logits, logits.argmax(1))
    assert temperature > 0.3
    assert probabilities(logits, temperature).max().item() < 0.99999
