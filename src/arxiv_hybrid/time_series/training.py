"""Training the time-series CNN-LSTM, as a classifier or a forecaster."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from arxiv_hybrid.time_series.model import SequenceCNNLSTM
from arxiv_hybrid.time_series.series import Series

Epoch = dict[str, float]
OnEpoch = Callable[[Epoch], None]


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
) -> list[Epoch]:
    """Train `model` in place with Adam, on cross-entropy or, for a forecast, on squared error.

    Returns one dictionary per epoch: epoch, and the loss and score of both sets, as
    `train_loss`, `train_score`, `held_out_loss`, `held_out_score` (see `evaluate`).
    Deterministic on one machine for a given seed.
    """
    random = np.random.default_rng(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    x, y = torch.from_numpy(train.x), torch.from_numpy(train.y)
    history = []
    for number in range(1, epochs + 1):
        model.train()
        order = torch.from_numpy(random.permutation(len(y)))
        for rows in order.split(batch_size):
            loss = _loss(model(x[rows])[0], y[rows], forecast)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        epoch: Epoch = {"epoch": number}
        for name, part in (("train", train), ("held_out", held_out)):
            scores = evaluate(model, part, forecast)
            epoch |= {f"{name}_{key}": value for key, value in scores.items()}
        history.append(epoch)
        if on_epoch:
            on_epoch(epoch)
    return history


@torch.inference_mode()
def evaluate(model: SequenceCNNLSTM, series: Series, forecast: bool) -> dict[str, float]:
    """Loss and score: the accuracy, or the share of explained variance of a forecast."""
    model.eval()
    y = torch.from_numpy(series.y)
    output = model(torch.from_numpy(series.x))[0]
    loss = float(_loss(output, y, forecast))
    if forecast:
        return {"loss": loss, "score": 1 - loss / float(y.var(unbiased=False))}
    return {"loss": loss, "score": float(((output > 0) == (y > 0.5)).double().mean())}


def _loss(output: Tensor, y: Tensor, forecast: bool) -> Tensor:
    return F.mse_loss(output, y) if forecast else F.binary_cross_entropy_with_logits(output, y)
