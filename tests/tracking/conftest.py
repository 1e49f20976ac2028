"""Tests of tracking run with MLflow's and DVC's environment variables unset."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "DVC_EXP_NAME", "DVC_STAGE", "DVC_EXP_BASELINE_REV"):
        monkeypatch.delenv(name, raising=False)
