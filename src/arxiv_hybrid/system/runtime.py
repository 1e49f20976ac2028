"""The process and its machine: cores, parallel DVC jobs, memory allocation.

Imports no large library: NumPy and torch read their number of threads when they are loaded,
and these functions decide it.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys

_QUEUE_WORKER = re.compile(r"^dvc-exp-[0-9a-f]+-\d+@")  # DVC's name for a worker of its queue


def cores() -> int:
    """Number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def queue_jobs() -> int:
    """Number of running `dvc queue` workers: N while `dvc queue start -j N` is running."""
    import psutil

    names: set[str] = set()
    for process in psutil.process_iter(["cmdline"]):
        names.update(
            argument for argument in process.info["cmdline"] or () if _QUEUE_WORKER.match(argument)
        )
    return len(names)


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks of up to 32 MiB, to reuse them in the next training step.

    By default every activation is returned to the kernel and faulted in again page by page:
    20,000 page faults and a quarter of a training step on a CPU. Does nothing without glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # parameter numbers in malloc.h
    mallopt(mmap_threshold, 32 << 20)
    mallopt(trim_threshold, 1 << 30)
    mallopt(top_pad, 64 << 20)
