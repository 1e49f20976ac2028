"""Hand-written gradients against torch's autograd and against central differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from arxiv_hybrid.scratch.layers import (
    LSTM,
    SGD,
    Conv1D,
    Dense,
    Embedding,
    GlobalMaxPool,
    Layer,
    ReLU,
    cross_entropy,
    sigmoid,
    softmax,
)
from arxiv_hybrid.scratch.next_word import KINDS, Model, Settings

BOUND = 1e-6
RANDOM = np.random.default_rng(0)


def relative(actual: Any, expected: Any) -> float:
    """Largest difference, relative to the largest value."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    return float(np.abs(actual - expected).max() / max(np.abs(expected).max(), 1e-12))


def numeric(loss: Callable[[], float], values: Any, step: float = 1e-6) -> Any:
    """Gradient of a loss with respect to `values`, by central differences."""
    gradient = np.zeros_like(values)
    for index in np.ndindex(values.shape):
        original = values[index]
        values[index] = original + step
        above = loss()
        values[index] = original - step
        gradient[index] = (above - loss()) / (2 * step)
        values[index] = original
    return gradient


def dense() -> tuple[Layer, Any, Any]:
    layer = Dense(5, 3, RANDOM, np.float64)
    twin = nn.Linear(5, 3).double()
    with torch.no_grad():
        twin.weight.copy_(torch.tensor(layer.weights["weight"].T))
        twin.bias.copy_(torch.tensor(layer.weights["bias"]))
    gradients = {"weight": lambda: twin.weight.grad.T, "bias": lambda: twin.bias.grad}
    return layer, twin, (RANDOM.normal(size=(4, 5)), gradients)


def conv() -> tuple[Layer, Any, Any]:
    layer = Conv1D(4, 3, 2, RANDOM, np.float64)
    layer.weights["bias"] = RANDOM.normal(size=3)
    twin = nn.Conv1d(4, 3, 2).double()
    with torch.no_grad():
        twin.weight.copy_(torch.tensor(layer.weights["kernel"]).permute(2, 1, 0))
        twin.bias.copy_(torch.tensor(layer.weights["bias"]))
    gradients = {
        "kernel": lambda: twin.weight.grad.permute(2, 1, 0),
        "bias": lambda: twin.bias.grad,
    }

    def apply(x: Any) -> Any:
        return twin(x.transpose(1, 2)).transpose(1, 2)

    return layer, apply, (RANDOM.normal(size=(3, 6, 4)), gradients)


def lstm() -> tuple[Layer, Any, Any]:
    layer = LSTM(4, 3, RANDOM, np.float64)
    layer.weights["bias"] = RANDOM.normal(size=12)
    twin = nn.LSTM(4, 3, batch_first=True).double()
    with torch.no_grad():  # torch's order of gates is the same: input, forget, cell, output
        twin.weight_ih_l0.copy_(torch.tensor(layer.weights["input"].T))
        twin.weight_hh_l0.copy_(torch.tensor(layer.weights["recurrent"].T))
        twin.bias_ih_l0.copy_(torch.tensor(layer.weights["bias"]))
        twin.bias_hh_l0.zero_()
    gradients = {
        "input": lambda: twin.weight_ih_l0.grad.T,
        "recurrent": lambda: twin.weight_hh_l0.grad.T,
        "bias": lambda: twin.bias_ih_l0.grad,
    }
    return layer, lambda x: twin(x)[0][:, -1], (RANDOM.normal(size=(3, 7, 4)), gradients)


def relu() -> tuple[Layer, Any, Any]:
    return ReLU(), F.relu, (RANDOM.normal(size=(3, 5, 2)), {})


def pool() -> tuple[Layer, Any, Any]:
    return GlobalMaxPool(), lambda x: x.amax(1), (RANDOM.normal(size=(3, 5, 2)), {})


@pytest.mark.parametrize("make", [dense, conv, lstm, relu, pool])
def test_gradients_of_each_layer(make: Callable[[], tuple[Layer, Any, Any]]) -> None:
    layer, twin, (x, twin_gradients) = make()
    out = layer.forward(x)
    upper = RANDOM.normal(size=out.shape)
    d_x = layer.backward(upper)
    twin_x = torch.tensor(x, requires_grad=True)
    expected = twin(twin_x)
    assert relative(out, expected.detach()) < BOUND
    expected.backward(torch.tensor(upper))
    assert relative(d_x, twin_x.grad) < BOUND
    assert set(layer.gradients) == set(layer.weights)
    for name, twin_gradient in twin_gradients.items():
        gradient = layer.gradients[name]
        assert relative(gradient, twin_gradient()) < BOUND
        expected = numeric(lambda: float((layer.forward(x) * upper).sum()), layer.weights[name])
        assert relative(gradient, expected) < BOUND
    assert relative(d_x, numeric(lambda: float((layer.forward(x) * upper).sum()), x)) < BOUND


def test_embedding_updates_only_the_rows_of_the_batch() -> None:
    layer = Embedding(9, 4, RANDOM, np.float64)
    ids = np.array([[0, 3, 3], [0, 0, 7]])
    out = layer.forward(ids)
    assert not out[0, 0].any(), "padding is zero"
    upper = RANDOM.normal(size=out.shape)
    layer.backward(upper)
    table = torch.tensor(layer.weights["table"], requires_grad=True)
    F.embedding(torch.tensor(ids), table, padding_idx=0).backward(torch.tensor(upper))
    assert layer.rows.tolist() == [0, 3, 7]
    assert relative(layer.gradients["table"], table.grad[layer.rows]) < BOUND
    before = layer.weights["table"].copy()

    model = Model("cnn", [], Settings(), [layer])
    SGD(0.5).step(model)
    moved = np.abs(layer.weights["table"] - before).any(1)
    assert moved.tolist() == [i in (3, 7) for i in range(9)]


def test_cross_entropy_and_its_gradient() -> None:
    logits, labels = RANDOM.normal(size=(5, 7)) * 30, RANDOM.integers(7, size=5)
    loss, gradient = cross_entropy(logits, labels)
    twin_logits = torch.tensor(logits, requires_grad=True)
    expected = F.cross_entropy(twin_logits, torch.tensor(labels))
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-9)
    assert relative(gradient, twin_logits.grad) < BOUND


def test_no_overflow_far_from_zero() -> None:
    np.testing.assert_allclose(sigmoid(np.array([-1e4, 0.0, 1e4])), [0, 0.5, 1])
    np.testing.assert_allclose(softmax(np.array([[1e4, -1e4]])), [[1, 0]])


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_whole_models_by_central_differences(kind: str) -> None:
    settings = Settings(
        seq_len=4, embedding=5, filters=6, hidden=4, kernel=2, seed=1, dtype="float64"
    )
    model = Model.new(kind, [f"w{i}" for i in range(11)], settings)
    ids, labels = RANDOM.integers(0, 11, (6, 4)), RANDOM.integers(0, 11, 6)

    def loss() -> float:
        return cross_entropy(model.forward(ids), labels)[0]

    model.backward(cross_entropy(model.forward(ids), labels)[1])
    for layer in model.layers:
        gradients = {name: value.copy() for name, value in layer.gradients.items()}
        for name, gradient in gradients.items():
            expected = numeric(loss, layer.weights[name], 1e-5)
            if isinstance(layer, Embedding):
                expected = expected[layer.rows]
                expected[layer.rows == 0] = 0
            assert relative(gradient, expected) < BOUND, (layer, name)


def test_cross_entropy_of_an_impossible_label_is_finite() -> None:
    for dtype in (np.float32, np.float64):
        loss, _ = cross_entropy(np.array([[200.0, 0.0]], dtype=dtype), np.array([1]))
        assert loss == pytest.approx(200.0)
