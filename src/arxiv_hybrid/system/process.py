"""Process-wide settings. Libraries read them once, when they are imported."""

from __future__ import annotations

import gc
import os
import sys
import threading

from arxiv_hybrid.system.redaction import redact_tracebacks
from arxiv_hybrid.system.runtime import cores, parallel_jobs

ABANDONABLE = "abandonable"  # name of daemon threads that may hang in a library


def prepare_process(*, beside_others: bool = False) -> None:
    """Set up a short-lived process that loads PyTorch; call it before torch is imported.

    beside_others: other experiments may run at the same time, as in DVC's queue. Environment
    variables that the user has set take precedence.
    """
    redact_tracebacks()
    # rare garbage collections save 3 of the 7.5 seconds of a stage with torch and mlflow
    gc.set_threshold(100_000, 50, 100)
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # fewer page faults in torch
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic results on a GPU
    if beside_others and (jobs := parallel_jobs()):
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // jobs)))


def print_heading() -> None:
    """Print what the script does: the first line of its docstring, and its arguments."""
    lines = (sys.modules["__main__"].__doc__ or "").splitlines()
    if lines and "RANK" not in os.environ:  # torchrun's processes do not repeat it
        print(lines[0], *sys.argv[1:], flush=True)


def exit_past_stuck_threads(error: BaseException | None) -> None:
    """End the process at once if an abandonable thread hangs; otherwise do nothing.

    Libraries wait at exit for the threads that they started for such a call. error: the exception
    that ends the process; its traceback is printed and its exit status is kept.
    """
    if not any(thread.name == ABANDONABLE for thread in threading.enumerate()):
        return
    status: object = 0
    if isinstance(error, SystemExit):
        status = error.code or 0
    elif error is not None:
        sys.excepthook(type(error), error, error.__traceback__)
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 1)
