"""The time-series CNN-LSTM: signals, shapes, and what can and cannot be learned."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch

from arxiv_hybrid.time_series.model import SequenceCNNLSTM
from arxiv_hybrid.time_series.series import MOTIF_STEPS, SIGNALS, Series, generate, split
from arxiv_hybrid.time_series.training import evaluate, fit_sequences


def make_series(signal: str, samples: int = 1000, noise: float = 0.5, seed: int = 42) -> Series:
    return generate(
        signal, samples=samples, steps=50, noise=noise, random=np.random.default_rng(seed)
    )


def train_and_test(
    signal: str, *, attention: bool = False, epochs: int = 10
) -> tuple[float, float]:
    """Test scores after and before training on 800 series."""
    random = np.random.default_rng(42)
    train, test = split(make_series(signal), 0.8, random)
    torch.manual_seed(42)
    model = SequenceCNNLSTM(attention=attention)
    forecast = signal == "wave"
    before = evaluate(model, test, forecast)["score"]
    settings = {"epochs": epochs, "batch_size": 32, "learning_rate": 0.001, "seed": 42}
    fit_sequences(model, train, test, forecast=forecast, **settings)  # type: ignore[arg-type]
    return evaluate(model, test, forecast)["score"], before


@pytest.mark.parametrize("signal", SIGNALS)
def test_signals_have_labels_and_are_reproducible(signal: str) -> None:
    series = make_series(signal)
    assert series.x.shape == (1000, 50, 1)
    assert series.y.shape == (1000,)
    again = make_series(signal)
    np.testing.assert_array_equal(series.x, again.x)
    if signal != "wave":
        assert set(series.y) == {0.0, 1.0}
        assert 0.45 < series.y.mean() < 0.55


@pytest.mark.parametrize("signal", ["motif", "dip"])
def test_mean_and_spread_do_not_separate_the_classes(signal: str) -> None:
    series = make_series(signal)
    absent, present = (series.x[series.y == label] for label in (0, 1))
    for measure in (np.mean, np.std, np.max):
        a, b = measure(absent, axis=(1, 2)), measure(present, axis=(1, 2))
        error = np.sqrt(a.var() / len(a) + b.var() / len(b))
        assert abs(a.mean() - b.mean()) < 4 * error
    assert MOTIF_STEPS < 50


def test_motif_is_learned_and_noise_is_not() -> None:
    after, before = train_and_test("motif")
    assert after > 0.95 > before
    chance, _ = train_and_test("null")
    assert 0.4 < chance < 0.6


def test_motif_is_learned_with_attention() -> None:
    assert train_and_test("motif", attention=True)[0] > 0.95


def test_wave_is_forecast() -> None:
    random = np.random.default_rng(42)
    train, test = split(make_series("wave", noise=0.1), 0.8, random)
    torch.manual_seed(42)
    model = SequenceCNNLSTM()
    fit_sequences(
        model, train, test, forecast=True, epochs=10, batch_size=32, learning_rate=0.001, seed=42
    )
    assert evaluate(model, test, True)["score"] > 0.9


@pytest.mark.parametrize("attention", [False, True])
def test_shapes_and_weights(attention: bool) -> None:
    model = SequenceCNNLSTM(features=2, attention=attention)
    output, weights = model(torch.randn(5, 21, 2))
    assert output.shape == (5,)
    assert weights.shape == (5, 9)  # 21 steps, kernel 3, pool 2
    torch.testing.assert_close(weights.sum(1), torch.ones(5))


def test_training_is_deterministic_and_leaves_other_models_alone() -> None:
    series = make_series("motif", samples=100)
    torch.manual_seed(0)
    first = SequenceCNNLSTM()
    second, untouched = deepcopy(first), deepcopy(first)
    settings = {"epochs": 2, "batch_size": 16, "learning_rate": 0.01, "seed": 3}
    histories = [
        fit_sequences(model, series, series, forecast=False, **settings)  # type: ignore[arg-type]
        for model in (first, second)
    ]
    assert histories[0] == histories[1]
    assert [epoch["epoch"] for epoch in histories[0]] == [1, 2]
    assert not torch.equal(first.out.weight, untouched.out.weight)
