"""MLflow tracking: the only package that imports mlflow, and only once a run starts."""

from arxiv_hybrid.tracking.registry import find_champion, find_run, training_seconds
from arxiv_hybrid.tracking.run import Run, track

__all__ = ["Run", "find_champion", "find_run", "track", "training_seconds"]
