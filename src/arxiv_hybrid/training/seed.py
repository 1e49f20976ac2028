"""One seed for every source of randomness, and the state of all of them."""

from __future__ import annotations

import random
from typing import Any

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


def random_state(device: torch.device) -> dict[str, Any]:
    """The state of Python's, NumPy's and torch's global generators, as JSON can hold it."""
    numpy_state: dict[str, Any] = np.random.get_state(legacy=False)  # noqa: NPY002
    key = numpy_state["state"]["key"].tolist()
    on_gpu = device.type == "cuda"
    return {
        "python": random.getstate(),
        "numpy": {**numpy_state, "state": {**numpy_state["state"], "key": key}},
        "torch": torch.get_rng_state().numpy().tobytes().hex(),
        "cuda": torch.cuda.get_rng_state(device).numpy().tobytes().hex() if on_gpu else None,
    }


def restore_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Let all generators continue from a `random_state`."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(_bytes_tensor(state["torch"]))
    if state["cuda"] is not None:
        torch.cuda.set_rng_state(_bytes_tensor(state["cuda"]), device)


def _bytes_tensor(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)
