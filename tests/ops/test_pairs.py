"""Hashed word pairs agree with Python integers and a plain sum, values and gradients."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch

from arxiv_hybrid.ops import Layout, PairEmbedding
from arxiv_hybrid.ops.pairs import pair_rows

BUCKETS, DIM = 64, 5


def plain_row(first: int, second: int, buckets: int) -> int:
    """The hash with Python's integers, which do not overflow."""
    product = ((first << 16) | second) * 0x9E3779B97F4A7C15 % 2**64
    return product >> (64 - (buckets.bit_length() - 1))


def texts(*papers: list[int]) -> tuple[torch.Tensor, Layout]:
    """Papers of token ids as the concatenated ids and their layout."""
    width = max(map(len, papers))
    ids = torch.tensor([paper + [0] * (width - len(paper)) for paper in papers])
    layout = Layout.of(ids != 0, 5)
    return layout.gather(ids), layout


@pytest.mark.parametrize("buckets", [2, 64, 131072, 2**20])
def test_rows_are_the_top_bits_of_a_wrapped_product(buckets: int) -> None:
    pairs = [(1, 2), (2, 1), (49_999, 65_535), (65_535, 65_535), (7, 300)]
    tokens, layout = texts(*([first, second] for first, second in pairs))
    rows = pair_rows(tokens, layout, buckets).view(-1, 2)
    assert rows[:, 0].tolist() == [plain_row(*pair, buckets) for pair in pairs]
    assert rows[:, 1].tolist() == [0] * len(pairs), "no pair begins at the last token"


def test_ids_may_be_of_32_bits() -> None:
    tokens, layout = texts([40_000, 50_000, 3])
    expected = pair_rows(tokens, layout, BUCKETS)
    assert torch.equal(pair_rows(tokens.int(), layout, BUCKETS), expected)


TITLES = ([3, 4, 5], [6], [7, 8])
ABSTRACTS = ([9, 3, 4, 3, 4], [5, 5], [8])


def plain_sums(table: torch.Tensor) -> torch.Tensor:
    sums = []
    for both in zip(TITLES, ABSTRACTS, strict=True):
        rows = [plain_row(*pair, BUCKETS) for text in both for pair in pairwise(text)]
        total = table[[row for row in rows if row]].sum(0) if any(rows) else torch.zeros(DIM)
        sums.append(5.0 * total / max(len(rows), 1) ** 0.5)
    return torch.stack(sums)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("on_gpu", [False, True])
def test_a_paper_is_the_scaled_sum_of_its_pairs(
    sparse: bool, on_gpu: bool, pretend_gpu: Callable[[], None]
) -> None:
    torch.manual_seed(0)
    pairs = PairEmbedding(BUCKETS, DIM, dropout=0.5).eval()
    pairs.sparse = sparse
    if on_gpu:
        pretend_gpu()
    actual = pairs([texts(*TITLES), texts(*ABSTRACTS)])
    table = pairs.weight.detach().clone().requires_grad_()
    expected = plain_sums(table)
    torch.testing.assert_close(actual, expected)
    actual.pow(2).sum().backward()
    expected.pow(2).sum().backward()
    gradient = pairs.weight.grad
    assert gradient is not None
    assert gradient.is_sparse == sparse
    torch.testing.assert_close(gradient.to_dense(), table.grad)


def test_papers_without_pairs_have_zeros() -> None:
    single, empty = (
        texts([3], [4]),
        (torch.zeros(0, dtype=torch.long), Layout.of(torch.zeros(2, 3) > 0, 5)),
    )
    vectors = PairEmbedding(BUCKETS, DIM)([single, empty])
    assert torch.equal(vectors, torch.zeros(2, DIM))


def test_dropped_pairs_add_nothing_and_the_row_of_zeros_never_learns() -> None:
    torch.manual_seed(0)
    pairs = PairEmbedding(BUCKETS, DIM, dropout=0.4).train()
    paper = texts(list(range(1, 2000)))
    with torch.no_grad():
        pairs.weight[1:] = 1.0
        share = pairs([paper, texts([1])]).mean() / pairs.eval()([paper, texts([1])]).mean()
    assert 0.9 < float(share) < 1.1, "the rest is scaled up"
    assert share != 1
    pairs.train()([paper, texts([1])]).sum().backward()
    assert pairs.weight.grad is not None
    assert not pairs.weight.grad[0].any()
    assert pairs.weight.grad[1:].any()


@pytest.mark.parametrize("buckets", [1, 3, 100, -4, 131071])
def test_buckets_must_be_a_power_of_two(buckets: int) -> None:
    with pytest.raises(ValueError, match=f"pair_buckets {buckets} is not a power of two"):
        PairEmbedding(buckets, DIM)
