"""Process-wide settings. Libraries read them once, when they are imported."""

from __future__ import annotations

import gc
import os

from arxiv_hybrid.system.runtime import cores, queue_jobs


def prepare_process(*, beside_others: bool = False) -> None:
    """Set up a short-lived process that loads PyTorch; call it before torch is imported.

    beside_others: other experiments may run at the same time, as in DVC's queue. Environment
    variables that the user has set take precedence.
    """
    # rare garbage collections save 3 of the 7.5 seconds of a stage with torch and mlflow
    gc.set_threshold(100_000, 50, 100)
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # fewer page faults in torch
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic results on a GPU
    if beside_others:
        # threads that spin while they wait slow both processes down tenfold
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        if jobs := queue_jobs():
            os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // jobs)))
