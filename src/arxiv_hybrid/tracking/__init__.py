"""MLflow tracking: the only package that imports mlflow, and only once a run starts."""

from arxiv_hybrid.tracking.registry import ModelToServe, find_model_to_serve, training_seconds
from arxiv_hybrid.tracking.run import Run, track

__all__ = ["ModelToServe", "Run", "find_model_to_serve", "track", "training_seconds"]
