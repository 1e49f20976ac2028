"""The serial CNN-LSTM: one convolution, one LSTM, the maximum over time (`cnn_lstm`)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arxiv_hybrid.models.base import (
    PADDING,
    AttentionMaps,
    Counts,
    PaperClassifier,
    attention_maps,
    initialise,
)
from arxiv_hybrid.models.blocks import (
    Dropout,
    Flat,
    Lookup,
    convolve_lookup,
    distinct_words,
    lookup_table,
    on_host,
)


class SerialCNNLSTM(PaperClassifier):
    """Embedding, Conv1d, ReLU, LSTM, max over time, dropout, linear.

    Word vectors are dropped out at half the rate, as in the other models.
    Title and abstract are one sequence. It has no attention; its maps say where the maxima
    lie: the share of the LSTM's units that take their value from a word.
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
        super().__init__(vocab_size, embed_dim, max(kernel_sizes))
        self.embedding_dropout = 0.5 * dropout
        self.conv = nn.Conv1d(embed_dim, num_filters, kernel_sizes[0])
        self.lstm = nn.LSTM(num_filters, lstm_hidden, batch_first=True)
        self.head = nn.Sequential(Dropout(dropout), nn.Linear(lstm_hidden, num_classes))
        initialise(self)

    def encode(
        self, title_ids: Tensor, abstract_ids: Tensor, title_mask: Tensor, words: Counts
    ) -> tuple[Tensor, AttentionMaps]:
        """See `PaperClassifier.encode`."""
        ids = torch.cat([title_ids, abstract_ids], dim=1)
        real = torch.cat([title_mask, abstract_ids != PADDING], dim=1)
        count = None if words[0] is None or words[1] is None else words[0] + words[1]
        flat = Flat.of(real, self.gap, count)
        distinct, places = distinct_words(flat.real(ids))
        table = lookup_table(self.embed(distinct))
        index = places.new_zeros(flat.length).index_copy(0, flat.rows, places + 1)
        features = F.relu(convolve_lookup(Lookup(table, index, flat), [self.conv])[0].float())

        # the words of a document behind each other: the LSTM then needs no padding in between
        lengths = flat.mask.sum(1)
        step = torch.arange(len(features), device=ids.device)
        step = step - (lengths.cumsum(0) - lengths)[flat.document]
        longest = max(int(lengths.max()), 1) if on_host(ids) else ids.shape[1]
        sequence = features.new_zeros(len(ids), longest, features.shape[1])
        sequence = sequence.index_put((flat.document, step), features)
        states = self.lstm(sequence)[0].float()
        within = torch.arange(sequence.shape[1], device=ids.device) < lengths.unsqueeze(1)
        strongest, where = states.masked_fill(~within.unsqueeze(-1), -torch.inf).max(dim=1)
        strongest = strongest.masked_fill(lengths.unsqueeze(1) == 0, 0.0)
        taken = torch.zeros_like(sequence[..., 0]).scatter_add(
            1, where, torch.full_like(strongest, 1 / where.shape[1]).detach()
        )
        shares = flat.padded(taken[flat.document, step].unsqueeze(1)).squeeze(2)
        return strongest, _maps(shares, flat.mask, title_ids.shape[1])


def _maps(shares: Tensor, real: Tensor, title_length: int) -> AttentionMaps:
    """Shares of units by word (B, Tt + Ta) as maps of each text and of the two.

    Where no unit looks at a text, all its words weigh the same.
    """
    parts = (shares + 1e-6 * real).split([title_length, shares.shape[1] - title_length], dim=1)
    sums = torch.stack([part.sum(1) for part in parts], dim=1)
    title, abstract = (
        part / total.clamp(min=1e-9).unsqueeze(1)
        for part, total in zip(parts, sums.unbind(1), strict=True)
    )
    fusion = sums / sums.sum(1, keepdim=True).clamp(min=1e-9)
    return attention_maps(title.unsqueeze(1), abstract.unsqueeze(1), fusion)
