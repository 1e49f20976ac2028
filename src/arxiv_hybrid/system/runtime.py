"""How many cores there are, and how many of DVC's queue jobs share them.

Imports nothing large: it is asked before NumPy and torch are loaded, which read their number of
threads once.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys

_WORKER = re.compile(r"^dvc-exp-[0-9a-f]+-\d+@")  # the name that DVC gives a worker of its queue


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def queue_jobs() -> int:
    """How many workers of `dvc queue start -j N` there are on this machine: N, while it runs."""
    import psutil

    names: set[str] = set()
    for process in psutil.process_iter(["cmdline"]):
        names.update(part for part in process.info["cmdline"] or () if _WORKER.match(part))
    return len(names)


def keep_freed_memory() -> None:
    """Tell glibc to keep freed blocks of up to 32 MiB for the next step.

    By default each activation's memory goes back to the kernel and comes again page by page:
    20,000 page faults and a quarter of the time of a training step on a CPU. A hint only:
    elsewhere than on glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3
    mallopt(mmap_threshold, 32 << 20)
    mallopt(trim_threshold, 1 << 30)
    mallopt(top_pad, 64 << 20)
