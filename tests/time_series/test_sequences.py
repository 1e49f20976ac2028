"""The time-series CNN-LSTM: its signals, its shapes, and what it can and cannot learn."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch

from arxiv_hybrid.time_series.fit import fit_sequences, scores
from arxiv_hybrid.time_series.model import SequenceCNNLSTM
from arxiv_hybrid.time_series.series import MOTIF_STEPS, SIGNALS, Series, generate, split


def made(signal: str, samples: int = 1000, noise: float = 0.5, seed: int = 42) -> Series:
    return generate(
        signal, samples=samples, steps=50, noise=noise, random=np.random.default_rng(seed)
    )


def trained(signal: str, *, attention: bool = False, epochs: int = 10) -> tuple[float, float]:
    """Test score after training on 800 series, and before it."""
    random = np.random.default_rng(42)
    train, test = split(made(signal), 0.8, random)
    torch.manual_seed(42)
    model = SequenceCNNLSTM(attention=attention)
    forecast = signal == "wave"
    before = scores(model, test, forecast)["score"]
    settings = {"epochs": epochs, "batch_size": 32, "learning_rate": 0.001, "seed": 42}
    fit_sequences(model, train, test, forecast=forecast, **settings)  # type: ignore[arg-type]
    return scores(model, test, forecast)["score"], before


@pytest.mark.parametrize("signal", SIGNALS)
def test_signals_are_what_they_say(signal: str) -> None:
    series = made(signal)
    assert series.x.shape == (1000, 50, 1)
    assert series.y.shape == (1000,)
    again = made(signal)
    np.testing.assert_array_equal(series.x, again.x)
    if signal != "wave":
        assert set(series.y) == {0.0, 1.0}
        assert 0.45 < series.y.mean() < 0.55


@pytest.mark.parametrize("signal", ["motif", "dip"])
def test_mean_and_spread_do_not_tell_the_classes_apart(signal: str) -> None:
    series = made(signal)
    one, other = (series.x[series.y == label] for label in (0, 1))
    for measure in (np.mean, np.std, np.max):
        a, b = measure(one, axis=(1, 2)), measure(other, axis=(1, 2))
        error = np.sqrt(a.var() / len(a) + b.var() / len(b))
        assert abs(a.mean() - b.mean()) < 4 * error
    assert MOTIF_STEPS < 50


def test_a_motif_is_learned_and_noise_is_not() -> None:
    solved, before = trained("motif")
    assert solved > 0.95 > before
    chance, _ = trained("null")
    assert 0.4 < chance < 0.6


def test_attention_learns_it_too() -> None:
    assert trained("motif", attention=True)[0] > 0.95


def test_a_wave_is_forecast() -> None:
    random = np.random.default_rng(42)
    train, test = split(made("wave", noise=0.1), 0.8, random)
    torch.manual_seed(42)
    model = SequenceCNNLSTM()
    fit_sequences(
        model, train, test, forecast=True, epochs=10, batch_size=32, learning_rate=0.001, seed=42
    )
    assert scores(model, test, True)["score"] > 0.9


@pytest.mark.parametrize("attention", [False, True])
def test_shapes_and_weights(attention: bool) -> None:
    model = SequenceCNNLSTM(features=2, attention=attention)
    found, weights = model(torch.randn(5, 21, 2))
    assert found.shape == (5,)
    assert weights.shape == (5, 9)  # 21 values, kernel 3, pairs
    torch.testing.assert_close(weights.sum(1), torch.ones(5))


def test_training_is_deterministic_and_leaves_other_models_alone() -> None:
    series = made("motif", samples=100)
    torch.manual_seed(0)
    first = SequenceCNNLSTM()
    second, untouched = deepcopy(first), deepcopy(first)
    settings = {"epochs": 2, "batch_size": 16, "learning_rate": 0.01, "seed": 3}
    rows = [
        fit_sequences(model, series, series, forecast=False, **settings).rows  # type: ignore[arg-type]
        for model in (first, second)
    ]
    assert rows[0] == rows[1]
    assert [row["epoch"] for row in rows[0]] == [1, 2]
    assert not torch.equal(first.out.weight, untouched.out.weight)
