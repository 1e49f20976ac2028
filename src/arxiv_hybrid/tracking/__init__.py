"""MLflow tracking: the only package that imports mlflow, and only once a run starts."""

from arxiv_hybrid.tracking.registry import (
    Challenger,
    find_champion,
    find_reference,
    find_run,
    find_version,
    settle,
    training_seconds,
)
from arxiv_hybrid.tracking.run import Run, track

__all__ = [
    "Challenger",
    "Run",
    "find_champion",
    "find_reference",
    "find_run",
    "find_version",
    "settle",
    "track",
    "training_seconds",
]
