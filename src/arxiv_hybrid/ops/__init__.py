"""Kernels below the models, each held to plain PyTorch by a test."""

from arxiv_hybrid.ops.convolution import convolve, convolve_and_pool, convolve_unique
from arxiv_hybrid.ops.dropout import Dropout, dropout, dropout_mask, relu_dropout
from arxiv_hybrid.ops.embedding import (
    PADDING,
    TokenEmbedding,
    UniqueTokens,
    unique_with_inverse,
)
from arxiv_hybrid.ops.normalization import batch_norm
from arxiv_hybrid.ops.pooling import attention_pool, masked_mean, masked_softmax
from arxiv_hybrid.ops.ragged import (
    Layout,
    Ragged,
    host_knows_sizes,
    known_token_counts,
    unique_places,
)
from arxiv_hybrid.ops.recurrent import BiLSTM

__all__ = [
    "PADDING",
    "BiLSTM",
    "Dropout",
    "Layout",
    "Ragged",
    "TokenEmbedding",
    "UniqueTokens",
    "attention_pool",
    "batch_norm",
    "convolve",
    "convolve_and_pool",
    "convolve_unique",
    "dropout",
    "dropout_mask",
    "host_knows_sizes",
    "known_token_counts",
    "masked_mean",
    "masked_softmax",
    "relu_dropout",
    "unique_places",
    "unique_with_inverse",
]
