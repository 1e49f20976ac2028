"""Device and precision."""

from __future__ import annotations

import pytest
import torch

from arxiv_hybrid.inference import devices
from arxiv_hybrid.system.errors import UserError


def test_precision_and_device_are_chosen_at_run_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for fast in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda fast=fast: fast)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
        assert devices.choose_device("cpu", "auto").precision == ("bf16" if fast else "fp32")
    with pytest.raises(UserError, match="fp16 needs a GPU"):
        devices.choose_device("cpu", "fp16")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="torch sees no GPU"):
            devices.choose_device("cuda", "auto")
