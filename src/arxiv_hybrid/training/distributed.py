"""Several processes train one model, each on its shard of every batch.

`torchrun` starts them and describes each one's place in the environment (RANK, WORLD_SIZE,
LOCAL_RANK). A process started without it is a group of one, at no cost. Gradients are summed, not
averaged: each process scales its loss by its share of the batch, so the sum is the gradient of the
whole batch. Embedding gradients are sparse; NCCL cannot reduce such tensors, so their rows are
exchanged.
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
    """The processes that train together, and the rank of this one."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and messages for all."""
        return self.rank == 0

    def shard(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """This process's rows of a batch; every row belongs to one process."""
        return rows[self.rank :: self.size]

    def sum(self, value: Tensor) -> Tensor:
        """Sum a tensor of the same shape over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Sum every parameter's gradient over all processes, dense or sparse."""
        if self.size == 1:
            return
        dense = [p.grad for p in parameters if p.grad is not None and not p.grad.is_sparse]
        flat = torch.cat([gradient.reshape(-1) for gradient in dense])
        dist.all_reduce(flat)
        parts = flat.split([gradient.numel() for gradient in dense])
        for gradient, part in zip(dense, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        for parameter in parameters:
            if parameter.grad is not None and parameter.grad.is_sparse:
                parameter.grad = self._sum_rows(parameter.grad.coalesce())

    def _sum_rows(self, gradient: Tensor) -> Tensor:
        """Sum a sparse gradient over all processes; each may have other rows."""
        rows, values = gradient.indices()[0], gradient.values()
        counts = [rows.new_zeros(1) for _ in range(self.size)]
        dist.all_gather(counts, rows.new_tensor([len(rows)]))
        longest = int(torch.cat(counts).max())
        all_rows = [rows.new_zeros(longest) for _ in counts]
        all_values = [values.new_zeros(longest, *values.shape[1:]) for _ in counts]
        dist.all_gather(all_rows, _zero_padded(rows, longest))
        dist.all_gather(all_values, _zero_padded(values, longest))
        lengths = [int(count) for count in counts]
        index = torch.cat([part[:n] for part, n in zip(all_rows, lengths, strict=True)])
        content = torch.cat([part[:n] for part, n in zip(all_values, lengths, strict=True)])
        summed = torch.sparse_coo_tensor(
            index[None], content, gradient.shape, check_invariants=False
        )
        return summed.coalesce()

    def broadcast(self, model: nn.Module) -> None:
        """Give every process the main process's weights."""
        if self.size > 1:
            for value in model.state_dict().values():
                dist.broadcast(value, 0)

    def average_statistics(self, model: nn.Module) -> None:
        """Average running statistics, such as those of batch norm, over all processes."""
        if self.size > 1:
            for buffer in model.buffers():
                if buffer.dtype.is_floating_point:
                    dist.all_reduce(buffer)
                    buffer.div_(self.size)


SINGLE = Group()


def _zero_padded(values: Tensor, length: int) -> Tensor:
    """Rows followed by zeros, `length` rows in all."""
    filled = values.new_zeros(length, *values.shape[1:])
    filled[: len(values)] = values
    return filled


@contextmanager
def process_group(count: int, device: torch.device) -> Iterator[Group]:
    """The group that this process trains in.

    With a `count` above 1 this command is started again that many times on this machine, unless
    torchrun has started it already; when those processes end, so does this one (SystemExit).
    """
    if not _started_by_torchrun():
        if count > 1:
            sys.exit(_torchrun(count))
        yield SINGLE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Group(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def _started_by_torchrun() -> bool:
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def _torchrun(count: int) -> int:
    """Run this command in `count` processes that share the cores; returns the exit status."""
    runner = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    threads = str(max(1, cores() // count))
    return subprocess.run(  # noqa: S603 (this very command)
        [*runner, f"--nproc-per-node={count}", *sys.argv],
        env={**os.environ, "OMP_NUM_THREADS": threads},
        check=False,
    ).returncode
