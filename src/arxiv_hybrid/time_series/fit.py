"""Training the time-series CNN-LSTM: classifier or forecaster, anew or from another's weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from arxiv_hybrid.time_series.model import SequenceCNNLSTM
from arxiv_hybrid.time_series.series import Series

OnEpoch = Callable[[dict[str, float]], None]


@dataclass
class Curves:
    """One dictionary an epoch: epoch, loss and score of training, and of validation or test.

    The score is accuracy where a label is asked for, else the share of variance explained.
    """

    rows: list[dict[str, float]] = field(default_factory=list)


def fit_sequences(
    model: SequenceCNNLSTM,
    train: Series,
    held_out: Series,
    *,
    forecast: bool,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    on_epoch: OnEpoch | None = None,
) -> Curves:
    """Train with Adam on binary cross-entropy, or on squared error for a forecast.

    Deterministic on one machine for a given seed; `model` is changed in place.
    """
    random = np.random.default_rng(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    x, y = torch.from_numpy(train.x), torch.from_numpy(train.y)
    curves = Curves()
    for epoch in range(1, epochs + 1):
        model.train()
        order = torch.from_numpy(random.permutation(len(y)))
        for rows in order.split(batch_size):
            loss = _loss(model(x[rows])[0], y[rows], forecast)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        row: dict[str, float] = {"epoch": epoch}
        for name, part in (("train", train), ("held_out", held_out)):
            row |= {f"{name}_{key}": value for key, value in scores(model, part, forecast).items()}
        curves.rows.append(row)
        if on_epoch:
            on_epoch(row)
    return curves


@torch.inference_mode()
def scores(model: SequenceCNNLSTM, series: Series, forecast: bool) -> dict[str, float]:
    """Loss, and accuracy or the share of the variance that is explained."""
    model.eval()
    y = torch.from_numpy(series.y)
    found = model(torch.from_numpy(series.x))[0]
    loss = float(_loss(found, y, forecast))
    if forecast:
        return {"loss": loss, "score": 1 - loss / float(y.var(unbiased=False))}
    return {"loss": loss, "score": float(((found > 0) == (y > 0.5)).double().mean())}


def _loss(found: Tensor, y: Tensor, forecast: bool) -> Tensor:
    return F.mse_loss(found, y) if forecast else F.binary_cross_entropy_with_logits(found, y)
