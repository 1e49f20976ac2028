"""Training batches: random, but of papers of similar length, so that little padding is needed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

POOL = 50  # batches sorted by length together: little padding, and still random enough

SMALLEST, LARGEST = 16, 64


def batch_size_for(papers: int, epochs: int, min_steps: int) -> int:
    """The batch size for a number of papers: `LARGEST`, halved until there are enough steps.

    Few papers then train as many steps as they need, at little more cost: with batches of 64, six
    epochs of 1,260 papers end before the model has learned anything.
    """
    size = LARGEST
    while size > SMALLEST and epochs * -(-papers // size) < min_steps:
        size //= 2
    return size


def random_rows(papers: int, most: int, seed: int) -> npt.NDArray[np.int64]:
    """Row numbers of `papers`, in rising order: all, or `most` of them, drawn with `seed`."""
    rows = np.arange(papers)
    if papers <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


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
