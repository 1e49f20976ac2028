"""Several processes train one model, each on its shard of every batch.

`torchrun` starts them and sets RANK, WORLD_SIZE and LOCAL_RANK in the environment of each. A
process started without it is a group of one, without overhead. DistributedDataParallel averages
the gradients; each process scales its loss by its share of the batch times the number of processes,
so the average is the gradient of the whole batch. SyncBatchNorm has no CPU kernels:
batch norm uses the statistics of each shard, and running statistics are averaged once per epoch.
"""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

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

    def broadcast(self, content: bytes, source: int = 0) -> bytes:
        """The `content` of the process with rank `source`, in all processes."""
        if self.size == 1:
            return content
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        size = torch.tensor([len(content)], device=device)
        dist.broadcast(size, source)
        data = torch.zeros(int(size), dtype=torch.uint8)
        if content and self.rank == source:
            data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        data = data.to(device)
        dist.broadcast(data, source)
        return data.cpu().numpy().tobytes()

    def gather(self, content: bytes) -> list[bytes]:
        """The `content` of every process, by rank, in all processes."""
        return [self.broadcast(content, rank) for rank in range(self.size)]

    def parallel(self, model: nn.Module) -> nn.Module:
        """The module to train with: its backward pass averages gradients over all processes.

        All processes start from the main one's weights. Call it when `sparse` and `requires_grad`
        are final. NCCL cannot reduce sparse tensors: there the embedding's gradients are dense.
        """
        if self.size == 1:
            return model
        if dist.get_backend() == "nccl":
            for module in model.modules():
                if isinstance(module, nn.Embedding):
                    module.sparse = False
        # statistics of batch norm are averaged once per epoch instead; PyTorch renamed the option
        known = inspect.signature(DistributedDataParallel).parameters
        sync = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        options: dict[str, Any] = {sync: False, "gradient_as_bucket_view": True}
        return DistributedDataParallel(model, **options)

    def average_statistics(self, model: nn.Module) -> None:
        """Average running statistics, such as those of batch norm, over all processes."""
        if self.size > 1:
            for buffer in model.buffers():
                if buffer.dtype.is_floating_point:
                    dist.all_reduce(buffer)
                    buffer.div_(self.size)


SINGLE = Group()


def keep_gradients_local(module: nn.Module, *, when: bool) -> AbstractContextManager[None]:
    """A context in which, if `when`, gradients are added up per process and not yet averaged."""
    if when and isinstance(module, DistributedDataParallel):
        no_sync: AbstractContextManager[None] = module.no_sync()
        return no_sync
    return nullcontext()


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
