"""The serial CNN-LSTM: one convolution, one LSTM, max over time (`cnn_lstm`)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arxiv_hybrid.models.base import (
    AttentionMaps,
    PaperClassifier,
    attention_maps,
    init_weights,
)
from arxiv_hybrid.ops import PADDING, Dropout, Ragged, TokenEmbedding, convolve_unique


class SerialCNNLSTM(PaperClassifier):
    """Embedding, Conv1d, ReLU, LSTM, max over time, dropout, linear; title and abstract joined.

    It has no attention. Its maps report where the maxima are: the share of LSTM units that take
    their maximum at each token.
    """

    def __init__(
        self,
        vocab_size: int,
        embed_dim: int = 300,
        num_filters: int = 128,
        kernel_sizes: Sequence[int] = (3,),
        lstm_hidden: int = 128,
        num_classes: int = 3,
        dropout: float = 0.6,
    ) -> None:
        super().__init__()
        self.embedding = TokenEmbedding(
            vocab_size, embed_dim, dropout=0.5 * dropout, receptive_field=max(kernel_sizes)
        )
        self.conv = nn.Conv1d(embed_dim, num_filters, kernel_sizes[0])
        self.lstm = nn.LSTM(num_filters, lstm_hidden, batch_first=True)
        self.head = nn.Sequential(Dropout(dropout), nn.Linear(lstm_hidden, num_classes))
        init_weights(self)

    def forward(
        self, title_ids: Tensor, abstract_ids: Tensor, title_mask: Tensor | None = None
    ) -> tuple[Tensor, AttentionMaps]:
        """See `PaperClassifier.forward`."""
        title_mask = title_ids != PADDING if title_mask is None else title_mask.bool()
        mask = torch.cat([title_mask, abstract_ids != PADDING], dim=1)
        (text,) = self.embedding(torch.cat([title_ids, abstract_ids], dim=1), masks=[mask])

        (convolved,) = convolve_unique(text, [self.conv])
        features = Ragged(F.relu(convolved.values.float()), text.layout)
        sequence, within = features.left_aligned()  # (B, L, F)
        states = self.lstm(sequence)[0].float()  # (B, L, H)
        maxima, argmax = states.masked_fill(~within.unsqueeze(-1), -torch.inf).max(dim=1)
        maxima = maxima.masked_fill(~within.any(1, keepdim=True), 0.0)

        units = torch.full_like(maxima, 1 / argmax.shape[1]).detach()
        shares = torch.zeros_like(sequence[..., 0]).scatter_add(1, argmax, units)  # (B, L)
        by_token = text.layout.pad(shares[text.layout.documents, text.layout.steps])
        return self.head(maxima), _maps(by_token, mask, title_ids.shape[1])


def _maps(shares: Tensor, mask: Tensor, title_length: int) -> AttentionMaps:
    """Shares of units by token (B, Tt + Ta) as attention maps of title, abstract and fusion.

    If no unit takes its maximum in a text, all tokens of the text get equal weights.
    """
    parts = (shares + 1e-6 * mask).split([title_length, shares.shape[1] - title_length], dim=1)
    sums = torch.stack([part.sum(1) for part in parts], dim=1)
    title, abstract = (
        part / total.clamp(min=1e-9).unsqueeze(1)
        for part, total in zip(parts, sums.unbind(1), strict=True)
    )
    fusion = sums / sums.sum(1, keepdim=True).clamp(min=1e-9)
    return attention_maps(title.unsqueeze(1), abstract.unsqueeze(1), fusion)
