"""Several processes train one model, each on its shard of every batch.

`torchrun` starts them and sets RANK, WORLD_SIZE and LOCAL_RANK in the environment of each. A
process started without it is a group of one, without overhead. DistributedDataParallel averages
the gradients; each process scales its loss by its share of the batch times the number of processes,
so the average is the gradient of the whole batch. SyncBatchNorm has no CPU kernels:
batch norm uses the statistics of each shard, and running statistics are averaged once per epoch.

On several machines, one process of each writes files there; the first of all prints and logs.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from arxiv_hybrid.system.agreement import Facts, agree, started_by_torchrun, variable
from arxiv_hybrid.system.files import write_bytes
from arxiv_hybrid.system.runtime import cores


@dataclass(frozen=True)
class Group:
    """The processes that train together, and the rank of this one, on its machine `local_rank`.

    hosts: the machine of each process, by rank. machine: the number of this one, from 0.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    machine: int = 0
    machines: int = 1
    hosts: tuple[str, ...] = ("",)

    @property
    def is_main(self) -> bool:
        """Whether this process prints and logs for all."""
        return self.rank == 0

    @property
    def writes_files(self) -> bool:
        """Whether this process writes files for its machine."""
        return self.local_rank == 0

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

    def copy_to_machines(self, paths: Sequence[Path]) -> None:
        """Give all machines the main one's files: at these paths, or in folders there.

        Returns in all processes when every machine has them, and no others in these folders. What
        each machine computed itself would be the same only if their processors round alike.
        """
        listed = json.dumps([path.as_posix() for path in _files(paths)]).encode()
        kept = [Path(name) for name in json.loads(self.broadcast(listed))]
        writes = self.writes_files and not self.is_main
        for path in kept if self.machines > 1 else []:
            content = self.broadcast(path.read_bytes() if self.is_main else b"")
            # on a disk that the machines share, it is there
            if writes and not (path.is_file() and path.read_bytes() == content):
                write_bytes(path, content)
        if writes:
            for path in set(_files(paths)).difference(kept):
                path.unlink()
            copied = f"{', '.join(map(str, paths))}: copied from {self.hosts[0]}"
            print(copied, file=sys.stderr, flush=True)
        self.gather(b"done")  # if one fails, the others must not believe that all are done

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
def process_group(
    count: int, device: torch.device, facts: Callable[[], Facts] = dict
) -> Iterator[Group]:
    """The group that this process trains in.

    With a `count` above 1 this command is started again that many times on this machine, unless
    torchrun has started it already; when those processes end, so does this one (SystemExit).
    facts: what must be equal on all machines, see `agree`. If another process is lost, one line
    says so and this one ends at once; torchrun starts it again if it may.
    """
    if not started_by_torchrun():
        if count > 1:
            sys.exit(_torchrun(count))
        yield SINGLE
        return
    store, hosts = agree(facts)
    group = _started(tuple(hosts))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        store=store,
        rank=group.rank,
        world_size=group.size,
    )
    try:
        yield group
    except RuntimeError as error:
        if not (reason := _connection_error(error)):
            raise
        if group.writes_files:
            print(f"lost another process of this training: {reason}", file=sys.stderr, flush=True)
        os._exit(1)  # ending the group may wait for the lost process without end
    finally:
        dist.destroy_process_group()


def _started(hosts: tuple[str, ...]) -> Group:
    """The group that torchrun has started; on machines other than the first, a line says so."""
    rank, size = variable("RANK", 0), variable("WORLD_SIZE", 1)
    machine, machines = variable("GROUP_RANK", 0), variable("GROUP_WORLD_SIZE", 1)
    group = Group(rank, size, variable("LOCAL_RANK", rank), machine, machines, hosts)
    if machines > 1 and group.writes_files:
        text = f"machine {machine + 1} of {machines}"
        text += f" trains along, {hosts[0]} shows how far" if machine else f", {size} processes"
        print(text, file=sys.stderr, flush=True)
    return group


def _connection_error(error: RuntimeError) -> str:
    """What a library says about a connection that another process has closed; empty if nothing."""
    if not isinstance(error, dist.DistError) and "gloo" not in str(error):
        return ""
    return re.sub(r"^\[\S*\] ", "", str(error)).partition(". This is")[0][:200]


def _files(paths: Sequence[Path]) -> list[Path]:
    """The files at these paths and in folders there."""
    found = (sorted(path.rglob("*")) if path.is_dir() else [path] for path in paths)
    return [path for part in found for path in part if path.is_file()]


def _torchrun(count: int) -> int:
    """Run this command in `count` processes that share the cores; returns the exit status."""
    runner = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    threads = str(max(1, cores() // count))
    return subprocess.run(  # noqa: S603 (this very command)
        [*runner, f"--nproc-per-node={count}", *sys.argv],
        env={**os.environ, "OMP_NUM_THREADS": threads},
        check=False,
    ).returncode
