"""Optimizers and learning-rate schedules; the embedding's updates touch only the words seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
)

from arxiv_hybrid.training.distributed import ALONE, Group

WARMUP_EPOCHS = 3  # of the published v4


class Optimization:
    """Everything between a loss and changed weights, for dense and sparse gradients alike.

    Parameters whose module is an `nn.Embedding` get sparse gradients and a lazy Adam that
    updates only the rows of the batch: a dense Adam would pass over the whole vocabulary at
    every step. They take no weight decay, for the same reason, and their learning rate is
    `learning_rate` times `embedding_rate_scale`.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        optimizer: str,
        learning_rate: float,
        embedding_rate_scale: float = 1.0,
        weight_decay: float,
        gradient_clip: float,
        scheduler: str,
        epochs: int,
        steps_per_epoch: int,
        patience: int,
        accumulate: int = 1,
        mixed_fp16: bool = False,
        group: Group = ALONE,
    ) -> None:
        embeddings = [module for module in model.modules() if isinstance(module, nn.Embedding)]
        for module in embeddings:
            module.sparse = True
            module.weight.requires_grad_(embedding_rate_scale > 0)
        sparse = [module.weight for module in embeddings if module.weight.requires_grad]
        rows = {id(weight) for weight in sparse}
        dense = [p for p in model.parameters() if p.requires_grad and id(p) not in rows]
        self._parameters = dense + sparse
        self._clip, self._group = gradient_clip, group
        self._optimizers = [_dense_optimizer(optimizer, dense, learning_rate, weight_decay)]
        if sparse:
            self._optimizers.append(
                _sparse_optimizer(optimizer, sparse, learning_rate * embedding_rate_scale)
            )
        total = epochs * steps_per_epoch
        self._per_step: list[LRScheduler] = []
        self._per_epoch: list[ReduceLROnPlateau] = []
        for part in self._optimizers:
            if scheduler == "plateau":
                # halve the rate two epochs before early stopping would give up (v1: 5 and 7)
                wait = max(0, patience - 2)
                self._per_epoch.append(
                    ReduceLROnPlateau(part, mode="max", factor=0.5, patience=wait)
                )
            elif scheduler == "cosine":
                self._per_step.append(CosineAnnealingLR(part, T_max=total))
            elif scheduler == "warmup_cosine":
                warm = min(WARMUP_EPOCHS * steps_per_epoch, total // 2)
                self._per_step.append(LambdaLR(part, partial(warmup_cosine, warm, total)))
            elif scheduler == "onecycle":
                self._per_step.append(
                    OneCycleLR(
                        part, part.param_groups[0]["lr"], total_steps=total, cycle_momentum=False
                    )
                )
        self._accumulate, self._waiting = accumulate, 0
        self._scaler = torch.amp.GradScaler("cuda") if mixed_fp16 else None

    @property
    def learning_rate(self) -> float:
        """The rate that the next step will use."""
        rate: float = self._optimizers[0].param_groups[0]["lr"]
        return rate

    def step(self, loss: Tensor, *, last: bool = False) -> None:
        """Back-propagate, clip the norm over all gradients, update, forget the gradients.

        With `accumulate` batches a step, all but every so-many-th batch only add their
        gradients; `last` makes a step of what is left at the end of an epoch.
        """
        loss = loss / self._accumulate
        (self._scaler.scale(loss) if self._scaler else loss).backward()
        self._waiting += 1
        if self._waiting < self._accumulate and not last:
            return
        self._waiting = 0
        self._group.sum_gradients(self._parameters)
        if self._scaler:
            for optimizer in self._optimizers:
                self._scaler.unscale_(optimizer)
        norm = clip_gradients(self._parameters, self._clip)
        for optimizer in self._optimizers:
            if not self._scaler:
                optimizer.step()
            elif norm.isfinite():  # an overflow anywhere has just spoilt all gradients
                self._scaler.step(optimizer)
            optimizer.zero_grad(set_to_none=True)
        if self._scaler:
            self._scaler.update()
        for schedule in self._per_step:
            schedule.step()

    def end_epoch(self, validation_accuracy: float) -> None:
        """Tell a plateau schedule how the epoch went."""
        for schedule in self._per_epoch:
            schedule.step(validation_accuracy)


def warmup_cosine(warm: int, total: int, step: int) -> float:
    """Share of the learning rate: rising for `warm` steps, then half a cosine down to 0."""
    if step < warm:
        return (step + 1) / (warm + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(total - warm, 1)))


def clip_gradients(parameters: Sequence[Tensor], max_norm: float) -> Tensor:
    """Scale all gradients so that their joint norm is at most `max_norm`; return the norm.

    torch's own clipping refuses sparse gradients; this one reads their values. Rows of a
    sparse gradient must be distinct, as those of a table of distinct words are.
    """
    gradients = []
    for parameter in parameters:
        if parameter.grad is None:
            continue
        if parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
            gradients.append(parameter.grad._values())
        else:
            gradients.append(parameter.grad)
    norm = torch.nn.utils.get_total_norm(gradients)
    scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(scale)
    return norm


def _dense_optimizer(
    name: str, parameters: Sequence[Tensor], learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    arguments: dict[str, Any] = {"lr": learning_rate, "weight_decay": weight_decay}
    if name == "sgd":
        return torch.optim.SGD(parameters, momentum=0.9, **arguments)
    kind = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
    return kind(parameters, fused=True, **arguments)


def _sparse_optimizer(
    name: str, parameters: Sequence[Tensor], learning_rate: float
) -> torch.optim.Optimizer:
    if name == "sgd":
        return torch.optim.SGD(parameters, lr=learning_rate)
    return RowAdam(parameters, lr=learning_rate)


class RowAdam(torch.optim.Optimizer):
    """Adam for the rows that a sparse gradient holds, moments included; the others stay.

    The same steps as torch's SparseAdam, which on a GPU makes the host wait for sizes and on a
    CPU takes twice as long. Rows are distinct, but for padding, whose gradient is 0.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update the rows in each parameter's gradient."""
        for group in self.param_groups:
            first, second = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                gradient = parameter.grad.coalesce()
                rows, values = gradient.indices()[0], gradient.values()
                state = self.state[parameter]
                if not state:
                    state["step"] = 0
                    state["mean"], state["square"] = (torch.zeros_like(parameter) for _ in range(2))
                state["step"] += 1
                mean = state["mean"].index_select(0, rows).lerp_(values, 1 - first)
                square = state["square"].index_select(0, rows)
                square.mul_(second).addcmul_(values, values, value=1 - second)
                state["mean"].index_copy_(0, rows, mean)
                state["square"].index_copy_(0, rows, square)
                unbiased = math.sqrt(1 - second ** state["step"]) / (1 - first ** state["step"])
                # as SparseAdam: eps is not corrected for bias
                moved = mean.div_(square.sqrt_().add_(group["eps"])).mul_(-group["lr"] * unbiased)
                parameter.index_add_(0, rows, moved)
