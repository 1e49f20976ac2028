"""The device and precision of a run, chosen at run time."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from arxiv_hybrid.system.errors import UserError

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class DeviceConfig:
    """A device, and the precision of matrix products on it: fp32, bf16 or fp16."""

    device: torch.device
    precision: str

    def autocast(self) -> torch.autocast:
        """A context in which matrix products use this precision."""
        mixed = self.precision != "fp32"
        dtype = _DTYPES[self.precision] if mixed else None
        return torch.autocast(self.device.type, dtype=dtype, enabled=mixed)


def choose_device(device: str, precision: str) -> DeviceConfig:
    """Resolve `auto`: a GPU if there is one, mixed precision if the hardware is fast at it.

    Raises UserError if the device does not exist, or for fp16 on a CPU.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and "LOCAL_RANK" in os.environ:  # torchrun: a GPU for each process
        device = f"cuda:{os.environ['LOCAL_RANK']}"
    elif device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"params.yaml: device: {device}: torch sees no GPU; use auto")
    chosen = torch.device(device)
    if chosen.index is not None and chosen.index >= torch.cuda.device_count():
        raise UserError(
            f"params.yaml: device: {device}: torch sees only {torch.cuda.device_count()} GPUs"
        )
    if precision == "auto":
        precision = _fast_precision(chosen)
    elif precision == "fp16" and chosen.type == "cpu":
        raise UserError("params.yaml: precision: fp16 needs a GPU; use auto, bf16 or fp32")
    if chosen.type == "cuda":
        _make_deterministic(precision)
    return DeviceConfig(chosen, precision)


def _fast_precision(device: torch.device) -> str:
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    # without such instructions, bf16 on a CPU is five times slower than fp32
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    fast = any(getattr(torch.cpu, check, lambda: False)() for check in checks)
    return "bf16" if fast else "fp32"


def _make_deterministic(precision: str) -> None:
    """Use deterministic algorithms, and no TF32 when fp32 was chosen.

    Call it before the first use of the GPU: cuBLAS reads its setting when it starts.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    if precision == "fp32":
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
