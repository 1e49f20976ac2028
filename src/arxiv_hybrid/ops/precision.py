"""Mixed precision for operations that autocast does not know."""

from __future__ import annotations

import torch
from torch import Tensor


def to_autocast(values: Tensor) -> Tensor:
    """Float32 values in the lower precision of `torch.autocast`, where that is enabled."""
    device = values.device.type
    if torch.is_autocast_enabled(device) and values.dtype == torch.float32:
        return values.to(torch.get_autocast_dtype(device))
    return values
