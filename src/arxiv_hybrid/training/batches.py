"""Encoded papers as tensors on the device, and batches as slices of them.

Token ids are made once and stay put: an epoch costs index operations, no tokenising, no
worker processes, no Python loop over papers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from arxiv_hybrid.text.vocabulary import PAD, UNK

POOL = 50  # batches that are sorted by length together: little padding, still much chance
INFERENCE_BATCH = 256


def shuffled_batches(
    lengths: npt.NDArray[np.int64],
    batch_size: int,
    random: np.random.Generator,
    fewest: int = 2,
) -> list[npt.NDArray[np.int64]]:
    """Row numbers of one epoch, in random batches of papers of about the same length.

    Every row occurs once. A last batch of less than `fewest` rows joins the one before it:
    batch statistics need two, and so does each of several processes.
    """
    order = random.permutation(len(lengths))
    pools = np.split(order, range(POOL * batch_size, len(order), POOL * batch_size))
    order = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools])
    batches = np.split(order, range(batch_size, len(order), batch_size))
    if len(batches) > 1 and len(batches[-1]) < fewest:
        batches[-2:] = [np.concatenate(batches[-2:])]
    return [batches[i] for i in random.permutation(len(batches))]


def drop_words(ids: Tensor, p: float) -> Tensor:
    """Turn each real word of a batch (B, T) into `<UNK>` with probability `p`."""
    if not p:
        return ids
    dropped = (torch.rand(ids.shape, device=ids.device) < p) & (ids != PAD)
    return ids.masked_fill(dropped, UNK)
