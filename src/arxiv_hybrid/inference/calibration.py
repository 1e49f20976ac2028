"""Calibration: one temperature, fitted on held-out papers (Guo et al. 2017)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

_LOG_BOUND = 3.0  # temperatures from 0.05 to 20


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


def probabilities(logits: Tensor, temperature: float) -> Tensor:
    """Class probabilities (N, C) in float64 on the CPU; rows sum to 1."""
    return torch.softmax(logits.double().cpu() / temperature, dim=-1)
