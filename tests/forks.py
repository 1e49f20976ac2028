"""Copies of the test's process that train alone or together: they need not load PyTorch again."""

from __future__ import annotations

import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch._dynamo  # every optimizer loads it: once here, not in each copy
from ports import free_port

from arxiv_hybrid.system.errors import exit_on_user_error


class Fork:
    """Runs a function in a copy of this process, which may be killed."""

    def __init__(self, log: Path, function: Callable[[], object], **variables: str) -> None:
        self.log = log
        self.pid = os.fork()
        if self.pid:
            return
        status = 1
        try:
            os.environ.update(variables)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # whatever a test before left
            torch.set_num_threads(1)  # other threads do not exist in this copy
            with log.open("w") as sys.stderr, exit_on_user_error("stopped"):
                function()
            status = 0
        except SystemExit as error:
            status = int(error.code or 0)
        except Exception:  # the status says that it failed, the log why
            with log.open("a") as file:
                traceback.print_exc(file=file)
        finally:
            os._exit(status)

    def wait(self) -> int:
        """The exit status, negative after a signal."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    @property
    def printed(self) -> str:
        return self.log.read_text()


def machines(
    folder: Path, of_rank: Sequence[int], function: Callable[[], object], name: str = "out"
) -> list[Fork]:
    """Start one process for each rank, as torchrun does on several machines.

    of_rank: the number of each process's machine. A machine has a folder, in which its processes
    run, and the name `host-N`.
    """
    port, started = free_port(), []
    for rank, machine in enumerate(of_rank):
        (folder / f"host-{machine}").mkdir(exist_ok=True)
        variables = {
            "RANK": rank, "WORLD_SIZE": len(of_rank), "LOCAL_RANK": of_rank[:rank].count(machine),
            "GROUP_RANK": machine, "GROUP_WORLD_SIZE": max(of_rank) + 1,
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
        }  # fmt: skip

        def run(machine: int = machine) -> None:
            os.chdir(folder / f"host-{machine}")
            socket.gethostname = lambda: f"host-{machine}"  # of this copy
            function()

        texts = {name: str(value) for name, value in variables.items()}
        started.append(Fork(folder / f"{name}-{rank}.log", run, **texts))
    return started
