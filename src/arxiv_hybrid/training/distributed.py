"""Several processes training one model, each on its share of every batch.

`torchrun` starts them and tells each its place through the environment (RANK, WORLD_SIZE,
LOCAL_RANK); a process that it did not start is a group of one, and nothing here costs it
anything. Gradients are summed, not averaged: each process weighs its loss by its share of the
batch, so that the sum is the gradient of the whole batch. Those of an embedding are rows of few
words; NCCL cannot reduce such tensors, so the rows themselves are exchanged.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor, nn

from arxiv_hybrid.system.runtime import cores


@dataclass(frozen=True)
class Group:
    """The processes that train together, and which of them this is."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks for all."""
        return self.rank == 0

    def share(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The rows of a batch that are this process's; each row is one process's."""
        return rows[self.rank :: self.size]

    def sum(self, value: Tensor) -> Tensor:
        """Add up a tensor of the same shape over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Add up every parameter's gradient over all processes, dense or sparse."""
        if self.size == 1:
            return
        dense = [p.grad for p in parameters if p.grad is not None and not p.grad.is_sparse]
        together = torch.cat([gradient.reshape(-1) for gradient in dense])
        dist.all_reduce(together)
        parts = together.split([gradient.numel() for gradient in dense])
        for gradient, part in zip(dense, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        for parameter in parameters:
            if parameter.grad is not None and parameter.grad.is_sparse:
                parameter.grad = self._sum_rows(parameter.grad.coalesce())

    def _sum_rows(self, gradient: Tensor) -> Tensor:
        rows, values = gradient.indices()[0], gradient.values()
        counts = [rows.new_zeros(1) for _ in range(self.size)]
        dist.all_gather(counts, rows.new_tensor([len(rows)]))
        most = int(torch.cat(counts).max())
        all_rows = [rows.new_zeros(most) for _ in counts]
        all_values = [values.new_zeros(most, *values.shape[1:]) for _ in counts]
        dist.all_gather(all_rows, _filled(rows, most))
        dist.all_gather(all_values, _filled(values, most))
        real = [int(count) for count in counts]
        index = torch.cat([part[:n] for part, n in zip(all_rows, real, strict=True)])
        content = torch.cat([part[:n] for part, n in zip(all_values, real, strict=True)])
        summed = torch.sparse_coo_tensor(
            index[None], content, gradient.shape, check_invariants=False
        )
        return summed.coalesce()

    def start_alike(self, model: nn.Module) -> None:
        """Give every process the first one's weights."""
        if self.size > 1:
            for value in model.state_dict().values():
                dist.broadcast(value, 0)

    def average_statistics(self, model: nn.Module) -> None:
        """Give every process the mean of all running statistics, as of batch normalisation."""
        if self.size > 1:
            for buffer in model.buffers():
                if buffer.dtype.is_floating_point:
                    dist.all_reduce(buffer)
                    buffer.div_(self.size)


ALONE = Group()


def _filled(values: Tensor, length: int) -> Tensor:
    """Rows followed by zeros up to `length` of them."""
    filled = values.new_zeros(length, *values.shape[1:])
    filled[: len(values)] = values
    return filled


@contextmanager
def processes(count: int, device: torch.device) -> Iterator[Group]:
    """The group that this process trains in.

    With a `count` above 1 this very command is started that often on this machine, unless
    torchrun has started it already; when they have ended, so does this process (SystemExit).
    """
    if not _launched():
        if count > 1:
            sys.exit(_run_together(count))
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Group(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def _launched() -> bool:
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def _run_together(count: int) -> int:
    """Run this command `count` times, each with its share of the cores; the exit status."""
    runner = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    threads = str(max(1, cores() // count))
    return subprocess.run(  # noqa: S603 (this very command)
        [*runner, f"--nproc-per-node={count}", *sys.argv],
        env={**os.environ, "OMP_NUM_THREADS": threads},
        check=False,
    ).returncode
