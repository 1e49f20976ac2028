"""Batches of one epoch."""

from __future__ import annotations

import numpy as np
import pytest

from arxiv_hybrid.training.batches import batch_size_for, shuffled_batches


def test_batches_hold_every_row_once_and_similar_lengths() -> None:
    random = np.random.default_rng(0)
    lengths = random.integers(10, 300, 1000)
    batches = shuffled_batches(lengths, 64, random)
    assert sorted(np.concatenate(batches).tolist()) == list(range(1000))
    spread = np.mean([np.ptp(lengths[rows]) for rows in batches])
    assert spread < 40
    assert {len(rows) for rows in batches} == {64, 1000 % 64}


def test_no_batch_is_a_single_row() -> None:
    batches = shuffled_batches(np.arange(129), 64, np.random.default_rng(0))
    assert sorted(len(rows) for rows in batches) == [64, 65]


@pytest.mark.parametrize(
    ("papers", "size"), [(2, 16), (300, 16), (1260, 32), (1680, 64), (10**6, 64)]
)
def test_few_papers_train_in_small_batches(papers: int, size: int) -> None:
    assert batch_size_for(papers, epochs=6, min_steps=160) == size
