"""A bidirectional LSTM that ignores padding without packing its input."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from arxiv_hybrid.ops.dropout import dropout_mask


class BiLSTM(nn.Module):
    """Bidirectional LSTM layers with dropout between them.

    The backward direction is an LSTM over each sequence reversed within its own length, so padding
    always comes last: twice as fast on a CPU as packed sequences. One dropout mask serves all steps
    of a sequence (Gal and Ghahramani 2016).
    """

    def __init__(self, in_dim: int, hidden: int, dropout: float, layers: int = 2) -> None:
        super().__init__()
        sizes = [in_dim] + [2 * hidden] * (layers - 1)
        self.ahead = nn.ModuleList(nn.LSTM(size, hidden, batch_first=True) for size in sizes)
        self.back = nn.ModuleList(nn.LSTM(size, hidden, batch_first=True) for size in sizes)
        self.dropout = dropout

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Sequences (B, T, D) to states (B, T, 2 hidden), zero at padding.

        mask (B, T): True at real steps; padding must come last.
        """
        steps = torch.arange(mask.shape[1], device=mask.device)
        lengths = mask.sum(1, keepdim=True)
        reverse = torch.where(steps < lengths, lengths - 1 - steps, steps).unsqueeze(-1)
        for number, (ahead, back) in enumerate(zip(self.ahead, self.back, strict=True)):
            if number and self.training and self.dropout:
                x = x * dropout_mask(x[:, :1].shape, self.dropout, x.device)
            forwards = ahead(x)[0]
            backwards = back(x.gather(1, reverse.expand_as(x)))[0]
            backwards = backwards.gather(1, reverse.expand_as(backwards))
            x = torch.cat([forwards, backwards], dim=-1)
        return x * mask.unsqueeze(-1)
