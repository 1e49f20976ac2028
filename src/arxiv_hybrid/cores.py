"""How many cores there are, and how many of DVC's queue jobs share them.

Imports nothing large: it is asked before NumPy and torch are loaded, which read their number of
threads once.
"""

from __future__ import annotations

import os
import re

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
