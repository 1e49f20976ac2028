"""Optimizers, schedules, clipping: sparse and dense parameters together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arxiv_hybrid.ops import TokenEmbedding
from arxiv_hybrid.training.optimizers import (
    ModelOptimizer,
    OptimizerConfig,
    RowAdam,
    clip_gradients,
    to_sparse_rows,
    warmup_cosine,
)


class Words(nn.Module):
    """The smallest model with an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 4)
        self.out = nn.Linear(4, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        distinct, places = ids.unique(return_inverse=True)
        return self.out(self.embedding(distinct)[places].mean(1))


def optimize(model: nn.Module, name: str = "adamw", **changes: Any) -> ModelOptimizer:
    """An optimizer for 3 epochs of 4 batches; keywords change its configuration."""
    config = OptimizerConfig(
        name=name, learning_rate=0.01, weight_decay=0.0, gradient_clip=1e9, scheduler="none"
    )
    config = replace(config, **changes)
    return ModelOptimizer(model, config, epochs=3, batches_per_epoch=4, patience=3)


def test_accumulated_batches_make_the_step_of_one_large_batch() -> None:
    def trained(accumulate: int) -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(8, 3))
        ids, labels = torch.randint(9, (12, 2)), torch.randint(3, (12,))
        # sgd: the first step of Adam does not depend on the size of a gradient
        optimizer = optimize(model, "sgd", learning_rate=0.1, accumulate=accumulate)
        parts = zip(ids.chunk(accumulate), labels.chunk(accumulate), strict=True)
        for part, answers in parts:
            optimizer.step(F.cross_entropy(model(part), answers))
        return model[0].weight.detach(), model[2].weight.detach()

    for whole, parts in zip(trained(1), trained(4), strict=True):
        torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6)


def test_the_remaining_batches_of_an_epoch_make_a_step() -> None:
    model = nn.Linear(2, 2)
    before = model.weight.detach().clone()
    optimizer = optimize(model, "sgd", learning_rate=1.0, gradient_clip=1.0, accumulate=4)
    optimizer.step(model(torch.ones(1, 2)).sum())
    torch.testing.assert_close(model.weight.detach(), before)
    optimizer.step(model(torch.ones(1, 2)).sum(), last=True)
    assert not torch.equal(model.weight.detach(), before)


def test_warmup_then_cosine() -> None:
    rates = [warmup_cosine(10, 100, step) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[55] == pytest.approx(0.5)
    assert rates[-1] < 0.001


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_only_embedding_rows_of_the_batch_change(name: str) -> None:
    torch.manual_seed(0)
    model = Words()
    before = model.embedding.weight.detach().clone()
    optimize(model, name).step(model(torch.tensor([[3, 4], [5, 3]])).pow(2).sum())
    changed = (model.embedding.weight != before).any(1).nonzero()[:, 0].tolist()
    assert changed == [3, 4, 5]


def test_the_first_sparse_step_equals_dense_adam() -> None:
    torch.manual_seed(0)
    ours, theirs = Words(), Words()
    theirs.load_state_dict(ours.state_dict())
    ids = torch.tensor([[3, 4], [5, 3]])
    optimize(ours).step(ours(ids).pow(2).sum())
    dense = torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.0)
    theirs(ids).pow(2).sum().backward()
    dense.step()
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())


def test_many_sparse_steps_equal_torchs_sparse_adam() -> None:
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(9, 4)) for _ in range(2))
    optimizers = RowAdam([ours], lr=0.1), torch.optim.SparseAdam([theirs], lr=0.1)
    for _ in range(5):
        rows, _ = torch.randperm(9)[:4].sort()
        values = torch.randn(4, 4)
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            with torch.sparse.check_sparse_tensor_invariants():
                parameter.grad = torch.sparse_coo_tensor(rows[None], values.clone(), (9, 4))
            if isinstance(optimizer, RowAdam):
                optimizer.begin_step()
            optimizer.step()
    torch.testing.assert_close(ours, theirs)
    assert not torch.equal(ours, torch.ones(9, 4))


def test_clipping_covers_sparse_and_dense_gradients() -> None:
    dense, sparse = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(5, 2))
    dense.grad = torch.tensor([3.0, 0.0])
    with torch.sparse.check_sparse_tensor_invariants():  # torch 2.11 warns without it
        sparse.grad = torch.sparse_coo_tensor(
            torch.tensor([[1]]), torch.tensor([[0.0, 4.0]]), (5, 2)
        )
        norm = clip_gradients([dense, sparse], 1.0)
    assert norm.item() == pytest.approx(5.0)
    assert dense.grad.tolist() == pytest.approx([0.6, 0.0])
    assert sparse.grad.to_dense()[1].tolist() == pytest.approx([0.0, 0.8])


def test_vectors_at_rate_zero_are_frozen() -> None:
    model = Words()
    before = model.embedding.weight.detach().clone()
    optimize(model, embedding_rate_scale=0.0).step(model(torch.tensor([[3, 4]])).pow(2).sum())
    assert torch.equal(model.embedding.weight, before)
    assert model.embedding.weight.grad is None


def test_an_overflow_in_fp16_spoils_no_weights() -> None:
    torch.manual_seed(0)
    model = Words()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = optimize(model)
    optimizer._scaler = torch.amp.GradScaler("cpu")
    model.out.weight.register_hook(lambda gradient: gradient * float("nan"))
    optimizer.step(model(torch.tensor([[3, 4]])).pow(2).sum())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert optimizer._scaler.get_scale() < 65536


@pytest.mark.parametrize("scheduler", ["plateau", "cosine", "onecycle", "none"])
def test_schedules(scheduler: str) -> None:
    model = Words()
    optimizer = optimize(model, scheduler=scheduler, embedding_rate_scale=0.5)
    rates = []
    for _ in range(3):
        for _ in range(4):
            rates.append(optimizer.learning_rate)
            optimizer.step(model(torch.tensor([[1, 2]])).sum())
        optimizer.end_epoch(0.5)
    scale = [o.param_groups[0]["lr"] for o in optimizer._optimizers]
    assert scale[1] == pytest.approx(0.5 * scale[0])
    if scheduler == "none":
        assert set(rates) == {0.01}
    elif scheduler == "plateau":
        assert rates[-1] == 0.01
        assert optimizer.learning_rate == 0.005
    else:
        assert rates[-1] < max(rates) == pytest.approx(0.01, rel=0.05)


def test_dense_gradients_become_sparse_rows() -> None:
    dense = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 2.0]])
    parameter, frozen = nn.Parameter(torch.zeros(4, 2)), nn.Parameter(torch.zeros(4, 2))
    parameter.grad = dense.clone()
    to_sparse_rows([parameter, frozen])
    assert parameter.grad.is_sparse
    assert parameter.grad.indices().tolist() == [[1, 3]]
    assert torch.equal(parameter.grad.to_dense(), dense)
    assert frozen.grad is None


def test_on_a_gpu_the_padding_among_the_rows_changes_nothing(
    pretend_gpu: Callable[[], None],
) -> None:
    """There the rows of a lookup are filled up with padding, see `unique_with_inverse`."""

    def trained() -> Tensor:
        torch.manual_seed(0)
        embedding = TokenEmbedding(12, 4, receptive_field=3)
        config = OptimizerConfig("adamw", 0.1, 0.01, 1.0, "none")
        model = nn.Sequential(embedding, nn.Linear(4, 2))
        optimizer = ModelOptimizer(model, config, epochs=1, batches_per_epoch=3, patience=1)
        for ids in ([[1, 5, 5, 0]], [[5, 2, 0, 0]], [[3, 3, 3, 3]]):
            (text,) = embedding(torch.tensor(ids))
            optimizer.step(model[1](text.padded()).square().sum())
        return embedding.weight.detach()

    expected = trained()
    pretend_gpu()
    torch.testing.assert_close(trained(), expected, rtol=0, atol=1e-6)
    assert (expected[0] == 0).all()
