"""The time-series CNN-LSTM: convolution, max-pooling, LSTM, one output per series."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arxiv_hybrid.models.layers import AdditiveAttention
from arxiv_hybrid.ops import Layout, Ragged


class SequenceCNNLSTM(nn.Module):
    """Conv1d, ReLU, MaxPool, LSTM; a linear output on the last state, or on attention over all.

    The output is a logit for a classifier and the predicted value for a forecaster.
    """

    def __init__(
        self,
        features: int = 1,
        filters: int = 32,
        kernel_size: int = 3,
        pool: int = 2,
        hidden: int = 50,
        attention: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(features, filters, kernel_size)
        self.pool = nn.MaxPool1d(pool)
        self.lstm = nn.LSTM(filters, hidden, batch_first=True)
        self.attention = AdditiveAttention(hidden) if attention else None
        self.out = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Series (B, T, features) to outputs (B,) and attention weights (B, T').

        T' is the number of LSTM steps. The weights sum to 1; without attention all weight is
        on the last step.
        """
        states = self.features(x)
        if self.attention is None:
            weights = torch.zeros_like(states[..., 0])
            weights[:, -1] = 1
            return self.out(states[:, -1]).squeeze(-1), weights
        layout = Layout.of(torch.ones_like(states[..., 0], dtype=torch.bool), 0)
        pooled, weights = self.attention(Ragged(states.flatten(0, 1), layout))
        return self.out(pooled).squeeze(-1), weights.detach().squeeze(1)

    def features(self, x: Tensor) -> Tensor:
        """LSTM states (B, T', hidden)."""
        # Conv1d expects channels before steps
        convolved = F.relu(self.conv(x.transpose(1, 2)))
        states: Tensor = self.lstm(self.pool(convolved).transpose(1, 2))[0]
        return states
