"""Regularization besides dropout: word dropout and mixup."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from arxiv_hybrid.inference.encoding import Batch
from arxiv_hybrid.text.vocabulary import PAD, UNK
from arxiv_hybrid.training.losses import Loss

MIXUP_ALPHA = 0.2  # of the published v4


@dataclass(frozen=True)
class Regularizer:
    """Word dropout on ids, mixup on features.

    word_dropout: share of tokens that become `<UNK>`. mixup: share of batches that are mixed.
    """

    word_dropout: float
    mixup: float
    mixup_random: np.random.Generator

    def drop_tokens(self, batch: Batch) -> Batch:
        """The batch with a random share of its tokens turned into `<UNK>`."""
        return replace(
            batch,
            title_ids=drop_tokens(batch.title_ids, self.word_dropout),
            abstract_ids=drop_tokens(batch.abstract_ids, self.word_dropout),
        )

    def draw_mixup(self, labels: Tensor) -> Mixup | None:
        """A mix for a share of the batches; draws no random number when mixup is off."""
        if not self.mixup or self.mixup_random.random() >= self.mixup:
            return None
        return Mixup.draw(len(labels), labels.device, self.mixup_random)


def drop_tokens(ids: Tensor, p: float) -> Tensor:
    """Turn each real token of ids (B, T) into `<UNK>` with probability `p`."""
    if not p:
        return ids
    dropped = (torch.rand(ids.shape, device=ids.device) < p) & (ids != PAD)
    return ids.masked_fill(dropped, UNK)


@dataclass(frozen=True)
class Mixup:
    """Pairs of papers of a batch, mixed in feature space (Zhang et al. 2018; published v4).

    Each paper keeps `share` of itself and takes the rest from the paper at its `partner` (B,).
    """

    share: float
    partner: Tensor

    @classmethod
    def draw(cls, size: int, device: torch.device, random: np.random.Generator) -> Mixup:
        """A mix for a batch of `size` papers, its share from Beta(0.2, 0.2)."""
        partner = torch.from_numpy(random.permutation(size)).to(device)
        return cls(float(random.beta(MIXUP_ALPHA, MIXUP_ALPHA)), partner)

    def mix(self, features: Tensor) -> Tensor:
        """Mix features (B, F)."""
        return self.share * features + (1 - self.share) * features[self.partner]

    @contextmanager
    def applied_to(self, head: nn.Module) -> Iterator[None]:
        """Within the block, the model's head receives mixed features."""

        def mix_input(_: nn.Module, inputs: tuple[Any, ...]) -> Tensor:
            return self.mix(inputs[0])

        hook = head.register_forward_pre_hook(mix_input)
        try:
            yield
        finally:
            hook.remove()

    def majority(self, labels: Tensor) -> Tensor:
        """The label (B,) with the greater share of each paper."""
        return labels if self.share >= 0.5 else labels[self.partner]

    def loss(self, loss: Loss, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss against both labels, weighted by their shares."""
        return self.share * loss(logits, labels) + (1 - self.share) * loss(
            logits, labels[self.partner]
        )
