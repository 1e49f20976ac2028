"""The embedding of unique tokens agrees with `nn.Embedding`, values and gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from padded_batch import padded_batch
from torch import nn

from arxiv_hybrid.ops import TokenEmbedding, unique_with_inverse


def ids(seed: int = 1) -> torch.Tensor:
    torch.manual_seed(seed)
    _, mask = padded_batch(1)
    return torch.randint(1, 12, mask.shape) * mask


@pytest.mark.parametrize("sparse", [False, True])
def test_padded_texts_equal_plain_embeddings(sparse: bool) -> None:
    titles, abstracts = ids(1), ids(2)
    ours, plain = TokenEmbedding(12, 5, receptive_field=3), nn.Embedding(12, 5, padding_idx=0)
    plain.weight.data.copy_(ours.weight.data)
    ours.sparse = sparse
    title, abstract = ours(titles, abstracts)
    torch.testing.assert_close(title.padded(), plain(titles))
    torch.testing.assert_close(abstract.padded(), plain(abstracts))
    assert torch.equal(title.mask, titles != 0)
    (title.padded().pow(3).sum() + abstract.padded().pow(2).sum()).backward()
    (plain(titles).pow(3).sum() + plain(abstracts).pow(2).sum()).backward()
    gradient = ours.weight.grad
    assert gradient is not None
    assert gradient.is_sparse == sparse
    assert plain.weight.grad is not None
    torch.testing.assert_close(gradient.to_dense(), plain.weight.grad)


def test_a_sparse_gradient_has_each_token_once() -> None:
    embedding = TokenEmbedding(12, 5)
    embedding.sparse = True
    (text,) = embedding(ids())
    text.padded().sum().backward()
    gradient = embedding.weight.grad
    assert gradient is not None
    rows = gradient._indices()[0].tolist()
    assert rows == sorted(set(rows))
    assert set(rows) == set(ids().flatten().tolist()) - {0}


def test_a_mask_replaces_padding_ids() -> None:
    titles = ids()
    embedding = TokenEmbedding(12, 5)
    mask = (titles != 0) & (torch.arange(titles.shape[1]) < 3)
    (text,) = embedding(titles, masks=[mask.int()])
    assert torch.equal(text.mask, mask)
    assert (text.padded()[~mask] == 0).all()


def test_a_dropped_value_is_dropped_in_the_whole_batch() -> None:
    torch.manual_seed(0)
    embedding = TokenEmbedding(12, 50, dropout=0.5).train()
    (text,) = embedding(torch.full((3, 4), 7))
    vectors = text.padded().flatten(0, 1)
    assert torch.equal(vectors, vectors[:1].expand_as(vectors))
    assert 0.2 < float((vectors == 0).float().mean()) < 0.8
    (undropped,) = embedding.eval()(torch.full((3, 4), 7))
    assert (undropped.padded() != 0).all()


def test_unique_ids_on_cpu_and_gpu(pretend_gpu: Callable[[], None]) -> None:
    some = torch.tensor([5, 3, 5, 0, 9, 3])
    unique, inverse = unique_with_inverse(some)
    assert unique.tolist() == [0, 3, 5, 9]
    assert torch.equal(unique[inverse], some)
    pretend_gpu()
    unique, inverse = unique_with_inverse(some)
    assert unique.tolist() == [0, 3, 5, 9, 0, 0], "padded to the number of ids"
    assert torch.equal(unique[inverse], some)


def test_the_rows_of_one_lookup_are_not_sorted_again() -> None:
    embedding = TokenEmbedding(12, 5)
    embedding.sparse = True
    (text,) = embedding(ids())
    text.padded().pow(2).sum().backward()
    gradient = embedding.weight.grad
    assert gradient is not None
    assert not gradient.is_coalesced(), "autograd forgets it"
    expected = gradient.coalesce()
    embedding.mark_unique_rows()
    assert gradient.is_coalesced()
    assert torch.equal(gradient.indices(), expected.indices())
    assert torch.equal(gradient.values(), expected.values())


@pytest.mark.parametrize("at_once", [True, False], ids=["in one pass", "accumulated"])
def test_the_rows_of_several_lookups_are_added(at_once: bool) -> None:
    embedding, plain = TokenEmbedding(12, 5), nn.Embedding(12, 5, padding_idx=0)
    plain.weight.data.copy_(embedding.weight.data)
    embedding.sparse = True
    sums = [embedding(ids(seed))[0].padded().pow(2).sum() for seed in (1, 2)]
    for loss in [sum(sums)] if at_once else sums:
        assert isinstance(loss, torch.Tensor)
        loss.backward()
    sum(plain(ids(seed)).pow(2).sum() for seed in (1, 2)).backward()
    embedding.mark_unique_rows()
    gradient = embedding.weight.grad
    assert gradient is not None
    assert plain.weight.grad is not None
    rows = gradient._indices()[0].tolist()
    assert gradient.is_coalesced() == (len(set(rows)) == len(rows))
    torch.testing.assert_close(gradient.coalesce().to_dense(), plain.weight.grad)
