"""Training batches: random, but of papers of similar length, so that little padding is needed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

POOL = 50  # batches sorted by length together: little padding, and still random enough


def shuffled_batches(
    lengths: npt.NDArray[np.int64],
    batch_size: int,
    random: np.random.Generator,
    min_size: int = 2,
) -> list[npt.NDArray[np.int64]]:
    """Row numbers of one epoch, in random batches of papers of similar length.

    lengths (N,): tokens of each paper. Every row occurs once. A last batch of fewer than `min_size`
    rows joins the one before it: batch statistics need two rows in each process.
    """
    order = random.permutation(len(lengths))
    pools = np.split(order, range(POOL * batch_size, len(order), POOL * batch_size))
    order = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools])
    batches = np.split(order, range(batch_size, len(order), batch_size))
    if len(batches) > 1 and len(batches[-1]) < min_size:
        batches[-2:] = [np.concatenate(batches[-2:])]
    return [batches[i] for i in random.permutation(len(batches))]
