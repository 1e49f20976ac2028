"""Optimizers and learning-rate schedules; embedding updates touch only the rows of the batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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

from arxiv_hybrid.ops import TokenEmbedding, unique_places

WARMUP_EPOCHS = 3  # of the published v4


@dataclass(frozen=True)
class OptimizerConfig:
    """How weights are updated.

    name: adamw, adam or sgd. learning_rate: the peak of the schedule. embedding_rate_scale: the
    embedding learns at this multiple of it; 0 freezes the embedding. gradient_clip: the
    maximum global norm of the gradients. scheduler: onecycle, cosine, warmup_cosine, plateau or
    none. accumulate: batches per step.
    """

    name: str
    learning_rate: float
    weight_decay: float
    gradient_clip: float
    scheduler: str
    embedding_rate_scale: float = 1.0
    accumulate: int = 1


class ModelOptimizer:
    """The optimizer of a whole model: dense weights and sparse embedding rows together.

    Every `nn.Embedding` gets sparse gradients and a lazy Adam that updates only the rows of the
    batch: a dense Adam would pass over the whole vocabulary at every step. For the same reason
    embeddings take no weight decay.
    """

    def __init__(
        self,
        model: nn.Module,
        config: OptimizerConfig,
        *,
        epochs: int,
        batches_per_epoch: int,
        patience: int,
        mixed_fp16: bool = False,
    ) -> None:
        """patience: of early stopping, in epochs; the plateau schedule acts two epochs earlier.

        waits_for_values: whether the host reads results of a GPU during an update; it then cannot
        be captured in a CUDA graph.
        """
        embeddings = [module for module in model.modules() if isinstance(module, nn.Embedding)]
        for module in embeddings:
            module.sparse = True
            module.weight.requires_grad_(config.embedding_rate_scale > 0)
        sparse = [module.weight for module in embeddings if module.weight.requires_grad]
        sparse_ids = {id(weight) for weight in sparse}
        dense = [p for p in model.parameters() if p.requires_grad and id(p) not in sparse_ids]
        self._parameters = dense + sparse
        self._sparse, self._clip = sparse, config.gradient_clip
        self._lookups = [module for module in embeddings if isinstance(module, TokenEmbedding)]
        self._optimizers = [_dense_optimizer(config, dense)]
        if sparse:
            self._optimizers.append(_sparse_optimizer(config, sparse))
        steps_per_epoch = -(-batches_per_epoch // config.accumulate)
        self._per_step: list[LRScheduler] = []
        self._per_epoch: list[ReduceLROnPlateau] = []
        for optimizer in self._optimizers:
            schedule = _make_schedule(
                optimizer, config.scheduler, epochs, steps_per_epoch, patience
            )
            if isinstance(schedule, ReduceLROnPlateau):
                self._per_epoch.append(schedule)
            elif schedule is not None:
                self._per_step.append(schedule)
        self._accumulate, self._waiting = config.accumulate, 0
        self._scaler = torch.amp.GradScaler("cuda") if mixed_fp16 else None
        self.waits_for_values = mixed_fp16 or config.name == "sgd"
        # a captured update reads its rate from here
        on_gpu = bool(dense) and dense[0].is_cuda and not self.waits_for_values
        self._rate = torch.zeros((), device=dense[0].device) if on_gpu else None

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        rate: float = self._optimizers[0].param_groups[0]["lr"]
        return rate

    def is_accumulating(self, *, last: bool = False) -> bool:
        """Whether the next `step` only adds its gradients to the last ones, without an update."""
        return self._waiting + 1 < self._accumulate and not last

    def step(self, loss: Tensor, *, last: bool = False) -> None:
        """Back-propagate, clip the global norm of the gradients, update, reset the gradients.

        With `accumulate` batches per step, the batches in between only accumulate; `last` ends an
        epoch: the remaining batches make a step.
        """
        loss = loss / self._accumulate
        is_accumulating = self.is_accumulating(last=last)
        (self._scaler.scale(loss) if self._scaler else loss).backward()
        self._waiting += 1
        if is_accumulating:
            return
        self._waiting = 0
        self.begin_update()
        self.update()
        self.end_update()

    def begin_update(self) -> None:
        """The host's part before an update: what it computes with rates and numbers of steps."""
        if self._rate is not None:
            self._rate.fill_(self.learning_rate)
        for optimizer in self._optimizers:
            if isinstance(optimizer, RowAdam) and not self._scaler:
                optimizer.begin_step()

    def update(self) -> None:
        """Clip the gradients, update the weights, reset the gradients."""
        to_sparse_rows(self._sparse)
        for embedding in self._lookups:
            embedding.mark_unique_rows()
        if self._scaler:
            for optimizer in self._optimizers:
                self._scaler.unscale_(optimizer)
        norm = clip_gradients(self._parameters, self._clip)
        with rate_on_device(self._optimizers[0], self._rate):
            for optimizer in self._optimizers:
                if not self._scaler:
                    optimizer.step()
                elif norm.isfinite():  # an fp16 overflow anywhere spoils all gradients
                    if isinstance(optimizer, RowAdam):
                        optimizer.begin_step()
                    self._scaler.step(optimizer)
                optimizer.zero_grad(set_to_none=True)
        if self._scaler:
            self._scaler.update()

    def end_update(self) -> None:
        """The host's part after an update: the schedules."""
        for schedule in self._per_step:
            schedule.step()

    def state_dict(self) -> dict[str, Any]:
        """The state between two epochs: of optimizers, schedules and the scale of fp16."""
        schedules = [*self._per_step, *self._per_epoch]
        return {
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "schedules": [schedule.state_dict() for schedule in schedules],
            "scaler": self._scaler.state_dict() if self._scaler else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict` of an optimizer that was built alike."""
        schedules = [*self._per_step, *self._per_epoch]
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for schedule, saved in zip(schedules, state["schedules"], strict=True):
            schedule.load_state_dict(saved)
        if self._scaler:
            self._scaler.load_state_dict(state["scaler"])

    def end_epoch(self, validation_accuracy: float) -> None:
        """Report the epoch's result to a plateau schedule."""
        for schedule in self._per_epoch:
            schedule.step(validation_accuracy)


def _make_schedule(
    optimizer: torch.optim.Optimizer, name: str, epochs: int, steps_per_epoch: int, patience: int
) -> LRScheduler | ReduceLROnPlateau | None:
    """The learning-rate schedule called `name`; None for `none`."""
    total = epochs * steps_per_epoch
    if name == "plateau":
        # halve the rate two epochs before early stopping would give up (v1: 5 and 7)
        wait = max(0, patience - 2)
        return ReduceLROnPlateau(optimizer, mode="max", factor=0.5, patience=wait)
    if name == "cosine":
        return CosineAnnealingLR(optimizer, T_max=total)
    if name == "warmup_cosine":
        warm = min(WARMUP_EPOCHS * steps_per_epoch, total // 2)
        return LambdaLR(optimizer, partial(warmup_cosine, warm, total))
    if name == "onecycle":
        peak = optimizer.param_groups[0]["lr"]
        return OneCycleLR(optimizer, peak, total_steps=total, cycle_momentum=False)
    return None


def warmup_cosine(warm: int, total: int, step: int) -> float:
    """Factor of the learning rate: rises for `warm` steps, then half a cosine down to 0."""
    if step < warm:
        return (step + 1) / (warm + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(total - warm, 1)))


def clip_gradients(parameters: Sequence[Tensor], max_norm: float) -> Tensor:
    """Scale all gradients so that their global norm is at most `max_norm`; return the norm.

    PyTorch's clipping rejects sparse gradients; this one uses their values.
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
    torch._foreach_mul_(gradients, scale)  # on a GPU one kernel for all
    return norm


def to_sparse_rows(parameters: Sequence[Tensor]) -> None:
    """Turn dense gradients, as NCCL leaves them, into sparse ones that have the non-zero rows."""
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is not None and not gradient.is_sparse:
            rows = gradient.any(1).nonzero()[:, 0]
            parameter.grad = torch.sparse_coo_tensor(
                rows[None],
                gradient[rows],
                gradient.shape,
                check_invariants=False,
                is_coalesced=True,
            )


def _dense_optimizer(
    config: OptimizerConfig, parameters: Sequence[Tensor]
) -> torch.optim.Optimizer:
    arguments: dict[str, Any] = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    if config.name == "sgd":
        return torch.optim.SGD(parameters, momentum=0.9, **arguments)
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(parameters, fused=True, capturable=parameters[0].is_cuda, **arguments)


@contextmanager
def rate_on_device(optimizer: torch.optim.Optimizer, rate: Tensor | None) -> Iterator[None]:
    """Within the block, the optimizer reads its learning rate from a tensor, if there is one."""
    group = optimizer.param_groups[0]
    number = group["lr"]
    group["lr"] = number if rate is None else rate
    try:
        yield
    finally:
        group["lr"] = number


def _sparse_optimizer(
    config: OptimizerConfig, parameters: Sequence[Tensor]
) -> torch.optim.Optimizer:
    learning_rate = config.learning_rate * config.embedding_rate_scale
    if config.name == "sgd":
        return torch.optim.SGD(parameters, lr=learning_rate)
    return RowAdam(parameters, lr=learning_rate)


class RowAdam(torch.optim.Optimizer):
    """Adam that updates only the rows in a sparse gradient, moments included.

    The same steps as `torch.optim.SparseAdam`, which makes the host wait for sizes on a GPU and
    takes twice as long on a CPU. Rows must be unique, except padding, whose gradient is 0.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps})
        # the factor of each parameter's next update; on a GPU where a captured update reads it
        self._factors: dict[Tensor, Any] = {}

    @torch.no_grad()
    def begin_step(self) -> None:
        """Count the step of each parameter, and compute the factor of its update."""
        for group in self.param_groups:
            first, second = group["betas"]
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    state["step"] = 0
                    state["mean"], state["square"] = (torch.zeros_like(parameter) for _ in range(2))
                state["step"] += 1
                unbiased = math.sqrt(1 - second ** state["step"]) / (1 - first ** state["step"])
                factor = -group["lr"] * unbiased
                if not parameter.is_cuda:
                    self._factors[parameter] = factor
                elif parameter in self._factors:
                    self._factors[parameter].fill_(factor)
                else:
                    self._factors[parameter] = torch.full((), factor, device=parameter.device)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update the rows in each parameter's gradient; `begin_step` comes first."""
        for group in self.param_groups:
            first, second = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                gradient = parameter.grad.coalesce()
                rows, values = gradient.indices()[0], gradient.values()
                state = self.state[parameter]
                with unique_places(parameter.device):
                    mean = state["mean"].index_select(0, rows).lerp_(values, 1 - first)
                    square = state["square"].index_select(0, rows)
                    square.mul_(second).addcmul_(values, values, value=1 - second)
                    state["mean"].index_copy_(0, rows, mean)
                    state["square"].index_copy_(0, rows, square)
                    # like SparseAdam, eps is not corrected for bias
                    update = mean.div_(square.sqrt_().add_(group["eps"]))
                    update.mul_(self._factors[parameter])
                    parameter.index_add_(0, rows, update)
