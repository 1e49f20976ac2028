"""Calibration on held-out papers: a temperature (Guo et al. 2017), and for sigmoids a bias."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

_LOG_BOUND = 3.0  # temperatures from 0.05 to 20
_BIAS_BOUND = 10.0


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature T that maximizes the likelihood of the labels under softmax(logits / T).

    logits (N, C), or log-probabilities, and labels (N,) of papers that the model was not trained
    on. T is above 1 if the model was overconfident; the order of classes never changes. A weak
    prior, worth one paper, keeps T near 1 if papers are few or all are classified correctly.
    """
    from scipy.optimize import minimize_scalar  # half a second to load

    logits, labels = logits.double().cpu(), labels.cpu()

    def loss(log_temperature: float) -> float:
        nll = F.cross_entropy(logits / math.exp(log_temperature), labels)
        return float(nll) + log_temperature**2 / len(labels)

    result = minimize_scalar(loss, bounds=(-_LOG_BOUND, _LOG_BOUND), method="bounded")
    return math.exp(float(result.x))


def fit_sigmoids(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """The temperature T and bias b that maximize the likelihood under sigmoid(logits / T + b).

    logits (N, C) and labels (N, C) bool of papers that the model was not trained on. The order of a
    paper's classes never changes. A weak prior, worth one paper, keeps T near 1 and b near 0.
    """
    from scipy.optimize import minimize

    logits, target = logits.double().cpu(), labels.double().cpu()

    def loss(values: list[float]) -> tuple[float, list[float]]:
        log_temperature, bias = float(values[0]), float(values[1])
        scaled = logits / math.exp(log_temperature)
        nll = F.binary_cross_entropy_with_logits(scaled + bias, target, reduction="sum")
        error = torch.sigmoid(scaled + bias) - target
        prior = log_temperature**2 + bias**2
        slopes = [
            2 * log_temperature - float((error * scaled).sum()),
            2 * bias + float(error.sum()),
        ]
        return (float(nll) + prior) / len(labels), [slope / len(labels) for slope in slopes]

    bounds = [(-_LOG_BOUND, _LOG_BOUND), (-_BIAS_BOUND, _BIAS_BOUND)]
    result = minimize(loss, [0.0, 0.0], jac=True, bounds=bounds, method="L-BFGS-B")
    return math.exp(float(result.x[0])), float(result.x[1])


def probabilities(logits: Tensor, temperature: float) -> Tensor:
    """Class probabilities (N, C) in float64 on the CPU; rows sum to 1."""
    return torch.softmax(logits.double().cpu() / temperature, dim=-1)


def sigmoid_probabilities(logits: Tensor, temperature: float, biases: list[float]) -> Tensor:
    """The probability of each class by itself, (N, C) in float64 on the CPU; biases: C values."""
    shift = torch.tensor(biases, dtype=torch.float64)
    return torch.sigmoid(logits.double().cpu() / temperature + shift)
