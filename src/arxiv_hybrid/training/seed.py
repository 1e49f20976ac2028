"""One seed for every source of randomness."""

from __future__ import annotations

import random

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch, and ask for deterministic algorithms."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (for libraries that still use it)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    # do not fill new memory with NaN: no operation here reads memory before writing it
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
