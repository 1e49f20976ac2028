"""Probabilities that mean what they say: one temperature, fitted on held-out papers."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

_WIDEST = 3.0  # of the logarithm: temperatures from 0.05 to 20


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The T under which softmax(logits / T) finds the labels most likely (Guo et al. 2017).

    logits (N, C) or logarithms of probabilities, labels (N,), of papers the model was not
    trained on. Above 1 where the model was too sure. The order of classes never changes. A weak
    prior, worth one paper, keeps it near 1 where the papers are few or all right.
    """
    from scipy.optimize import minimize_scalar  # half a second to load

    logits, labels = logits.double().cpu(), labels.cpu()

    def loss(log_temperature: float) -> float:
        fit = F.cross_entropy(logits / math.exp(log_temperature), labels)
        return float(fit) + log_temperature**2 / len(labels)

    found = minimize_scalar(loss, bounds=(-_WIDEST, _WIDEST), method="bounded")
    return math.exp(float(found.x))


def probabilities(logits: Tensor, temperature: float) -> Tensor:
    """Class probabilities (N, C) in float64 on the CPU; rows sum to 1."""
    return torch.softmax(logits.double().cpu() / temperature, dim=-1)
