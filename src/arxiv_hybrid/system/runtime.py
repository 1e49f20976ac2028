"""The process and its machine: cores, parallel DVC jobs, waiting threads, memory allocation.

Imports no large library: NumPy and torch read their number of threads when they are loaded,
and these functions decide it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import sys

# how long OpenMP's threads spin before they sleep: turns in GNU's runtime (torch's wheels for
# Linux), milliseconds in those of Intel and LLVM (conda, Windows, macOS)
SPINNING = {"GOMP_SPINCOUNT": "5000", "KMP_BLOCKTIME": "1"}
_X86 = ("x86_64", "AMD64")
_QUEUE_WORKER = re.compile(r"^dvc-exp-[0-9a-f]+-\d+@")  # DVC's name for a worker of its queue


def cores() -> int:
    """Number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parallel_jobs() -> int:
    """Number of experiments that run at the same time: N while `dvc queue start -j N` is running.

    Several `dvc exp run --temp`, such as the trials of workers of a search, count as well.
    """
    import psutil

    names: set[str] = set()
    temporary = 0
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or ()
        names.update(argument for argument in command if _QUEUE_WORKER.match(argument))
        temporary += {"exp", "run", "--temp"} <= {*command}
    return len(names) + (temporary if temporary > 1 else 0)


def limit_spinning() -> None:
    """Let OpenMP's threads spin for at most a millisecond at a barrier, then sleep.

    By default they spin for 10 to 200 ms. If other programs want the cores, the thread that all
    wait for does not get one meanwhile, and training is 10 to 25 times slower. Sleeping at once
    (OMP_WAIT_POLICY=passive) is slower on idle cores, as steps are shorter than waking up takes.

    Only sets environment variables, and none if the user has chosen a policy. OpenMP reads them
    when it is loaded, so this has no effect after torch is imported. Child processes inherit them.
    """
    if "OMP_WAIT_POLICY" in os.environ:
        return
    for name, value in SPINNING.items():
        # a turn of GNU's runtime takes another time on other processors: their default stays
        if name != "GOMP_SPINCOUNT" or platform.machine() in _X86:
            os.environ.setdefault(name, value)


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
